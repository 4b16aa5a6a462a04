"""The kinds of experiments: what a study may declare, and what runs it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

import torch

from psp_core.datasets import Dataset
from psp_core.experiment import Experiment
from psp_core.prediction import Prediction, PredictionTraining
from psp_core.retrieval import Retrieval, RetrievalConfig
from psp_core.training import PackTraining
from psp_core.trial import Trial


class Result(Protocol):
    """What one trial measured, as the store keeps it."""

    @property
    def config(self) -> Experiment:
        """The trial."""

    @property
    def seconds(self) -> float:
        """Its share of its pack's time."""

    @property
    def diverged_at(self) -> int | None:
        """The step at which it diverged, if it did."""

    @property
    def final_accuracy(self) -> float:
        """The mean over tasks at the end; NaN where there is none."""

    def outcomes(self) -> Mapping[str, object]:
        """Columns of its row in `trials`."""

    def measurements(self) -> Mapping[str, Sequence[Mapping[str, object]]]:
        """Its rows in other tables."""


class Running(Protocol):
    """A pack of trials on its way, piece by piece.

    Attributes:
        tasks_seen: pieces that are done.
        seconds: wall time so far.
    """

    tasks_seen: int
    seconds: float

    @property
    def configs(self) -> Sequence[Experiment]:
        """Its members."""

    @property
    def done(self) -> bool:
        """Whether all pieces are done."""

    def train_task(self) -> None:
        """Do the next piece."""

    def results(self) -> Sequence[Result]:
        """What each member measured so far."""

    def member_state(self, member: int) -> dict[str, Any]:
        """How far one member is."""

    def load_member_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `member_state` gave of each member."""


EXPERIMENTS: Final[Mapping[str, type[Experiment]]] = {root.kind: root for root in (Trial, RetrievalConfig, Prediction)}
"""What trials can be, by the kind that a study says."""

_STARTS: Final[Mapping[str, Callable[[Any, Any, torch.device], Running]]] = {
    Trial.kind: PackTraining,
    RetrievalConfig.kind: lambda trials, _, device: Retrieval(trials[0], device),
    Prediction.kind: PredictionTraining,
}


def start(trials: Sequence[Experiment], dataset: Dataset | None, device: torch.device) -> Running:
    """Begin a pack of trials of one kind."""
    return _STARTS[trials[0].kind](trials, dataset, device)
