import pytest
import torch

from psp_core import TrialConfig, load_dataset
from psp_core.held_out import HeldOut, task_samples
from psp_core.trial import replace
from tests.conftest import tasks_of

BASE = TrialConfig(dataset="digits", width=8, num_tasks=4)
KINDS = {
    "permuting": BASE,
    "rotating": replace(BASE, stream="rotating"),
    "shuffled": replace(BASE, stream="split", classes_per_task=2, shuffle_classes=True),
}


def held_out(kind: str, most: int | None = None) -> HeldOut:
    """Three members of two seeds."""
    one, other = (tasks_of(replace(KINDS[kind], seed=seed)) for seed in (5, 6))
    return HeldOut.of([one, other, one], load_dataset("digits"), most=most, batch_size=100)


@pytest.mark.parametrize("kind", KINDS)
def test_each_member_has_its_own_tasks(kind: str) -> None:
    found = held_out(kind)
    for _ in range(2):  # and again, when they are known
        described = found.descriptions([0, 3, 1])
        for member, tasks in enumerate(found.tasks):
            for place, task in enumerate([0, 3, 1]):
                assert torch.equal(described[member, place], tasks.describe(task))


@pytest.mark.parametrize("most", [None, 7])
def test_each_member_s_task_has_its_own_samples(most: int | None) -> None:
    found = held_out("shuffled", most)
    for member, tasks in enumerate(found.tasks):
        samples = task_samples(tasks, 2, found.dataset.test_labels, found.samples_N)[:most]
        assert torch.equal(found.of_task(member, 2), samples)
        assert set(found.dataset.test_labels[samples].tolist()) <= set(tasks.classes(2).tolist())
    assert not torch.equal(found.of_task(0, 2), found.of_task(1, 2))


def test_what_members_of_one_seed_share_is_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found, described = held_out("permuting"), []
    describe = type(found.tasks[0]).describe
    monkeypatch.setattr(
        type(found.tasks[0]), "describe", lambda self, task: described.append((self.seed, task)) or describe(self, task)
    )
    found.descriptions([0, 1])
    found.descriptions([1, 0])
    found.batch(2, 1, torch.arange(3))
    assert described == [(5, 0), (6, 0), (5, 1), (6, 1)]
