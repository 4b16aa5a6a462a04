"""Which images a trial is about: a part for each data set."""

from typing import Any, ClassVar, Literal

from psp_core.datasets.base import Sizes
from psp_core.datasets.digits import DIGITS
from psp_core.datasets.digits import SIZES as DIGITS_SIZES
from psp_core.datasets.imagenet import IMAGENET
from psp_core.datasets.imagenet import SIZES as IMAGENET_SIZES
from psp_core.datasets.sources import SOURCES
from psp_core.parts import Part, setting


class Data(Part, family="dataset"):
    """A data set by name, before it is read.

    Attributes:
        sizes: what is known of it without reading it.
    """

    sizes: ClassVar[Sizes]

    normalisation: Literal["data-set", "by-channel"] = setting(
        "data-set",
        "How pixels are scaled: by one mean and deviation of the `data-set`, or `by-channel` as in paper B's code.",
        column="normalisation",
    )

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled by its name: no module has the classes of data sets."""
        return Data.read, ({"name": self.name, "normalisation": self.normalisation},)

    def check(self) -> None:
        """Refuse a normalisation by channel where the channels' constants are not known.

        Raises:
            ValueError: names the data set, and those that have constants.
        """
        if self.normalisation == "by-channel" and self.sizes.channels is None:
            known = ", ".join(repr(name) for name, data in Data.known.items() if data.sizes.channels)
            raise ValueError(
                f"normalisation='by-channel' does not apply to dataset={self.name!r}, which has no constants for each "
                f"channel; leave it out, or use one of {known}."
            )


def _enter(name: str, sizes: Sizes) -> None:
    shape = " x ".join(map(str, sizes.shape))
    about = f"{sizes.num_classes} classes, {sizes.num_train:,} and {sizes.num_test:,} images of {shape} numbers."
    type(name, (Data,), {"sizes": sizes, "__doc__": about}, name=name)


_enter(DIGITS, DIGITS_SIZES)
for _name, _source in SOURCES.items():
    _enter(_name, _source.sizes)
_enter(IMAGENET, IMAGENET_SIZES)
