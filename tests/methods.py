"""What every method must do: a new one inherits the contract and adds its own facts."""

from typing import Any, ClassVar

import pytest
import torch

from psp_core import Trial, TrialConfig
from psp_core.methods import METHODS
from psp_core.result import OUTCOMES, TrialResult
from psp_core.training import train
from psp_core.trial import FACTS, replace
from tests.conftest import in_float64, whole_and_resumed

TINY: dict[str, Any] = {
    "dataset": "digits", "width": 24, "num_tasks": 3, "steps_per_task": 20, "batch_size": 16, "lr": 0.01,
}  # fmt: skip


def same(one: TrialResult, other: TrialResult, *, exactly: bool = False) -> None:
    """Everything that was measured is the same: to the bit, or but for the order of sums."""
    tolerance = {"rtol": 0.0, "atol": 0.0} if exactly else {}
    assert one.answers.keys() == other.answers.keys()
    pairs = [(one.accuracy, other.accuracy), (one.loss, other.loss)]
    for mine, theirs in pairs + [(one.answers[name], other.answers[name]) for name in one.answers]:
        torch.testing.assert_close(mine, theirs, equal_nan=True, **tolerance)


class MethodContract:
    """Inherit, and give the settings of a trial; and what makes the trial another one, for curves to be told apart.

    Attributes:
        forgets: whether a task's accuracy may change once its training has ended.
        learns: the accuracy of a task, trained just now, that 150 steps reach at least.
    """

    settings: ClassVar[dict[str, Any]]
    others: ClassVar[dict[str, Any]]
    forgets: ClassVar[bool] = True
    learns: ClassVar[float] = 0.5

    def trial(self, **settings: Any) -> Trial:
        return TrialConfig(**{**TINY, **self.settings, **settings})

    def test_is_registered_under_its_name(self) -> None:
        method = self.trial().method
        assert METHODS[method.name] is type(method)

    def test_it_learns(self) -> None:
        (result,) = train([self.trial(steps_per_task=150)], progress=False)
        assert result.accuracy.diagonal().mean() > self.learns

    def test_a_task_keeps_its_accuracy_if_nothing_is_shared(self) -> None:
        if self.forgets:
            pytest.skip("tasks change one another's accuracy")
        (result,) = train([self.trial()], progress=False)
        torch.testing.assert_close(result.accuracy[-1], result.accuracy.diagonal())

    def test_packed_equals_alone(self) -> None:
        with in_float64():
            trials = [replace(self.trial(), seed=seed, lr=0.01 * (seed + 1)) for seed in range(3)]
            for trial, packed in zip(trials, train(trials, progress=False), strict=True):
                same(train([trial], progress=False)[0], packed)

    def test_resumed_equals_whole_to_the_bit(self) -> None:
        trials = [replace(self.trial(), seed=seed) for seed in range(2)]
        whole, resumed = whole_and_resumed(trials, 1)
        for one, other in zip(whole.results(), resumed.results(), strict=True):
            same(one, other, exactly=True)

    def test_a_shorter_trial_is_the_beginning_of_a_longer_one_if_it_says_so(self) -> None:
        few, many = self.trial(num_tasks=2), self.trial(num_tasks=4)
        if not few.is_nested:
            pytest.skip("a trial of fewer tasks is another trial")
        (one,), (other,) = train([few], progress=False), train([many], progress=False)
        torch.testing.assert_close(one.accuracy, other.accuracy[:2, :2], rtol=0, atol=0, equal_nan=True)

    def test_a_member_that_diverges_leaves_its_neighbours_as_they_are(self) -> None:
        with in_float64():
            fine, lost = self.trial(), replace(self.trial(), lr=1e300, seed=1)
            together, other = train([fine, lost], progress=False)
            same(together, train([fine], progress=False)[0])
            if other.diverged_at is not None:
                assert other.accuracy.isnan().any()

    def test_it_trains_as_many_numbers_as_it_counts(self) -> None:
        trial = self.trial()
        (result,) = train([trial], progress=False)
        assert result.num_params == trial.cost.num_params
        groups = trial.method.start([trial], torch.device("cpu")).groups
        padding = sum(group.values_EP.shape[1] for group in groups) - trial.cost.trained.after(1)
        assert 0 <= padding < 32 * 2 * len(trial.method.layers(trial))

    def test_it_keeps_as_many_bytes_as_it_counts(self) -> None:
        (result,) = train([self.trial()], progress=False)
        row = {**result.config.facts, **result.outcomes()}
        assert row["answer_bytes"] == row["total_bytes"]
        assert row["kept_bytes"] >= row["answer_bytes"]
        assert row["answer_bytes_per_task"] == row["context_bytes_per_task"] >= 0

    def test_it_measures_and_finds_out_what_it_says(self) -> None:
        trial = self.trial()
        (result,) = train([trial], progress=False)
        assert set(result.answers) == set(trial.method.measured)
        assert set(result.notes) <= {*FACTS, *OUTCOMES, *trial.method.outcomes}
        assert set(trial.method.measured) <= set(trial.method.answers)

    def test_a_trial_comes_back_from_its_row(self) -> None:
        trial = self.trial()
        assert TrialConfig(**trial.columns()) == trial

    def test_curves_of_other_settings_have_other_labels(self) -> None:
        one, other = self.trial(), self.trial(**self.others)
        assert "".join(one.curve_of.values()) != "".join(other.curve_of.values())
