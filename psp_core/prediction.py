"""Accuracy against the number of stored models as paper A's theory predicts it, beside what training measures.

The network that was trained on the first task alone gets the crosstalk of other models as noise (`noisy_network`); how
it answers then is what is predicted of a task beside so many others. None of the others is trained for that.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, ClassVar, Final

import numpy as np
import torch
from torch import Tensor, nn

from psp_core.experiment import Work
from psp_core.measuring import num_images
from psp_core.methods.superposed import SuperposedLearner
from psp_core.methods.superposed_settings import SuperposedSettings
from psp_core.noisy_network import can_predict, noisy_logits
from psp_core.outcome import Outcome
from psp_core.packed_mlp import Layer
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.result import TrialResult
from psp_core.rules import at_least
from psp_core.training import PackTraining
from psp_core.trial import Trial

# K models stored, n others beside a task

THEORIES: Final = ("models", "responses", "increments", "moved")
"""What is taken to be stored beside a task.

`models`: K models of this one's size, each as if trained alone, are summed: K - 1 others disturb each of them, by the
exact form of Proposition 2. `responses`: the same by its form for models that respond to every input as this one.
`increments`: training moves one matrix, to which each task adds what it moves. A task begins with what the earlier ones
have added, and only the later ones disturb it: task j has K - 1 - j others, each of the size by which task 0 has moved
the weights. `moved`: task 0 is disturbed by all that the weights have really moved since, as if at random. This last
one is no prediction, for it takes the K tasks to be trained: it says which part of an error is the later increments'
size.
"""

PLAIN: Final = {
    "heads": "shared",
    "trunk": "shared",
    "schedule": "task",
    "contexts_per_task": 1,
    "learned_contexts": False,
    "output_contexts": False,
    "joint": False,
    "num_cycles": 1,
}
"""The settings of networks that the theory is about."""


class Prediction(Trial):
    """A trial as of `kind: training`, which also predicts its accuracy from its first task.

    Where Proposition 2 says nothing of the context (`none`) the trial is trained and measured alone.

    Raises:
        ValueError: as `Trial`; or the network is none that the theory is about.
    """

    kind: ClassVar[str] = "prediction"

    predicted_tasks: int = setting(
        100,
        "The most stored models of which accuracy is predicted; K = 1, 2, 3, 4, 5, 7, 9, 13, 17, ... up to it are.",
        rule=at_least(1),
        per_member=True,
        tells=False,
    )
    noise_draws: int = setting(
        4,
        "How often noise is drawn for each test image; means are stored.",
        rule=at_least(1),
        per_member=True,
        tells=False,
    )

    def __post_init__(self) -> None:
        """Check every setting, then the combinations."""
        super().__post_init__()
        if not isinstance(self.method, SuperposedSettings) or self.model.convolves:
            raise ValueError(
                f"method={self.method.name!r} with model={self.model.name!r} does not apply to kind: prediction, whose "
                "theory is about contexts of fully connected networks; use 'psp' with 'mlp', or kind: training."
            )
        for name, only in PLAIN.items():
            if self.row[name] != only:
                raise ValueError(
                    f"{name}={self.row[name]!r} does not apply to kind: prediction, whose theory is about {name}="
                    f"{only!r}; leave it out, or use kind: training."
                )

    @property
    def is_predicted(self) -> bool:
        """Whether there is a prediction for its context."""
        return can_predict(self.of(SuperposedSettings).context)

    def work(self, tasks_before: int = 0) -> Work:
        """And the noisy answers, which take two products each."""
        work = super().work(tasks_before)
        if tasks_before or not self.is_predicted:
            return work
        answers = self.noise_draws * len(THEORIES) * len(numbers_of_others(self.predicted_tasks))
        return replace(work, tests=work.tests + 2 * answers * num_images(self))


def numbers_of_others(most: int) -> list[int]:
    """0, 1, 2, 3, 4, 6, 8, 12, 16, ... and `most` - 1: how many others there are where the network is asked."""
    between = (step << power for power in range(most.bit_length()) for step in (2, 3))
    return sorted({0, min(1, most - 1), *(number for number in between if number < most - 1), most - 1})


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What one theory predicts of K stored models.

    Attributes:
        theory: of `THEORIES`.
        tasks_seen: K.
        accuracy: mean over the K tasks, a fraction; None of `moved`, which is about task 0.
        first_task: the accuracy of task 0.
        loss: the mean cross-entropy on task 0, in nats.
    """

    theory: str
    tasks_seen: int
    accuracy: float | None
    first_task: float
    loss: float


PREDICTIONS: Final = {
    "theory": Outcome(
        str, "What is taken to be stored: models, responses, increments or moved; see psp_core/prediction.py."
    ),
    "tasks_seen": Outcome(int, "K, how many models."),
    "accuracy": Outcome(float, "Predicted mean over K tasks, a fraction; null of moved."),
    "first_task": Outcome(float, "Predicted accuracy on task 0, a fraction."),
    "loss": Outcome(float, "Predicted mean cross-entropy on task 0 in nats."),
}
"""Columns of the store's `predictions`, beside the trial."""


@dataclass
class PredictionResult(TrialResult):
    """What a trial measured, and what was predicted of it."""

    predictions: list[Predicted] = field(default_factory=list)

    def measurements(self) -> dict[str, list[dict[str, object]]]:
        """And the predictions."""
        return {**super().measurements(), "predictions": [asdict(row) for row in self.predictions]}


class PredictionTraining(PackTraining):
    """Trains a pack as `PackTraining` does; predicts after the first task, and compares after some of the others."""

    configs: list[Prediction]  # type: ignore[assignment]

    def __init__(self, *args: Any) -> None:  # noqa: ANN401 - as of `PackTraining`
        """Predict nothing yet."""
        super().__init__(*args)
        self.predictions: list[list[Predicted]] = [[] for _ in self.configs]
        self._alone: list[list[Layer]] = [[] for _ in self.configs]  # the networks of the first task, when it ended

    def train_task(self) -> None:
        """Train the next task, and say what its number of tasks is due."""
        before = self._networks() if self.tasks_seen == 0 else []
        super().train_task()
        start = time.perf_counter()
        now = self._networks()
        if before:
            self._alone = now
        for e, config in enumerate(self.configs):
            if self.diverged_at[e] is not None or not config.is_predicted:
                continue
            if before:
                self._predict(e, _moved(before[e], now[e]))
            numbers = numbers_of_others(config.predicted_tasks)
            if self.tasks_seen - 1 in numbers and self.tasks_seen <= config.num_tasks:
                others = min(1, self.tasks_seen - 1)  # all that came since is one sum
                first, loss = self._asked(e, "moved", _moved(self._alone[e], now[e]), others, self.tasks_seen)
                row = Predicted(theory="moved", tasks_seen=self.tasks_seen, accuracy=None, first_task=first, loss=loss)
                self.predictions[e].append(row)
        self.seconds += time.perf_counter() - start

    def results(self) -> list[TrialResult]:
        """Each member's result so far."""
        return [
            PredictionResult(**vars(result), predictions=rows)
            for result, rows in zip(super().results(), self.predictions, strict=True)
        ]

    def member_state(self, member: int) -> dict[str, Any]:
        """And what was predicted, of which network."""
        predictions = [asdict(row) for row in self.predictions[member]]
        return {**super().member_state(member), "predictions": predictions, "alone": self._alone[member]}

    def load_member_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what `member_state` gave of each member."""
        super().load_member_states(states)
        self.predictions = [[Predicted(**row) for row in state["predictions"]] for state in states]
        self._alone = [[(w.to(self.device), b.to(self.device)) for w, b in state["alone"]] for state in states]

    def _networks(self) -> list[list[Layer]]:
        """Each member's weights and biases for task 0, by layer."""
        assert isinstance(self.learner, SuperposedLearner), "others are refused"
        layers = self.learner.networks.retrieve([0])
        return [
            [(weight[e].to(bias.dtype, copy=True), bias[e].clone()) for weight, bias in layers]
            for e in range(len(self.configs))
        ]

    def _predict(self, member: int, increments: Sequence[Tensor]) -> None:
        """Say what each theory predicts of one member."""
        models = [weight for weight, _ in self._alone[member]]
        numbers = numbers_of_others(self.configs[member].predicted_tasks)
        for theory, others in (("models", models), ("responses", None), ("increments", increments)):
            found = [self._asked(member, theory, others, number, number) for number in numbers]
            beside = np.array([accuracy for accuracy, _ in found])
            means = mean_over_tasks(numbers, beside) if theory == "increments" else beside
            self.predictions[member] += [
                Predicted(theory=theory, tasks_seen=number + 1, accuracy=float(mean), first_task=first, loss=loss)
                for number, mean, (first, loss) in zip(numbers, means, found, strict=True)
            ]

    @torch.no_grad()
    def _asked(
        self, member: int, theory: str, others: Sequence[Tensor] | None, num_others: int, index: int
    ) -> tuple[float, float]:
        """Accuracy and loss of one member's first network on all held-out images of task 0, beside so many others.

        Args:
            member: which.
            theory: of `THEORIES`: each has noise of its own.
            others: see `noisy_logits`.
            num_others: n.
            index: of what is drawn.
        """
        config, layers = self.configs[member], self._alone[member]
        context, draws = config.of(SuperposedSettings).context, config.noise_draws if num_others else 1
        held_out = self.held_out(whole=True)
        samples_N, rng = held_out.of_task(member, 0), generator(config.seed, f"noise of {theory}", index)
        correct = loss = 0.0
        for samples_B in torch.split(samples_N, config.test_batch_size):
            x_BI, labels_B = held_out.batch(member, 0, samples_B)
            for _ in range(draws):
                logits_BO = noisy_logits(context, layers, others, num_others, x_BI, rng)
                correct += int((logits_BO.argmax(1) == labels_B).sum())
                loss += float(nn.functional.cross_entropy(logits_BO, labels_B, reduction="sum"))
        return correct / (draws * len(samples_N)), loss / (draws * len(samples_N))


def mean_over_tasks(numbers: Sequence[int], beside: np.ndarray) -> np.ndarray:
    """The mean over K tasks of which one is beside 0 others, one beside 1, ..., and one beside K - 1.

    Args:
        numbers: of others, n, growing from 0.
        beside: the accuracy of a task beside so many; between them a straight line is taken.

    Returns:
        For K = n + 1.
    """
    every = np.interp(np.arange(numbers[-1] + 1), numbers, beside)
    return np.array([every[: number + 1].mean() for number in numbers])


def _moved(before: Sequence[Layer], after: Sequence[Layer]) -> list[Tensor]:
    """By how much weights have moved, by layer."""
    return [new - old for (old, _), (new, _) in zip(before, after, strict=True)]
