import dataclasses
import gzip
import hashlib
import math
import os
import pickle
import shutil
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor

from psp_core.datasets import (
    DATASETS,
    SOURCES,
    Dataset,
    DataUnavailableError,
    data_root,
    ensure_dataset,
    load_dataset,
    where_is,
)
from psp_core.held_out import HeldOut
from psp_core.training import PackTraining
from psp_core.trial import TrialConfig, replace
from tests.conftest import require_data, started, tasks_of
from tests.published import Part, publish_cifar_10, publish_cifar_100, publish_svhn

IDX_FILES = SOURCES["mnist"].collections[0].files
PUBLISHED = {"cifar-10": publish_cifar_10, "cifar-100": publish_cifar_100, "svhn": publish_svhn}


def no_network(*args: Any, **kwargs: Any) -> None:
    raise OSError("no route to host")


def parts(images: Dataset) -> tuple[Part, Part]:
    """The training and the test part, images as (N, C, H, W)."""

    def part(pixels: Tensor, labels: Tensor) -> Part:
        assert pixels.is_contiguous()  # else Ray copies it for each process
        return pixels.unflatten(1, images.shape), labels

    return part(images.train_images, images.train_labels), part(images.test_images, images.test_labels)


@pytest.mark.parametrize("name", DATASETS)
def test_sizes_agree_with_each_other(name: str) -> None:
    sizes = DATASETS[name].sizes
    assert sizes.num_inputs == math.prod(sizes.shape)
    if name in SOURCES:
        assert sizes.num_classes == sum(collection.num_classes for collection in SOURCES[name].collections)


def test_digits_are_real_split_once_and_normalised() -> None:
    digits = load_dataset("digits")
    assert digits.train_images.dtype == torch.uint8
    assert digits.train_images.shape == (1438, 64)
    assert digits.shape == (1, 8, 8)
    assert len(digits.test_labels) == DATASETS["digits"].sizes.num_test
    assert digits.train_labels.bincount().min() > 100  # all ten classes
    x = digits.normalise(digits.train_images)
    assert abs(x.mean().item()) < 1e-3
    assert abs(x.std().item() - 1) < 1e-3
    both = torch.cat([digits.train_images, digits.test_images])
    assert len(both.unique(dim=0)) == 1797  # no image in both parts


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_images_are_whole(name: str) -> None:
    images = load_dataset(name, require_data(name))
    sizes = DATASETS[name].sizes
    assert images.shape == sizes.shape == (1, 28, 28)
    assert images.train_images.shape == (60_000, sizes.num_inputs)
    assert images.test_images.shape == (sizes.num_test, sizes.num_inputs)
    assert images.train_images.dtype == torch.uint8
    assert images.train_labels.unique().tolist() == list(range(sizes.num_classes))
    if name == "mnist":  # the constants are MNIST's
        x = images.normalise(images.train_images)
        assert abs(x.mean().item()) < 1e-3
        assert abs(x.std().item() - 1) < 1e-3


def test_the_root_is_the_argument_else_psp_data_else_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PSP_DATA", str(tmp_path / "env"))
    assert data_root(tmp_path / "given") == tmp_path / "given"
    assert data_root() == tmp_path / "env"
    monkeypatch.delenv("PSP_DATA")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert data_root() == tmp_path / "psp"


@pytest.mark.parametrize(("name", "calls"), [("mnist", 1), ("cifar-10", 1), ("svhn", 2)])
def test_concurrent_first_downloads_happen_once_and_whole(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, calls: int
) -> None:
    (collection,) = SOURCES[name].collections
    downloads = []

    def slow_download(root: Path, download: bool, split: str = "") -> None:
        downloads.append(root)
        folder = root / collection.folder
        folder.mkdir(parents=True, exist_ok=True)
        (root / "archive.tar.gz").write_bytes(b"packed")
        (folder / "archive.gz").write_bytes(b"packed")
        for file_name in collection.files:
            if file_name.startswith(split):
                time.sleep(0.02)
                (folder / file_name).write_bytes(b"whole")

    monkeypatch.setattr(torchvision.datasets, collection.torchvision_class, slow_download)
    threads = [threading.Thread(target=ensure_dataset, args=(name, tmp_path)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == calls
    files = {tmp_path / collection.folder / file_name for file_name in collection.files}
    assert {path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".lock"} == files
    assert {path.read_bytes() for path in files} == {b"whole"}


def test_of_a_joined_set_only_the_missing_half_is_downloaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    publish_cifar_10(tmp_path, monkeypatch)
    publish_cifar_100(tmp_path / "elsewhere", monkeypatch)

    def download(root: Path, download: bool) -> None:
        shutil.copytree(tmp_path / "elsewhere", root, dirs_exist_ok=True)

    with monkeypatch.context() as patch:
        patch.setattr(torchvision.datasets, "CIFAR10", no_network)
        patch.setattr(torchvision.datasets, "CIFAR100", download)
        ensure_dataset("cifar-10-100", tmp_path)
    assert len(load_dataset("cifar-10-100", tmp_path).train_labels) == 25


def test_data_that_cannot_be_had_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torchvision.datasets, "MNIST", no_network)
    with pytest.raises(DataUnavailableError) as error:
        load_dataset("mnist", tmp_path)
    message = str(error.value)
    assert str(tmp_path / "MNIST" / "raw" / "train-images-idx3-ubyte") in message
    assert "no route to host" in message
    assert "PSP_DATA" in message


def test_damaged_files_are_named(tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in IDX_FILES:
        (raw / name).write_bytes(b"not an idx file")
    with pytest.raises(DataUnavailableError, match="cannot be read"):
        load_dataset("mnist", tmp_path)


def idx(values: torch.Tensor) -> bytes:
    """The format of MNIST's files: what it is of, how many sizes, the sizes, the bytes."""
    sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.dim()]) + sizes + values.to(torch.uint8).numpy().tobytes()


def publish_idx(folder: Path, numbers: tuple[int, int]) -> None:
    folder.mkdir(parents=True)
    for part, number in zip(("train", "t10k"), numbers, strict=True):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(torch.full((number, 28, 28), 7)))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(torch.arange(number) % 10))


@pytest.mark.parametrize("name", ["MNIST", "FashionMNIST"])
def test_a_part_of_mnist_is_not_taken_for_all_of_it(tmp_path: Path, name: str) -> None:
    publish_idx(tmp_path / name / "raw", (500, 100))
    with pytest.raises(DataUnavailableError, match="500 images and 500 labels where 60,000 were published"):
        load_dataset({"MNIST": "mnist", "FashionMNIST": "fashion-mnist"}[name], tmp_path)


def test_packed_files_that_lie_there_are_unpacked_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raw = tmp_path / "MNIST" / "raw"
    publish_idx(raw, (20, 10))
    checksums = []
    for name in IDX_FILES:
        packed = gzip.compress((raw / name).read_bytes())
        (raw / f"{name}.gz").write_bytes(packed)
        (raw / name).unlink()
        checksums.append((f"{name}.gz", hashlib.md5(packed).hexdigest()))
    monkeypatch.setattr(torchvision.datasets.MNIST, "resources", checksums)
    monkeypatch.setattr("urllib.request.urlopen", no_network)
    monkeypatch.setattr("psp_core.datasets.sources.IDX_IMAGES", (20, 10))
    assert where_is("mnist", tmp_path) == f"mnist: in {tmp_path}, packed; a run unpacks it there"
    assert len(load_dataset("mnist", tmp_path).train_labels) == 20
    assert where_is("mnist", tmp_path) == f"mnist: in {tmp_path}"
    (raw / IDX_FILES[0]).unlink()
    damaged = raw / f"{IDX_FILES[0]}.gz"
    damaged.write_bytes(b"not the published one")
    with pytest.raises(DataUnavailableError, match="no route to host"):
        ensure_dataset("mnist", tmp_path)
    assert damaged.read_bytes() == b"not the published one"  # nobody writes over what was there


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_missing_is_said_with_its_size(tmp_path: Path, name: str) -> None:
    said = where_is(name, tmp_path)
    assert said.startswith(f"{name}: not in {tmp_path}; a run downloads it to there (")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_named_is_not_made(tmp_path: Path) -> None:
    for find in (where_is, load_dataset):
        with pytest.raises(DataUnavailableError, match="is no folder"):
            find("mnist", tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "first_labels"),
    [("cifar-10", (6, 3)), ("cifar-100", (19, 49))],  # a frog, a cat; cattle, a mountain
)
def test_the_real_cifar_is_whole(cifar_root: Path, name: str, first_labels: tuple[int, int]) -> None:
    if SOURCES[name].missing(cifar_root):
        pytest.skip(f"{name} is not in {cifar_root}")
    images, sizes = load_dataset(name, cifar_root), DATASETS[name].sizes
    (collection,) = SOURCES[name].collections
    assert images.shape == sizes.shape == (3, 32, 32)
    for train, (pixels_NCHW, labels), number, first in zip(
        (True, False), parts(images), (sizes.num_train, sizes.num_test), first_labels, strict=True
    ):
        assert pixels_NCHW.shape == (number, 3, 32, 32)
        assert labels.bincount().tolist() == [number // sizes.num_classes] * sizes.num_classes
        assert labels[0] == first
        theirs = getattr(torchvision.datasets, collection.torchvision_class)(cifar_root, train=train)
        assert pixels_NCHW.sum().item() == int(theirs.data.sum(dtype="int64"))
        assert torch.equal(pixels_NCHW[:1000].movedim(1, 3), torch.from_numpy(theirs.data[:1000]))
    x = images.normalise(images.test_images)
    assert x.min().item() == -1
    assert x.max().item() == pytest.approx(1)


@pytest.mark.parametrize("name", PUBLISHED)
def test_coloured_images_keep_their_pixels_and_labels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    published = PUBLISHED[name](tmp_path, monkeypatch)
    for ours, theirs in zip(parts(load_dataset(name, tmp_path)), published, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)


def test_cifar_10_100_is_one_after_the_other(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    first, second = publish_cifar_10(tmp_path, monkeypatch), publish_cifar_100(tmp_path, monkeypatch)
    both = load_dataset("cifar-10-100", tmp_path)
    for (images, labels), (images_10, labels_10), (images_100, labels_100) in zip(
        parts(both), first, second, strict=True
    ):
        assert torch.equal(images, torch.cat([images_10, images_100]))
        assert torch.equal(labels, torch.cat([labels_10, labels_100 + 10]))
    assert both.num_classes == 110
    assert both.train_labels.max() == 109


@pytest.mark.parametrize(
    ("name", "lost"),
    [
        ("cifar-10", "cifar-10-batches-py/test_batch"),
        ("cifar-100", "cifar-100-python/meta"),
        ("cifar-10-100", "cifar-100-python/train"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_the_one_file_that_is_missing_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, lost: str
) -> None:
    for publish in PUBLISHED.values():
        publish(tmp_path, monkeypatch)
    (tmp_path / lost).unlink()
    for kind in ("CIFAR10", "CIFAR100", "SVHN"):
        monkeypatch.setattr(torchvision.datasets, kind, no_network)
    with pytest.raises(DataUnavailableError) as error:
        load_dataset(name, tmp_path)
    assert f"missing: {tmp_path / lost}; downloading" in str(error.value)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("cifar-10", "cifar-10-batches-py/data_batch_3"),
        ("cifar-100", "cifar-100-python/meta"),
        ("cifar-10-100", "cifar-100-python/test"),
        ("svhn", "test_32x32.mat"),
    ],
)
def test_a_file_that_is_not_the_published_one_is_refused_and_never_unpickled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, changed: str
) -> None:
    class Harmful:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, (str(tmp_path / "harm"),)

    for publish in PUBLISHED.values():
        publish(tmp_path, monkeypatch)
    path = tmp_path / changed
    path.write_bytes(pickle.dumps(Harmful()))
    with pytest.raises(DataUnavailableError, match=f"{path.name}.* in {path.parent}.* cannot be read.*corrupted"):
        load_dataset(name, tmp_path)
    assert not (tmp_path / "harm").exists()


def test_images_must_have_the_shape_that_is_said() -> None:
    with pytest.raises(ValueError, match=r"shape=\(3, 8, 8\) needs images as \(N, 192\); they are \(1438, 64\)"):
        dataclasses.replace(load_dataset("digits"), shape=(3, 8, 8))


def coloured() -> Dataset:
    pixels = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).view(2, -1)
    labels = torch.tensor([0, 1])
    return Dataset(
        name="cifar-10", shape=(3, 4, 4), num_classes=2, scale=255.0, mean=0.5, std=0.5, train_images=pixels,
        train_labels=labels, test_images=pixels, test_labels=labels, channels=SOURCES["cifar-10"].sizes.channels,
    )  # fmt: skip


def test_each_channel_is_normalised_by_its_own_constants_as_torchvision_does() -> None:
    data = coloured()
    unit = data.train_images.view(2, 3, 4, 4) / 255
    by_channel = torchvision.transforms.Normalize((0.491, 0.482, 0.447), (0.247, 0.243, 0.262))(unit)
    found = data.normalised("by-channel").to(torch.device("cpu")).normalise(data.train_images[None])[0]
    torch.testing.assert_close(found, by_channel.flatten(1))
    torch.testing.assert_close(data.normalised("data-set").normalise(data.train_images), unit.flatten(1) * 2 - 1)
    torch.testing.assert_close(data.normalised("unit").normalise(data.train_images), unit.flatten(1))
    with pytest.raises(ValueError, match="dataset='digits' has no constants for each channel"):
        load_dataset("digits").normalised("by-channel")


def test_a_trial_trains_and_is_measured_on_what_its_normalisation_says() -> None:
    config = TrialConfig(
        dataset="cifar-10", stream="split", classes_per_task=2, num_tasks=1, width=4, batch_size=2, steps_per_task=1,
        normalisation="by-channel", context="none", model="small-conv", depth=1, eval_samples=None,
    )  # fmt: skip
    training = PackTraining([config], coloured(), torch.device("cpu"))
    training.begin_task(0)
    x_BI = training._batch(torch.tensor([0]))[0][0]
    expected = coloured().normalised("by-channel").normalise(coloured().train_images)
    assert torch.equal(x_BI.sort(0).values, expected.sort(0).values)
    assert training.dataset.std.shape == (48,)
    with pytest.raises(
        ValueError, match="normalisation='by-channel' does not apply to dataset='mnist', which has no con"
    ):
        TrialConfig(normalisation="by-channel", stream="turned", num_tasks=2)
    with pytest.raises(
        ValueError, match="normalisation='by-channel' does not apply to stream='permuting', which mixes"
    ):
        TrialConfig(dataset="cifar-10", normalisation="by-channel")
    for name, part in DATASETS.items():
        if (sizes := part.sizes).channels:
            assert {len(values) for values in sizes.channels} == {sizes.shape[0]}
            TrialConfig(dataset=name, normalisation="by-channel", stream="turned", num_tasks=2)


def test_where_places_differ_in_normalisation_a_task_s_own_images_are_measured() -> None:
    """Elsewhere all tasks may be measured on the data set's images, with weights that see the task in them."""
    config = TrialConfig(dataset="cifar-10", num_tasks=2, width=4, context="none")
    pack = started(replace(config, seed=1))
    stream = tasks_of(replace(config, seed=1))
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (5, 3072), generator=generator).to(torch.uint8)
    labels = torch.arange(5)
    data = dataclasses.replace(
        coloured(), shape=(3, 32, 32), train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels
    )
    data = data.normalised("by-channel")
    held_out = HeldOut.of([stream], data, most=None, batch_size=1000)
    loss = pack.answerer(2).measure(held_out, [1])["loss"]
    x_BI = data.normalise(stream.apply(pixels[None], stream.describe(1)[None]))[0]
    expected = torch.nn.functional.cross_entropy(pack.networks.logits_of(0, 1, x_BI), labels)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dataset='mnits' is not known; did you mean 'mnist'\?"):
        load_dataset("mnits")
