"""HopSupSup of paper B: masks of hidden units, which Hopfield networks hold and test images bring back."""

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor, nn

from psp_core.cost import Cost, num_activations, products
from psp_core.course import Course
from psp_core.evaluation import Answerer, Answers, Measured, TaskGiven
from psp_core.flat_views import flat_views
from psp_core.groups import Group, Stretch
from psp_core.growth import Growth
from psp_core.held_out import HeldOut
from psp_core.images import StepBatch, inputs_of
from psp_core.methods.base import Learner, Method, Storage
from psp_core.models import LayerSize, MLPModel, Model
from psp_core.norms import static_batch_norm
from psp_core.outcome import Outcome
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.rules import NOT_NEGATIVE, positive
from psp_core.supermasks.hopfield import HopfieldMemory
from psp_core.supermasks.mask_table import MaskTable
from psp_core.supermasks.masks import threshold_mask, threshold_score_gradient
from psp_core.supermasks.recovery import RecoveryConfig, recover
from psp_core.supermasks.weights import signed_kaiming_constant

# E members, K tasks stored, B batch, I inputs, O outputs, D units of a hidden layer

RECOVERY_BATCH: Final = 64
"""Images of a step of recovery, at most (papers.md, B4)."""


class HopSupSup(Method, name="hopsupsup"):
    """Weights never change; a task's masks of hidden units are stored in Hopfield networks, and recovered from images.

    Source: HopSupSup (papers.md, B4 and B5). The batch is normalised, and masks stand before the nonlinearity, as
    in the paper's code.
    """

    implies: ClassVar[Mapping[str, Any]] = MappingProxyType({"context": "none"})
    answers: ClassVar[Mapping[str, Outcome]] = {
        "inferred": Outcome(
            float,
            "Share of batches whose task was found; null where the task was given. Of hopsupsup, 1 or 0: whether the "
            "masks that were recovered are nearest to the task's own.",
        ),
        "mask_agreement": Outcome(float, "Share of a recovered mask's entries that are the task's own."),
    }
    can_measure_within: ClassVar[bool] = False
    answers_by_batch: ClassVar[bool] = True  # a batch is normalised

    rule: Literal["storkey", "hebb"] = setting(
        "storkey",
        "How hopsupsup stores masks: by `storkey`'s rule or by `hebb`'s.",
        column="hopfield_rule",
        label=", {}",
        says_default=True,
    )
    order: Literal["together", "layer-by-layer"] = setting(
        "together",
        "Whether hopsupsup finds a task's masks for all layers `together`, as in the paper, or `layer-by-layer`, the "
        "first one's first.",
        column="recovery_order",
        label=", {}",
    )
    lr: float = setting(
        500.0,
        "Learning rate of the descent that finds masks.",
        rule=positive("; the paper's is 500"),
        column="recovery_lr",
        label=", lr {:g}",
    )
    gamma: float = setting(
        1.5e-3,
        "The weight of the Hopfield networks' energy in that descent.",
        rule=NOT_NEGATIVE,
        column="recovery_gamma",
        label=", gamma {:g}",
    )

    def pieces(self) -> dict[str, str]:
        """The method first."""
        return {"method": self.name} | super().pieces()

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn."""
        return HopfieldLearner(trials, device)

    def cost(self, trial: Course) -> Cost:
        """Scores are trained, not weights. Measuring recovers masks: a step, forwards and backwards, per image."""
        layers = self.layers(trial)
        retrieved = sum(products(layers))
        step = sum((1 + (index > 0)) * product for index, product in enumerate(products(layers)))
        descents = len(layers) - 1 if self.order == "layer-by-layer" else 1
        weights = sum(layer.inputs * layer.outputs + layer.outputs for layer in layers)
        widths = [layer.outputs for layer in layers[:-1]]
        of_energy = 2 * sum(width**2 for width in widths)  # of a step, whatever the number of its images
        return Cost(
            num_params=0,  # frozen weights are a seed
            trunk_size=weights,
            num_activations=num_activations(trial, layers),
            step_products=step,
            retrieved_products=retrieved,
            measuring_products=retrieved + descents * step,
            answering_products=retrieved,
            finding_products=descents * (step + of_energy // RECOVERY_BATCH),
            own_bytes=self._own_bytes(trial, layers),
            trained=Growth(per_task=sum(widths)),
            kept={"masks": Growth(once=sum(4 * (width**2 + width) for width in widths))},
        )

    def _own_bytes(self, trial: Course, layers: Sequence[LayerSize]) -> int:
        """Frozen weights; Hopfield networks, and what storing a mask makes beside the widest; scores and state."""
        weights = sum(layer.inputs * layer.outputs for layer in layers)
        widths = [layer.outputs for layer in layers[:-1]]
        floats = weights + sum(width**2 for width in widths) + 4 * max(widths) ** 2 + 10 * sum(widths)
        floats += 6 * trial.batch_size * num_activations(trial, layers)
        return 4 * floats + trial.num_tasks * sum(widths) // 8

    def check(self, trial: Course) -> None:
        """Refuse other networks, and batches that cannot be normalised."""
        if trial.num_cycles > 1:
            raise ValueError(
                f"num_cycles={trial.num_cycles}: method='hopsupsup' trains each task's masks once; use one cycle."
            )
        model = trial.of(Model)
        if not isinstance(model, MLPModel) or model.depth == 0 or trial.precision != "tf32":
            raise ValueError(
                f"model={model.name!r}, depth={getattr(model, 'depth', None)}, precision={trial.precision!r}: "
                "method='hopsupsup' masks the hidden units of a fully connected network, in float32 so far; use "
                "'mlp' of depth 1 or more, and leave precision out."
            )
        for name in ("batch_size", "eval_samples"):
            if getattr(trial, name) == 1:
                raise ValueError(f"{name}=1: method='hopsupsup' normalises over a batch; give more.")


class HopfieldLearner(Learner, Answers):
    """E networks without biases, whose weights never change; a task's own are masks M of the hidden units.

    h = swish(M * normalised(h W)) layer after layer, and logits = h W at the end. Normalised is each unit over the
    batch, to mean 0 and variance 1; the swish and that are part of the method. What is trained are the scores of the
    current task's masks, which begin at 0, where all units are on. When the task ends, its masks go into a Hopfield
    network for each hidden layer, and the scores are forgotten; so tasks are kept in a constant number of bytes.

    Attributes:
        groups: what all tasks train, nothing; and the current task's scores.
        memories: each member's Hopfield networks, one for each hidden layer.
        own: each member's masks as they were stored. They only measure recovery, and their bytes are not counted.
    """

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Draw the frozen weights: they depend on the seed alone."""
        self.trials, self.device = trials, device
        self.part = trials[0].of(HopSupSup)
        sizes = [(layer.inputs, layer.outputs) for layer in self.part.layers(trials[0])]
        widths = [outputs for _, outputs in sizes[:-1]]
        shapes = {str(index): torch.Size([width]) for index, width in enumerate(widths)}
        scores, self._scores = flat_views(shapes, len(trials), device)
        gradients, self._gradients = flat_views(shapes, len(trials), device)
        nothing = torch.zeros(len(trials), 0, device=device)
        self.groups = [
            Group(values_EP=nothing, gradients_EP=nothing.clone()),
            Group(values_EP=scores, gradients_EP=gradients, lives="stretch"),
        ]
        self.weights = [
            torch.stack([_draw(size, trial.seed, index) for trial in trials]).to(device)
            for index, size in enumerate(sizes)
        ]
        self.memories = [[HopfieldMemory(width, self.part.rule, device) for width in widths] for _ in trials]
        self.own = [MaskTable([(width, 1) for width in widths], trials[0].num_tasks, device) for _ in trials]
        self._recovered: dict[tuple[int, int], list[Tensor]] = {}
        storage = Storage(bytes_once=sum(memory.num_bytes for memory in self.memories[0]))  # frozen weights are a seed
        self.storage = [storage] * len(trials)

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Turn all units on."""
        self.groups[1].values_EP.zero_()
        return range(len(self.trials))

    @torch.no_grad()
    def gradients(self, batch: StepBatch) -> Tensor:
        """Each member's loss (E,); the gradients of its scores go straight through the masks."""
        x_EBI, labels_EB = inputs_of(batch[0]), batch[1]
        masks = [threshold_mask(scores_ED).requires_grad_() for scores_ED in self._scores.values()]
        with torch.enable_grad():
            logits_EOB = masked_logits(self.weights, masks, x_EBI).mT
            loss_E = nn.functional.cross_entropy(logits_EOB, labels_EB, reduction="none").mean(1)
            of_masks = torch.autograd.grad(loss_E.sum(), masks)  # of the sum: members do not meet
        for gradient_ED, of_mask_ED in zip(self._gradients.values(), of_masks, strict=True):
            gradient_ED.copy_(threshold_score_gradient(of_mask_ED))
        return loss_E.detach()

    def keep(self, stretch: Stretch) -> None:
        """Store the masks of the current task: at its end alone, for a Hopfield network forgets no mask."""
        masks = [threshold_mask(scores_ED) for scores_ED in self._scores.values()]
        for e, (memories, own) in enumerate(zip(self.memories, self.own, strict=True)):
            mask = own.append([mask_ED[e][:, None] for mask_ED in masks])
            assert mask == stretch.task, "tasks are stored in order, each once"
            for memory, mask_ED in zip(memories, masks, strict=True):
                memory.append(mask_ED[e])

    def recover(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Find the masks of `task` from its images, a batch for each step; `answer` uses them from now on.

        Returns:
            In what share of entries they are those of each task stored so far, (K,).
        """
        weights = [weight_EIO[member, None] for weight_EIO in self.weights]

        def network(masks: Sequence[Tensor], x_BI: Tensor) -> Tensor:
            return masked_logits(weights, [mask_D[None] for mask_D in masks], x_BI[None])[0]

        config = RecoveryConfig(
            lr=self.part.lr, gamma=self.part.gamma, layer_by_layer=self.part.order == "layer-by-layer"
        )
        batches = x_BI.tensor_split(-(-len(x_BI) // RECOVERY_BATCH))  # of about one size: they are normalised
        found = self._recovered[member, task] = recover(self.memories[member], network, batches, config)
        own_KD = torch.stack([torch.cat(self.own[member].mask(k))[:, 0] for k in range(len(self.own[member]))])
        return (own_KD == torch.cat(found)).double().mean(1)

    def prepare(self, held_out: HeldOut, member: int, task: int) -> None:
        """Recover the masks of a task, unless they were."""
        if (member, task) not in self._recovered:
            self.recover(member, task, held_out.batch(member, task, held_out.of_task(member, task))[0])

    def answerer(self, num_begun: int) -> Answerer:
        """Masks are recovered from the test images of a task, and answer them."""
        return MasksRecovered(self)

    @torch.no_grad()
    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch, with the masks that were recovered for it: shape (B, O)."""
        masks = [mask_D[None] for mask_D in self._recovered[member, task]]
        return masked_logits([weight_EIO[member, None] for weight_EIO in self.weights], masks, x_BI[None])[0]

    def member_state(self, member: int) -> dict[str, Any]:
        """What tasks have left behind of one member: Hopfield networks, and the masks to measure recovery with."""
        return {
            "hopfield": [memory.state_dict() for memory in self.memories[member]],
            "masks": self.own[member].state_dict(),
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        self.own[member].load_state_dict(state["masks"])
        for memory, stored in zip(self.memories[member], state["hopfield"], strict=True):
            memory.load_state_dict(stored)


class MasksRecovered:
    """Each member finds its masks for each task from the test images on which it is then measured.

    Adds `mask_agreement`, in what share of entries the masks found are the task's own, and `inferred`, whether they are
    nearer to these than to every other stored task's.

    Source: papers.md, B4.
    """

    def __init__(self, learner: HopfieldLearner) -> None:
        """Remember whose masks."""
        self.networks = learner

    @torch.no_grad()
    def measure(self, held_out: HeldOut, tasks: Sequence[int]) -> Measured:
        """Recover, then ask."""
        pairs = []
        for member, task in held_out.pairs(tasks):
            x_BI, _ = held_out.batch(member, task, held_out.of_task(member, task))
            agreement_K = self.networks.recover(member, task, x_BI)
            own = agreement_K[task].item()
            pairs.append((own, float((agreement_K < own).sum().item() == len(agreement_K) - 1)))
        shape = (len(held_out.tasks), len(tasks), 2)
        agreement, inferred = torch.tensor(pairs, dtype=torch.float64).view(shape).unbind(2)
        return {**TaskGiven(self.networks).measure(held_out, tasks), "inferred": inferred, "mask_agreement": agreement}


def masked_logits(weights: Sequence[Tensor], masks: Sequence[Tensor], x_EBI: Tensor) -> Tensor:
    """Logits (E, B, O) of E networks with these weights (E, I, O) and masks of hidden units (E, D)."""
    h = x_EBI
    for weight_EID, mask_ED in zip(weights, masks, strict=False):
        y_EBD = torch.bmm(h, weight_EID)
        together = y_EBD.transpose(0, 1).flatten(1)  # (B, E D): a member's unit is a channel
        normalised_EBD = static_batch_norm(together).view(h.shape[1], *mask_ED.shape).transpose(0, 1)
        h = nn.functional.silu(normalised_EBD * mask_ED[:, None])
    return torch.bmm(h, weights[-1])


def _draw(size: tuple[int, int], seed: int, index: int) -> Tensor:
    return signed_kaiming_constant(*size, generator(seed, "frozen weights", index))
