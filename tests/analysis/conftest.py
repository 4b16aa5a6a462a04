from collections.abc import Iterator

import pytest
from matplotlib import pyplot as plt

from psp_core.trial import Trial


@pytest.fixture(autouse=True)
def _figures_are_closed() -> Iterator[None]:
    """Beyond twenty open figures, whoever drew them, matplotlib warns: in any order of tests none sees another's."""
    yield
    plt.close("all")


def old_row_of(trial: Trial) -> dict[str, object]:
    """A trial's settings as a row of the first stores has them, which said nothing of curves."""
    settings = {name: trial.row[name] for name in trial.at_first}
    return {**settings, "method": trial.stored_name, "milestones": list(trial.milestones)}
