"""Images that stay in their files, for data sets that no memory holds decoded."""

import os
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from psp_core.datasets.unavailable import DataUnavailableError
from psp_core.messages import one_line

# N samples, B of them, I inputs (C channels, H rows, W columns)

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


@dataclass(frozen=True, eq=False)
class FolderImages:
    """Images (N, I) as uint8 of which only the files' names are held; pixels are decoded when they are asked for.

    Stands in a `Dataset` where others have a tensor, and answers what training and measuring ask of that.
    An image's shorter side is resized to `resized` pixels (PIL's bilinear filter), the central square of
    `side` is kept, in RGB, channels first.

    It travels to other processes and machines as names, not as pixels: each of them needs the folder, under
    the same path.

    Attributes:
        root: the folder.
        names: the files' paths below it, (N,), as bytes.
        resized: pixels of the shorter side before the rest is cut off.
        side: pixels of the square's side.
    """

    root: str
    names: np.ndarray[Any, np.dtype[np.bytes_]]
    resized: int = 256
    side: int = 224

    @property
    def shape(self) -> tuple[int, int]:
        """(N, I)."""
        return len(self.names), 3 * self.side**2

    def to(self, device: torch.device) -> "FolderImages":
        """The same: images are on a device once they are asked for there."""
        return self

    def __getitem__(self, samples_B: Tensor) -> Tensor:
        """The images (B, I) of these samples, on their device.

        Threads decode them: PIL lets the others run meanwhile.

        Raises:
            DataUnavailableError: a file is missing or damaged; says which.
        """
        from torchvision import transforms  # slow to import, and needed only here

        crop = transforms.Compose([transforms.Resize(self.resized), transforms.CenterCrop(self.side)])
        pixels_BI = torch.empty(len(samples_B), self.shape[1], dtype=torch.uint8)
        pixels_BCHW = pixels_BI.numpy().reshape(-1, 3, self.side, self.side)

        def decode(place: int, name: bytes) -> None:
            pixels_BCHW[place] = _decoded(Path(self.root, os.fsdecode(name)), crop).transpose(2, 0, 1)

        with ThreadPoolExecutor() as pool:
            deque(pool.map(decode, range(len(samples_B)), self.names[samples_B.cpu().numpy()]), maxlen=0)
        return pixels_BI.to(samples_B.device)


def _decoded(path: Path, crop: Any) -> Pixels:  # noqa: ANN401 - torchvision has no types
    """(H, W, C)."""
    from PIL import Image

    try:
        with Image.open(path) as image:
            return np.asarray(crop(image.convert("RGB")))
    except Exception as error:  # PIL's readers raise many kinds
        raise DataUnavailableError(
            f"the image {path} cannot be decoded ({type(error).__name__}: {one_line(error)}). Put the published file "
            "there; every machine that trains needs it under this path."
        ) from error


def list_folder(folder: Path) -> tuple[list[str], FolderImages, Tensor]:
    """The classes, images and labels (N,) of a folder that has one folder of images for each class.

    Classes are in sorted order, and labels are their places in it; torchvision's `ImageFolder` lists them.

    Raises:
        FileNotFoundError: there is no class folder, or one without images.
    """
    import torchvision  # slow to import, and needed only here

    listed = torchvision.datasets.ImageFolder(str(folder))
    below = len(str(folder)) + 1
    names = np.array([os.fsencode(path[below:]) for path, _ in listed.samples])
    return listed.classes, FolderImages(str(folder), names), torch.tensor(listed.targets)
