"""(c) The loop that everyone writes first, beside ours: whole trials on MNIST, evaluation included."""

import time
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from benchmarks.timing import Row, synchronise
from psp_core.contexts import Context
from psp_core.datasets import SOURCES, Dataset, data_root, load_dataset
from psp_core.models import mlp
from psp_core.streams.permuting import PermutingTasks
from psp_core.training import train
from psp_core.trial import Trial, TrialConfig


class PlainMLP(nn.Module):
    """nn.Linear layers whose inputs are multiplied by a task's signs."""

    def __init__(self, width: int, num_tasks: int) -> None:
        """Draw the signs."""
        super().__init__()
        sizes = [784, width, width]
        self.layers = nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, [*sizes[1:], 10], strict=True)])
        self.signs = nn.ParameterList(
            nn.Parameter(torch.randint(2, (num_tasks, size)).float() * 2 - 1, requires_grad=False) for size in sizes
        )

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Logits of a batch (B, 784)."""
        for layer, signs in zip(self.layers, self.signs, strict=True):
            x = layer(x * signs[task])
            if layer is not self.layers[-1]:
                x = x.relu()
        return x


def plain_trial(trial: Trial, device: torch.device) -> float:
    """Train and measure R as a straightforward program does; return the mean accuracy after the last task."""
    from torchvision import transforms
    from torchvision.datasets import MNIST

    source = SOURCES["mnist"]
    stream = PermutingTasks(784, trial.seed)
    model = PlainMLP(trial.width, trial.num_tasks).to(device)
    optimiser = torch.optim.RMSprop(model.parameters(), lr=trial.lr)

    def loader(task: int, *, is_train: bool) -> DataLoader[tuple[Tensor, Tensor]]:
        order = stream.describe(task)
        transform = transforms.Compose(
            [
                transforms.ToTensor(),
                transforms.Normalize((source.mean,), (source.std,)),
                transforms.Lambda(lambda image: image.view(-1)[order]),
            ]
        )
        return DataLoader(MNIST(data_root(), is_train, transform), batch_size=trial.batch_size, shuffle=is_train)

    accuracies: list[float] = []
    for task in range(trial.num_tasks):
        step = 0
        while step < trial.steps_per_task:
            for x, labels in loader(task, is_train=True):
                optimiser.zero_grad()
                torch.autograd.backward(nn.functional.cross_entropy(model(x.to(device), task), labels.to(device)))
                optimiser.step()
                step += 1
                if step == trial.steps_per_task:
                    break
        accuracies = []
        for seen in range(task + 1):
            correct = 0
            with torch.no_grad():
                for x, labels in loader(seen, is_train=False):
                    correct += int((model(x.to(device), seen).argmax(1) == labels.to(device)).sum())
            accuracies.append(correct / 10_000)
    return sum(accuracies) / len(accuracies)


class InMemoryLoop:
    """A straightforward loop over tensors in memory: the module, autograd and torch.optim, no data loader.

    Args:
        trial: of an MLP.
        data: its data set.
        device: where to train.
    """

    def __init__(self, trial: Trial, data: Dataset, device: torch.device) -> None:
        """Draw the weights."""
        self.trial, self.data, self.device = trial, data.to(device), device
        self.stream = PermutingTasks(data.num_inputs, trial.seed)
        self.model = mlp(
            trial.width, trial.depth, trial.of(Context), in_features=data.num_inputs,
            out_features=data.num_classes, num_tasks=trial.num_tasks, seed=trial.seed,
        ).to(device)  # fmt: skip
        self.optimiser = torch.optim.RMSprop(self.model.parameters(), lr=trial.lr)

    def train(self, task: int) -> None:
        """Take a task's steps."""
        order = self.stream.describe(task).to(self.device)
        for _ in range(self.trial.steps_per_task):
            samples = torch.randint(len(self.data.train_labels), (self.trial.batch_size,), device=self.device)
            x = self.data.normalise(self.data.train_images[samples][:, order])
            self.optimiser.zero_grad()
            torch.autograd.backward(nn.functional.cross_entropy(self.model(x, task), self.data.train_labels[samples]))
            self.optimiser.step()

    @torch.no_grad()
    def accuracy(self, task: int) -> float:
        """Of a task's test set."""
        images = self.data.test_images
        assert isinstance(images, Tensor)  # MNIST's are in memory
        x = self.data.normalise(images[:, self.stream.describe(task).to(self.device)])
        is_right: Tensor = self.model(x, task).argmax(1) == self.data.test_labels
        return is_right.double().mean().item()


def in_memory_trial(trial: Trial, device: torch.device) -> None:
    """A whole trial of `InMemoryLoop`, whose tasks are all measured after each."""
    loop = InMemoryLoop(trial, load_dataset(trial.dataset.name), device)
    for task in range(trial.num_tasks):
        loop.train(task)
        for seen in range(task + 1):
            loop.accuracy(seen)


def measure(device: torch.device, *, quick: bool) -> Iterator[Row]:
    """Seconds of a whole trial in the plain loop, in memory, and ours."""
    trial = TrialConfig(width=256, num_tasks=2 if quick else 3, steps_per_task=100 if quick else 400)
    train([trial], device=device.type)  # data are read, kernels are loaded
    seconds: dict[str, list[float]] = {"plain": [], "in_memory": [], "ours": []}
    accuracies = {}
    for _ in range(1 if quick else 3):
        for name in seconds:
            synchronise()
            start = time.perf_counter()
            if name == "plain":
                accuracies["plain"] = plain_trial(trial, device)
            elif name == "in_memory":
                in_memory_trial(trial, device)
            else:
                accuracies["ours"] = train([trial], device=device.type)[0].final_accuracy
            synchronise()
            seconds[name].append(time.perf_counter() - start)
    medians = {name: sorted(times)[len(times) // 2] for name, times in seconds.items()}
    row: Row = {"width": trial.width, "tasks": trial.num_tasks, "steps": trial.num_steps}
    row |= {f"{name}_s": value for name, value in medians.items()}
    row |= {"plain/ours": medians["plain"] / medians["ours"], "in_memory/ours": medians["in_memory"] / medians["ours"]}
    yield row | {f"{name}_accuracy": value for name, value in accuracies.items()}
