from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.methods.superposed import build_model
from psp_core.schedules import SCHEDULES
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import started, whole_and_resumed
from tests.contracts import rng

CPU = torch.device("cpu")
DIGITS = TrialConfig(
    dataset="digits", width=6, depth=1, num_tasks=3, steps_per_task=4, batch_size=16, lr=0.01, learned_contexts=True,
)  # fmt: skip
TRAINED = [name for name, schedule in SCHEDULES.items() if not schedule.draws]
KINDS = {
    f"{context} {schedule} x{number}": replace(DIGITS, context=context, schedule=schedule, contexts_per_task=number)
    for context in ("binary", "complex")
    for schedule in TRAINED
    for number in (1, 2)
    if (schedule, number) != ("task", 1) and (context == "complex" or SCHEDULES[schedule]().needs != "complex")
}


def plain_loop(
    config: Trial, training: PackTraining, make: Callable[[list[Tensor]], torch.optim.Optimizer]
) -> dict[str, Tensor]:
    """The plain module, one optimiser over weights and whole tables of contexts, autograd through the schedule."""
    net = build_model(replace(config, schedule="task"), CPU)
    leaves = {name: tensor.detach().clone().requires_grad_() for name, tensor in net.named_parameters()}
    leaves |= {name: table.clone().requires_grad_() for name, table in net.named_buffers()}
    tables = [name for name, _ in net.named_buffers()]
    optimiser, schedule = make(list(leaves.values())), config.method.schedule
    positions = torch.arange(config.num_tasks * config.method.num_stretches(config)) * (
        config.contexts_per_task / config.method.num_stretches(config)
    )
    steps = config.steps_per_task // config.method.num_stretches(config)
    for visit in range(config.num_visits):
        task = visit % config.num_tasks
        training.begin_task(visit)
        for step in range(config.steps_per_task):
            row = task * config.method.num_stretches(config) + step // steps
            used = {name: schedule.contexts(leaves[name], positions[row : row + 1], rng()) for name in tables}
            x_EBI, labels_EB = training._batch(torch.tensor([step]))
            optimiser.zero_grad()
            nn.functional.cross_entropy(functional_call(net, leaves | used, (x_EBI[0], 0)), labels_EB[0]).backward()
            optimiser.step()
    return {name: leaf.detach() for name, leaf in leaves.items()}


def trained(config: Trial) -> PackTraining:
    """Beside a member of another seed."""
    training = PackTraining([config, replace(config, seed=1, lr=0.02)], load_dataset("digits"), CPU)
    while not training.done:
        training.train_task()
    return training


def assert_same(training: PackTraining, expected: dict[str, Tensor], tolerance: float) -> None:
    for name, leaf in expected.items():
        found = training.learner.networks.parameters.get(
            name, {0: training.learner.networks.all_contexts[0].get(name)}
        )[0]
        torch.testing.assert_close(found, leaf, atol=tolerance, rtol=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_contexts_are_trained_to_what_autograd_over_the_whole_table_gives(kind: str) -> None:
    config = replace(KINDS[kind], optimiser="sgd", lr=0.05)
    training = trained(config)
    expected = plain_loop(config, training, lambda leaves: torch.optim.SGD(leaves, lr=config.lr))
    assert_same(training, expected, 1e-5)
    drawn = dict(build_model(replace(config, schedule="task"), CPU).named_buffers())
    moved = (
        (training.learner.networks.all_contexts[0]["layers.0.contexts"] - drawn["layers.0.contexts"])
        .flatten(1)
        .abs()
        .amax(1)
    )
    shared = config.method.schedule.num_shared
    assert ((moved > 1e-4) == (torch.arange(len(moved)) < (shared or len(moved)))).all()


@pytest.mark.parametrize("kind", ["complex local-mix x1", "complex blend x2", "binary task x2"])
def test_one_rmsprop_has_all_contexts_and_decays_the_squares_of_those_that_are_away(kind: str) -> None:
    config = replace(KINDS[kind], num_cycles=2, lr=0.001)
    training = trained(config)
    assert_same(training, plain_loop(config, training, lambda leaves: torch.optim.RMSprop(leaves, lr=config.lr)), 1e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_measured_is_the_network_with_the_contexts_in_use(kind: str) -> None:
    """Of every task, at its first position: retrieved from the tables as they are at the end."""
    config, data = KINDS[kind], load_dataset("digits")
    training = trained(config)
    net, tables = build_model(replace(config, schedule="task"), CPU), training.learner.networks.all_contexts[0]
    weights = {name: parameter[0] for name, parameter in training.learner.networks.parameters.items()}
    for task in range(config.num_tasks):
        position = torch.tensor([float(task * config.contexts_per_task)])
        used = {name: config.method.schedule.contexts(table, position, rng()) for name, table in tables.items()}
        x = data.normalise(data.test_images[:, training.tasks[0].describe(task)])
        logits = functional_call(net, weights | used, (x, 0))
        loss = nn.functional.cross_entropy(logits, data.test_labels).double()
        torch.testing.assert_close(training.measured["loss"][0, -1, task], loss, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("kind", ["complex local-mix x2", "binary cumulative-product x1", "binary task x2"])
def test_a_trial_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    whole, second = whole_and_resumed([replace(KINDS[kind], seed=seed) for seed in range(2)], stop_after=1)
    assert torch.equal(whole.learner.networks.flat, second.learner.networks.flat)
    assert torch.equal(whole.measured["loss"].nan_to_num(), second.measured["loss"].nan_to_num())


def test_bytes_are_those_of_numbers_one_for_each_context_of_a_task_or_for_all_tasks() -> None:
    numbers = 4 * (64 + 6)
    sizes = {
        name: started(KINDS[name]).storage[0]
        for name in ("binary task x2", "complex local-mix x1", "complex one-power x1", "complex cosine-of-two x1")
    }
    assert {name: (size.bytes_once, size.bytes_per_task) for name, size in sizes.items()} == {
        "binary task x2": (0, 2 * numbers),
        "complex local-mix x1": (0, 2 * numbers),
        "complex one-power x1": (2 * numbers, 0),
        "complex cosine-of-two x1": (2 * 2 * numbers, 0),
    }


def test_convolutions_train_the_contexts_that_a_schedule_combines() -> None:
    """Statistics of a task's own are beside them; and without a schedule a task may have several of both sides."""
    config = TrialConfig(
        dataset="digits", model="small-conv", width=4, depth=2, num_tasks=3, steps_per_task=3, batch_size=8,
        schedule="local-product", learned_contexts=True, norm="per-task", lr=0.01,
    )  # fmt: skip
    several = replace(config, norm="static", schedule="task", contexts_per_task=3, output_contexts=True)
    for trial in (config, several):
        (result,) = train([trial])
        assert result.loss[-1].isfinite().all()


def test_contexts_that_are_taken_by_chance_are_not_trained() -> None:
    with pytest.raises(ValueError, match="does not apply to schedule='redrawn', which takes contexts by chance"):
        replace(DIGITS, schedule="redrawn")
    with pytest.raises(ValueError, match="heads='per-task' needs one context for each task"):
        replace(DIGITS, schedule="cumulative-product", heads="per-task")
    with pytest.raises(ValueError, match="output_contexts=true has others"):
        replace(DIGITS, schedule="local-product", output_contexts=True)
