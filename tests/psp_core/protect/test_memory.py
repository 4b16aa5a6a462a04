"""A memory of images: which are kept, how, and which a step asks about; replay and A-GEM by plain loops."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from psp_core import TrialConfig, load_dataset
from psp_core.protect.agem import AGEM
from psp_core.protect.memory import draw
from psp_core.protect.replay import Replay
from psp_core.protect.reservoir import kept_samples
from psp_core.randomness import generator
from psp_core.training import PackTraining
from tests.conftest import in_float64
from tests.plain import SETTINGS, begun, descend, packed, task_gradient, trial_of
from tests.protections import CPU, TINY, ProtectionContract, trained


class TestReplay(ProtectionContract):
    protection = Replay
    settings: ClassVar[dict[str, Any]] = {"budget": 8000, "batch": 16}


class TestAGEM(ProtectionContract):
    protection = AGEM
    settings: ClassVar[dict[str, Any]] = {"budget": 8000, "batch": 16}


def reservoir(num_samples: list[int], num_slots: int, shares: list[Tensor]) -> list[int]:
    """Algorithm R, sample by sample, its random numbers given."""
    slots: list[int] = []
    for number, share in enumerate(share for some in shares for share in some.tolist()):
        if len(slots) < num_slots:
            slots.append(number)
        elif (place := int(share * (number + 1))) < num_slots:
            slots[place] = number
    return slots


def test_the_reservoir_is_that_of_the_sequential_algorithm() -> None:
    sizes, slots, before = [3, 9, 40], torch.full((5,), -1), 0
    shares = [torch.rand(size, generator=generator(0, "r", i), dtype=torch.float64) for i, size in enumerate(sizes)]
    for i, size in enumerate(sizes):
        kept = kept_samples(before, size, 5, generator(0, "r", i))
        slots = torch.where(kept >= 0, kept + before, slots)
        before += size
    assert slots.tolist() == reservoir(sizes, 5, shares)


def test_every_sample_is_kept_with_the_same_probability() -> None:
    """8 slots, 40 samples in two parts, 2000 draws: each sample is kept 400 times, to 5 standard deviations."""
    counts = torch.zeros(40)
    for seed in range(2000):
        slots = kept_samples(0, 25, 8, generator(seed, "first"))
        later = kept_samples(25, 15, 8, generator(seed, "second"))
        counts[torch.where(later >= 0, later + 25, slots)] += 1
    assert (counts - 400).abs().max() < 5 * (2000 * 0.2 * 0.8) ** 0.5


def test_a_batch_is_of_one_task_and_has_its_images_alike() -> None:
    tasks_M = torch.tensor([2, 0, 0, 2, 1, 0])
    task_S, slots_Sm = draw(tasks_M, 4000, 3, generator(0, "draw"))
    assert (tasks_M[slots_Sm] == task_S[:, None]).all()
    expected = tasks_M.bincount() / 6 * 4000
    assert (task_S.bincount() - expected).abs().max() < 5 * (4000 * 0.25) ** 0.5
    of_task_0 = slots_Sm[task_S == 0].flatten().bincount()[[1, 2, 5]]
    assert (of_task_0 - of_task_0.sum() / 3).abs().max() < 5 * (of_task_0.sum() * 2 / 9) ** 0.5


@pytest.mark.parametrize("stream", ["permuting", "rotating"])
def test_images_are_kept_as_the_network_saw_them(stream: str) -> None:
    """To a half of what the rotated image's numbers are rounded to."""
    trial = TrialConfig(**{**TINY, "stream": stream, "steps_per_task": 6, "num_tasks": 2, "protect": "replay"})
    training = PackTraining([trial], load_dataset("digits"), CPU)
    training.train_task()
    saw_NI = torch.cat([x_EBI[0] for x_EBI, _ in training._recent(6)])
    labels_N = torch.cat([labels_EB[0] for _, labels_EB in training._recent(6)])
    state = training.learner.protected  # type: ignore[attr-defined]
    kept_MI = training.dataset.normalise(state["pixels"][0, : len(saw_NI)])
    step = 0 if stream == "permuting" else 0.5 / (training.dataset.scale * float(training.dataset.std))
    torch.testing.assert_close(kept_MI, saw_NI, rtol=0, atol=step * 1.001 + 1e-6)
    assert torch.equal(state["labels"][0, : len(labels_N)].long(), labels_N)


def test_images_count_as_they_are_stored() -> None:
    """Digits have 64 numbers, a label of a byte and a task of two: 67 bytes."""
    trial = TrialConfig(**{**TINY, "protect": {"name": "replay", "budget": 1000}})
    assert trial.method.protect.kept_bytes(trial, 12345) == (14 * 67, 0)  # type: ignore[attr-defined]
    state = trained(trial).learner.protected  # type: ignore[attr-defined]
    assert sum(state[name][0].nbytes for name in ("pixels", "labels", "tasks")) == 14 * 67
    with pytest.raises(ValueError, match="protect_budget=66 bytes have no room for an image of 67 bytes: give more"):
        TrialConfig(**{**TINY, "protect": {"name": "replay", "budget": 66}})


def test_a_step_costs_the_memory_s_batch_too() -> None:
    free = TrialConfig(**TINY)
    kept = TrialConfig(**{**TINY, "protect": {"name": "a-gem", "batch": 16}})
    assert kept.cost.step_products == free.cost.step_products * 3 // 2


@pytest.mark.parametrize("name", ["replay", "a-gem"])
def test_it_trains_as_the_paper_s_algorithm_does(name: str) -> None:
    """Plain SGD; the memory is filled sample by sample, and its random numbers are those of the protection."""
    size, asked, slots = SETTINGS["batch_size"], 5, 9
    with in_float64():
        trial = trial_of({"name": name, "budget": slots * 67, "batch": asked})
        leaves, batches = begun(trial)
        memory: list[tuple[Tensor, Tensor, int]] = []
        seen, projected = 0, 0
        for task, steps in enumerate(batches):
            if memory:
                tasks_M = torch.tensor([of_task for _, _, of_task in memory])
                _, slots_Sm = draw(tasks_M, len(steps), asked, generator(0, "memory batches", seen))
            for number, (x_BI, labels_B) in enumerate(steps):
                g = task_gradient(leaves, x_BI, labels_B)
                if memory:
                    chosen = [memory[slot] for slot in slots_Sm[number].tolist()]
                    x_mI, labels_m = (torch.stack([one[i] for one in chosen]) for i in (0, 1))  # type: ignore[misc]
                    other = task_gradient(leaves, x_mI, labels_m)
                    if name == "replay":
                        x_BI, labels_B = torch.cat([x_BI, x_mI]), torch.cat([labels_B, labels_m])
                        g = task_gradient(leaves, x_BI, labels_B)
                    elif (along := sum((a * b).sum() for a, b in zip(g, other, strict=True))) < 0:
                        square = sum((b * b).sum() for b in other)
                        g = [a - along / square * b for a, b in zip(g, other, strict=True)]
                        projected += 1
                descend(leaves, g, trial.optimiser.lr)
            shares = torch.rand(len(steps) * size, generator=generator(0, "memory", seen), dtype=torch.float64)
            samples = [(x, label, task) for x_BI, labels_B in steps for x, label in zip(x_BI, labels_B, strict=True)]
            for sample, share in zip(samples, shares.tolist(), strict=True):
                if seen < slots:
                    memory.append(sample)
                elif (place := int(share * (seen + 1))) < slots:
                    memory[place] = sample
                seen += 1
        training, found = packed(trial)
        assert name == "replay" or projected
        assert len({task for _, _, task in memory}) > 1
        assert training.learner.protected["tasks"][0].tolist() == [task for _, _, task in memory]  # type: ignore[attr-defined]
        for leaf, parameter in zip(leaves, found, strict=True):
            torch.testing.assert_close(parameter, leaf.detach())
