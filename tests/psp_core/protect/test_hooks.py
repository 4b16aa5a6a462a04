"""What the loop and the learner do for a protection: phases, views, and what is saved of a memory."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from psp_core import Trial, TrialConfig
from psp_core.course import Course
from psp_core.groups import Group, Stretch
from psp_core.networks import Networks
from psp_core.protect import NoProtection, Protection, State
from tests.protections import HOSTS, TINY, trained, weights


class Phased(NoProtection):
    """Does nothing, in two phases, and counts: begins, begins of second phases, ends."""

    is_any: ClassVar[bool] = True
    transient: ClassVar[frozenset[str]] = frozenset({"scratch"})

    def phases(self, num_steps: int) -> Sequence[int]:
        return (num_steps // 4, num_steps - num_steps // 4)

    def start(self, peers: Sequence[Protection], shared: Group, trials: Sequence[Course]) -> State:
        return {"calls": torch.zeros(len(peers), 3), "scratch": torch.zeros(len(peers), 2)}

    def begin(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        state["calls"] += torch.tensor([1.0, stretch.phase, 0.0])
        assert stretch.row == stretch.task
        assert int(stretch.step_1) == stretch.phase * self.phases(TINY["steps_per_task"])[0]

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        state["calls"][:, 2] += 1


class FirstTask(NoProtection):
    """Answers every task with the weights as the first task left them."""

    is_any: ClassVar[bool] = True

    def start(self, peers: Sequence[Protection], shared: Group, trials: Sequence[Course]) -> State:
        return {"first": torch.zeros_like(shared.values_EP), "ended": torch.zeros(len(peers))}

    def end(self, state: State, shared: Group, networks: Networks, stretch: Stretch) -> None:
        if not stretch.task:
            state["first"].copy_(shared.values_EP)

    def view(self, state: State, task: int, values_EP: Tensor) -> Tensor:
        return state["first"]


def guarded(protect: Protection, **settings: Any) -> Trial:
    """A trial whose protection has no name that a study could choose."""
    trial = TrialConfig(**settings)
    method: Any = trial.method
    return dataclasses.replace(trial, method=dataclasses.replace(method, protect=protect))


@pytest.mark.parametrize("host", ["binary", "learned", "heads"])
def test_a_task_in_two_phases_that_do_nothing_is_the_task(host: str) -> None:
    trial = TrialConfig(**{**TINY, **HOSTS[host]})
    phased = guarded(Phased(), **{**TINY, **HOSTS[host]})
    training, plain = trained(phased), trained(trial)
    assert torch.equal(weights(training), weights(plain))
    assert torch.equal(training.measured["loss"].nan_to_num(), plain.measured["loss"].nan_to_num())
    assert training.learner.protected["calls"].tolist() == [[6, 3, 3]]  # type: ignore[attr-defined]


def test_what_is_made_anew_is_not_saved() -> None:
    training = trained(guarded(Phased(), **TINY))
    assert training.member_state(0)["learner"]["protected"].keys() == {"calls"}


@pytest.mark.parametrize("host", ["none", "binary", "complex", "convolutions"])
def test_tasks_are_answered_with_the_view(host: str) -> None:
    settings: dict[str, Any] = {**TINY, **HOSTS[host], "steps_per_task": 8}
    trials = [guarded(FirstTask(), **settings, seed=seed) for seed in (0, 1)]
    viewed, plain = trained(*trials), trained(*(TrialConfig(**settings, seed=seed) for seed in (0, 1)))
    assert torch.equal(weights(viewed), weights(plain))
    loss_EVK = viewed.measured["loss"]
    assert torch.equal(loss_EVK[:, 0, 0], plain.measured["loss"][:, 0, 0])
    assert torch.equal(loss_EVK[:, -1, 0], loss_EVK[:, 0, 0])
    assert (plain.measured["loss"][:, -1, 0] != loss_EVK[:, 0, 0]).all()


def test_phases_and_views_refuse_what_they_cannot_have() -> None:
    with pytest.raises(ValueError, match="has phases of its own within each task, and needs one context for each task"):
        guarded(Phased(), **TINY, context="binary", contexts_per_task=2)
    with pytest.raises(ValueError, match="answers each task with other weights; task_inference='entropy-one-shot'"):
        guarded(FirstTask(), **TINY, context="binary", task_inference="entropy-one-shot")
