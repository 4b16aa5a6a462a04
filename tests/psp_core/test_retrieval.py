"""Crosstalk of given models, beside the paper's Propositions 1 and 2."""

import math

import pytest
import torch

from psp_core.contexts import CONTEXTS, get_context
from psp_core.retrieval import Crosstalk, Retrieval, RetrievalConfig
from psp_core.trial import Trial

CPU = torch.device("cpu")
SPREAD = sorted(name for name, context in CONTEXTS.items() if context.crosstalk == "spread")
SMALL = RetrievalConfig(width=128, num_tasks=16, num_draws=16)


def measured(config: RetrievalConfig) -> list[Crosstalk]:
    run = Retrieval(config, CPU)
    while not run.done:
        run.train_task()
    (result,) = run.results()
    return result.crosstalk


@pytest.mark.parametrize("context", [name for name, context in CONTEXTS.items() if context.crosstalk])
def test_mean_and_second_moment_are_the_predicted_ones(context: str) -> None:
    """65,536 samples for each K: a second moment's standard error is 0.6%, of aligned ones somewhat more."""
    for row in measured(SMALL.replaced(context=context)):
        assert row.second_moment == pytest.approx(row.predicted, rel=0.05)
        assert abs(row.mean) < 5 / math.sqrt(row.num_samples) * 4
        if get_context(context).is_orthogonal:
            assert row.distortion < 1e-10
        assert row.predicted == pytest.approx(
            get_context(context).crosstalk_share * (row.num_models - 1) / 128, rel=0.05
        )  # for models and inputs whose energy is spread evenly


@pytest.mark.slow
@pytest.mark.parametrize("context", ["binary", "complex", "rotation"])
def test_the_paper_s_propositions_hold_to_two_per_cent_at_1024(context: str) -> None:
    """N = 1024, K = 2..64, 131,072 samples for each K: the standard error is 0.4%."""
    rows = measured(
        RetrievalConfig(context=context, width=1024, num_tasks=64, num_draws=4 if context == "rotation" else 8)
    )
    assert [row.num_models for row in rows] == [2, 4, 8, 16, 32, 64]
    for row in rows:
        assert row.second_moment == pytest.approx(row.predicted, rel=0.02)


def test_where_few_inputs_are_used_rotations_spread_what_signs_leave() -> None:
    """A sixteenth of the inputs: signs have 16 times the crosstalk of Haar's and of structured rotations."""
    few = SMALL.replaced(support=1 / 16)
    last = {name: measured(few.replaced(context=name))[-1].second_moment for name in ("binary", *SPREAD)}
    for name in SPREAD:
        assert last[name] == pytest.approx(15 / 128, rel=0.1), name
    assert last["binary"] == pytest.approx(16 * 15 / 128, rel=0.2)


def test_without_contexts_aligned_models_do_not_cancel() -> None:
    none, binary = (measured(SMALL.replaced(alignment=0.5, context=name))[-1] for name in ("none", "binary"))
    assert none.mean > 0.9
    assert none.second_moment > 50 * binary.second_moment


def test_contexts_that_are_not_orthogonal_distort_the_model_itself() -> None:
    """{0, 1} masks lose half of the weights: as much error as half of one other model's crosstalk."""
    rows = measured(SMALL.replaced(context="mask"))
    assert rows[0].distortion == pytest.approx(0.5 / 128, rel=0.05)
    assert math.isnan(rows[0].predicted)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"context": "binray"}, "did you mean 'binary'"),
        ({"num_tasks": 3}, "must be a power of two"),
        ({"num_tasks": 1}, "must be at least 2"),
        ({"support": 0.0}, r"support=0.0 must lie in \(0, 1\]"),
        ({"alignment": 1}, r"alignment=1.0 must lie in \[0, 1\)"),
        ({"context": "fourier", "width": 8}, "has 8 different contexts for 8 inputs"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        RetrievalConfig.from_flat(settings)


def test_settings_of_both_kinds_mean_the_same_where_they_share_a_name() -> None:
    shared = {"context", "width", "num_tasks", "seed"}
    for name in shared:
        of_trial, of_retrieval = (root.settings_named(name)[0][1] for root in (Trial, RetrievalConfig))
        assert (of_trial.kind, of_trial.part) == (of_retrieval.kind, of_retrieval.part)
