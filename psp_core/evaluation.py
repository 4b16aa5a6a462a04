"""Measuring how well each network of a pack does on each of many tasks."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from psp_core.held_out import HeldOut
from psp_core.inference import QUESTION, Inferred
from psp_core.packed_mlp import Layer

# E members, T tasks, M = E * T retrieved networks, N samples, A batches whose task is inferred, I inputs, O outputs

CHUNK_BYTES: Final = {"cpu": 2**23, "cuda": 2**30}
"""How much may be worked on at once, in weights and again in activations: what caches or devices hold well."""

Measured = Mapping[str, Tensor]
"""What was measured of each member and task, (E, T) float64 on the CPU, by the column of the trial store.

Always `accuracy` (a fraction), `loss` (mean cross-entropy in nats) and `num_samples`; and what the answerer adds.
"""


class Answerer(Protocol):
    """Has the members answer the images on which tasks are measured."""

    @property
    def networks(self) -> "Answers":
        """The members."""

    def measure(self, held_out: HeldOut, tasks: Sequence[int]) -> Measured:
        """How well each member does on each task."""


class Answers(ABC):
    """Members that are asked with a task's own numbers: one by one, whatever the number of samples, unless they say so.

    Attributes:
        is_retrievable: whether `retrieve` and `logits` can answer for many members and tasks at once.
        numbers_per_task: how many numbers `retrieve` makes of a task, about.
    """

    is_retrievable: bool = False
    numbers_per_task: int = 0

    def retrieve(self, tasks: Sequence[int]) -> list[Layer]:
        """Every member's weights and biases of each of T tasks, layer by layer: (E * T, ...), member first."""
        raise NotImplementedError

    def logits(self, retrieved: Sequence[Layer], x_MBI: Tensor) -> Tensor:
        """Logits of M retrieved networks, each on its own batch: shape (M, O, B)."""
        raise NotImplementedError

    def prepare(self, held_out: HeldOut, member: int, task: int) -> None:  # noqa: B027 - a hook
        """Find out from a task's unlabelled images what `answer` needs, where a member needs that."""

    @abstractmethod
    def answer(self, member: int, task: int, x_BI: Tensor) -> Tensor:
        """Logits of one member on one task's batch: shape (B, O)."""


class Finders(Answers):
    """Members that find out which of the things they keep, tasks or masks, a batch is of."""

    @abstractmethod
    def find(self, member: int, x_ABI: Tensor) -> Tensor:
        """What each of A batches is of, by all of its images: int64 (A,)."""

    def right(self, member: int, task: int) -> int:
        """What `find` should say of a task's batches: the task, unless what is kept has other numbers."""
        return task

    def answer_as(self, member: int, found: int, x_BI: Tensor) -> Tensor:
        """Logits of one member with what was found: shape (B, O)."""
        return self.answer(member, found, x_BI)


@dataclass(frozen=True)
class TaskGiven:
    """Each task is measured with its own numbers."""

    networks: Answers

    @torch.no_grad()
    def measure(self, held_out: HeldOut, tasks: Sequence[int]) -> Measured:
        """Each member's accuracy and loss on each task, and on how many samples.

        Every task's weights are retrieved from superposition and then are a plain network's: much less
        work for many samples than binding each of them. Networks that cannot be retrieved, and tasks that
        have samples of their own, are measured one by one.
        """
        networks, shape = self.networks, (len(held_out.tasks), len(tasks))
        if not networks.is_retrievable or held_out.tasks[0].classes(0) is not None:
            alone = [_measure_alone(networks, held_out, *pair) for pair in held_out.pairs(tasks)]
            sums, numbers = zip(*alone, strict=True)
            number = torch.tensor(numbers, dtype=torch.float64).view(shape)
            correct, loss = torch.stack(sums).cpu().view(*shape, 2).unbind(2)
            return {"accuracy": correct / number, "loss": loss / number, "num_samples": number}
        samples_N = held_out.samples_N[: held_out.most]
        step = max(1, CHUNK_BYTES[samples_N.device.type] // (4 * networks.numbers_per_task))
        chunks = [
            _measure_together(networks, held_out, samples_N, tasks[i : i + step]) for i in range(0, len(tasks), step)
        ]
        accuracy, loss = torch.cat(chunks, dim=2).cpu()
        return {"accuracy": accuracy, "loss": loss, "num_samples": torch.full_like(accuracy, len(samples_N))}


@dataclass(frozen=True)
class TaskInferred:
    """Nobody tells which task a batch is of.

    Test samples come in batches of 128; the task of each is inferred from its first images, among all tasks
    trained so far. A batch whose task is taken for another counts as wrong altogether (GNu), unless labels are
    shared (GNs): then each image counts by what the network of the task that was inferred says. The loss is that of
    the task's own network. Adds `inferred`, the share of batches whose task is found.

    Source: papers.md, B3.
    """

    networks: Finders
    inference: Inferred

    @torch.no_grad()
    def measure(self, held_out: HeldOut, tasks: Sequence[int]) -> Measured:
        """Each member's accuracy on each task, and how often the task is found."""
        given = TaskGiven(self.networks).measure(held_out, tasks)
        pairs = torch.stack([self._measure(held_out, *pair) for pair in held_out.pairs(tasks)]).cpu()
        accuracy, inferred = pairs.view(len(held_out.tasks), len(tasks), 2).unbind(2)
        return {**given, "accuracy": accuracy, "inferred": inferred}

    def _measure(self, held_out: HeldOut, member: int, task: int) -> Tensor:
        """Accuracy, and how often the task is found: (2,) float64 on the device."""
        x_NI, labels_N = held_out.batch(member, task, held_out.of_task(member, task))
        right = self.networks.right(member, task)
        whole = len(x_NI) - len(x_NI) % QUESTION
        correct, found = torch.zeros((), dtype=torch.float64, device=x_NI.device), []
        for part, shape in ((slice(whole), (-1, QUESTION)), (slice(whole, None), (1, -1))):
            if not len(labels_N[part]):
                continue
            x_ABI, labels_AB = x_NI[part].view(*shape, x_NI.shape[1]), labels_N[part].view(shape)
            inferred_A = self.networks.find(member, x_ABI[:, : self.inference.images])
            for answer in torch.unique(inferred_A).tolist():
                if answer == right or self.inference.shared_labels:
                    of_answer = inferred_A == answer
                    predicted_AB = self._predicted(member, answer, x_ABI[of_answer])
                    correct += (predicted_AB == labels_AB[of_answer]).sum()
            found.append(inferred_A == right)
        return torch.stack([correct / len(x_NI), torch.cat(found).double().mean()])

    def _predicted(self, member: int, found: int, x_ABI: Tensor) -> Tensor:
        """The labels (A, B) that one member gives batches with what was found."""
        if self.networks.is_retrievable:
            logits = self.networks.answer_as(member, found, x_ABI.flatten(0, 1))
            return logits.argmax(dim=1).view(x_ABI.shape[:2])
        # Layers may be normalised over a batch, and what is measured is an answer to one.
        return torch.stack([self.networks.answer_as(member, found, x_BI).argmax(dim=1) for x_BI in x_ABI])


def _measure_alone(networks: Answers, held_out: HeldOut, member: int, task: int) -> tuple[Tensor, int]:
    """How many answers are right and the sum of losses, (2,) float64 on the device; and of how many samples."""
    samples_N = held_out.of_task(member, task)
    sums_2 = torch.zeros(2, dtype=torch.float64, device=samples_N.device)
    # Batches of about the same size on every device: where layers are normalised they matter to the result.
    for samples_B in samples_N.tensor_split(-(-len(samples_N) // held_out.batch_size)):
        x_BI, labels_B = held_out.batch(member, task, samples_B)
        logits_BO = networks.answer(member, task, x_BI)
        sums_2[0] += (logits_BO.argmax(dim=1) == labels_B).sum()
        sums_2[1] += nn.functional.cross_entropy(logits_BO, labels_B, reduction="sum")
    return sums_2, len(samples_N)


def _measure_together(networks: Answers, held_out: HeldOut, samples_N: Tensor, tasks: Sequence[int]) -> Tensor:
    """Accuracy and loss, (2, E, T) float64 on the device."""
    streams, dataset = held_out.tasks, held_out.dataset
    retrieved = networks.retrieve(tasks)
    descriptions_M = held_out.descriptions(tasks).flatten(0, 1)
    # Where each place has its own normalisation, the task's image is normalised and not the data set's.
    by_place = isinstance(dataset.mean, Tensor)
    pulled_back = None if by_place else streams[0].pull_back(retrieved[0][0], descriptions_M)
    if pulled_back is not None:
        retrieved[0] = (pulled_back, retrieved[0][1])
    num_networks = len(descriptions_M)
    correct_M = torch.zeros(num_networks, dtype=torch.float64, device=samples_N.device)
    loss_M = torch.zeros_like(correct_M)
    # A chunk is what a CPU's caches hold, shared images too; or what a GPU's memory has to hold for each network.
    is_shared = pulled_back is not None and samples_N.is_cuda
    for samples_B in torch.split(samples_N, _batch_size(retrieved, 0 if is_shared else dataset.num_inputs)):
        images = held_out.images[samples_B].expand(num_networks, -1, -1)
        if pulled_back is None:
            x_MBI = dataset.normalise(streams[0].apply(images, descriptions_M))
        else:
            x_MBI = dataset.normalise(images[0]).to(pulled_back.dtype).expand(num_networks, -1, -1)
        logits_MOB = networks.logits(retrieved, x_MBI)
        labels_MB = held_out.labels[samples_B].expand(num_networks, -1)
        loss_M += nn.functional.cross_entropy(logits_MOB, labels_MB, reduction="none").sum(1, dtype=torch.float64)
        correct_M += (logits_MOB.argmax(dim=1) == labels_MB).sum(1)
    return (torch.stack([correct_M, loss_M]) / len(samples_N)).view(2, len(streams), len(tasks))


def _batch_size(retrieved: Sequence[Layer], num_inputs: int) -> int:
    """Samples whose activations in all networks fill a chunk: those of the widest layer, complex or not."""
    weights = [weight for weight, _ in retrieved]
    widest = max(num_inputs, *(weight[0, 0].numel() for weight in weights))
    return max(1, CHUNK_BYTES[weights[0].device.type] // (4 * widest * len(weights[0])))
