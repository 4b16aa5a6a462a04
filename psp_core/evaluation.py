"""Measuring how well each network of a pack does on each of many tasks."""

from collections.abc import Sequence
from typing import Final

import torch
from torch import Tensor, nn

from psp_core.datasets import Dataset
from psp_core.packed_mlp import Layer
from psp_core.packing import Pack
from psp_core.streams import Stream

# E members, T tasks, M = E * T retrieved networks, N samples, I inputs, O outputs

CHUNK_BYTES: Final = {"cpu": 2**23, "cuda": 2**30}
"""How much may be worked on at once, in weights and again in activations: what caches or devices hold well."""


@torch.no_grad()
def evaluate(
    pack: Pack, streams: Sequence[Stream], dataset: Dataset, samples_N: Tensor, tasks: Sequence[int]
) -> tuple[Tensor, Tensor]:
    """Each member's accuracy and loss on each task.

    Every task's weights are retrieved from superposition and then are a plain network's: much less
    work for many samples than binding each of them.

    Args:
        pack: the members.
        streams: one for each member.
        dataset: on the pack's device; its test images are used.
        samples_N: which of them.
        tasks: any tasks of the streams.

    Returns:
        Accuracy (a fraction) and mean cross-entropy (nats), each (E, T), float64, on the CPU.
    """
    per_task = 4 * (pack.flat.numel() + pack.flat_contexts.numel())
    step = max(1, CHUNK_BYTES[pack.flat.device.type] // per_task)
    chunks = [_evaluate(pack, streams, dataset, samples_N, tasks[i : i + step]) for i in range(0, len(tasks), step)]
    accuracy, loss = (torch.cat(parts, dim=1).cpu() for parts in zip(*chunks, strict=True))
    return accuracy, loss


def _evaluate(
    pack: Pack, streams: Sequence[Stream], dataset: Dataset, samples_N: Tensor, tasks: Sequence[int]
) -> tuple[Tensor, Tensor]:
    retrieved = pack.retrieve(tasks)
    descriptions_M = torch.stack([stream.describe(task) for stream in streams for task in tasks]).to(samples_N.device)
    pulled_back = streams[0].pull_back(retrieved[0][0], descriptions_M)
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
