"""NNs of paper B: no one says which task it is, in training neither; masks are chosen by the images."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

import torch
from torch import Tensor

from psp_core import kept
from psp_core.cost import Cost
from psp_core.course import Course
from psp_core.flat_views import flat_views
from psp_core.groups import Stretch
from psp_core.growth import Growth
from psp_core.inference import Inference, Inferred, Search
from psp_core.lr_schedules import LRSchedule
from psp_core.methods.base import Learner
from psp_core.methods.shared_settings import superfluous_setting
from psp_core.methods.supsup import SupermaskLearner, drawn_scores
from psp_core.methods.supsup_settings import SupermaskSettings
from psp_core.models import Model
from psp_core.optimisers import Optimiser
from psp_core.outcome import Outcome
from psp_core.parts import Rule, setting
from psp_core.rules import at_least
from psp_core.supermasks.inference import is_new_task

# E members, K tasks, S masks of a member, A questions, B batch, I inputs, P weights of one member

LEAST_MASKS: Final = 5
"""The rule compares at least so many masks, untrained masks included."""


class NNs(SupermaskSettings, name="nns", formerly="supsup"):
    """As supsup, but training is told no task either: a batch that no mask explains begins a new mask.

    Stores and studies of before call this `method: supsup` with `new_mask_eps`; the store's column still says supsup.

    Source: "NNs rule" (papers.md, B4).
    """

    outcomes: ClassVar[Mapping[str, Outcome]] = {
        **SupermaskSettings.outcomes,
        "num_masks": Outcome(int, "Where training is not told the task: masks in use at the end."),
        "purity": Outcome(float, "The share of training in which a mask met the task that it met most."),
    }
    can_measure_within: ClassVar[bool] = False

    inference: Inference = setting(
        "entropy-one-shot",
        "How masks are found: by the `entropy` of the outputs or by the `superfluous` ones, in `one-shot`.",
        label=", {}",
        says_default=True,
    )
    eps: float = setting(
        0.125,
        "Threshold for a new mask, eps: a mask is begun when no stored mask beats a uniform guess by a factor of 1 + "
        "eps. The paper has 1/8.",
        rule=Rule(lambda value: 0 <= value < float("inf"), "must be a finite number of at least 0, such as 0.125."),
        column="new_mask_eps",
        label=", no task told, eps {:g}",
        says_default=True,
    )
    steps_per_decision: int = setting(
        100,
        "Steps between two decisions whether the images are of a new task.",
        rule=at_least(1),
        column="steps_per_decision",
    )
    superfluous: int = superfluous_setting()

    def __post_init__(self) -> None:
        """Labels are shared: where no task has a name, no mask is the wrong one."""
        super().__post_init__()
        if isinstance(self.inference, Inferred):
            object.__setattr__(self, "inference", replace(self.inference, shared_labels=True))

    @classmethod
    def claims(cls, row: Mapping[str, Any]) -> bool:
        """Rows of supsup with `new_mask_eps` do."""
        return row.get("method") in ("supsup", "nns") and row.get("new_mask_eps") is not None

    @property
    def stored_name(self) -> str:
        """As it was when the first trials were stored."""
        return self.formerly

    @property
    def is_nested(self) -> bool:
        """No: there are masks for twice as many tasks as the stream has."""
        return False

    def cost(self, trial: Course) -> Cost:
        """And a question at each decision, about a whole batch and as many masks as tasks."""
        cost, masks = super().cost(trial), max(LEAST_MASKS, trial.num_tasks)
        of_decision = trial.batch_size * cost.step_products + 2 * masks * cost.kept["scores"].per_task // 4
        return replace(cost, ending_products=self.num_stretches(trial) * of_decision)

    def num_masks(self, trial: Course) -> int:
        """Twice as many as tasks, and as many as the rule asks about at least."""
        return max(LEAST_MASKS, 2 * trial.num_tasks)

    @property
    def scores_kept(self) -> Growth:
        """Every mask's, about one for each task: any mask may be trained again."""
        return Growth(per_task=1)

    def search(self, trial: Course) -> Search:
        """About as many masks as tasks, of room for twice as many, so that their mean is made each time."""
        return Search(gradients=(trial.num_tasks,), mixes=(trial.num_tasks,))

    def num_stretches(self, trial: Course) -> int:
        """One for each decision."""
        return trial.steps_per_task // self.steps_per_decision

    def pieces(self) -> dict[str, str]:
        """Without a word of shared labels, which all of these trials have."""
        return super().pieces() | {"shared_labels": ""}

    def start(self, trials: Sequence[Course], device: torch.device) -> Learner:
        """The networks as they are drawn, without masks."""
        return UnnamedLearner(trials, device)

    def check(self, trial: Course) -> None:
        """Refuse what tells where a task begins, and what cannot choose among masks."""
        super().check(trial)
        optimiser, model, schedule = trial.of(Optimiser), trial.of(Model), trial.of(LRSchedule)
        if not self.inference.name.endswith("one-shot") or optimiser.name == "adam":
            raise ValueError(
                f"new_mask_eps={self.eps} with task_inference={self.inference.name!r}, optimiser={optimiser.name!r}: "
                "masks are found by 'entropy-one-shot' or 'superfluous-one-shot', and are trained by 'rmsprop' or "
                "'sgd', whose state one mask can have anew without the others."
            )
        if model.by_task:
            raise ValueError(
                f"new_mask_eps={self.eps} with norm={model.normalises!r}: statistics are a task's, and no task "
                "is told; use 'static'."
            )
        if not schedule.is_constant:
            raise ValueError(
                f"lr_schedule={schedule.name!r}, warmup_steps={schedule.warmup_steps} do not apply to new_mask_eps, "
                "where no one tells training when a task begins; leave them out, or have the tasks told."
            )
        if trial.steps_per_task % self.steps_per_decision:
            raise ValueError(
                f"steps_per_decision={self.steps_per_decision} must divide steps_per_task={trial.steps_per_task}; give "
                "another of the two."
            )


class UnnamedLearner(SupermaskLearner):
    """Networks whose masks are chosen by the images alone.

    Every `steps_per_decision` steps the batch at hand is asked about: if no mask explains it (`is_new_task`) a
    new one is begun, else the one that explains it best is trained on. The first mask is begun unasked. A mask's
    scores are kept, for it may be trained on again. A test batch is answered by the mask it is inferred to be of.

    There are masks for twice as many tasks as the stream has; when all are in use, the best one is trained on.
    The paper has 2500 masks, as many as tasks, and skips what comes after them.

    A stretch lies between two decisions. It says which task it is of; this is counted, to report how pure the masks
    are, and not used otherwise.

    The paper's code does otherwise in three things:

    - It makes the optimiser anew, with all masks' scores in it, when a task begins, which tells training where tasks
      begin. Here a mask's state is forgotten when it becomes the current one, which the images alone decide.
    - An untrained mask that explains a batch best, while there are fewer than five, is trained as it is there and does
      not count as in use, so that a later task may be given it again. Here the next new mask is begun.
    - Tests ask about untrained masks too there, while fewer than five are in use; here about those in use alone.

    In both, decisions fall on the first step of each task, so that no stretch is of two tasks.
    """

    part: NNs

    def __init__(self, trials: Sequence[Course], device: torch.device) -> None:
        """Begin without masks."""
        super().__init__(trials, device)
        self._kept: list[list[Tensor]] = [[] for _ in trials]  # scores (P,) of each mask
        self._num_used = [0] * len(trials)
        self._current = [-1] * len(trials)
        size = (len(trials), self.part.num_masks(self.trial), self.trial.num_tasks)
        self._stretches_ESK = torch.zeros(size, dtype=torch.int64)

    def begin(self, stretch: Stretch) -> Collection[int]:
        """Choose each member's mask by the first batch; the members that have another one now than before."""
        changed = []
        for e, x_BI in enumerate(stretch.first()[0]):
            mask = self._chosen(e, x_BI)
            self._stretches_ESK[e, mask, stretch.task] += 1
            if mask != self._current[e]:
                self._current[e] = mask
                self._own[e] = self._kept[e][mask]
                changed.append(e)
        return changed

    def keep(self, stretch: Stretch) -> None:
        """Keep the scores of the masks that were trained, and the masks."""
        masks = self._masks(self._scores)
        for e, current in enumerate(self._current):
            self._kept[e][current] = self._own[e].clone()
            self.tables[e].replace(current, [mask[e] for mask in masks])

    def right(self, member: int, task: int) -> int:
        """The mask trained most on `task`. Uses the true task, so it is for reporting only."""
        return int(self._stretches_ESK[member, :, task].argmax())

    def find(self, member: int, x_ABI: Tensor) -> Tensor:
        """Which of the masks in use each of A batches is of, by all of its images: int64 (A,)."""
        return self._gradient(member, x_ABI, self._num_used[member]).argmin(-1)

    def notes(self, member: int) -> dict[str, float]:
        """Masks in use; their bytes; purity, the share of training in which a mask met the task it met most."""
        stretches_SK = self._stretches_ESK[member]
        used, table = self._num_used[member], self.tables[member]
        cost = self.trials[member].of(NNs).cost(self.trials[member])
        return {
            "num_masks": used,
            "purity": (stretches_SK.amax(1).sum() / stretches_SK.sum()).item(),
            "total_bytes": used * table.bytes_per_task,
            "num_trained": cost.trained.after(used),
            **kept.columns(cost.kept, used),
        }

    def member_state(self, member: int) -> dict[str, Any]:
        """One member's masks with their scores, and what was chosen."""
        return {
            **super().member_state(member),
            "kept": self._kept[member],
            "num_used": self._num_used[member],
            "current": self._current[member],
            "stretches": self._stretches_ESK[member],
            "scores": self._own[member],
        }

    def load_member_state(self, member: int, state: dict[str, Any]) -> None:
        """Go on from what `member_state` gave."""
        super().load_member_state(member, state)
        self._kept[member] = list(state["kept"])
        self._num_used[member], self._current[member] = state["num_used"], state["current"]
        self._stretches_ESK[member].copy_(state["stretches"])
        self._own[member].copy_(state["scores"])

    def _chosen(self, member: int, x_BI: Tensor) -> int:
        used, table = self._num_used[member], self.tables[member]
        if used:
            self._have(member, LEAST_MASKS)
            gradient = self._gradient(member, x_BI[None], len(table))[0]
            best = int(gradient.argmin())
            if best < used and not is_new_task(gradient, len(table), self.part.eps):
                return best
            if used == table.capacity:
                return int(gradient[:used].argmin())
        self._have(member, used + 1)
        self._num_used[member] += 1
        return used

    def _gradient(self, member: int, x_ABI: Tensor, num_masks: int) -> Tensor:
        """dF/dalpha (A, S) at uniform alpha over the first S masks."""
        alpha = torch.full((num_masks,), 1 / num_masks, device=self.device)
        return self.superposition(member).gradient(x_ABI, alpha, torch.arange(num_masks, device=self.device))

    def _have(self, member: int, number: int) -> None:
        """Add masks until there are `number`; the scores of a new mask are as drawn."""
        shapes = {name: scores.shape[1:] for name, scores in self._scores.items()}
        for mask in range(len(self.tables[member]), number):
            flat_1P, scores = flat_views(shapes, 1, self.device)
            drawn = drawn_scores(self.sizes, self.trials[member].seed, mask)
            for of_layer, of_mask in zip(scores.values(), drawn, strict=True):
                of_layer[0] = of_mask
            self._kept[member].append(flat_1P[0])
            self.tables[member].append([of_layer[0] for of_layer in self._masks(scores)])
