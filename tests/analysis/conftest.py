from collections.abc import Iterator

import pytest
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Beyond twenty open figures, whoever drew them, matplotlib warns: in any order of tests none sees another's."""
    yield
    plt.close("all")
