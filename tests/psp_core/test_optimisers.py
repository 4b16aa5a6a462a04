import pytest
import torch

from psp_core.optimisers import OPTIMISERS
from tests.contracts import rng

LRS, MOMENTA = [0.1, 0.003], [0.0, 0.9]
TORCH = {
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adam": lambda params, lr, momentum: torch.optim.Adam(params, lr=lr),
}


@pytest.mark.parametrize("name", OPTIMISERS)
def test_every_member_takes_torchs_steps(name: str) -> None:
    stacked = {"w": torch.randn(2, 3, 4, generator=rng()), "b": torch.randn(2, 4, generator=rng(1))}
    alone = [{k: torch.nn.Parameter(p[e].clone()) for k, p in stacked.items()} for e in range(2)]
    momenta = MOMENTA if OPTIMISERS[name].has_momentum else [0.0, 0.0]
    ours = OPTIMISERS[name](torch.tensor(LRS), torch.tensor(momenta))
    theirs = [
        TORCH[name](member.values(), lr=lr, momentum=m) for member, lr, m in zip(alone, LRS, momenta, strict=True)
    ]
    for step in range(5):
        gradients = {k: torch.randn(p.shape, generator=rng(10 + step)) for k, p in stacked.items()}
        ours.step(stacked, gradients)
        for e, optimiser in enumerate(theirs):
            for k, parameter in alone[e].items():
                parameter.grad = gradients[k][e].clone()
            optimiser.step()
    for e in range(2):
        for k, parameter in alone[e].items():
            torch.testing.assert_close(stacked[k][e], parameter.detach())
