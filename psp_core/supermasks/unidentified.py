"""Packs that are never told which task it is: they find out from the images, in training too."""

from collections.abc import Sequence
from typing import Any, Final

import torch
from torch import Tensor

from psp_core.models import SuperposedModel
from psp_core.packed_mlp import Layer
from psp_core.packing import Batch, flat_views
from psp_core.supermasks.inference import is_new_task
from psp_core.supermasks.pack import SupermaskPack
from psp_core.supermasks.store import MaskStore
from psp_core.trial import TrialConfig

# E members, K tasks, S masks of a member, A questions, B batch, I inputs, P weights of one member

LEAST_MASKS: Final = 5
"""The rule asks about so many masks at least, those that nobody has trained yet among them."""


class UnidentifiedPack(SupermaskPack):
    """Networks whose masks belong to no task that anyone names (NNs): masks are chosen by the images alone.

    Every `steps_per_decision` steps the batch at hand is asked about: if no mask explains it (`is_new_task`) a
    new one is begun, else the one that explains it best is trained on. The first mask is begun unasked. A mask's
    scores are kept, for it may be trained on again. A test batch is answered by the mask it is inferred to be of.

    There are masks for twice as many tasks as the stream has; when all are in use, the best one is trained on.
    In the paper there are 2500, as many as tasks, and what comes after them is skipped.

    Rows, which `begin` and `end` are told, are stretches of steps between two decisions. They say which task it
    is; this is counted, to report how pure the masks are, and not used otherwise.

    The paper's code does otherwise in three things:

    - It makes the optimiser anew, with all masks' scores in it, when a task begins, which tells training where tasks
      begin. Here a mask's state is forgotten when it becomes the current one, which the images alone decide.
    - An untrained mask that explains a batch best, while there are fewer than five, is trained as it is there and does
      not count as in use, so that a later task may be given it again. Here the next new mask is begun.
    - Tests ask about untrained masks too there, while fewer than five are in use; here about those in use alone.

    In both, decisions fall on the first step of each task, so that no stretch is of two tasks.

    Source: "NNs rule" (papers.md, B4).
    """

    def __init__(self, configs: Sequence[TrialConfig], models: Sequence[SuperposedModel], device: torch.device) -> None:
        """Begin without masks."""
        super().__init__(configs, models, device)
        budget = max(LEAST_MASKS, 2 * self.config.num_tasks)
        self.stores = [MaskStore(self.sizes, budget, device) for _ in configs]
        self._kept: list[list[Tensor]] = [[] for _ in configs]  # scores (P,) of each mask
        self._num_used = [0] * len(configs)
        self._current = [-1] * len(configs)
        self._stretches_ESK = torch.zeros(len(configs), budget, self.config.num_tasks, dtype=torch.int64)

    def begin(self, row: int, batch: Batch | None = None) -> list[int]:
        """Choose each member's mask by the first batch; the members that have another one now than before."""
        assert batch, "masks are chosen by images"
        changed = []
        for e, x_BI in enumerate(batch()):
            mask = self._chosen(e, x_BI)
            self._stretches_ESK[e, mask, row // self.config.rows_per_task] += 1
            if mask != self._current[e]:
                self._current[e] = mask
                self.flat_learned[e] = self._kept[e][mask]
                changed.append(e)
        return changed

    def end(self, row: int) -> None:
        """Keep the scores of the masks that were trained, and the masks."""
        masks = self._masks(self._scores)
        for e, current in enumerate(self._current):
            self._kept[e][current] = self.flat_learned[e].clone()
            self.stores[e].replace(current, [mask[e] for mask in masks])

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights of the mask that was trained most on each of T tasks."""
        return self._retrieved([(e, self.answer_of(e, row)) for e in range(len(self)) for row in tasks])

    def logits_of(self, member: int, mask: int, x_BI: Tensor) -> Tensor:
        """Logits of one member with one of its masks, of which there may be more than tasks: shape (B, O)."""
        return self._networks.logits_of(member, 0, x_BI, self._masked(member, mask))

    def infer(self, member: int, x_ABI: Tensor, num_seen: int) -> Tensor:
        """Which of the masks in use each of A batches is of, by all of its images: int64 (A,)."""
        return self._gradient(member, x_ABI, self._num_used[member]).argmin(-1)

    def answer_of(self, member: int, row: int) -> int:
        """The mask that was trained most on a row's task, which only who looks on can know."""
        return int(self._stretches_ESK[member, :, row // self.config.rows_per_task].argmax())

    def notes(self, member: int) -> dict[str, float]:
        """Masks in use; their bytes; purity, the share of training in which a mask met the task it met most."""
        stretches_SK = self._stretches_ESK[member]
        used, store = self._num_used[member], self.stores[member]
        return {
            "num_masks": used,
            "purity": (stretches_SK.amax(1).sum() / stretches_SK.sum()).item(),
            "total_bytes": used * store.bytes_per_task,
        }

    def member_state(self, member: int) -> dict[str, Any]:
        """One member's masks with their scores, and what was chosen."""
        return {
            **super().member_state(member),
            "kept": self._kept[member],
            "num_used": self._num_used[member],
            "current": self._current[member],
            "stretches": self._stretches_ESK[member],
            "scores": self.flat_learned[member],
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        super().load_member_state(member, state)
        self._kept[member] = list(state["kept"])
        self._num_used[member], self._current[member] = state["num_used"], state["current"]
        self._stretches_ESK[member].copy_(state["stretches"])
        self.flat_learned[member].copy_(state["scores"])

    def _chosen(self, member: int, x_BI: Tensor) -> int:
        used, store = self._num_used[member], self.stores[member]
        if used:
            self._have(member, LEAST_MASKS)
            gradient = self._gradient(member, x_BI[None], len(store))[0]
            assert self.config.new_mask_eps is not None
            best = int(gradient.argmin())
            if best < used and not is_new_task(gradient, len(store), self.config.new_mask_eps):
                return best
            if used == store.capacity:
                return int(gradient[:used].argmin())
        self._have(member, used + 1)
        self._num_used[member] += 1
        return used

    def _gradient(self, member: int, x_ABI: Tensor, num_masks: int) -> Tensor:
        """dF/dalpha (A, S) at uniform alpha over the first S masks."""
        alpha = torch.full((num_masks,), 1 / num_masks, device=self.device)
        return self._superposition(member).gradient(x_ABI, alpha, torch.arange(num_masks, device=self.device))

    def _have(self, member: int, number: int) -> None:
        """See that there are so many masks, those nobody has trained yet as their scores begin."""
        shapes = {name: scores.shape[1:] for name, scores in self._scores.items()}
        for mask in range(len(self.stores[member]), number):
            flat_1P, scores = flat_views(shapes, 1, self.device)
            self._draw(self.configs[member : member + 1], scores, mask)
            self._kept[member].append(flat_1P[0])
            self.stores[member].append([of_layer[0] for of_layer in self._masks(scores)])
