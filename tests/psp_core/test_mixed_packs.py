"""Packs of trials with different contexts, which bind by the same operation."""

from itertools import pairwise

import pytest
import torch

from psp_core import Trial, TrialConfig, train
from psp_core.contexts import CONTEXTS, get_context
from psp_core.datasets import load_dataset
from psp_core.result import TrialResult
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import whole_and_resumed

BINDINGS = sorted({kind.binding for kind in CONTEXTS.values() if kind.binding})
SMALL = TrialConfig(
    dataset="digits", width=8, num_tasks=2, steps_per_task=6, batch_size=16, lr=0.01, eval_samples=64, eval_every=4
)
KINDS = {
    "usual": {},
    "no hidden layer": {"depth": 0, "width": 256},
    "momentum": {"momentum": 0.9},
    "bfloat16": {"precision": "bfloat16"},
    "a network for each task": {"stream": "split", "classes_per_task": 3, "heads": "per-task"},
    "protected": {"protect": "ewc", "protect_strength": 10.0, "protect_samples": 32},
    "inferred": {"task_inference": "entropy-one-shot"},
    "trained": {"learned_contexts": True},
    "convolutions": {"model": "small-conv", "norm": "per-task", "test_batch_size": 1000},
    "a stem": {"model": "resnet-18", "width": 2, "steps_per_task": 2, "eval_every": None},
}


def of_binding(binding: str, **settings: object) -> list[Trial]:
    """A trial for each context that binds so and goes with the settings: one without contexts first."""
    trials = []
    for name, kind in CONTEXTS.items():
        if kind.binding == binding:
            try:
                trials.append(replace(SMALL, context=name, **settings))
            except ValueError:  # such as trained contexts of a kind that has no numbers of its own
                continue
    return sorted(trials, key=lambda trial: not get_context(trial.context).is_trivial)


def same(mine: TrialResult, theirs: TrialResult) -> bool:
    tables = [(mine.accuracy, theirs.accuracy), (mine.loss, theirs.loss), (mine.num_samples, theirs.num_samples)]
    tables += [(mine.answers[name], theirs.answers[name]) for name in theirs.answers]
    return all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in tables) and mine.curve == theirs.curve


def storage(result: TrialResult) -> tuple[int, int, int]:
    return result.num_params, result.context_bytes_once, result.context_bytes_per_task


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("binding", BINDINGS)
def test_a_member_is_what_it_is_among_its_like_to_the_bit(binding: str, kind: str) -> None:
    """Beside the mixed pack are packs of as many members, all of one context."""
    trials = of_binding(binding, **KINDS[kind])
    if len(trials) < 2:
        pytest.skip("one context alone goes with that")
    if kind == "usual":
        trials += [replace(trial, seed=1) for trial in trials]
    assert len({trial.shape for trial in trials}) == 1
    mixed = train(trials, progress=False)
    contexts = dict.fromkeys(trial.context for trial in trials)
    for context in contexts if kind == "usual" else list(contexts)[:2]:
        alike = train([replace(trial, context=context) for trial in trials], progress=False)
        for mine, theirs in zip(mixed, alike, strict=True):
            if mine.config.context == context:
                assert mine.config == theirs.config
                assert same(mine, theirs)
                assert storage(mine) == storage(theirs)


@pytest.mark.parametrize("binding", BINDINGS)
def test_a_mixed_pack_goes_on_from_its_state_to_the_bit(binding: str) -> None:
    whole, second = whole_and_resumed(of_binding(binding), stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert same(mine, theirs)


@pytest.mark.parametrize("kind", ["usual", "trained", "protected"])
def test_a_member_goes_on_in_another_pack(kind: str) -> None:
    """From a mixed pack to one of its like, and back; the packs are of one size."""
    (cpu, data), trials = (torch.device("cpu"), load_dataset("digits")), of_binding("product", **KINDS[kind])
    trial = trials[-1]
    packs = [trials, [trial, *(replace(trial, seed=seed) for seed in range(1, len(trials)))]]
    ended = []
    for first, then in (packs, packs[::-1]):
        begun, other = PackTraining(first, data, cpu), PackTraining(then, data, cpu)
        begun.train_task()
        other.train_task()
        after = PackTraining(then, data, cpu)
        states = [other.member_state(e) for e in range(len(then))]
        states[then.index(trial)] = begun.member_state(first.index(trial))
        after.load_member_states(states)
        while not after.done:
            after.train_task()
        ended.append(after.results()[then.index(trial)])
    assert same(*ended)


def test_members_without_contexts_take_no_memory_for_those_that_change_nothing() -> None:
    trials = [replace(SMALL, context=context, num_tasks=1000) for context in ("none", "binary")]
    of_none, of_binary = PackTraining(trials, load_dataset("digits"), torch.device("cpu")).learner.networks.all_contexts
    for name, contexts in of_none.items():
        assert contexts.shape == of_binary[name].shape
        assert contexts.untyped_storage().nbytes() == 4


def test_what_binds_otherwise_is_refused() -> None:
    for first, second in pairwise(BINDINGS):
        with pytest.raises(ValueError, match="must be alike in context; pack them apart"):
            train([of_binding(first)[0], of_binding(second)[0]])
    alone = [name for name, kind in CONTEXTS.items() if not kind.binding]
    assert len({replace(SMALL, context=name).shape for name in alone}) == len(alone)
