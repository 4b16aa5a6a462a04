"""Whole trials whose trunk not every task trains, beside plain loops over torch's own modules, and in packs."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.gradient_agreement import gradient_agreement
from psp_core.measuring import num_tests
from psp_core.methods.base import num_outputs
from psp_core.methods.superposed import build_model
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import assert_packed_equals_alone, tasks_of, whole_and_resumed

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", permute_first=True, context="none", width=32, num_tasks=3, steps_per_task=40, batch_size=32,
    optimiser="adam", lr=0.003,
)  # fmt: skip
BATCHE = replace(
    DIGITS, context="binary", learned_contexts=True, output_contexts=True, trunk="first-task", later_lr=0.03
)
HEADS = replace(DIGITS, heads="per-task", trunk="first-task", later_lr=0.02)
PER_TASK = replace(DIGITS, trunk="per-task", optimiser="rmsprop", lr=0.001)
INDEPENDENT = replace(PER_TASK, trunk="independent")
KINDS = {
    "batche": BATCHE,
    "batche random": replace(BATCHE, trunk="random", later_lr=None, lr=0.02),
    "batche every task": replace(BATCHE, trunk="shared", later_lr=None),
    "batche gaussian": replace(BATCHE, context="gaussian", later_lr=None),
    "batche heads": replace(BATCHE, heads="per-task", optimiser="rmsprop", lr=0.001, later_lr=0.003),
    "signs on both sides": replace(DIGITS, context="binary", output_contexts=True),
    "heads": HEADS,
    "heads random": replace(HEADS, trunk="random", later_lr=None),
    "heads lower bound": replace(HEADS, trunk="shared", later_lr=None),
    "per task": PER_TASK,
    "per task adam": replace(PER_TASK, optimiser="adam"),
    "independent": INDEPENDENT,
    "contexts first": replace(BATCHE, context="rotation", output_contexts=False, later_lr=0.003),
}
SMALL_CONV = replace(
    BATCHE, channel_contexts=True, stream="split", permute_first=False, classes_per_task=3, model="small-conv", width=4,
    steps_per_task=10,
)  # fmt: skip
Net = Callable[[Tensor], Tensor]


class Plain:
    """Trunk, factors and heads as anyone would write them, with the numbers that a trial begins with."""

    def __init__(self, config: Trial) -> None:
        model = build_model(config, CPU)
        drawn = dict(model.named_buffers())
        self.trunk = nn.ModuleList()
        self.own = [nn.ParameterDict() for _ in range(config.num_tasks)]
        for index, layer in enumerate(model.superposed_layers()):
            linear = nn.utils.skip_init(nn.Linear, *layer.weight.shape)
            linear.weight.data, linear.bias.data = layer.weight.data.T.clone(), torch.zeros(layer.weight.shape[1])
            self.trunk.append(linear)
            for k, own in enumerate(self.own):
                for name in ("contexts", "output_contexts"):
                    if (buffer := drawn.get(f"layers.{index}.{name}")) is not None and buffer.numel():
                        own[f"{name}{index}"] = nn.Parameter(buffer[k].clone(), config.learned_contexts)
        if config.heads == "per-task":
            for k, own in enumerate(self.own):
                own["head"] = nn.Parameter(drawn[f"layers.{config.depth}.weight"][k].T.clone())
                own["bias"] = nn.Parameter(torch.zeros(num_outputs(config)))

    def net(self, trunk: nn.ModuleList, k: int) -> Net:
        def logits(x: Tensor) -> Tensor:
            own = self.own[k]
            for index, linear in enumerate(trunk):
                weight = linear.weight
                if f"contexts{index}" in own:
                    c = own[f"contexts{index}"]
                    weight = weight @ c if c.dim() == 2 else weight * c
                if f"output_contexts{index}" in own:
                    weight = own[f"output_contexts{index}"][:, None] * weight
                x = F.linear(x, weight, linear.bias)
                if index + 1 < len(trunk) or "head" in own:
                    x = x.relu()
            return F.linear(x, own["head"], own["bias"]) if "head" in own else x

        return logits


def by_hand(config: Trial) -> Tensor:
    data, stream, plain = load_dataset("digits"), tasks_of(config), Plain(config)
    kind = {"adam": torch.optim.Adam, "rmsprop": torch.optim.RMSprop}[config.optimiser.name]
    trunk, trunks, nets = plain.trunk, [], []
    first, of_trunk = deepcopy(trunk), kind(trunk.parameters(), lr=config.lr)
    R = torch.full((config.num_tasks, config.num_tasks), float("nan"), dtype=torch.float64)
    for task in range(config.num_tasks):
        if config.trunk in ("per-task", "independent"):
            trunk = deepcopy(first if config.trunk == "independent" else trunk)
            of_trunk = kind(trunk.parameters(), lr=config.lr)
        is_trained = config.trunk != "random" and (config.trunk != "first-task" or task == 0)
        lr = config.lr if is_trained or config.later_lr is None else config.later_lr
        own = [p for p in plain.own[task].values() if p.requires_grad]
        optimisers = [*([of_trunk] if is_trained else []), *([kind(own, lr=lr)] if own else [])]
        trunks.append(trunk)
        nets.append(plain.net(trunk, task))
        for samples in batch_order(config, len(data.train_labels), task):
            x = data.normalise(data.train_images[samples][:, stream.describe(task)])
            for optimiser in optimisers:
                optimiser.zero_grad()
            F.cross_entropy(nets[task](x), data.train_labels[samples]).backward()
            for optimiser in optimisers:
                optimiser.step()
        for j in range(task + 1):
            found = nets[j](data.normalise(data.test_images[:, stream.describe(j)])).argmax(dim=1)
            R[task, j] = (found == data.test_labels).double().mean()
    return R


def test_batche_costs_a_number_for_each_channel_at_both_ends_of_every_layer() -> None:
    """On the paper's ResNet-18: the stem, four stages, of which all but the first widen twice, and the end."""
    stages = [4 * (20 + 20), *(2 * (i + 2 * i) + 3 * (2 * i + 2 * i) for i in (20, 40, 80))]
    numbers = (3 + 20) + sum(stages) + (160 + 5)
    paper = replace(
        BATCHE, dataset="cifar-100", stream="split", permute_first=False, classes_per_task=5, model="resnet-18",
        width=20, channel_contexts=True,
    )  # fmt: skip
    meta = torch.device("meta")
    assert paper.method.start([paper], meta).storage[0].bytes_per_task == 4 * numbers
    signs = replace(paper, learned_contexts=False, trunk="shared", later_lr=None)
    assert signs.method.start([signs], meta).storage[0].bytes_per_task == pytest.approx(numbers / 8, rel=0.05)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_R_is_what_a_plain_loop_gives(kind: str) -> None:
    torch.testing.assert_close(train([KINDS[kind]])[0].accuracy, by_hand(KINDS[kind]), equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", [*KINDS, "small-conv"])
def test_packed_equals_alone(kind: str) -> None:
    base = KINDS.get(kind, SMALL_CONV)
    assert_packed_equals_alone(
        [replace(base, seed=seed, lr=base.lr * factor) for seed, factor in [(0, 1), (1, 0.3), (1, 0.6)]]
    )


@pytest.mark.parametrize("stop_after", [1, 2])
@pytest.mark.parametrize("kind", ["batche", "heads", "heads random", "per task", "independent", "small-conv"])
def test_training_goes_on_from_its_state_to_the_bit(kind: str, stop_after: int) -> None:
    """A member of the pack has diverged by then."""
    base = KINDS.get(kind, SMALL_CONV)
    configs = [replace(base, seed=0), replace(base, seed=1), replace(base, lr=1e30)]
    whole, second = whole_and_resumed(configs, stop_after)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert mine.diverged_at == theirs.diverged_at
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert torch.equal(mine.accuracy.nan_to_num(), theirs.accuracy.nan_to_num())
        assert torch.equal(mine.num_samples, theirs.num_samples)
    assert torch.equal(whole.learner.networks.flat, second.learner.networks.flat)


@pytest.mark.parametrize("kind", ["batche", "batche random", "heads", "heads random", "batche heads"])
def test_frozen_weights_do_not_change_and_a_tasks_own_numbers_do(kind: str) -> None:
    config = replace(KINDS[kind], seed=3)
    training = PackTraining([config, replace(config, seed=4)], load_dataset("digits"), CPU)
    if config.trunk == "first-task":
        drawn = training.learner.networks.flat.clone()
        training.train_task()
        assert not torch.equal(training.learner.networks.flat, drawn)
    frozen = training.learner.networks.flat.clone()
    while not training.done:
        task = training.tasks_seen
        before = [
            {name: b.clone() for name, b in buffers.items()} for buffers in training.learner.networks.all_contexts
        ]
        training.train_task()
        assert torch.equal(training.learner.networks.flat, frozen)
        for old, new in zip(before, training.learner.networks.all_contexts, strict=True):
            for name in training.learner.networks.learned:
                changed = (old[name] != new[name]).flatten(1).any(dim=1).tolist()
                assert changed == [k == task for k in range(config.num_tasks)]
    loss = training.results()[0].loss  # nothing of a task is lost when others follow
    torch.testing.assert_close(loss[-1, :-1], loss[-2, :-1], atol=1e-5, rtol=1e-5)


def test_what_all_tasks_share_is_trained_by_task_0_as_it_is_by_every_task() -> None:
    first, every = (train([replace(BATCHE, trunk=trunk, later_lr=None)])[0] for trunk in ("first-task", "shared"))
    assert torch.equal(first.loss[0, 0], every.loss[0, 0])
    assert first.accuracy[2, 0] > every.accuracy[2, 0]


@pytest.mark.parametrize("optimiser", ["sgd", "adam"])
def test_a_diverged_member_stands_still_at_another_lr_and_harms_nobody(optimiser: str) -> None:
    config = replace(HEADS, optimiser=optimiser, lr=0.01)
    wild = replace(config, lr=1e30, seed=1)
    training = PackTraining([config, wild], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
        assert training.learner.networks.flat[1].count_nonzero() == 0
    steady, diverged = training.results()
    assert diverged.diverged_at is not None
    assert diverged.accuracy.isnan().all()
    beside = train([config, replace(config, seed=1)])[0]
    assert torch.equal(steady.accuracy.nan_to_num(), beside.accuracy.nan_to_num())


@pytest.mark.parametrize(
    ("eval_tasks", "expected"),
    [
        ("all", [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]),
        ("ends", [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]),
        ("first", [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]),
    ],
)
def test_each_net_is_measured_once_on_the_whole_test_set(eval_tasks: str, expected: list[list[int]]) -> None:
    """At the milestone, 3, and at the end all tasks count; `ends` and `first` leave nothing else out of 4 tasks."""
    config = replace(PER_TASK, num_tasks=4, steps_per_task=2, eval_tasks=eval_tasks, eval_samples=50, milestones=(3,))
    result = train([config])[0]
    assert result.num_samples.tolist() == [[359 * found for found in row] for row in expected]
    assert torch.equal(result.accuracy.isfinite(), result.num_samples > 0)
    for j in range(4):
        column = result.accuracy[:, j][result.accuracy[:, j].isfinite()]
        assert (column == result.accuracy[j, j]).all()
    assert num_tests(config) == 4 * 359


def test_of_nets_of_their_own_that_are_not_due_the_newest_alone_is_measured() -> None:
    result = train([replace(PER_TASK, num_tasks=4, steps_per_task=2, eval_tasks="first")])[0]
    assert (result.num_samples > 0).long().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]


def test_fewer_tasks_are_the_beginning_of_more() -> None:
    for config in (BATCHE, HEADS, PER_TASK, INDEPENDENT):
        few, many = train([replace(config, num_tasks=2)])[0].loss, train([config])[0].loss
        assert torch.equal(few[1], many[1, :2])


LAYERS = [(64, 32), (32, 32), (32, 10)]
WEIGHTS = sum(i * o + o for i, o in LAYERS)


@pytest.mark.parametrize(
    ("kind", "shared", "per_task"),
    [
        ("batche", WEIGHTS, 4 * sum(i + o for i, o in LAYERS)),
        ("batche random", 0, 4 * sum(i + o for i, o in LAYERS)),
        ("signs on both sides", WEIGHTS, (64 + 32 + 32 + 32 + 32 + 16) // 8),
        ("heads", WEIGHTS - 330, 4 * 330),
        ("heads random", 0, 4 * 330),
        ("per task", 0, 4 * WEIGHTS),
        ("independent", 0, 4 * WEIGHTS),
    ],
)
def test_bytes_are_counted_once_or_for_each_task(kind: str, shared: int, per_task: int) -> None:
    result = train([replace(KINDS[kind], num_tasks=1, steps_per_task=1)])[0]
    assert (result.num_params, result.context_bytes_per_task) == (shared, per_task)
    assert KINDS[kind].cost.num_params == shared


def test_gradients_are_compared_where_every_task_trains_the_trunk() -> None:
    with pytest.raises(ValueError, match="trunk='first-task': gradients agree or not where all tasks train it"):
        next(gradient_agreement(BATCHE, load_dataset("digits"), CPU))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"trunk": "first-task"}, "leaves tasks nothing to train once it is frozen"),
        ({"trunk": "random", "context": "binary"}, "leaves tasks nothing to train once it is frozen"),
        ({"trunk": "first"}, "did you mean 'first-task'"),
        ({"trunk": "per-task", "heads": "per-task"}, "do not apply to trunk='per-task'"),
        ({"trunk": "per-task", "context": "binary"}, "do not apply to trunk='per-task'"),
        ({"trunk": "random", "heads": "per-task", "later_lr": 0.1}, "later_lr=0.1 does not apply to trunk='random'"),
        ({"later_lr": 0.1}, "later_lr=0.1 does not apply to trunk='shared'"),
        ({"trunk": "first-task", "heads": "per-task", "later_lr": 0}, "later_lr=0.0 must be a positive"),
        ({"trunk": "independent", "context": "binary"}, "do not apply to trunk='independent'"),
        ({"trunk": "per-task", "num_cycles": 2}, "num_cycles=2 does not apply to trunk='per-task'"),
        (
            {"method": "supsup", "trunk": "per-task"},
            "trunk='per-task' does not apply to method='supsup'; leave it out, or use 'psp'",
        ),
        ({"channel_contexts": True, "context": "binary"}, "it is about the contexts of convolutions"),
        ({"channel_contexts": True, "model": "small-conv"}, "it is about the contexts of convolutions"),
        ({"method": "supsup", "output_contexts": True}, "output_contexts=True does not apply to method='supsup'"),
        ({"context": "rotation", "output_contexts": True}, "which is not one real number for each input"),
        ({"context": "complex", "output_contexts": True}, "which is not one real number for each input"),
        ({"context": "binary", "output_contexts": True, "schedule": "local-product"}, "has others"),
    ],
)
def test_what_does_not_apply_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(DIGITS, **settings)
