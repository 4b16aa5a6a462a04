"""Trained networks, read from where `psp run` kept them, as ordinary functions: a task's images in, logits out."""

import os
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from psp_core.datasets import load_dataset
from psp_core.devices import arithmetic
from psp_core.evaluation import TaskInferred
from psp_core.experiments import EXPERIMENTS, start
from psp_core.packed_mlp import Layer
from psp_core.training import PackTraining
from psp_core.trial import Trial

# B batch, I inputs, O outputs, N samples


class TrainedModel:
    """A trained trial: the networks of all its tasks.

    A call gives logits (B, O) for inputs (B, I), which are normalised as `images` has them. There are no gradients.
    Where the trial has superfluous outputs, these come after the classes.

    Attributes:
        trial: its settings.
    """

    def __init__(self, training: PackTraining) -> None:
        """Remember a pack of one trial, as training left the trial."""
        self._training = training
        self.trial: Trial = training.configs[0]
        self._answerer = training.learner.answerer(training.tasks_seen)

    @classmethod
    def read(
        cls, file: IO[bytes], *, data: str | os.PathLike[str] | None = None, device: str = "cpu"
    ) -> "TrainedModel":
        """The model of a state that a store keeps; as `load_model`, wherever the store is."""
        state: dict[str, Any] = torch.load(file, map_location=device, weights_only=True)
        if "trial" not in state:
            raise ValueError("the state does not say of which trial it is: an older psp kept it. Train the trial anew.")
        settings = dict(state["trial"])
        root = EXPERIMENTS[settings.pop("kind")]
        trial = root.from_columns(settings, set(), "")
        training = start(
            [trial], load_dataset(trial.data_name, data) if trial.data_name else None, torch.device(device)
        )
        if not isinstance(training, PackTraining):
            raise ValueError(f"kind={trial.kind!r} trains no network; there is a model of kind: training.")
        if state["diverged_at"] is not None:
            raise ValueError(f"the trial diverged at step {state['diverged_at']}: it has no trained network.")
        training.load_member_states([state])
        return cls(training)

    def __call__(self, x_BI: Tensor, task: int | None = None) -> Tensor:
        """Logits (B, O) of the network of a task.

        Args:
            x_BI: inputs of the task, normalised; see `images`.
            task: 0..K-1. None for the task, or the mask, that all B inputs are inferred to be of, by the first of them.

        Raises:
            ValueError: there is no such task, its network was not kept, or nothing infers a task.
        """
        with torch.no_grad(), arithmetic(self.trial.precision, self._training.device):
            if task is None:
                return self._inferred(x_BI)
            self._check(task)
            networks = self._answerer.networks
            networks.prepare(self._training.held_out(whole=True), 0, task)
            return networks.answer(0, task, x_BI)

    def _inferred(self, x_BI: Tensor) -> Tensor:
        if not isinstance(self._answerer, TaskInferred):
            raise ValueError("the trial was told the task of each test batch: give a task, from 0 on.")
        networks = self._answerer.networks
        found = networks.find(0, x_BI[None, : self._answerer.inference.images])
        return networks.answer_as(0, int(found), x_BI)

    def images(self, task: int) -> tuple[Tensor, Tensor]:
        """The images (N, I) on which a task was measured at the end, normalised, and their labels (N,)."""
        held_out = self._training.held_out(whole=True)
        return held_out.batch(0, task, held_out.of_task(0, task))

    def layers(self, task: int) -> list[Layer]:
        """A task's weights (I, O) and biases (O,), layer by layer, as they are retrieved from superposition.

        Of networks with complex contexts the numbers are complex, as pairs in a last dimension.

        Raises:
            ValueError: as a call; or the network has no such layers.
        """
        self._check(task)
        networks = self._answerer.networks
        if not networks.is_retrievable:
            raise ValueError("this network has no plain weights for each layer; call the model.")
        return [(weight[0], bias[0]) for weight, bias in networks.retrieve([task])]

    def _check(self, task: int) -> None:
        if not 0 <= task < self.trial.num_tasks:
            raise ValueError(f"task={task} must be from 0 to {self.trial.num_tasks - 1}: so many tasks were trained.")
        if self.trial.method.measures_once and task != self.trial.num_tasks - 1:
            raise ValueError(
                f"task={task}: each task has a net of its own, and that of the last task alone is kept; use task="
                f"{self.trial.num_tasks - 1}."
            )


def load_model(
    store: str | os.PathLike[str], trial_id: str, *, data: str | os.PathLike[str] | None = None, device: str = "cpu"
) -> TrainedModel:
    """The trained network of a trial whose state `psp run` kept.

    Args:
        store: the trial store's folder. For a store elsewhere see `TrainedModel.read`.
        trial_id: which trial; a column of the store.
        data: the data sets' folder; see `psp_core.datasets.data_root`.
        device: where the network answers.

    Raises:
        FileNotFoundError: the store has no state of the trial.
        ValueError: the trial has no trained network, or the data set cannot be had.
    """
    path = Path(store) / "states" / f"{trial_id}.pt"
    if not path.is_file():
        raise FileNotFoundError(
            f"{path} is missing: the trial's state was not kept. Say 'keep_models: true' in the study before it runs, "
            "or run it with --keep-state; a finished trial is trained anew once it is removed (psp rm)."
        )
    with path.open("rb") as file:
        return TrainedModel.read(file, data=data, device=device)
