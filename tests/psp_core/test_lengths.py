"""Packs of trials with different numbers of tasks, which end one after another."""

import pytest
import torch

from psp_core import Trial, TrialConfig, train
from psp_core.datasets import load_dataset
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import assert_packed_equals_alone

SMALL = TrialConfig(
    dataset="digits", width=8, num_tasks=2, steps_per_task=10, batch_size=16, lr=0.01, eval_samples=64, eval_every=7
)
KINDS = {
    "permuting": {},
    "the first and the newest": {"eval_tasks": "ends"},
    "parts of a turn": {"stream": "rotating"},
    "trained": {"learned_contexts": True},
    "momentum": {"momentum": 0.9},
    "a net for each task": {"trunk": "per-task", "context": "none"},
    "neighbours mixed": {"context": "complex", "schedule": "local-mix"},
    "inferred": {"task_inference": "entropy-one-shot"},
    "protected": {"protect": "si"},
}


def of_lengths(**settings: object) -> list[Trial]:
    """Of 2, 5 and 3 tasks; two have a seed in common, and one has a milestone."""
    base = replace(SMALL, **settings)
    return [
        replace(base, seed=seed, num_tasks=number, milestones=milestones)
        for seed, number, milestones in [(0, 2, (1,)), (0, 5, (3,)), (1, 3, ()), (2, 5, ())]
    ]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_a_member_is_what_it_is_alone(kind: str) -> None:
    trials = of_lengths(**KINDS[kind])
    assert len({trial.shape for trial in trials}) == 1
    assert_packed_equals_alone(trials)
    for packed, trial in zip(train(trials, progress=False), trials, strict=True):
        (alone,) = train([trial], progress=False)
        assert packed.config == trial
        assert torch.equal(packed.num_samples, alone.num_samples)
        assert [(point.step, point.task) for point in packed.curve] == [(p.step, p.task) for p in alone.curve]
        assert (packed.num_params, packed.context_bytes_per_task) == (alone.num_params, alone.context_bytes_per_task)


def test_members_that_differ_in_momentum_go_on_with_what_they_need() -> None:
    trials = [
        replace(SMALL, num_tasks=number, momentum=momentum) for number, momentum in ((2, 0.9), (4, 0.0), (6, 0.5))
    ]
    for packed, trial in zip(train(trials, progress=False), trials, strict=True):
        assert packed.accuracy.shape == (trial.num_tasks, trial.num_tasks)
        assert packed.accuracy[-1].isfinite().all()


def test_a_diverged_member_ends_with_its_tasks_and_stays_diverged_in_what_goes_on() -> None:
    trials = [
        replace(SMALL, num_tasks=2),
        *(replace(SMALL, num_tasks=4, seed=seed, lr=lr) for seed, lr in ((0, 1e30), (1, 0.01))),
    ]
    short, wild, steady = train(trials, progress=False)
    assert short.diverged_at is steady.diverged_at is None
    assert wild.diverged_at is not None
    assert wild.accuracy.isnan().all()
    assert steady.accuracy[-1].isfinite().all()


def test_the_shortest_end_a_pack_and_what_goes_on_takes_their_place() -> None:
    seen: list[tuple[int, int]] = []
    train(of_lengths(), progress=False, after_task=lambda pack: seen.append((len(pack.configs), pack.tasks_seen)))
    assert seen == [(4, 1), (4, 2), (3, 3), (2, 4), (2, 5)]


def test_a_state_is_that_of_a_pack_of_one_length() -> None:
    packs = [
        PackTraining(trials, load_dataset("digits"), torch.device("cpu")) for trials in (of_lengths(), of_lengths()[:1])
    ]
    for pack in packs:
        pack.train_task()
    mixed, alone = (pack.member_state(0) for pack in packs)
    assert {name: table.shape for name, table in mixed["measured"].items()} == {
        name: table.shape for name, table in alone["measured"].items()
    }


@pytest.mark.parametrize(
    "settings",
    [
        {"num_cycles": 2},
        {"context": "complex", "schedule": "local-mix", "learned_contexts": True},
        {"method": "hopsupsup", "stream": "split", "classes_per_task": 2, "keep_labels": True},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_tasks_that_come_back_or_are_trained_together_are_as_many_for_all(settings: dict[str, object]) -> None:
    start = replace(SMALL, eval_every=None)
    first, second = (
        replace(start, **{"context": "none", **settings} if "method" in settings else settings, num_tasks=k)
        for k in (2, 3)
    )
    with pytest.raises(ValueError, match="must be alike in num_tasks; pack them apart"):
        train([first, second], progress=False)
