"""The validation part: which training images it has, that nothing trains on them, and that they are measured."""

import numpy as np
import pytest
import torch

from psp_core import TrialConfig, load_dataset
from psp_core.datasets.base import Dataset
from psp_core.datasets.folders import FolderImages
from psp_core.datasets.validation import parted
from psp_core.held_out import HeldOut
from psp_core.measuring import num_tests
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import Visits
from tests.conftest import tasks_of

CPU = torch.device("cpu")
BASE = TrialConfig(dataset="digits", width=8, num_tasks=2, steps_per_task=60, batch_size=64, lr=0.01)
APART = replace(BASE, validation=400, eval_on="validation")


def test_every_image_is_in_one_of_the_two_parts() -> None:
    labels = load_dataset("digits").train_labels
    trained, kept = parted(labels, 400)
    assert len(kept) == 400
    assert torch.equal(torch.cat([trained, kept]).sort().values, torch.arange(len(labels)))
    assert torch.equal(trained, trained.sort().values)


def test_without_a_validation_part_all_are_trained_on_in_their_order() -> None:
    trained, kept = parted(torch.tensor([1, 0, 1, 2]), 0)
    assert trained.tolist() == [0, 1, 2, 3]
    assert not len(kept)


@pytest.mark.parametrize("number", [20, 99, 500])
def test_each_class_is_kept_in_proportion(number: int) -> None:
    sizes = torch.tensor([700, 100, 200])
    labels = torch.arange(3).repeat_interleave(sizes)  # in the order of classes, as folders have them
    _, kept = parted(labels, number)
    expected = number * sizes / sizes.sum()
    assert ((labels[kept].bincount(minlength=3) - expected).abs() <= 1).all()


def test_what_classes_are_called_does_not_matter() -> None:
    labels = load_dataset("digits").train_labels
    renamed = torch.tensor([7, 2, 9, 0, 4, 1, 3, 8, 6, 5])[labels]
    assert torch.equal(parted(labels, 300)[1], parted(renamed, 300)[1])


def test_a_smaller_part_lies_in_a_larger_one_and_any_first_images_have_all_classes() -> None:
    labels = load_dataset("digits").train_labels
    small, large = parted(labels, 100)[1], parted(labels, 500)[1]
    assert torch.equal(small, large[:100])
    assert (labels[large[:50]].bincount() >= 3).all()


def test_the_draw_is_the_same_on_every_machine() -> None:
    assert parted(torch.arange(10).repeat(100), 10)[1].tolist() == [122, 39, 233, 380, 814, 935, 547, 1, 16, 68]


def test_no_step_sees_a_validation_image() -> None:
    data = load_dataset("digits")
    _, kept = parted(data.train_labels, 400)
    split = replace(APART, stream="split", classes_per_task=5)
    for trial in (APART, split):
        samples = torch.empty(60, 1, 64, dtype=torch.int64)
        tasks = [tasks_of(trial)]
        described = tasks[0].describe(0)
        Visits([trial], tasks, data.train_labels, CPU).put(
            1, samples, torch.empty(1, 1, *described.shape, dtype=described.dtype), torch.empty(0), torch.empty(0)
        )
        assert not torch.isin(samples, kept).any()


def test_the_accuracy_is_of_the_validation_images() -> None:
    data, seen = load_dataset("digits"), {}
    for eval_on in ("test", "validation"):
        training = PackTraining([replace(APART, eval_on=eval_on)], data, CPU)
        while not training.done:
            training.train_task()
        seen[eval_on] = training.results()[0]
        held_out = HeldOut.of(
            training.tasks, data, most=None, batch_size=1000, validation=400 if eval_on == "validation" else None
        )
        x, labels = held_out.batch(0, 1, held_out.of_task(0, 1))
        right = (training.learner.answerer(2).networks.answer(0, 1, x).argmax(1) == labels).double().mean()
        assert seen[eval_on].accuracy[1, 1].item() == pytest.approx(right.item(), abs=1e-9)
    assert seen["test"].num_samples[1].tolist() == [359, 359]
    assert seen["validation"].num_samples[1].tolist() == [400, 400]


def test_some_of_them_are_the_first_and_split_tasks_have_those_of_their_classes() -> None:
    data = load_dataset("digits")
    _, kept = parted(data.train_labels, 400)
    some = HeldOut.of([tasks_of(APART)], data, most=50, batch_size=10, validation=400)
    assert torch.equal(some.of_task(0, 0), kept[:50])
    tasks = tasks_of(replace(APART, stream="split", classes_per_task=5))
    of_task = HeldOut.of([tasks], data, most=None, batch_size=10, validation=400).of_task(0, 1)
    assert torch.equal(of_task, kept[data.train_labels[kept] >= 5])


def test_a_data_set_in_files_keeps_its_names_apart() -> None:
    """Of such a data set only the images that are asked for are decoded, by their numbers among all."""
    asked = []

    class Watched(FolderImages):
        def __getitem__(self, samples_B: torch.Tensor) -> torch.Tensor:
            asked.extend(samples_B.tolist())
            return torch.zeros(len(samples_B), self.shape[1], dtype=torch.uint8)

    labels = torch.arange(10).repeat_interleave(30)
    images = Watched("nowhere", np.array([b"x"] * 300), side=8)
    test = Watched("nowhere", np.array([b"x"] * 20), side=8)
    data = Dataset(
        name="digits", shape=(3, 8, 8), num_classes=10, scale=255.0, mean=0.5, std=0.5,
        train_images=images, train_labels=labels, test_images=test, test_labels=labels[:20],
    )  # fmt: skip
    held_out = HeldOut.of([tasks_of(APART)], data, most=None, batch_size=10, validation=50)
    held_out.batch(0, 0, held_out.of_task(0, 0))
    assert asked == parted(labels, 50)[1].tolist()


def test_what_is_measured_is_counted() -> None:
    assert num_tests(APART) == 400 * 3
    assert num_tests(replace(APART, eval_on="test")) == 359 * 3


def test_trials_that_differ_in_it_are_other_trials_and_packs() -> None:
    assert BASE.chosen == replace(BASE, validation=0, eval_on="test").chosen
    assert APART.setup == {"dataset": "digits", "validation": 400, "eval_on": "validation"} | BASE.setup
    assert APART.shape != replace(APART, eval_on="test").shape


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"validation": 5}, "validation=5 must be 0, or from 10 .* to 719"),
        ({"validation": 1000}, "validation=1000 must be 0, or from 10 .* to 719"),
        ({"eval_on": "validation"}, "eval_on='validation' needs a validation part"),
        ({"validation": 100, "eval_on": "validation", "eval_samples": 101}, "more than the 100 validation images"),
        ({"eval_on": "valid"}, "eval_on='valid'.*validation"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(BASE, **settings)
