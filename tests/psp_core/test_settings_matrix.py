"""Every combination of settings that is accepted trains and measures; every other one is refused by a sentence."""

import re
from functools import lru_cache

import pytest
import torch

from psp_core.datasets import DATASETS, Dataset
from psp_core.measuring import num_tests
from psp_core.methods import NNs
from psp_core.randomness import generator
from psp_core.training import PackTraining
from psp_core.trial import Trial, replace
from tests.psp_core.settings_matrix import DEFAULTS, Chosen, Search

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("settings")]  # all ask of one search
CPU = torch.device("cpu")
PER_CLASS = 4


@pytest.fixture(scope="module")
def search() -> Search:
    search = Search()
    search.run()
    return search


@lru_cache
def images(name: str) -> Dataset:
    """Noise of the data set's shape, as many images of each class."""
    sizes = DATASETS[name].sizes
    labels = torch.arange(sizes.num_classes).repeat(PER_CLASS)
    size = (len(labels), sizes.num_inputs)
    pixels = torch.randint(256, size, dtype=torch.uint8, generator=generator(0, "noise"))
    return Dataset(
        name=name, shape=sizes.shape, num_classes=sizes.num_classes, scale=255.0, mean=0.5, std=0.3,
        train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels,
        channels=((0.5,) * sizes.shape[0], (0.3,) * sizes.shape[0]),
    )  # fmt: skip


def unusual(trial: Trial) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in trial.chosen.items())


def fault(trial: Trial, num_members: int) -> str | None:
    """What is wrong with how a pack of a trial in several seeds ends, if it goes on from its state after a task."""
    configs = [replace(trial, seed=seed) for seed in range(num_members)]
    try:
        assert num_tests(trial) > 0
        assert trial.cost.measuring_products > 0
        first, training = (PackTraining(configs, images(trial.data_name), CPU) for _ in range(2))
        first.train_task()
        training.load_state_dict(first.state_dict())
        while not training.done:
            training.train_task()
    except Exception as error:
        return repr(error)
    for result in training.results():
        if result.diverged_at is None and not result.accuracy[-1].isfinite().all():
            return f"accuracy {result.accuracy[-1].tolist()} and no step at which it diverged"
    return None


@pytest.mark.parametrize("num_members", [1, 2])
def test_whatever_is_accepted_trains_and_measures_two_tasks(search: Search, num_members: int) -> None:
    faults = {unusual(trial): found for trial in search.trials if (found := fault(trial, num_members))}
    assert not faults, "\n".join(f"{settings}: {found}" for settings, found in faults.items())


def test_every_value_is_tried(search: Search) -> None:
    assert not search.without(), "no trial with them was found: add one to STARTS"


def test_whatever_is_refused_is_told_rule_value_and_remedy(search: Search) -> None:
    assert not search.failed
    wrong = [message for message, chosen in search.refused.items() if not is_well_said(message, chosen)]
    assert not wrong, "\n".join(wrong)


def is_well_said(message: str, chosen: Chosen) -> bool:
    """Whether it names settings with the values they have, one that is not as usual, and then says what to do.

    What follows the rule may name others' values: those to take instead. Supsup with `new_mask_eps` is named nns.
    """
    chosen = chosen | {"method": NNs.name} if NNs.claims(chosen) else chosen
    rule, _, remedy = message.partition(next(sign for sign in ("; ", ": ", ", such as ", " ") if sign in message))
    named = [(name, value) for name, value in re.findall(r"(\w+)=('[^']*'|[^\s,;:]+)", rule) if name in chosen]
    true = [name for name, value in named if value.strip("'.()").lower() == str(chosen[name]).strip("()").lower()]
    return (
        bool(true)
        and any(chosen[name] != DEFAULTS[name] or chosen[name] is None for name in true)
        and remedy.endswith(".")
    )
