"""Contexts and heads that come back: their optimiser goes on as one over all of them would."""

import pytest
import torch
from torch import Tensor

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.kept_states import KeptStates
from psp_core.optimisers import OPTIMISERS
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import whole_and_resumed
from tests.contracts import rng
from tests.psp_core.test_optimisers import stepper

CPU = torch.device("cpu")
VISITS = [(0, 3), (1, 4), (2, 2), (0, 3), (2, 5), (1, 1), (0, 4), (0, 2)]  # (row, steps)
TURNING = TrialConfig(
    dataset="digits", stream="rotating", num_tasks=3, num_cycles=3, width=8, context="complex", learned_contexts=True,
    steps_per_task=4, batch_size=16, lr=0.01, eval_tasks="first",
)  # fmt: skip
HEADS = replace(
    TURNING, stream="split", classes_per_task=3, heads="per-task", context="none", learned_contexts=False
)  # fmt: skip


def gradients(size: int) -> list[Tensor]:
    """One for each step of all visits, (1, P)."""
    number = sum(steps for _, steps in VISITS)
    return list(torch.randn(number, 1, size, generator=rng(1), dtype=torch.float64))


def visited(name: str, table_RP: Tensor, given: list[Tensor], momentum: float = 0.0, *, fused: bool = True) -> Tensor:
    """The table after all visits, one row of it at a time in the optimiser's hands."""
    table_RP = table_RP.clone()
    current_1P, gradients_1P = torch.zeros_like(table_RP[:1]), torch.zeros_like(table_RP[:1])
    optimiser = stepper(name, current_1P, gradients_1P, [0.01], [momentum])
    optimiser._fused &= fused
    kept, left, step = KeptStates(optimiser), iter(given), 0
    for row, steps in VISITS:
        current_1P[0] = table_RP[row]
        kept.begin(row, step)
        for _ in range(steps):
            gradients_1P.copy_(next(left))
            optimiser.step()
        step += steps
        kept.end(row, step)
        table_RP[row] = current_1P[0]
    return table_RP


@pytest.mark.parametrize("fused", [True, False])
def test_rmsprop_goes_on_as_one_over_all_rows(fused: bool) -> None:
    """The table is one parameter; rows that are not in use have gradients of zero."""
    table_RP = torch.randn(3, 20, generator=rng(), dtype=torch.float64)
    given = gradients(20)
    dense = torch.nn.Parameter(table_RP.clone())
    theirs, left = torch.optim.RMSprop([dense], lr=0.01), iter(given)
    for row, steps in VISITS:
        for _ in range(steps):
            dense.grad = torch.zeros_like(dense)
            dense.grad[row] = next(left)[0]
            theirs.step()
    ours = visited("rmsprop", table_RP, given, fused=fused)
    torch.testing.assert_close(ours, dense.detach(), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize(("name", "momentum"), [("sgd", 0.9), ("adam", 0.0)])
def test_others_go_on_as_one_for_each_row(name: str, momentum: float) -> None:
    """Velocity, moments and Adam's count of steps are a row's own; what is away does not move."""
    table_RP = torch.randn(3, 20, generator=rng(), dtype=torch.float64)
    given = gradients(20)
    rows = [torch.nn.Parameter(row.clone()) for row in table_RP]
    settings = {"momentum": momentum} if momentum else {}
    theirs = [{"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[name]([row], lr=0.01, **settings) for row in rows]
    left = iter(given)
    for row, steps in VISITS:
        for _ in range(steps):
            rows[row].grad = next(left)[0]
            theirs[row].step()
    ours = visited(name, table_RP, given, momentum)
    torch.testing.assert_close(ours, torch.stack([row.detach() for row in rows]), atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("config", [TURNING, HEADS], ids=["contexts", "heads"])
def test_a_trial_s_rows_move_as_in_one_optimiser_over_all_of_them(config: Trial) -> None:
    """PyTorch's RMSprop over a table of all rows is given the gradients that the pack finds, step by step."""
    training = PackTraining([config, replace(config, seed=1)], load_dataset("digits"), CPU)
    own = training.learner.groups[1]
    flat, of_step, drawn = own.values_EP, own.gradients_EP, []
    for row in range(config.num_tasks):
        training.learner.networks.begin(row)
        drawn.append(flat.clone())
    table = torch.nn.Parameter(torch.stack(drawn))
    theirs = torch.optim.RMSprop([table], lr=config.lr)
    ours = training.optimisers[1]
    take_step = ours.step

    def both(lr_factor_1: Tensor | None = None) -> None:
        table.grad = torch.zeros_like(table)
        table.grad[training.tasks_seen % config.num_tasks] = of_step
        theirs.step()
        take_step(lr_factor_1)
        torch.testing.assert_close(flat, table.detach()[training.tasks_seen % config.num_tasks], atol=1e-5, rtol=1e-5)

    ours.step = both  # type: ignore[method-assign]
    while not training.done:
        training.train_task()


def test_a_row_that_comes_back_does_not_begin_with_a_leap() -> None:
    """From a mean square of zero RMSprop's first step is ten learning rates long, whatever the gradient."""
    training = PackTraining([TURNING], load_dataset("digits"), CPU)
    steps, ours = [], training.optimisers[1]
    take_step = ours.step

    def watched(lr_factor_1: Tensor | None = None) -> None:
        before = training.learner.groups[1].values_EP.clone()
        take_step(lr_factor_1)
        steps.append((training.learner.groups[1].values_EP - before).abs().max().item() / TURNING.lr)

    ours.step = watched  # type: ignore[method-assign]
    while not training.done:
        training.train_task()
    first_of_visits = steps[:: TURNING.steps_per_task]
    assert first_of_visits[:3] == pytest.approx([10, 10, 10], rel=1e-3)
    assert max(first_of_visits[3:]) < 9.9


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("stop_after", [2, 5])
def test_what_is_kept_goes_on_from_a_file_to_the_bit(optimiser: str, stop_after: int) -> None:
    configs = [replace(TURNING, optimiser=optimiser, seed=seed) for seed in range(2)]
    whole, second = whole_and_resumed(configs, stop_after)
    assert torch.equal(whole.learner.networks.flat, second.learner.networks.flat)
    for mine, theirs in zip(whole.learner.networks.all_contexts, second.learner.networks.all_contexts, strict=True):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_member_that_diverged_does_not_touch_its_neighbour() -> None:
    configs = [replace(TURNING, optimiser="sgd", momentum=0.9, lr=lr) for lr in (0.01, 1e30)]
    pack = PackTraining(configs, load_dataset("digits"), CPU)
    while not pack.done:
        pack.train_task()
    assert pack.diverged_at[1] is not None
    assert pack.learner.networks.flat[0].isfinite().all()
    assert pack.diverged_at[0] is None
    (velocity_EC,) = pack.optimisers[1].state
    assert velocity_EC[0].isfinite().all()
    alone = PackTraining(configs[:1], load_dataset("digits"), CPU)
    while not alone.done:
        alone.train_task()
    torch.testing.assert_close(pack.learner.networks.flat[0], alone.learner.networks.flat[0], atol=1e-3, rtol=1e-3)


def test_what_is_kept_counts_as_memory() -> None:
    once, often = (replace(TURNING, num_cycles=number).member_bytes for number in (1, 2))
    assert often - once == 4 * TURNING.num_tasks * 2 * (64 + 8 + 8)  # RMSprop's mean square of each phasor's parts
