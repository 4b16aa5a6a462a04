"""Packs of HopSupSup networks: frozen weights, masks of hidden units, and Hopfield networks that hold the masks."""

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from torch import Tensor, nn

from psp_core.norms import static_batch_norm
from psp_core.packed_mlp import Layer
from psp_core.packing import Batch, flat_views
from psp_core.randomness import generator
from psp_core.settings import refuse_chosen
from psp_core.supermasks.hopfield import HopfieldStore
from psp_core.supermasks.masks import threshold_mask, threshold_score_gradient
from psp_core.supermasks.recovery import RecoveryConfig, recover
from psp_core.supermasks.store import MaskStore
from psp_core.supermasks.weights import signed_kaiming_constant
from psp_core.task_inference import GIVEN

if TYPE_CHECKING:
    from psp_core.trial import TrialConfig

# E members, K tasks stored, B batch, I inputs, O outputs, D units of a hidden layer

RECOVERY_BATCH: Final = 64
"""Images of a step of recovery, at most (papers.md, B4)."""

SETTINGS: Final = ("hopfield_rule", "recovery_order", "recovery_lr", "recovery_gamma")


class HopfieldPack:
    """E networks without biases, whose weights never change; a task's own are masks M of the hidden units.

    h = swish(M * normalised(h W)) layer after layer, and logits = h W at the end. Normalised is each unit over the
    batch, to mean 0 and variance 1; the swish and that are part of the method. What is trained are the scores of the
    current task's masks, which begin at 0, where all units are on. When the task ends, its masks go into a Hopfield
    network for each hidden layer, and the scores are forgotten; so tasks are kept in a constant number of bytes.

    No one says which task is measured: its masks are recovered from its images. Trains and is saved as a `Pack` is.

    Attributes:
        flat, flat_gradients: what all tasks share and train: nothing, (E, 0).
        flat_learned, flat_learned_gradients: the current task's scores and their gradients, (E, P).
        stores: each member's Hopfield networks, one for each hidden layer.
        own: each member's masks as they were stored, to measure recovery with, and for nothing else; what they weigh
            is not counted.

    Source: HopSupSup (papers.md, B4 and B5). The batch is normalised, and masks stand before the nonlinearity, as
    in the paper's code.
    """

    is_frozen = False  # there is nothing that all tasks train
    is_retrievable = False

    def __init__(self, configs: "Sequence[TrialConfig]", device: torch.device) -> None:
        """Draw the frozen weights: they depend on the seed alone."""
        self.config, self.configs, self.device = configs[0], list(configs), device
        sizes = [(layer.inputs, layer.outputs) for layer in self.config.layers]
        widths, num_members = [outputs for _, outputs in sizes[:-1]], len(configs)
        self.flat = torch.zeros(num_members, 0, device=device)
        self.flat_gradients = torch.zeros_like(self.flat)
        self.flat_contexts = torch.zeros_like(self.flat)
        shapes = {str(index): torch.Size([width]) for index, width in enumerate(widths)}
        self.flat_learned, self._scores = flat_views(shapes, num_members, device)
        self.flat_learned_gradients, self._gradients = flat_views(shapes, num_members, device)
        self.weights = [
            torch.stack([_draw(size, config.seed, index) for config in configs]).to(device)
            for index, size in enumerate(sizes)
        ]
        rule, num_tasks = self.config.hopfield_rule, self.config.num_tasks
        self.stores = [[HopfieldStore(width, rule, device) for width in widths] for _ in configs]
        self.own = [MaskStore([(width, 1) for width in widths], num_tasks, device) for _ in configs]
        self._recovered: dict[tuple[int, int], list[Tensor]] = {}
        self.num_params = self.bytes_per_task = 0  # frozen weights are a seed
        self.bytes_once = sum(store.num_bytes for store in self.stores[0])

    def __len__(self) -> int:
        """E, the number of members."""
        return len(self.configs)

    def begin(self, task: int, batch: Batch | None = None) -> Collection[int]:
        """Turn all units on."""
        self.flat_learned.zero_()
        return range(len(self))

    @torch.no_grad()
    def gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> Tensor:
        """Each member's loss (E,); the gradients of its scores go straight through the masks."""
        masks = [threshold_mask(scores_ED).requires_grad_() for scores_ED in self._scores.values()]
        with torch.enable_grad():
            logits_EOB = masked_logits(self.weights, masks, x_EBI).mT
            loss_E = nn.functional.cross_entropy(logits_EOB, labels_EB, reduction="none").mean(1)
            of_masks = torch.autograd.grad(loss_E.sum(), masks)  # of the sum: members do not meet
        for gradient_ED, of_mask_ED in zip(self._gradients.values(), of_masks, strict=True):
            gradient_ED.copy_(threshold_score_gradient(of_mask_ED))
        return loss_E.detach()

    def settle(self, batches: Iterable[Tensor]) -> None:
        """Nothing is to be measured: a batch is normalised by its own statistics, when tested too."""

    def keep(self, task: int) -> None:
        """Not within a task: a Hopfield network forgets no mask that it has stored."""
        raise NotImplementedError("settings that ask for it are refused (psp_core.measuring)")

    def end(self, task: int) -> None:
        """Store the masks of `task`, the current one."""
        masks = [threshold_mask(scores_ED) for scores_ED in self._scores.values()]
        for e, (stores, own) in enumerate(zip(self.stores, self.own, strict=True)):
            number = own.append([mask_ED[e][:, None] for mask_ED in masks])
            assert number == task, "tasks are stored in order, each once"
            for store, mask_ED in zip(stores, masks, strict=True):
                store.append(mask_ED[e])

    def recover(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Find the masks of `task` from its images, a batch for each step; `logits_of` uses them from now on.

        Returns:
            In what share of entries they are those of each task stored so far, (K,).
        """
        weights = [weight_EIO[member, None] for weight_EIO in self.weights]

        def network(masks: Sequence[Tensor], x_BI: Tensor) -> Tensor:
            return masked_logits(weights, [mask_D[None] for mask_D in masks], x_BI[None])[0]

        config = RecoveryConfig(
            lr=self.config.recovery_lr,
            gamma=self.config.recovery_gamma,
            layer_by_layer=self.config.recovery_order == "layer-by-layer",
        )
        batches = x_BI.tensor_split(-(-len(x_BI) // RECOVERY_BATCH))  # of about one size: they are normalised
        found = self._recovered[member, task] = recover(self.stores[member], network, batches, config)
        own_KD = torch.stack([torch.cat(self.own[member].mask(k))[:, 0] for k in range(len(self.own[member]))])
        return (own_KD == torch.cat(found)).double().mean(1)

    @torch.no_grad()
    def logits_of(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch, with the masks that were recovered for it: shape (B, O)."""
        masks = [mask_D[None] for mask_D in self._recovered[member, task]]
        return masked_logits([weight_EIO[member, None] for weight_EIO in self.weights], masks, x_BI[None])[0]

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Not possible: masks are recovered from a task's images."""
        raise NotImplementedError("masks are recovered from a task's images: use recover, then logits_of.")

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Not possible: nothing is retrieved."""
        raise NotImplementedError("masks are recovered from a task's images: use recover, then logits_of.")

    def infer(self, member: int, x_ABI: Tensor, num_seen: int) -> Tensor:
        """Not possible: what images tell is masks, and not whose they are."""
        raise NotImplementedError("no task is inferred, but its masks are: use recover.")

    def answer_of(self, member: int, row: int) -> int:
        """The row's task, whose masks were recovered."""
        return row

    def notes(self, member: int) -> dict[str, float]:
        """Nothing."""
        return {}

    def finite(self) -> Tensor:
        """Of which members everything that is trained is finite, shape (E,)."""
        return self.flat_learned.isfinite().all(dim=1)

    def member_state(self, member: int) -> dict[str, Any]:
        """What tasks have left behind of one member: Hopfield networks, and the masks to measure recovery with."""
        return {
            "hopfield": [store.state_dict() for store in self.stores[member]],
            "masks": self.own[member].state_dict(),
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave, here or in a pack whose stream has fewer tasks."""
        self.own[member].load_state_dict(state["masks"])
        for store, stored in zip(self.stores[member], state["hopfield"], strict=True):
            store.load_state_dict(stored)


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


def check_hopsupsup(config: "TrialConfig") -> None:
    """Refuse settings of HopSupSup without it, and what it cannot do.

    Raises:
        ValueError: the message names settings, values, rule and remedy.
    """
    if config.method != "hopsupsup":
        refuse_chosen(config, SETTINGS, f"method={config.method!r}", "use 'hopsupsup'")
        return
    if config.context != "none" or config.heads != "shared" or config.num_cycles > 1:
        raise ValueError(
            f"context={config.context!r}, heads={config.heads!r}, num_cycles={config.num_cycles}: method='hopsupsup' "
            "keeps tasks apart by masks, each trained once; use context 'none', shared heads and one cycle."
        )
    if config.model != "mlp" or config.depth == 0 or config.precision != "tf32":
        raise ValueError(
            f"model={config.model!r}, depth={config.depth}, precision={config.precision!r}: method='hopsupsup' masks "
            "the hidden units of a fully connected network, in float32 so far; use 'mlp' of depth 1 or more, and "
            "leave precision out."
        )
    if config.task_inference != GIVEN or config.superfluous:
        raise ValueError(
            f"task_inference={config.task_inference!r}, superfluous={config.superfluous}: method='hopsupsup' recovers "
            "a task's masks from its images in a way of its own; leave both out, or use 'supsup'."
        )
    for name in ("batch_size", "eval_samples"):
        if getattr(config, name) == 1:
            raise ValueError(f"{name}=1: method='hopsupsup' normalises over a batch; give more.")
