"""Small data sets in the formats in which CIFAR, SVHN and ImageNet are published, taken for the real ones."""

import hashlib
import io
import pickle
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat
from torch import Tensor
from torchvision import datasets

Part = tuple[Tensor, Tensor]  # images (N, C, H, W) as uint8, labels (N,) as a data set should have them


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, which is how the published files came about."""

    dispatch: ClassVar = dict(pickle._Pickler.dispatch)

    def save_string(self, string: bytes) -> None:
        self.write(pickle.BINSTRING + struct.pack("<i", len(string)) + string)
        self.memoize(string)

    dispatch[bytes] = save_string


def publish_cifar_10(root: Path, patch: pytest.MonkeyPatch) -> tuple[Part, Part]:
    """Write CIFAR-10's files with four images a batch; the training and the test part that they hold."""
    labels = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 0], [4, 6, 2, 6]
    train, test = _images(1, 20), _images(2, 4)
    files = {
        f"data_batch_{i + 1}": {
            b"batch_label": b"training batch %d of 5" % (i + 1),
            b"labels": labels[0][4 * i : 4 * i + 4],
            b"data": train[4 * i : 4 * i + 4].reshape(4, 3072),
            b"filenames": [b"image.png"] * 4,
        }
        for i in range(5)
    }
    files["test_batch"] = {b"labels": labels[1], b"data": test.reshape(4, 3072)}
    files["batches.meta"] = {b"label_names": [b"class %d" % i for i in range(10)], b"num_vis": 3072}
    _publish_pickles(root, datasets.CIFAR10, files, patch)
    return _part(train, labels[0]), _part(test, labels[1])


def publish_cifar_100(root: Path, patch: pytest.MonkeyPatch) -> tuple[Part, Part]:
    """Write CIFAR-100's files with a few images; the training and the test part that they hold."""
    train, test = _images(3, 5), _images(4, 3)
    labels = [99, 0, 42, 10, 7], [7, 99, 1]
    files = {
        name: {
            b"batch_label": b"%s batch 1 of 1" % name.encode(),
            b"fine_labels": fine,
            b"coarse_labels": [label % 20 for label in fine],
            b"data": images.reshape(-1, 3072),
            b"filenames": [b"image.png"] * len(fine),
        }
        for name, images, fine in (("train", train, labels[0]), ("test", test, labels[1]))
    }
    names = {"fine": 100, "coarse": 20}
    files["meta"] = {
        f"{kind}_label_names".encode(): [b"class %d" % i for i in range(count)] for kind, count in names.items()
    }
    _publish_pickles(root, datasets.CIFAR100, files, patch)
    return _part(train, labels[0]), _part(test, labels[1])


def publish_svhn(root: Path, patch: pytest.MonkeyPatch) -> tuple[Part, Part]:
    """Write SVHN's files with a few images; the training and the test part that they hold."""
    train, test = _images(5, 4), _images(6, 3)
    labels = [1, 10, 9, 2], [10, 10, 5]  # as published: 10 is digit 0
    splits = dict(datasets.SVHN.split_list)
    for name, images, digits in (("train", train, labels[0]), ("test", test, labels[1])):
        url, file_name, _ = splits[name]
        y = np.array(digits, dtype=np.uint8)[:, None]
        savemat(root / file_name, {"X": images.transpose(2, 3, 1, 0), "y": y}, do_compression=True)
        splits[name] = [url, file_name, _md5(root / file_name)]
    patch.setattr(datasets.SVHN, "split_list", splits)
    return _part(train, [1, 0, 9, 2]), _part(test, [0, 0, 5])


def publish_imagenet(root: Path) -> None:
    """Write 1000 class folders with two training images and one test image each.

    Their sizes, proportions, modes and names vary; every class has a colour of its own.
    """
    rng = np.random.default_rng(0)
    for number in rng.choice(10**8, size=1000, replace=False):
        colour = rng.integers(256, size=3)
        for part, count in (("train", 2), ("val", 1)):
            folder = root / "imagenet" / part / f"n{number:08d}"
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = (colour + rng.integers(-60, 60, size=(*rng.integers(8, 40, size=2), 3))).clip(0, 255)
                image = Image.fromarray(pixels.astype(np.uint8)).convert(("RGB", "RGB", "L", "CMYK")[rng.integers(4)])
                image.save(folder / f"{folder.name}_{rng.integers(1000)}{i}.JPEG", quality=90)


def _images(seed: int, number: int) -> np.ndarray:
    """(N, C, H, W), without any symmetry."""
    return np.random.default_rng(seed).integers(256, size=(number, 3, 32, 32), dtype=np.uint8)


def _part(images: np.ndarray, labels: list[int]) -> Part:
    return torch.from_numpy(images), torch.tensor(labels)


def _publish_pickles(
    root: Path, cifar: type[datasets.CIFAR10], files: Mapping[str, object], patch: pytest.MonkeyPatch
) -> None:
    """Write pickles, and have torchvision expect their MD5 sums."""
    folder = root / cifar.base_folder
    folder.mkdir(parents=True)
    for name, content in files.items():
        pickled = io.BytesIO()
        Python2Pickler(pickled, protocol=2).dump(content)
        (folder / name).write_bytes(pickled.getvalue())
    for kind in ("train_list", "test_list"):
        patch.setattr(cifar, kind, [[name, _md5(folder / name)] for name, _ in getattr(cifar, kind)])
    patch.setattr(cifar, "meta", {**cifar.meta, "md5": _md5(folder / cifar.meta["filename"])})


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()
