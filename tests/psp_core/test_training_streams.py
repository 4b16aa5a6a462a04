"""Whole trials on every kind of stream and network, beside plain loops over the module."""

import pytest
import torch
from torch import nn

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.datasets import Dataset
from psp_core.measuring import num_tests, tasks_to_measure
from psp_core.methods.superposed import build_model
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import assert_packed_equals_alone, tasks_of, whole_and_resumed
from tests.psp_core.test_norms import statistics_by_hand

BASE = TrialConfig(dataset="digits", width=8, num_tasks=2, steps_per_task=12, batch_size=32, lr=0.003)
ROTATING = replace(BASE, stream="rotating", num_tasks=3, num_cycles=2, context="complex")
SPLIT = replace(BASE, stream="split", num_tasks=3, classes_per_task=3, context="binary")
KINDS = {
    "rotating": ROTATING,
    "fast": replace(ROTATING, contexts_per_task=4),
    "mixed": replace(ROTATING, contexts_per_task=4, schedule="local-mix"),
    "blended": replace(ROTATING, schedule="blend", context="binary"),
    "split": SPLIT,
    "shuffled": replace(SPLIT, shuffle_classes=True),
    "heads": replace(SPLIT, heads="per-task", context="none"),
    "small-conv": replace(SPLIT, model="small-conv"),
    "small-conv-heads": replace(SPLIT, model="small-conv", heads="per-task"),
    "resnet-18": replace(SPLIT, model="resnet-18", width=2, num_tasks=2, steps_per_task=6, lr=0.0003),
    "norms": replace(SPLIT, model="small-conv", norm="per-task", steps_per_task=60),
    "deep": replace(BASE, depth=10),
    "complex without contexts": replace(BASE, context="plain-complex"),
}
CPU = torch.device("cpu")


def by_hand(config: Trial) -> torch.Tensor:
    """The same trial as anyone would write it: torch.optim over an ordinary module."""
    data, stream = load_dataset("digits"), tasks_of(config)
    model = build_model(config, CPU)
    heads = [buffer.requires_grad_() for name, buffer in model.named_buffers() if name in model.trained_buffers()]
    optimiser = torch.optim.RMSprop([*model.parameters(), *heads], lr=config.lr)

    def samples(task: int, labels: torch.Tensor) -> torch.Tensor:
        classes = stream.classes(task)
        wanted = range(10) if classes is None else classes.tolist()
        return torch.tensor([i for i, label in enumerate(labels.tolist()) if label in wanted])

    def batch(images: torch.Tensor, labels: torch.Tensor, task: int, part: float) -> tuple[torch.Tensor, torch.Tensor]:
        x = data.normalise(stream.apply(images[None], stream.describe(task, part)[None]))[0]
        classes = stream.classes(task)
        return x, labels if classes is None else torch.tensor([classes.tolist().index(c) for c in labels.tolist()])

    R = torch.full((config.num_visits, config.num_tasks), float("nan"), dtype=torch.float64)
    steps, rows = config.steps_per_task, config.method.num_stretches(config)
    for visit in range(config.num_visits):
        task = visit % config.num_tasks
        of_task = samples(task, data.train_labels)
        for step, places in enumerate(batch_order(config, len(of_task), visit)):
            chosen = of_task[places]
            x, labels = batch(data.train_images[chosen], data.train_labels[chosen], task, step / steps)
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x, task=task * rows + step * rows // steps), labels).backward()
            optimiser.step()
        if config.model.normalises == "per-task":
            last = [of_task[places] for places in batch_order(config, len(of_task), visit)[-50:]]
            batches = [batch(data.train_images[c], data.train_labels[c], task, 0.0)[0] for c in last]
            buffers = dict(model.named_buffers())
            for name, statistics in statistics_by_hand(model, batches, task).items():
                buffers[name][task] = statistics
        model.eval()
        for j in tasks_to_measure(config, visit + 1):
            chosen = samples(j, data.test_labels)
            x, labels = batch(data.test_images[chosen], data.test_labels[chosen], j, 0.0)
            R[visit, j] = (model(x, task=j * rows).argmax(dim=1) == labels).double().mean()
        model.train()
    return R


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_R_is_what_a_plain_loop_gives(kind: str) -> None:
    config = KINDS[kind]
    ours = train([config])[0].accuracy
    R = by_hand(config)
    torch.testing.assert_close(ours, R, equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_packed_equals_alone(kind: str) -> None:
    base = KINDS[kind]
    configs = [replace(base, seed=seed, lr=base.lr * factor) for seed, factor in [(0, 1), (1, 0.3), (1, 0.6)]]
    assert_packed_equals_alone(
        [replace(config, num_cycles=1, num_tasks=min(config.num_tasks, 2)) for config in configs]
    )


@pytest.mark.parametrize("kind", ["fast", "shuffled", "small-conv-heads"])
def test_training_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    configs = [replace(KINDS[kind], seed=seed) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after=1)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert torch.equal(mine.num_samples, theirs.num_samples)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_trial_costs_is_known_before(kind: str) -> None:
    config = KINDS[kind]
    training = PackTraining([config], load_dataset("digits"), CPU)
    assert config.cost.num_params == training.learner.storage[0].num_params
    while not training.done:
        training.train_task()
    number = training.results()[0].num_samples.sum().item()
    assert num_tests(config) == pytest.approx(number, rel=0.05)  # classes differ a little in size


def test_a_head_is_trained_in_its_own_task_only_and_counts_as_the_task_s() -> None:
    training = PackTraining([KINDS["heads"]], load_dataset("digits"), CPU)
    name = "layers.2.weight"
    drawn = training.learner.networks.all_contexts[0][name].clone()
    training.train_task()
    after_first = training.learner.networks.all_contexts[0][name].clone()
    training.train_task()
    assert not torch.equal(after_first[0], drawn[0])
    assert torch.equal(after_first[1:], drawn[1:])
    assert torch.equal(training.learner.networks.all_contexts[0][name][0], after_first[0])
    assert training.learner.storage[0].bytes_per_task == 4 * (8 * 3 + 3)


def test_a_head_that_is_no_longer_finite_is_noted_at_once() -> None:
    """A last step that ends in infinite heads leaves finite losses behind."""
    training = PackTraining([KINDS["heads"]], load_dataset("digits"), CPU)
    training.learner.end = lambda stretch: training.learner.groups[1].values_EP.fill_(float("inf"))  # type: ignore[method-assign]
    training.train_task()
    assert training.diverged_at == [KINDS["heads"].steps_per_task - 1]


def test_some_samples_are_taken_of_each_task_s_own() -> None:
    config = replace(SPLIT, classes_per_task=1, num_tasks=10, eval_samples=3, steps_per_task=1)
    result = train([config])[0]
    assert result.num_samples[:9].max() == 3
    assert result.num_samples[8, 8] == 3
    assert num_tests(config) == pytest.approx(result.num_samples.sum().item(), rel=0.05)


def test_powers_of_one_context_cost_what_one_context_costs() -> None:
    config = replace(ROTATING, schedule="one-power")
    training = PackTraining([config], load_dataset("digits"), CPU)
    assert training.learner.storage[0].bytes_per_task == 0
    assert training.learner.storage[0].bytes_once == 4 * (64 + 8 + 8)


@pytest.mark.parametrize("eval_tasks", ["all", "ends", "first"])
def test_a_stream_with_cycles_is_measured_on_the_tasks_it_has_seen(eval_tasks: str) -> None:
    config = replace(ROTATING, eval_tasks=eval_tasks, steps_per_task=1)
    found = train([config])[0].accuracy.isfinite().long().tolist()
    every = [[1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
    ends = [[1, 0, 0], [1, 1, 0], [1, 0, 1], [1, 0, 0], [1, 1, 0], [1, 1, 1]]
    first = [[1, 0, 0]] * 5 + [[1, 1, 1]]
    assert found == {"all": every, "ends": ends, "first": first}[eval_tasks]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "resnet-18", "depth": 3}, "depth=3 does not apply to model='resnet-18'"),
        ({"model": "small-conv", "depth": 0}, "depth=0 must be at least 1"),
        ({"model": "small-conv", "context": "complex"}, "needs a real one"),
        ({"heads": "per-task", "context": "complex"}, "needs a real one"),
        ({"heads": "two"}, "heads='two' is not known"),
        ({"context": "hadamard", "width": 8, "num_tasks": 9}, "has 8 different contexts for a layer of 8 inputs"),
        ({"depth": 0, "heads": "per-task"}, "no layer has contexts"),
        ({"model": "resnet-18", "width": 2, "batch_size": 1}, "normalises over a batch"),
    ],
)
def test_impossible_networks_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrialConfig(**{"dataset": "digits", **settings})


@pytest.mark.parametrize(("context", "heads"), [("none", "shared"), ("none", "per-task"), ("binary", "shared")])
def test_incremental_cifar_trains_its_resnet_on_ten_classes_at_a_time(context: str, heads: str) -> None:
    """Made-up images of 110 classes, a few of each: colours tell a task's classes apart."""
    config = TrialConfig(
        dataset="cifar-10-100", stream="incremental", model="resnet-18", width=2, context=context, heads=heads,
        num_tasks=3, steps_per_task=12, batch_size=20, lr=0.003,
    )  # fmt: skip
    labels = torch.arange(110).repeat_interleave(4)
    colours = torch.randint(256, (110, 3, 1), generator=torch.Generator().manual_seed(0))
    images = colours[labels].expand(-1, -1, 1024).reshape(-1, 3072).to(torch.uint8)
    data = Dataset(
        name="cifar-10-100", shape=(3, 32, 32), num_classes=110, scale=255.0, mean=0.5, std=0.5,
        train_images=images, train_labels=labels, test_images=images, test_labels=labels,
    )  # fmt: skip
    training = PackTraining([config], data, CPU)
    assert (
        training.learner.storage[0].bytes_per_task
        == {
            ("none", "shared"): 0,
            ("none", "per-task"): 4 * (16 * 10 + 10),
            ("binary", "shared"): sum(
                layer.inputs + 7 >> 3 for layer in config.method.layers(config) if layer.has_context
            ),
        }[context, heads]
    )
    while not training.done:
        training.train_task()
    (result,) = training.results()
    assert result.num_samples.tolist() == [[40, 0, 0], [40, 40, 0], [40, 40, 40]]
    assert result.accuracy.diagonal().mean() > 0.2  # 0.1 is chance
