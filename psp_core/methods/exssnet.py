"""ExSSNeT: each task finds a mask of the shared weights, then trains those that no earlier task's mask has."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from math import ceil
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from psp_core.cost import Cost, num_state, num_task_images, products
from psp_core.course import Course
from psp_core.flat_views import flat_views
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.images import StepBatch, inputs_of
from psp_core.inference import Inference
from psp_core.methods.base import Learner, num_outputs
from psp_core.methods.shared_settings import inference_setting, superfluous_setting
from psp_core.methods.supsup import SupermaskLearner
from psp_core.methods.supsup_settings import SupermaskSettings
from psp_core.outcome import Outcome
from psp_core.parts import Rule, setting
from psp_core.rules import at_least

# E members, K tasks, P weights of one member, B batch, N images that are compared, D numbers of a representation

COMPARED: Final = 0.2
"""The share of a task's images whose neighbours are looked for, the first that its steps will train on."""
MOST_COMPARED: Final = 2000
"""Images at most, about: distances are between all of them."""
KNOWN: Final = 2 / 3
"""The share of these whose labels answer for the others."""


class ExSSNeT(SupermaskSettings, name="exssnet"):
    """Each task finds a mask of the shared weights, then trains those of its weights that no earlier mask has.

    In the first phase of a task's steps its scores are trained and no weight moves, as in SupSup; earlier tasks'
    trained weights are among those that the mask chooses from. In the second the mask stays, and the weights move that
    it has and no earlier task's mask, whatever the optimiser remembers or decays. So no weight moves that an earlier
    task uses, and nothing is forgotten. Each phase begins with a new optimiser.

    With `neighbours` (the paper's KNN-based knowledge transfer, KKT) a new task's images are shown to each earlier
    task's network. Two thirds of them, by their representations before the last layer, answer for the rest: the most
    frequent label among the k nearest. The task begins with the scores of the earlier task whose network gives the best
    answers if they are better than chance by more than `margin`; else with random ones.

    What is kept are the weights, a bit of each for each task; with KKT, the scores of all tasks too.

    Source: Yadav and Bansal 2023, "Exclusive Supermask Subnetwork Training for Continual Learning", and the released
    code, which has k = 200, no margin, the first fifth of a task's batches for KKT, as many epochs of either phase, and
    one learning rate for both. Not settled: k and the number of images in the paper's own runs. Departures: the code
    keeps the best of all epochs by validation images, here a task keeps what its last step leaves; at most about 2000
    images are compared; heads for each task are not there yet; and k is no more than the images that are known.
    """

    outcomes: ClassVar[Mapping[str, Outcome]] = {
        **SupermaskSettings.outcomes,
        "used_share": Outcome(float, "The share of the weights that are in a task's mask, after all tasks."),
        "num_transferred": Outcome(int, "Tasks whose scores began with an earlier task's."),
    }

    weight_training: float = setting(
        0.5,
        "The share of a task's steps that come last and train weights, the mask's own; the others train scores.",
        rule=Rule(lambda value: 0 <= value <= 1, "must lie in [0, 1], such as 0.5."),
        column="weight_training",
        label=", weights {:g}",
    )
    neighbours: int = setting(
        0,
        "How many nearest neighbours choose the earlier task whose scores a task begins with (KKT); 0 for random "
        "scores.",
        rule=at_least(0),
        column="neighbours",
        label=", KKT {}",
    )
    margin: float = setting(
        0.0,
        "By how much, as a fraction, the neighbours' accuracy must exceed chance for scores to be transferred.",
        rule=Rule(lambda value: 0 <= value < 1, "must lie in [0, 1), such as 0.05."),
        column="transfer_margin",
        label=" +{:g}",
    )
    inference: Inference = inference_setting()
    superfluous: int = superfluous_setting()

    @property
    def scores_kept(self) -> Growth:
        """Those of every task, any of which may be transferred."""
        return Growth(per_task=int(self.neighbours > 0))

    def phases(self, trial: Course) -> Sequence[int]:
        """Training of scores, and of weights."""
        last = round(trial.steps_per_task * self.weight_training)
        return trial.steps_per_task - last, last

    def check(self, trial: Course) -> None:
        """Refuse tasks that come back, and a margin where no accuracy is measured."""
        super().check(trial)
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles}: method={self.name!r} trains each mask and its weights once; use one "
                "cycle."
            )
        if self.margin and not self.neighbours:
            raise ValueError(
                f"transfer_margin={self.margin} does not apply to neighbours=0; leave it out, or give neighbours."
            )

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return ExclusiveLearner(trials, device)

    def cost(self, trial: Course) -> Cost:
        """A supermask's; weights are trained and kept too. Step by step the phases take as many products."""
        cost, layers = super().cost(trial), self.layers(trial)
        weights = self._num_scores(layers)
        images = compared_steps(trial) * trial.batch_size if self.neighbours else 0
        of_distances = round(images * KNOWN) * (images - round(images * KNOWN)) * layers[-1].inputs
        own = weights * (4 + num_state(trial))  # gradients, held, found; two of a quarter; state
        return replace(
            cost,
            num_params=weights,
            ending_products=(trial.num_tasks - 1) * (images * sum(products(layers)) + of_distances) // 2,
            own_bytes=cost.own_bytes + 4 * own,
            trained=cost.trained.plus(Growth(once=weights)),
            kept={**cost.kept, "weights": Growth(once=4 * weights)},
        )


class ExclusiveLearner(SupermaskLearner):
    """E networks without biases, whose weights belong to the first task that has them in its mask.

    Attributes:
        groups: the weights, (E, P), trained in each task's second phase; and its scores, trained in the first.
        taken: which weights earlier tasks' masks have, by layer, bool (E, I, O).
        sources: from which task each member's task has its scores, (E, K); -1 for random ones.
    """

    part: ExSSNeT

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw the weights; no mask has any."""
        super().__init__(trials, device)
        assert isinstance(self.part, ExSSNeT)
        shapes = {name: of_layer.shape[1:] for name, of_layer in self._scores.items()}
        weights_EP, weights = flat_views(shapes, len(trials), device)
        gradients_EP, self._weight_gradients = flat_views(shapes, len(trials), device)
        for of_layer, drawn in zip(weights.values(), self.weights, strict=True):
            of_layer.copy_(drawn)
        self.weights = list(weights.values())
        self.groups[0] = Group(values_EP=weights_EP, gradients_EP=gradients_EP, lives="stretch", is_active=False)
        self._held_EP = torch.zeros_like(weights_EP)
        self._movable_EP, self._movable = flat_views(shapes, len(trials), device, torch.bool)
        self.taken = [torch.zeros_like(weight, dtype=torch.bool) for weight in self.weights]
        self._found: list[Tensor] = []
        num_kept = self.trial.num_tasks if self.part.neighbours else 0
        self._kept_EKP = self._own.new_zeros(len(trials), num_kept, self._own.shape[1])
        self.sources = torch.full((len(trials), self.trial.num_tasks), -1)
        numbers = sum(inputs * outputs for inputs, outputs in self.sizes)
        self.storage = [storage._replace(num_params=numbers) for storage in self.storage]

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Give the task scores, drawn or transferred; or have its mask stay, and free the weights that it alone has."""
        weights, scores = self.groups
        if not stretch.phase:
            weights.is_active, scores.is_active = False, True
            members = super().begin(stretch)
            self._transfer(stretch)
            return members
        self._found = self._masks(self._scores)
        weights.is_active, scores.is_active = True, False
        for movable, mask, taken in zip(self._movable.values(), self._found, self.taken, strict=True):
            movable.copy_(mask.bool() & ~taken)
        self._held_EP.copy_(weights.values_EP)
        return range(len(self.trials))

    @torch.no_grad()
    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's loss (E,); of the scores, or of the weights that move, the gradients."""
        if not self.groups[0].is_active:
            return super().gradients(batch)
        self._use()
        loss_E = self._networks.gradients(*batch)
        for name, of_weight in self._weight_gradients.items():
            torch.mul(self._networks.parameter_gradients[name], self._movable[name], out=of_weight)
        return loss_E

    def stepped(self) -> None:
        """Take back what weight decay has moved."""
        weights = self.groups[0]
        if weights.is_active:
            torch.where(self._movable_EP, weights.values_EP, self._held_EP, out=weights.values_EP)

    def end(self, stretch: Stretch) -> None:
        """Keep the masks; when the task ends their weights are taken, and its scores can be transferred."""
        super().end(stretch)
        if not stretch.is_last:
            return
        for taken, mask in zip(self.taken, self._found, strict=True):
            taken.logical_or_(mask.bool())
        if self.part.neighbours:
            self._kept_EKP[:, stretch.task] = self._own

    def _masks(self, scores: Mapping[str, Tensor]) -> list[Tensor]:
        """Those of the first phase's end while weights are trained."""
        return self._found if self.groups[0].is_active else super()._masks(dict(scores))

    @torch.no_grad()
    def _transfer(self, stretch: Stretch) -> None:
        """Let each member begin with the scores of the earlier task whose representations tell its classes best."""
        if not (self.part.neighbours and stretch.task):
            return
        assert stretch.batch
        batches = [stretch.batch(step) for step in range(compared_steps(self.trial))]
        x, labels = [inputs_of(images) for images, _ in batches], torch.cat([labels for _, labels in batches], dim=1)
        least = 1 / num_outputs(self.trial) + self.part.margin
        for e, labels_N in enumerate(labels):
            accuracy = [self._tells(e, task, [x_EBI[e] for x_EBI in x], labels_N) for task in range(stretch.task)]
            best = max(range(stretch.task), key=accuracy.__getitem__)
            if accuracy[best] > least:
                self._own[e] = self._kept_EKP[e, best]
                self.sources[e, stretch.task] = best

    def _tells(self, member: int, task: int, batches: Sequence[Tensor], labels_N: Tensor) -> float:
        """How well representations of an earlier task's network, of so many batches (B, I), tell labels."""
        x_ND = torch.cat([self.representation(member, task, x_BI) for x_BI in batches])
        return neighbours_accuracy(x_ND, labels_N, self.part.neighbours)

    def representation(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """What the last layer of a task's network reads, (B, D): the identity in that layer's place gives it."""
        instead = self._masked(member, task)
        *_, last = instead
        size = len(instead[last])
        instead[last] = torch.eye(size, device=x_BI.device)
        instead[last.removesuffix("weight") + "bias"] = x_BI.new_zeros(size)
        return self._networks.logits_of(member, task, x_BI, instead)

    def stop(self, member: int) -> None:
        """Forget its scores."""
        self._kept_EKP[member] = 0

    def notes(self, member: int) -> dict[str, float]:
        """And how many weights tasks have, and how many scores were transferred."""
        used = sum(int(taken[member].sum()) for taken in self.taken)
        return {
            **super().notes(member),
            "used_share": used / self.storage[member].num_params,
            "num_transferred": int((self.sources[member] >= 0).sum()),
        }

    def member_state(self, member: int) -> dict[str, Any]:
        """And weights, and what may be transferred."""
        return {
            **super().member_state(member),
            "weights": self.groups[0].values_EP[member],
            "kept": self._kept_EKP[member],
            "sources": self.sources[member],
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        super().load_member_state(member, state)
        self.groups[0].values_EP[member].copy_(state["weights"])
        for all_members, stored in ((self._kept_EKP, state["kept"]), (self.sources, state["sources"])):
            all_members[member, : len(stored)].copy_(stored)
        for taken, share in zip(self.taken, self.tables[member].mean(), strict=True):
            taken[member] = share > 0


def compared_steps(trial: Course) -> int:
    """How many of a task's batches are compared for KKT."""
    most = min(MOST_COMPARED, COMPARED * num_task_images(trial))
    return min(trial.steps_per_task, ceil(most / trial.batch_size))


def neighbours_accuracy(x_ND: Tensor, labels_N: Tensor, neighbours: int) -> float:
    """The share of the last images whose label is the most frequent one of their nearest neighbours among the first.

    Nearest by Euclidean distance; of labels that are as frequent, the smallest. 0 of a single image.
    """
    known = round(len(x_ND) * KNOWN)
    if not 0 < known < len(x_ND):
        return 0.0
    distances = torch.cdist(x_ND[known:], x_ND[:known])
    nearest = distances.topk(min(neighbours, known), largest=False).indices
    votes = torch.nn.functional.one_hot(labels_N[:known][nearest]).sum(1)
    return (votes.argmax(1) == labels_N[known:]).double().mean().item()
