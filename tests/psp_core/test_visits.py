import gc
import weakref

import pytest
import torch

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.ahead import Ahead
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import Visits, batch_order
from tests.conftest import tasks_of

BASE = TrialConfig(dataset="digits", width=8, num_tasks=3, steps_per_task=6, batch_size=16, lr=0.003)
KINDS = {
    "permuting": BASE,
    "rotating": replace(BASE, stream="rotating", num_cycles=2),
    "shuffled": replace(BASE, stream="split", classes_per_task=3, shuffle_classes=True),
    "augmented": replace(BASE, augmentation="crop-flip"),
    "supsup": replace(BASE, method="supsup", context="none"),
}


def members(kind: str) -> list[Trial]:
    return [replace(KINDS[kind], seed=seed) for seed in (3, 1, 3)]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_drawn_ahead_is_what_is_drawn_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    at_once = train(members(kind))
    for module in ("visits", "methods.supsup"):
        monkeypatch.setattr(f"psp_core.{module}.drawn_for", lambda device, draw, end: Ahead(draw, end))
    for one, other in zip(at_once, train(members(kind)), strict=True):
        assert torch.equal(one.loss.nan_to_num(), other.loss.nan_to_num())


@pytest.mark.parametrize("kind", ["permuting", "supsup"])
def test_a_pack_for_which_a_thread_draws_is_gone_when_nobody_holds_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At once, and not when Python's collector comes by: the next pack needs its memory."""
    for module in ("visits", "methods.supsup"):
        monkeypatch.setattr(f"psp_core.{module}.drawn_for", lambda device, draw, end: Ahead(draw, end))
    training = PackTraining(members(kind), load_dataset("digits"), torch.device("cpu"))
    training.train_task()
    pack = weakref.ref(training), weakref.ref(training.learner)
    gc.disable()
    try:
        del training
        assert [each() for each in pack] == [None, None]
    finally:
        gc.enable()


def test_the_next_is_drawn_before_anybody_asks_and_each_once() -> None:
    asked: list[int] = []

    def draw(number: int) -> list[torch.Tensor]:
        asked.append(number)
        return [torch.tensor(number)]

    ahead = Ahead(draw, end=3)
    assert [ahead(number)[0].item() for number in range(3)] == [0, 1, 2]
    assert asked == [0, 1, 2]
    later = Ahead(draw, end=9)  # one that goes on from a checkpoint
    assert later(5)[0].item() == 5
    later._thread.shutdown()
    assert asked[3:] == [5, 6]


def test_what_cannot_be_drawn_is_raised_to_whom_it_is_for() -> None:
    def draw(number: int) -> list[torch.Tensor]:
        if number:
            raise OSError("no image")
        return []

    ahead = Ahead(draw, end=3)
    assert ahead(0) == []
    with pytest.raises(OSError, match="no image"):
        ahead(1)


def test_members_of_one_seed_have_one_order_which_is_drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[int] = []

    def watched(config: Trial, num_samples: int, visit: int) -> torch.Tensor:
        drawn.append(config.seed)
        return batch_order(config, num_samples, visit)

    monkeypatch.setattr("psp_core.visits.batch_order", watched)
    configs, labels = members("permuting"), load_dataset("digits").train_labels
    streams = {config.seed: tasks_of(config) for config in configs}
    visits = Visits(configs, [streams[config.seed] for config in configs], labels, torch.device("cpu"))
    samples = torch.empty(6, 3, 16, dtype=torch.int64)
    descriptions = torch.empty(1, 3, 64, dtype=torch.int64)
    visits.put(2, samples, descriptions, torch.empty(0), torch.empty(0))
    assert drawn == [3, 1]
    for e, config in enumerate(configs):
        assert torch.equal(samples[:, e], batch_order(config, len(labels), 2))
        assert torch.equal(descriptions[0, e], tasks_of(config).describe(2))
