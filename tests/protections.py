"""What every protection must do: a new one inherits the contract and adds its own facts."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.protect import PROTECTIONS
from psp_core.protect.base import Protection
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import whole_and_resumed

CPU = torch.device("cpu")
TINY: dict[str, Any] = {
    "dataset": "digits", "width": 24, "num_tasks": 3, "steps_per_task": 40, "batch_size": 32, "lr": 0.003,
}  # fmt: skip
HOSTS: dict[str, dict[str, Any]] = {
    "none": {"context": "none"},
    "binary": {"context": "binary"},
    "complex": {"context": "complex"},
    "heads": {"context": "none", "heads": "per-task", "stream": "split", "classes_per_task": 3},
    "learned": {"context": "binary", "learned_contexts": True},
    "several contexts": {"context": "binary", "contexts_per_task": 2},
    "convolutions": {"context": "none", "model": "small-conv", "width": 4, "norm": "per-task", "steps_per_task": 8},
}


def trained(*trials: Trial) -> PackTraining:
    """A pack, trained to its end."""
    training = PackTraining(trials, load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    return training


def weights(training: PackTraining) -> Tensor:
    return training.learner.groups[0].values_EP


class ProtectionContract:
    """Inherit, and name the protection, its settings, two strengths that are felt if any, and hosts that it refuses."""

    protection: ClassVar[type[Protection]]
    settings: ClassVar[dict[str, Any]]
    strengths: ClassVar[tuple[float, ...]] = ()
    refused: ClassVar[frozenset[str]] = frozenset()

    def trial(self, host: str = "none", strength: float | None = None, **settings: Any) -> Trial:
        protect = {"name": self.protection.name, **self.settings}
        if self.strengths:
            protect["strength"] = strength or self.strengths[0]
        settings = {**TINY, **HOSTS[host], "protect": protect, **settings}
        if host in self.refused:
            with pytest.raises(ValueError, match=f"protect='{self.protection.name}'"):
                TrialConfig(**settings)
            pytest.skip("is refused")
        return TrialConfig(**settings)

    def two(self, host: str) -> list[Trial]:
        """Trials of two seeds and two strengths, where there are strengths."""
        return [self.trial(host, strength, seed=seed) for seed, strength in enumerate(self.strengths or (None, None))]

    def test_is_registered_under_its_name(self) -> None:
        assert PROTECTIONS[self.protection.name] is self.protection

    def test_it_remembers_as_many_numbers_as_it_counts(self) -> None:
        training = PackTraining([self.trial()], load_dataset("digits"), CPU)
        state = training.learner.protected  # type: ignore[attr-defined]
        large = [tensor for tensor in state.values() if tensor.shape == weights(training).shape]
        assert len(large) == self.protection.numbers
        saved = training.member_state(0)["learner"]["protected"]
        kept = [tensor for tensor in saved.values() if tensor.shape == weights(training)[0].shape]
        assert len(kept) == self.protection.kept_numbers
        trial, free = self.trial(), replace(self.trial(), protect="none")
        held = trial.of(Protection).training_bytes(trial, free.cost.trunk_size)
        assert trial.cost.own_bytes - free.cost.own_bytes == held
        assert held >= 0.9 * sum(tensor[0].nbytes for tensor in state.values())

    @pytest.mark.parametrize("host", HOSTS)
    def test_the_first_task_is_trained_as_without(self, host: str) -> None:
        protected, free = (
            PackTraining([trial], load_dataset("digits"), CPU)
            for trial in (self.trial(host), replace(self.trial(host), protect="none"))
        )
        for training in (protected, free):
            training.train_task()
        torch.testing.assert_close(weights(protected), weights(free), rtol=0, atol=0)
        for training in (protected, free):
            training.train_task()
        assert not torch.equal(weights(protected), weights(free))

    @pytest.mark.parametrize("host", HOSTS)
    def test_packed_equals_solo_though_strengths_differ(self, host: str) -> None:
        trials = self.two(host)
        together = weights(trained(*trials))
        for member, trial in enumerate(trials):
            torch.testing.assert_close(together[member], weights(trained(trial))[0], rtol=1e-3, atol=1e-4)

    @pytest.mark.parametrize("host", ["none", "complex", "heads"])
    def test_resumed_equals_whole(self, host: str) -> None:
        trials = self.two(host)
        whole, resumed = whole_and_resumed(trials, 2)
        assert torch.equal(weights(resumed), weights(whole))

    def test_a_member_that_diverges_leaves_its_neighbours_as_they_are(self) -> None:
        fine, lost = self.trial(), self.trial(lr=1e30, seed=1)
        training = trained(fine, lost)
        assert training.diverged_at[1] is not None
        assert weights(training)[1].abs().sum() == 0
        torch.testing.assert_close(weights(training)[0], weights(trained(fine))[0], rtol=1e-3, atol=1e-4)

    def test_strengths_are_one_pack_and_different_curves(self) -> None:
        trials = [self.trial("none", strength) for strength in self.strengths or (None,)]
        assert len({trial.shape for trial in trials}) == 1
        labels = {"".join(trial.curve_of.values()) for trial in trials}
        assert len(labels) == len(trials)
        assert all(label.startswith(f"none, {self.protection.name}") for label in labels)

    @pytest.mark.parametrize("host", ["none", "heads"])
    def test_the_first_task_is_forgotten_less(self, host: str) -> None:
        settings: dict[str, Any] = {"steps_per_task": 150, "batch_size": 64}
        protected = self.trial(host, max(self.strengths, default=None), **settings)
        free = replace(protected, protect="none")
        kept, forgotten = (trained(trial).measured["accuracy"][0, -1, 0].item() for trial in (protected, free))
        assert kept > forgotten + 0.05
