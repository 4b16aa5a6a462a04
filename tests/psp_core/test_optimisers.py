import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from psp_core.optimisers import OPTIMISERS, Stepper, WithMomentum, compiled
from tests.contracts import rng

LRS = [0.1, 0.003]
TORCH = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": lambda params, lr, momentum, weight_decay=0.0: torch.optim.Adam(params, lr=lr, weight_decay=weight_decay),
}
CASES = [
    (name, momenta)
    for name in OPTIMISERS
    for momenta in ([0.0, 0.0], [0.0, 0.9])
    if issubclass(OPTIMISERS[name], WithMomentum) or not any(momenta)
]


def stepper(
    name: str,
    parameters: Tensor,
    gradients: Tensor,
    lrs: Sequence[float],
    momenta: Sequence[float] = (),
    weight_decay: float = 0.0,
) -> Stepper:
    """Of members with these learning rates and momenta; no momenta are none."""
    each = [{"lr": lr, "weight_decay": weight_decay} for lr in lrs]
    for settings, momentum in zip(each, momenta, strict=False):
        settings |= {"momentum": momentum} if momentum else {}
    return Stepper([OPTIMISERS[name](**settings) for settings in each], parameters, gradients)


def by_expression(optimiser: Stepper) -> None:
    """What runs on CUDA devices where nothing can be compiled."""
    optimiser._fused = False


def by_compilation(optimiser: Stepper) -> None:
    optimiser._compiled = compiled(optimiser.kind)


def as_it_comes(optimiser: Stepper) -> None:
    pass


def take_steps(name: str, momenta: list[float], change: object = as_it_comes, weight_decay: float = 0.0) -> None:
    """Five steps of two members against torch.optim's of each."""
    parameters = torch.randn(2, 50, generator=rng())
    gradients = torch.zeros(2, 50)
    alone = [torch.nn.Parameter(row.clone()) for row in parameters]
    ours = stepper(name, parameters, gradients, LRS, momenta, weight_decay)
    change(ours)
    theirs = [
        TORCH[name]([p], lr=lr, momentum=m, weight_decay=weight_decay)
        for p, lr, m in zip(alone, LRS, momenta, strict=True)
    ]
    for step in range(5):
        gradients.copy_(torch.randn(2, 50, generator=rng(10 + step)))
        for parameter, optimiser, gradient in zip(alone, theirs, gradients, strict=True):
            parameter.grad = gradient.clone()
            optimiser.step()
        ours.step()
    torch.testing.assert_close(parameters, torch.stack(alone).detach())


@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize("change", [as_it_comes, by_expression])
@pytest.mark.parametrize(("name", "momenta"), CASES)
def test_every_member_takes_torchs_steps(name: str, momenta: list[float], change: object, weight_decay: float) -> None:
    take_steps(name, momenta, change, weight_decay)


@pytest.mark.slow
@pytest.mark.parametrize("weight_decay", [0.0, 0.3])
@pytest.mark.parametrize(("name", "momenta"), CASES)
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_compiled_steps_are_torchs_too(name: str, momenta: list[float], weight_decay: float) -> None:
    take_steps(name, momenta, by_compilation, weight_decay)


@pytest.mark.slow
@pytest.mark.parametrize("name", OPTIMISERS)
@pytest.mark.filterwarnings("ignore")  # the compiler's own
def test_a_compiled_step_reads_and_writes_bfloat16_beside_float32(name: str) -> None:
    """Gradients come rounded, the learning rate with a factor; a rounded copy of the parameters is left behind."""
    start, gradients = torch.randn(2, 50, generator=rng()), torch.randn(2, 50, generator=rng(1)).bfloat16()
    rounded, factor_1 = torch.zeros(2, 50, dtype=torch.bfloat16), torch.tensor([0.5], dtype=torch.float64)
    optimisers = [OPTIMISERS[name](lr=lr, weight_decay=0.3) for lr in LRS]
    ours, plain = start.clone(), start.clone()
    lower = Stepper(optimisers, ours, gradients, rounded)
    by_compilation(lower)
    usual = Stepper(optimisers, plain, gradients.float())
    for stepper in (lower, usual):
        stepper.step(factor_1)
    torch.testing.assert_close(ours, plain)
    assert torch.equal(rounded, ours.bfloat16())


COMPILES = """
import sys, torch
from torch._dynamo.utils import counters
from psp_core.optimisers import OPTIMISERS, Stepper, compiled
stepper = Stepper([OPTIMISERS["rmsprop"]()] * 2, torch.ones(2, 64), torch.ones(2, 64))
stepper._compiled = compiled(stepper.kind)
stepper.step()
print(counters["inductor"]["fxgraph_cache_hit"], counters["inductor"]["fxgraph_cache_miss"])
"""


@pytest.mark.slow
def test_a_second_process_finds_what_the_first_has_compiled(tmp_path: Path) -> None:
    """Nothing but files lies between the two, as between two workers of a machine."""
    environment = {**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", COMPILES], env=environment, capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert [done.stdout.split() for done in said] == [["0", "1"], ["1", "0"]]


@pytest.mark.parametrize("change", [as_it_comes, by_expression])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_frozen_member_stands_still_and_its_neighbour_does_not_notice(name: str, change: object) -> None:
    start = torch.randn(2, 5, generator=rng())
    parameters, alone = start.clone(), start.clone()
    parameters[0], gradients = float("nan"), torch.ones(2, 5)
    frozen, free = (stepper(name, p, gradients.clone(), LRS) for p in (parameters, alone))
    change(frozen)
    change(free)
    frozen.freeze(0)
    for _ in range(3):
        for optimiser in (frozen, free):
            optimiser.gradients.fill_(0.5)
            optimiser.step()
    assert torch.equal(parameters[0], torch.zeros(5))
    assert torch.equal(parameters[1], alone[1])


@pytest.mark.parametrize("change", [as_it_comes, by_expression])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_other_learning_rates_hold_from_the_next_step_for_all_but_the_frozen(name: str, change: object) -> None:
    """As where a parameter group of torch.optim's gets another lr; the state stays."""
    parameters, gradients = torch.randn(3, 50, generator=rng()), torch.zeros(3, 50)
    alone = torch.nn.Parameter(parameters[1].clone())
    theirs = TORCH[name]([alone], lr=0.003, momentum=0.0)
    ours = stepper(name, parameters, gradients, [0.1, 0.003, 0.2])
    change(ours)
    ours.freeze(0)
    for step in range(4):
        if step == 2:
            ours.set_lrs([0.5, 0.01, 0.2])
            theirs.param_groups[0]["lr"] = 0.01
        gradients.copy_(torch.randn(3, 50, generator=rng(10 + step)))
        alone.grad = gradients[1].clone()
        theirs.step()
        ours.step()
    assert parameters[0].count_nonzero() == 0
    torch.testing.assert_close(parameters[1], alone.detach())


def test_a_restarted_optimiser_is_a_new_one() -> None:
    start, gradients = torch.randn(1, 5, generator=rng()), torch.ones(1, 5)
    used, new = start.clone(), start.clone()
    optimiser = stepper("adam", used, gradients, [0.1])
    optimiser.step()
    used.copy_(start)
    optimiser.restart([0])
    optimiser.step()
    stepper("adam", new, gradients, [0.1]).step()
    assert torch.equal(used, new)
