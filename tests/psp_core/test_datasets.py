import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision

from psp_core.datasets import DATASETS, IDX_FILES, DataUnavailableError, data_root, ensure_dataset, load_dataset
from tests.conftest import require_data


def test_digits_are_real_split_once_and_normalised() -> None:
    digits = load_dataset("digits")
    assert digits.train_images.dtype == torch.uint8
    assert digits.train_images.shape == (1438, 64)
    assert len(digits.test_labels) == DATASETS["digits"].num_test
    assert digits.train_labels.bincount().min() > 100  # all ten classes
    x = digits.normalise(digits.train_images)
    assert abs(x.mean().item()) < 1e-3
    assert abs(x.std().item() - 1) < 1e-3
    both = torch.cat([digits.train_images, digits.test_images])
    assert len(both.unique(dim=0)) == 1797  # no image in both parts


@pytest.mark.parametrize("name", ["mnist", "fashion-mnist"])
def test_the_real_images_are_whole(name: str) -> None:
    images = load_dataset(name, require_data(name))
    sizes = DATASETS[name]
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


def test_concurrent_first_downloads_happen_once_and_whole(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    downloads = []

    def slow_download(root: Path, download: bool) -> None:
        downloads.append(root)
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for name in IDX_FILES:
            time.sleep(0.02)
            (raw / name).write_bytes(b"whole")

    monkeypatch.setattr(torchvision.datasets, "MNIST", slow_download)
    threads = [threading.Thread(target=ensure_dataset, args=("mnist", tmp_path)) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(downloads) == 1
    assert all((tmp_path / "MNIST" / "raw" / name).read_bytes() == b"whole" for name in IDX_FILES)
    assert not list(tmp_path.glob(".download-*"))


def test_data_that_cannot_be_had_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def no_network(*args: Any, **kwargs: Any) -> None:
        raise OSError("no route to host")

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


def test_an_unknown_data_set_is_refused() -> None:
    with pytest.raises(ValueError, match=r"dataset='mnits' is not known; did you mean 'mnist'\?"):
        load_dataset("mnits")
