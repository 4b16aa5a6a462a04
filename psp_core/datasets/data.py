"""What a data set is to a trial: a part that knows its sizes, where its files are, and how it is read."""

import os
from abc import abstractmethod
from typing import ClassVar, Literal

from psp_core.datasets.base import Dataset, Sizes
from psp_core.parts import Part, setting
from psp_core.rules import at_least

Root = str | os.PathLike[str] | None
"""The folder that holds the data, as a user gave it; see `psp_core.datasets.places.data_root`."""


class Data(Part, family="dataset"):
    """A data set by name, before it is read.

    Attributes:
        sizes: what is known of it without reading it.
    """

    sizes: ClassVar[Sizes]

    normalisation: Literal["data-set", "unit", "by-channel"] = setting(
        "data-set",
        "How pixels are scaled: by one mean and deviation of the `data-set`; to the `unit` interval [0, 1], where a "
        "black pixel is 0; or `by-channel` as in paper B's code.",
        column="normalisation",
    )
    validation: int = setting(
        0,
        "How many training images are kept away from training: the validation part, the same for every trial, "
        "stratified by class. See `eval_on`.",
        rule=at_least(0),
        column="validation",
    )

    def check(self) -> None:
        """Refuse a normalisation by channel where the channels' constants are not known, and a wrong validation part.

        Raises:
            ValueError: names the data set, and what could be used.
        """
        fewest, most = self.sizes.num_classes, self.sizes.num_train // 2
        if self.validation and not fewest <= self.validation <= most:
            raise ValueError(
                f"validation={self.validation} must be 0, or from {fewest} (an image of each class) to {most} (half of "
                f"the training images) of dataset={self.name!r}."
            )
        if self.normalisation == "by-channel" and self.sizes.channels is None:
            known = ", ".join(repr(name) for name, data in Data.known.items() if data.sizes.channels)
            raise ValueError(
                f"normalisation='by-channel' does not apply to dataset={self.name!r}, which has no constants for each "
                f"channel; leave it out, or use one of {known}."
            )

    @classmethod
    @abstractmethod
    def where(cls, root: Root) -> str:
        """Where its files are, or what they are fetched from and how large that is; touches nothing.

        Raises:
            DataUnavailableError: they are missing and cannot be fetched; says which and where.
        """

    @classmethod
    def ensure(cls, root: Root) -> None:
        """Make sure that its files are on this machine; any number of processes may call this at once.

        Raises:
            DataUnavailableError: they are missing, and cannot be fetched; says which and where.
        """

    @classmethod
    @abstractmethod
    def load(cls, root: Root) -> Dataset:
        """Its images and labels, read once for each process; `ensure` was called.

        Raises:
            DataUnavailableError: the files are damaged; says which.
        """
