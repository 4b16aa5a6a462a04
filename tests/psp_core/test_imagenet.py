"""ImageNet, read from folders of generated images (`publish_imagenet`)."""

import dataclasses
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from psp_core.cost import shared_bytes
from psp_core.datasets import DATASETS, Dataset, DataUnavailableError, load_dataset
from psp_core.datasets.folders import FolderImages
from psp_core.evaluation import CHUNK_BYTES
from psp_core.training import PackTraining
from psp_core.trial import Trial, TrialConfig, replace
from tests.conftest import tasks_of

CPU = torch.device("cpu")
SPLIT = TrialConfig(
    dataset="imagenet",
    stream="split",
    classes_per_task=10,
    shuffle_classes=True,
    num_tasks=2,
    model="small-conv",
    width=4,
    depth=2,
    context="binary",
    steps_per_task=4,
    batch_size=5,
    lr=0.01,
)
KINDS = {
    "contexts": [SPLIT],
    "two members": [replace(SPLIT, seed=seed, steps_per_task=2) for seed in range(2)],
    "masks": [replace(SPLIT, method="supsup", context="none", masks="top-k", sparsity=4.0)],
}


def files(root: Path, part: str) -> list[tuple[Path, int]]:
    """Every file and its label, in the order of samples."""
    classes = sorted(path.name for path in (root / "imagenet" / part).iterdir())
    return [
        (path, label)
        for label, name in enumerate(classes)
        for path in sorted((root / "imagenet" / part / name).iterdir())
    ]


def decoded(path: Path) -> torch.Tensor:
    """(I,), by PIL alone: shorter side 256, centre 224."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    if width <= height:
        image = image.resize((256, int(256 * height / width)), Image.Resampling.BILINEAR)
    else:
        image = image.resize((int(256 * width / height), 256), Image.Resampling.BILINEAR)
    left, top = round((image.width - 224) / 2), round((image.height - 224) / 2)
    pixels = np.array(image.crop((left, top, left + 224, top + 224)))
    return torch.from_numpy(pixels).permute(2, 0, 1).flatten()


def in_memory(root: Path, configs: list[Trial]) -> Dataset:
    """The data set as others are: tensors, in which only the images of these trials' tasks are not black."""
    streams = [tasks_of(config) for config in configs]
    wanted = {label for stream in streams for task in range(2) for label in stream.describe(task).tolist()}
    parts = []
    for part in ("train", "val"):
        listed = files(root, part)
        images = torch.zeros(len(listed), 3 * 224 * 224, dtype=torch.uint8)
        for sample, (path, label) in enumerate(listed):
            if label in wanted:
                images[sample] = decoded(path)
        parts.append((images, torch.tensor([label for _, label in listed])))
    (train_images, train_labels), (test_images, test_labels) = parts
    return dataclasses.replace(
        load_dataset("imagenet", root),
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
    )


def trained(configs: list[Trial], data: Dataset) -> PackTraining:
    training = PackTraining(configs, data, CPU)
    while not training.done:
        training.train_task()
    return training


def test_pixels_and_labels_are_those_of_the_files(imagenet_root: Path) -> None:
    data = load_dataset("imagenet", imagenet_root)
    assert (data.shape, data.num_classes) == ((3, 224, 224), 1000)
    samples = torch.tensor([1999, 0, 3, 3, 1000, 517, 44, 45, 46, 47])
    for images, labels, part, number in (
        (data.train_images, data.train_labels, "train", 2000),
        (data.test_images, data.test_labels, "val", 1000),
    ):
        listed = files(imagenet_root, part)
        assert images.shape == (number, DATASETS["imagenet"].sizes.num_inputs)
        assert labels.tolist() == [label for _, label in listed]
        chosen = samples.clamp(max=number - 1)
        found = images[chosen]
        assert found.dtype == torch.uint8
        assert torch.equal(found, torch.stack([decoded(listed[sample][0]) for sample in chosen.tolist()]))


@pytest.mark.parametrize("kind", KINDS)
def test_a_trial_is_the_same_as_with_all_images_in_memory(imagenet_root: Path, kind: str) -> None:
    lazy = trained(KINDS[kind], load_dataset("imagenet", imagenet_root))
    whole = trained(KINDS[kind], in_memory(imagenet_root, KINDS[kind]))
    for mine, theirs in zip(lazy.results(), whole.results(), strict=True):
        assert mine.num_samples.tolist() == [[10, 0], [10, 10]]
        torch.testing.assert_close(mine.loss, theirs.loss, rtol=0, atol=0, equal_nan=True)
        torch.testing.assert_close(mine.accuracy, theirs.accuracy, rtol=0, atol=0, equal_nan=True)
    for mine, theirs in zip(lazy.learner.groups, whole.learner.groups, strict=True):
        assert torch.equal(mine.values_EP, theirs.values_EP)


def test_only_a_task_s_images_are_held_whatever_the_number_of_epochs(imagenet_root: Path) -> None:
    training = PackTraining([replace(SPLIT, steps_per_task=11)], load_dataset("imagenet", imagenet_root), CPU)
    training.begin_task(0)
    assert training._images_NI.shape == (20, 3 * 224 * 224)
    of_task = training.tasks[0].describe(0)
    assert sorted(training._labels_N.unique().tolist()) == sorted(of_task.tolist())


def test_a_trial_goes_on_to_the_bit(imagenet_root: Path) -> None:
    data = load_dataset("imagenet", imagenet_root)
    first, second = (PackTraining([SPLIT], data, CPU) for _ in range(2))
    first.train_task()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    first.train_task()
    second.train_task()
    assert torch.equal(first.learner.networks.flat, second.learner.networks.flat)
    assert torch.equal(first.measured["loss"].nan_to_num(), second.measured["loss"].nan_to_num())


def test_it_travels_as_names(imagenet_root: Path) -> None:
    data = load_dataset("imagenet", imagenet_root)
    content = pickle.dumps(data)
    assert len(content) < 200 * 3000  # bytes for each file, of which a decoded image has 150,528
    there = pickle.loads(content)
    samples = torch.tensor([5, 700])
    assert torch.equal(there.train_images[samples], data.train_images[samples])


def test_memory_is_that_of_one_task() -> None:
    config = replace(SPLIT, steps_per_task=5000, batch_size=256)
    one_step, bytes_of_image = replace(config, steps_per_task=1), 150_528 + 8
    batches = 8 * 4999 * 256
    assert config.member_bytes - one_step.member_bytes == (12_811 - 256) * bytes_of_image + batches
    assert shared_bytes(config, "cpu") == 8 * (1_281_167 + 50_000) + 6 * CHUNK_BYTES["cpu"]


def test_folders_that_are_missing_are_named_with_what_belongs_there(tmp_path: Path) -> None:
    (tmp_path / "imagenet" / "train").mkdir(parents=True)
    with pytest.raises(DataUnavailableError) as error:
        load_dataset("imagenet", tmp_path)
    message = str(error.value)
    assert f"missing: {tmp_path / 'imagenet' / 'val'}." in message
    assert "1000 folders of JPEG files" in message
    assert "image-net.org" in message
    assert "PSP_DATA" in message
    assert [path.name for path in tmp_path.iterdir()] == ["imagenet"]  # nothing was tried, not even a lock


@pytest.fixture
def links(imagenet_root: Path, tmp_path: Path) -> Path:
    """A root of one's own, whose class folders are links into the one that all tests share."""
    for part in ("train", "val"):
        (tmp_path / "imagenet" / part).mkdir(parents=True)
        for folder in (imagenet_root / "imagenet" / part).iterdir():
            (tmp_path / "imagenet" / part / folder.name).symlink_to(folder)
    return tmp_path / "imagenet"


def test_a_class_too_few_is_refused(links: Path) -> None:
    min((links / "train").iterdir()).unlink()
    with pytest.raises(DataUnavailableError, match=f"{links / 'train'} has 999 class folders"):
        load_dataset("imagenet", links.parent)


@pytest.mark.parametrize("part", ["train", "val"])
def test_other_classes_in_the_other_part_are_refused(links: Path, part: str) -> None:
    folder, other = links / part, links / ("val" if part == "train" else "train")
    min(folder.iterdir()).rename(folder / "n99999999x")
    with pytest.raises(DataUnavailableError, match=r"the class folder \w+ is in .* and not in ") as error:
        load_dataset("imagenet", links.parent)
    gone = min(path.name for path in other.iterdir())
    assert f"the class folder {gone} is in {other} and not in {folder}" in str(error.value)


def test_a_class_without_images_is_refused(links: Path) -> None:
    folder = min((links / "val").iterdir())
    folder.unlink()
    folder.mkdir()
    with pytest.raises(DataUnavailableError, match=f"in {links / 'val'}: .*no valid file .*{folder.name}"):
        load_dataset("imagenet", links.parent)


def test_validation_images_that_are_not_sorted_into_classes_are_refused(links: Path) -> None:
    for folder in list((links / "val").iterdir()):
        (image,) = folder.iterdir()
        (links / "val" / image.name).symlink_to(image)
        folder.unlink()
    with pytest.raises(DataUnavailableError, match=f"in {links / 'val'}: .*class folder.*sorted into their classes"):
        load_dataset("imagenet", links.parent)


@pytest.mark.parametrize("state", ["no image", "cut off", "missing"])
def test_a_file_that_cannot_be_decoded_is_named(imagenet_root: Path, tmp_path: Path, state: str) -> None:
    content = files(imagenet_root, "train")[0][0].read_bytes()
    damaged = tmp_path / "damaged.JPEG"
    if state != "missing":
        damaged.write_bytes(content[:-200] if state == "cut off" else b"no image")
    (tmp_path / "whole.JPEG").write_bytes(content)
    images = FolderImages(str(tmp_path), np.array([b"whole.JPEG", b"damaged.JPEG"]))
    assert len(images[torch.tensor([0])]) == 1
    with pytest.raises(DataUnavailableError, match=f"the image {damaged} cannot be decoded"):
        images[torch.tensor([0, 1, 0])]
