"""Measuring how well each network of a pack does on each of many tasks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, cast

import torch
from torch import Tensor, nn

from psp_core.datasets import Dataset
from psp_core.packed_mlp import Layer
from psp_core.randomness import generator
from psp_core.streams import Stream
from psp_core.task_inference import GIVEN, QUESTION

if TYPE_CHECKING:
    from psp_core.methods import MemberPack
    from psp_core.supermasks.hopfield_pack import HopfieldPack
    from psp_core.trial import TrialConfig

# E members, T tasks, M = E * T retrieved networks, N samples, A batches whose task is inferred, I inputs, O outputs

CHUNK_BYTES: Final = {"cpu": 2**23, "cuda": 2**30}
"""How much may be worked on at once, in weights and again in activations: what caches or devices hold well."""


def measure(
    pack: "MemberPack",
    streams: Sequence[Stream],
    dataset: Dataset,
    tasks: Sequence[int],
    config: "TrialConfig",
    *,
    num_begun: int,
    most: int | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Each member's accuracy on each task as its trial has it measured: the task given, inferred, or its masks found.

    Args:
        pack: the members.
        streams: one for each member.
        dataset: on the pack's device; its test images are used.
        tasks: any tasks that were begun.
        config: the members'.
        num_begun: how many tasks, those trained again counted again, were begun.
        most: how many samples each task takes; None for the whole test set.

    Returns:
        Accuracy, mean cross-entropy (nats), number of samples, and, NaN where it does not apply, the share of batches
        whose task is found and the share of a mask's entries that are recovered: each (E, T), float64, on the CPU.
    """
    samples_N = _test_samples(len(dataset.test_labels), in_order=most is None).to(dataset.test_labels.device)
    inferred_ET = agreement_ET = torch.full((len(pack), len(tasks)), float("nan"), dtype=torch.float64)
    if config.method == "hopsupsup":
        hopfield = cast("HopfieldPack", pack)
        agreement_ET, inferred_ET = recover_masks(hopfield, streams, dataset, samples_N, tasks, most)
    accuracy_ET, loss_ET, number_ET = evaluate(
        pack,
        streams,
        dataset,
        samples_N,
        tasks,
        most=most,
        rows_per_task=config.rows_per_task,
        batch_size=config.test_batch_size,
    )
    if config.task_inference != GIVEN:
        num_seen = min(num_begun, config.num_tasks)
        accuracy_ET, inferred_ET = evaluate_inferred(
            pack, streams, dataset, samples_N, tasks, config, num_seen=num_seen, most=most
        )
    return accuracy_ET, loss_ET, number_ET, inferred_ET, agreement_ET


def _test_samples(num_test: int, *, in_order: bool) -> Tensor:
    """The test samples in the order in which they are taken: their own, or one fixed shuffle where some are enough.

    The shuffle matters: the first half of MNIST's test set is easier than the second.
    """
    return torch.arange(num_test) if in_order else torch.randperm(num_test, generator=generator(0, "test samples"))


@torch.no_grad()
def evaluate(
    pack: "MemberPack",
    streams: Sequence[Stream],
    dataset: Dataset,
    samples_N: Tensor,
    tasks: Sequence[int],
    *,
    most: int | None = None,
    rows_per_task: int = 1,
    batch_size: int = 1000,
) -> tuple[Tensor, Tensor, Tensor]:
    """Each member's accuracy and loss on each task, and on how many samples.

    Every task's weights are retrieved from superposition and then are a plain network's: much less
    work for many samples than binding each of them. Networks that cannot be retrieved, and tasks that
    have test samples of their own, are measured one by one.

    Args:
        pack: the members.
        streams: one for each member.
        dataset: on the pack's device; its test images are used.
        samples_N: which of them, in the order in which they are taken; of these, a task that is about some
            classes takes its own.
        tasks: any tasks of the streams.
        most: how many each task takes; None for all.
        rows_per_task: how many contexts each task has; it is measured with the first.
        batch_size: samples that a network sees at once where it is measured alone, about.

    Returns:
        Accuracy (a fraction), mean cross-entropy (nats) and number of samples, each (E, T), float64, on the CPU.
    """
    if not pack.is_retrievable or streams[0].classes(0) is not None:
        pairs = [
            _evaluate_alone(
                pack, e, stream, dataset, chosen[:most], task, pack.answer_of(e, task * rows_per_task), batch_size
            )
            for e, stream in enumerate(streams)
            for task in tasks
            for chosen in [task_samples(stream, task, dataset.test_labels, samples_N)]
        ]
        accuracy, loss, number = torch.tensor(pairs, dtype=torch.float64).view(len(streams), len(tasks), 3).unbind(2)
        return accuracy, loss, number
    samples_N = samples_N[:most]
    per_task = 4 * (pack.flat.numel() + pack.flat_contexts.numel() + pack.flat_learned.numel())
    step = max(1, CHUNK_BYTES[pack.flat.device.type] // per_task)
    chunks = [
        _evaluate(pack, streams, dataset, samples_N, tasks[i : i + step], rows_per_task)
        for i in range(0, len(tasks), step)
    ]
    accuracy, loss = (torch.cat(parts, dim=1).cpu() for parts in zip(*chunks, strict=True))
    return accuracy, loss, torch.full_like(accuracy, len(samples_N))


@torch.no_grad()
def evaluate_inferred(
    pack: "MemberPack",
    streams: Sequence[Stream],
    dataset: Dataset,
    samples_N: Tensor,
    tasks: Sequence[int],
    config: "TrialConfig",
    *,
    num_seen: int,
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Each member's accuracy on each task if nobody tells which task a batch is of, and how often it finds out.

    Test samples come in batches of 128; the task of each is inferred from its first images, among all tasks
    trained so far. A batch whose task is taken for another counts as wrong altogether (GNu), unless labels are
    shared (GNs): then each image counts by what the network of the task that was inferred says.

    Args:
        pack: the members.
        streams: one for each member.
        dataset: on the pack's device; its test images are used.
        samples_N: which of them, in the order in which they are taken; of these, a task that is about some
            classes takes its own.
        tasks: any tasks that were trained.
        config: the members', for how many images a question has, and whether labels are shared.
        num_seen: how many tasks were trained: the first of the streams, any of which may be inferred.
        most: how many samples each task takes; None for all.

    Returns:
        Accuracy, and the share of batches whose task is found (fractions), each (E, T), float64, on the CPU.

    Source: papers.md, B3.
    """
    pairs = [
        _infer(pack, e, config, num_seen, task, *task_batch(stream, task, dataset, images_NI, labels_N))
        for e, stream in enumerate(streams)
        for task in tasks
        for chosen_N in [task_samples(stream, task, dataset.test_labels, samples_N)[:most]]
        for images_NI, labels_N in [(dataset.test_images[chosen_N], dataset.test_labels[chosen_N])]
    ]
    accuracy, inferred = torch.tensor(pairs, dtype=torch.float64).view(len(streams), len(tasks), 2).unbind(2)
    return accuracy, inferred


def _infer(
    pack: "MemberPack", member: int, config: "TrialConfig", num_seen: int, task: int, x_NI: Tensor, labels_N: Tensor
) -> tuple[float, float]:
    right = pack.answer_of(member, task * config.rows_per_task)
    whole = len(x_NI) - len(x_NI) % QUESTION
    correct, found = 0.0, []
    for part, shape in ((slice(whole), (-1, QUESTION)), (slice(whole, None), (1, -1))):
        if not len(labels_N[part]):
            continue
        x_ABI, labels_AB = x_NI[part].view(*shape, x_NI.shape[1]), labels_N[part].view(shape)
        inferred_A = pack.infer(member, x_ABI[:, : config.inference_images], num_seen)
        for answer in torch.unique(inferred_A).tolist():
            if answer == right or config.shared_labels:
                of_answer = inferred_A == answer
                predicted_AB = _predicted(pack, member, answer, x_ABI[of_answer])
                correct += (predicted_AB == labels_AB[of_answer]).sum().item()
        found.append(inferred_A == right)
    return correct / len(x_NI), torch.cat(found).double().mean().item()


def _predicted(pack: "MemberPack", member: int, task: int, x_ABI: Tensor) -> Tensor:
    """The labels (A, B) that one member gives batches of one task."""
    if pack.is_retrievable:
        return pack.logits_of(member, task, x_ABI.flatten(0, 1)).argmax(dim=1).view(x_ABI.shape[:2])
    # Layers may be normalised over a batch, and what is measured is an answer to one.
    return torch.stack([pack.logits_of(member, task, x_BI).argmax(dim=1) for x_BI in x_ABI])


@torch.no_grad()
def recover_masks(
    pack: "HopfieldPack",
    streams: Sequence[Stream],
    dataset: Dataset,
    samples_N: Tensor,
    tasks: Sequence[int],
    most: int | None = None,
) -> tuple[Tensor, Tensor]:
    """Let each member find its masks for each task from the test images that `evaluate` will measure it on.

    Args:
        pack: the members, which can recover masks.
        streams: one for each member.
        dataset: on the pack's device; its test images are used.
        samples_N: which of them; of these, a task that is about some classes takes its own.
        tasks: any tasks that are stored.
        most: how many images each task takes; None for all.

    Returns:
        In what share of entries the masks found are the task's own, and whether they are nearer to these than to every
        other stored task's (1 or 0), each (E, T), float64, on the CPU.

    Source: papers.md, B4.
    """
    pairs = []
    for e, stream in enumerate(streams):
        for task in tasks:
            chosen_N = task_samples(stream, task, dataset.test_labels, samples_N)[:most]
            x_BI, _ = task_batch(stream, task, dataset, dataset.test_images[chosen_N], dataset.test_labels[chosen_N])
            agreement_K = pack.recover(e, task, x_BI)
            own = agreement_K[task].item()
            pairs.append((own, float((agreement_K < own).sum().item() == len(agreement_K) - 1)))
    agreement, inferred = torch.tensor(pairs, dtype=torch.float64).view(len(streams), len(tasks), 2).unbind(2)
    return agreement, inferred


def task_batch(
    stream: Stream, task: int, dataset: Dataset, images_BI: Tensor, labels_B: Tensor
) -> tuple[Tensor, Tensor]:
    """A task's inputs (B, I), normalised, and labels (B,) for the data set's."""
    description_1 = stream.describe(task).to(images_BI.device)[None]
    x_BI = dataset.normalise(stream.apply(images_BI[None], description_1))[0]
    return x_BI, stream.relabel(labels_B[None], description_1)[0]


def task_samples(stream: Stream, task: int, labels: Tensor, samples_N: Tensor) -> Tensor:
    """Those of the samples that are of the task's classes."""
    classes = stream.classes(task)
    return samples_N if classes is None else samples_N[torch.isin(labels[samples_N], classes.to(labels.device))]


def _evaluate_alone(
    pack: "MemberPack",
    member: int,
    stream: Stream,
    dataset: Dataset,
    samples_N: Tensor,
    task: int,
    answer: int,
    batch_size: int,
) -> tuple[float, float, int]:
    correct, loss = 0.0, 0.0
    # Batches of about the same size on every device: where layers are normalised they matter to the result.
    for samples_B in samples_N.tensor_split(-(-len(samples_N) // batch_size)):
        images_BI, labels_B = dataset.test_images[samples_B], dataset.test_labels[samples_B]
        x_BI, labels_B = task_batch(stream, task, dataset, images_BI, labels_B)
        logits_BO = pack.logits_of(member, answer, x_BI)
        loss += nn.functional.cross_entropy(logits_BO, labels_B, reduction="sum").item()
        correct += (logits_BO.argmax(dim=1) == labels_B).sum().item()
    return correct / len(samples_N), loss / len(samples_N), len(samples_N)


def _evaluate(
    pack: "MemberPack",
    streams: Sequence[Stream],
    dataset: Dataset,
    samples_N: Tensor,
    tasks: Sequence[int],
    rows_per_task: int,
) -> tuple[Tensor, Tensor]:
    retrieved = pack.retrieve([task * rows_per_task for task in tasks])
    descriptions_M = torch.stack([stream.describe(task) for stream in streams for task in tasks]).to(samples_N.device)
    # Where each place has its own normalisation, the task's image is normalised and not the data set's.
    by_place = isinstance(dataset.mean, Tensor)
    pulled_back = None if by_place else streams[0].pull_back(retrieved[0][0], descriptions_M)
    if pulled_back is not None:
        retrieved[0] = (pulled_back, retrieved[0][1])
    num_networks = len(descriptions_M)
    correct_M = torch.zeros(num_networks, dtype=torch.float64, device=samples_N.device)
    loss_M = torch.zeros_like(correct_M)
    for samples_B in torch.split(samples_N, _batch_size(retrieved, dataset.num_inputs)):
        images = dataset.test_images[samples_B].expand(num_networks, -1, -1)
        if pulled_back is None:
            x_MBI = dataset.normalise(streams[0].apply(images, descriptions_M))
        else:
            x_MBI = dataset.normalise(images[0]).expand(num_networks, -1, -1)
        logits_MOB = pack.logits(retrieved, x_MBI)
        labels_MB = dataset.test_labels[samples_B].expand(num_networks, -1)
        loss_M += nn.functional.cross_entropy(logits_MOB, labels_MB, reduction="none").sum(1, dtype=torch.float64)
        correct_M += (logits_MOB.argmax(dim=1) == labels_MB).sum(1)
    shape = (len(streams), len(tasks))
    return (correct_M / len(samples_N)).view(shape), (loss_M / len(samples_N)).view(shape)


def _batch_size(retrieved: Sequence[Layer], num_inputs: int) -> int:
    """Samples whose activations in all networks fill a chunk: those of the widest layer, complex or not."""
    weights = [weight for weight, _ in retrieved]
    widest = max(num_inputs, *(weight[0, 0].numel() for weight in weights))
    return max(1, CHUNK_BYTES[weights[0].device.type] // (4 * widest * len(weights[0])))
