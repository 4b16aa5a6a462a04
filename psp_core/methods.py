"""How a network keeps its tasks apart: one line for each method, and what all of them do for training."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, Final, Protocol

import torch
from torch import Tensor

from psp_core.contexts import get_context
from psp_core.devices import PRECISIONS
from psp_core.models import MODELS, SuperposedModel, TaskParts
from psp_core.norms import measured_buffers
from psp_core.packed_mlp import Layer
from psp_core.packing import Batch, Pack
from psp_core.schedules import SCHEDULES, reschedule
from psp_core.supermasks.hopfield_pack import HopfieldPack
from psp_core.supermasks.pack import SupermaskPack
from psp_core.supermasks.unidentified import UnidentifiedPack
from psp_core.task_inference import GIVEN, TaskInference
from psp_core.trained_schedules import TrainedSchedule
from psp_core.trial import TrialConfig

# E members, M retrieved networks, B batch, I inputs


class MemberPack(Protocol):
    """E members that step together, whatever keeps their tasks apart; see `Pack`.

    Attributes:
        flat, flat_gradients: what all tasks train together, (E, P), and where its gradients are written.
        flat_contexts: what belongs to the current task and is not trained.
        flat_learned, flat_learned_gradients: what belongs to the current task and is trained.
        is_frozen: whether `gradients` leaves out what all tasks share, because nothing trains it now.
        num_params, bytes_once, bytes_per_task: numbers trained that all tasks share; bytes beside them
            that all tasks share; bytes that one more task costs.
        is_retrievable: whether `retrieve` and `logits` can answer.

    What training found out about a member beside its accuracy is in `notes`: columns of the trial store.
    """

    flat: Tensor
    flat_gradients: Tensor
    flat_contexts: Tensor
    flat_learned: Tensor
    flat_learned_gradients: Tensor
    is_frozen: bool
    num_params: int
    bytes_once: int
    bytes_per_task: int

    @property
    def is_retrievable(self) -> bool: ...  # noqa: D102

    def __len__(self) -> int: ...  # noqa: D105

    def begin(self, task: int, batch: Batch | None = None) -> Collection[int]: ...  # noqa: D102

    def settle(self, batches: Iterable[Tensor]) -> None: ...  # noqa: D102

    def keep(self, task: int) -> None: ...  # noqa: D102

    def end(self, task: int) -> None: ...  # noqa: D102

    def gradients(self, x_EBI: Tensor, labels_EB: Tensor) -> Tensor: ...  # noqa: D102

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]: ...  # noqa: D102

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor: ...  # noqa: D102

    def logits_of(self, member: int, task: int, x_BI: Tensor) -> Tensor: ...  # noqa: D102

    def infer(self, member: int, x_ABI: Tensor, num_seen: int) -> Tensor: ...  # noqa: D102

    def answer_of(self, member: int, row: int) -> int: ...  # noqa: D102

    def finite(self) -> Tensor: ...  # noqa: D102

    def notes(self, member: int) -> dict[str, float]: ...  # noqa: D102

    def member_state(self, member: int) -> dict[str, Any]: ...  # noqa: D102

    def load_member_state(self, member: int, state: dict[str, Any]) -> None: ...  # noqa: D102


def superposed(configs: Sequence[TrialConfig], device: torch.device) -> Pack:
    """Paper A's networks, with contexts or without."""
    first, models = configs[0], _models(configs, device)
    buffers = dict(models[0].named_buffers())
    learned = models[0].trained_buffers()
    if first.learned_contexts:  # a stem's are none, without numbers
        learned = {name for name, buffer in buffers.items() if buffer.numel()} - measured_buffers(models[0])
    schedule, shared = None, SCHEDULES[first.schedule].num_shared
    if first.trains_all_contexts:
        schedule = TrainedSchedule(
            schedule=SCHEDULES[first.schedule], positions_per_context=first.rows_per_task // first.contexts_per_task
        )
    pack = Pack(models, device, learned=learned, dtype=PRECISIONS[first.precision], schedule=schedule)
    numbers = sum(parameter[0].numel() for parameter in pack.parameters.values())
    pack.num_params = 0 if first.trunk in ("random", "per-task") else numbers  # frozen weights are a seed
    pack.bytes_once = models[0].bytes_once()
    of_row, measured = (4 * sum(buffers[name][0].numel() for name in names) for names in (learned, pack.measured))
    pack.bytes_per_task = measured + (0 if first.learned_contexts and shared else first.contexts_per_task * of_row)
    if first.trunk == "per-task":
        pack.bytes_per_task += 4 * numbers
    if first.task_inference != GIVEN:
        pack.task_inference = TaskInference.for_trial(first)
    if shared:
        pack.bytes_once += shared * (of_row if first.learned_contexts else models[0].bytes_per_task())
    elif not first.learned_contexts:  # whose numbers are no longer signs or phases: each counts
        pack.bytes_per_task += first.contexts_per_task * models[0].bytes_per_task()
    return pack


def supermasked(configs: Sequence[TrialConfig], device: torch.device) -> SupermaskPack:
    """Paper B's networks. Each member has a module of its own, for what its tasks leave in it is its own."""
    kind = SupermaskPack if configs[0].new_mask_eps is None else UnidentifiedPack
    return kind(configs, [build_model(config, device) for config in configs], device)


def _models(configs: Sequence[TrialConfig], device: torch.device) -> list[SuperposedModel]:
    """The members as they begin: one for all of a seed, unless each trains buffers of its own."""
    if configs[0].learned_contexts or configs[0].heads == "per-task":
        return [build_model(config, device) for config in configs]
    of_seed = {config.seed: config for config in configs}
    models = {seed: build_model(config, device) for seed, config in of_seed.items()}
    return [models[config.seed] for config in configs]


def build_model(config: TrialConfig, device: torch.device) -> SuperposedModel:
    """The network of a trial, as an ordinary module; its contexts are those in use, unless a schedule's are trained."""
    parts = TaskParts(
        context=get_context(config.context),
        num_tasks=config.num_contexts,
        seed=config.seed,
        heads=config.heads,
        norm=config.norm,
        device=device,
        output_contexts=config.output_contexts,
        channel_contexts=config.channel_contexts,
        initial_weights=config.initial_weights,
    )
    model = MODELS[config.model].build(config.network_size, parts)
    if config.schedule != "task" and not config.trains_all_contexts:
        reschedule(model, SCHEDULES[config.schedule], config.rows_per_task // config.contexts_per_task, config.seed)
    return model


METHODS: Final[dict[str, Callable[[Sequence[TrialConfig], torch.device], MemberPack]]] = {
    "psp": superposed,
    "supsup": supermasked,
    "hopsupsup": HopfieldPack,
}
