"""Joint training: all tasks at once."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.heads import TaskHeads
from psp_core.layers import SuperposedLinear
from psp_core.measuring import num_retrieved, num_tests
from psp_core.methods.superposed import build_model
from psp_core.training import PackTraining, train
from psp_core.trial import replace
from psp_core.visits import mixed_tasks
from tests.conftest import assert_packed_equals_alone, tasks_of, whole_and_resumed

CPU = torch.device("cpu")
JOINT = TrialConfig(
    dataset="digits", context="none", joint=True, width=16, num_tasks=3, steps_per_task=20, batch_size=16,
    optimiser="adam", lr=0.003,
)  # fmt: skip
SPLIT: dict[str, Any] = {"stream": "split", "classes_per_task": 3, "keep_labels": True}


def batches(config: Trial, visit: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Inputs, labels and tasks of each step of a visit, as training has them."""
    training = PackTraining([config], load_dataset("digits"), CPU)
    training.begin_task(visit)
    found = [training._batch(torch.tensor([step])) for step in range(config.steps_per_task)]
    return [(x[0], y[0], tasks) for (x, y), tasks in zip(found, mixed_tasks(config, visit), strict=True)]


@pytest.mark.parametrize("settings", [{}, SPLIT, {**SPLIT, "keep_labels": False}], ids=str)
def test_each_image_is_as_its_own_task_shows_it(settings: dict[str, Any]) -> None:
    """An image of the data set, seen as its task sees it, with the task's label; each task has its share of a batch."""
    config = replace(JOINT, **settings)
    data, stream = load_dataset("digits"), tasks_of(config)
    seen = torch.zeros(3, dtype=torch.int64)
    for x_BI, labels_B, tasks_B in batches(config, 1)[:5]:
        for x_I, label, task in zip(x_BI, labels_B, tasks_B.tolist(), strict=True):
            as_task = data.normalise(stream.apply(data.train_images[None], stream.describe(task)[None])[0])
            (places,) = torch.where((as_task == x_I).all(dim=1))
            relabelled = stream.relabel(data.train_labels[places][None], stream.describe(task)[None])[0]
            assert label in relabelled
            seen[task] += 1
    assert (seen > 10).all()


def test_each_task_is_passed_through_in_shuffled_epochs() -> None:
    config = replace(JOINT, **SPLIT, steps_per_task=60)
    training = PackTraining([config], load_dataset("digits"), CPU)
    training.begin_task(0)
    tasks, samples = mixed_tasks(config, 0), training._samples_SEB[:, 0]
    for task in range(3):
        of_task, classes = samples[tasks == task], tasks_of(config).classes(task)
        assert classes is not None
        there = int(torch.isin(load_dataset("digits").train_labels, classes).sum())
        assert len(of_task) < there
        assert len(of_task.unique()) == len(of_task)


@pytest.mark.usefixtures("float64")
def test_the_last_row_is_what_a_plain_loop_gives() -> None:
    """One network and one Adam over num_tasks * steps_per_task mixed batches."""
    model, data, stream = build_model(JOINT, CPU), load_dataset("digits"), tasks_of(JOINT)
    net = nn.ModuleList(nn.utils.skip_init(nn.Linear, *layer.weight.shape) for layer in model.superposed_layers())
    for linear, layer in zip(net, model.superposed_layers(), strict=True):
        linear.weight.data, linear.bias.data = layer.weight.data.T.clone(), layer.bias.data.clone()

    def logits(x: Tensor) -> Tensor:
        return net[2](net[1](net[0](x).relu()).relu())

    optimiser = torch.optim.Adam(net.parameters(), lr=JOINT.lr)
    for visit in range(3):
        for x, labels, _ in batches(JOINT, visit):
            optimiser.zero_grad()
            F.cross_entropy(logits(x), labels).backward()
            optimiser.step()
    (result,) = train([JOINT], progress=False)
    for task in range(3):
        found = logits(data.normalise(data.test_images[:, stream.describe(task)])).argmax(dim=1)
        assert result.accuracy[-1, task] == (found == data.test_labels).double().mean()


OWN: list[dict[str, Any]] = [
    {"heads": "per-task"},
    {"context": "binary"},
    {"context": "binary", "heads": "per-task"},
    {"context": "xdg", "gated": 0.5, "heads": "per-task"},
    {"context": "binary", "learned_contexts": True},
]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("settings", OWN, ids=str)
def test_each_image_meets_its_tasks_context_and_head(settings: dict[str, Any]) -> None:
    """A plain loop: each image passes through its own task's network, and one Adam has all weights and heads."""
    config = replace(JOINT, **settings)
    layers = [layer for layer in build_model(config, CPU).modules() if isinstance(layer, SuperposedLinear | TaskHeads)]
    numbers = [{name: tensor.detach().clone() for name, tensor in layer.state_dict().items()} for layer in layers]
    is_trained = {"weight": True, "bias": True, "contexts": config.row["learned_contexts"]}
    trained = [tensor.requires_grad_() for layer in numbers for name, tensor in layer.items() if is_trained[name]]
    optimiser = torch.optim.Adam(trained, lr=config.lr)

    def logits(x_BI: Tensor, task: int) -> Tensor:
        for place, layer in enumerate(numbers):
            weight, bias = (
                layer[name][task] if layer["bias"].dim() > 1 else layer[name] for name in ("weight", "bias")
            )
            x_BI = x_BI * layer["contexts"][task] if layer.get("contexts", torch.empty(0)).numel() else x_BI
            x_BI = x_BI @ weight + bias
            x_BI = x_BI.relu() if place + 1 < len(numbers) else x_BI
        return x_BI

    for visit in range(config.num_tasks):
        for x_BI, labels_B, tasks_B in batches(config, visit):
            optimiser.zero_grad()
            logits_BO = torch.cat([logits(x_I[None], task) for x_I, task in zip(x_BI, tasks_B.tolist(), strict=True)])
            F.cross_entropy(logits_BO, labels_B).backward()
            optimiser.step()
    (result,) = train([config], progress=False)
    data, stream = load_dataset("digits"), tasks_of(config)
    for task in range(config.num_tasks):
        found = logits(data.normalise(data.test_images[:, stream.describe(task)]), task).argmax(dim=1)
        assert result.accuracy[-1, task] == (found == data.test_labels).double().mean()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("settings", [*OWN, {"context": "complex"}, {"context": "rotation"}], ids=str)
def test_networks_of_tasks_are_packed_and_resumed_too(settings: dict[str, Any]) -> None:
    base = replace(JOINT, **settings, steps_per_task=5)
    assert_packed_equals_alone([replace(base, seed=seed, lr=lr) for seed, lr in [(0, 0.003), (1, 0.01)]])
    whole, resumed = whole_and_resumed([replace(base, seed=seed) for seed in range(2)], 2)
    for one, other in zip(whole.results(), resumed.results(), strict=True):
        assert torch.equal(one.loss.nan_to_num(), other.loss.nan_to_num())


@pytest.mark.usefixtures("float64")
def test_without_contexts_it_is_packed_with_those_that_have_them() -> None:
    plain, bound = (replace(JOINT, context=name, steps_per_task=5) for name in ("none", "binary"))
    assert plain.shape == bound.shape
    assert_packed_equals_alone([plain, bound])


def test_it_is_measured_at_its_end_alone_and_counts_what_is_measured() -> None:
    (result,) = train([JOINT], progress=False)
    assert result.accuracy[:-1].isnan().all()
    assert result.accuracy[-1].isfinite().all()
    assert num_tests(JOINT) == int(result.num_samples.sum())
    assert num_retrieved(JOINT) == 3
    within = replace(JOINT, eval_every=10, eval_tasks="first")
    (measured,) = train([within], progress=False)
    assert [point.step for point in measured.curve] == [10, 20, 30, 40, 50, 60]
    assert num_retrieved(within) == 3 + 5  # the curve's last point is a measurement after the last task
    assert torch.equal(measured.accuracy[-1], result.accuracy[-1])


def test_every_task_is_learned_and_the_first_is_not_forgotten() -> None:
    long = replace(JOINT, steps_per_task=150, width=32)
    joint, one_by_one = (train([trial], progress=False)[0].accuracy[-1] for trial in (long, replace(long, joint=False)))
    assert joint.min() > 0.6
    assert joint[0] > one_by_one[0]


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("settings", [{}, SPLIT, {"model": "small-conv", "width": 4}], ids=str)
def test_packed_equals_alone(settings: dict[str, Any]) -> None:
    base = replace(JOINT, **settings, steps_per_task=5)
    assert_packed_equals_alone([replace(base, seed=seed, lr=lr) for seed, lr in [(0, 0.003), (1, 0.01), (1, 0.003)]])


def test_resumed_equals_whole_to_the_bit() -> None:
    whole, resumed = whole_and_resumed([replace(JOINT, seed=seed) for seed in range(2)], 2)
    for one, other in zip(whole.results(), resumed.results(), strict=True):
        assert torch.equal(one.loss.nan_to_num(), other.loss.nan_to_num())


def test_augmented_images_are_each_of_their_own_task() -> None:
    (result,) = train([replace(JOINT, augmentation="crop-flip", steps_per_task=3)], progress=False)
    assert result.accuracy[-1].isfinite().all()


def test_a_trial_of_fewer_tasks_is_another_trial() -> None:
    assert not JOINT.is_nested
    assert not JOINT.facts["nested_contexts"]
    assert JOINT.shape != replace(JOINT, num_tasks=2).shape
    assert "".join(JOINT.curve_of.values()) == "none, joint"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "small-conv", "norm": "static", "context": "binary"}, "joint=true with context='binary'"),
        (
            {"model": "small-conv", "norm": "static", "heads": "per-task"},
            "heads='per-task', norm='static': a batch has",
        ),
        ({"context": "binary", "contexts_per_task": 2}, "contexts_per_task=2, schedule='task': all tasks are trained"),
        ({"context": "complex", "schedule": "local-mix"}, "schedule='local-mix': all tasks are trained"),
        ({"model": "small-conv", "norm": "per-task"}, "norm='per-task': a batch has images of all tasks"),
        ({"protect": "si"}, "joint=true with protect='si', trunk='shared': no task comes later"),
        ({"trunk": "per-task"}, "protect='none', trunk='per-task': no task comes later"),
        ({"stream": "rotating"}, "joint=true does not apply to stream='rotating'"),
    ],
)
def test_it_is_refused_where_it_has_no_meaning(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(JOINT, **settings)
