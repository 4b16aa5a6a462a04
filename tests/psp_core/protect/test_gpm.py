"""Gradient projection memory."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from psp_core import TrialConfig, load_dataset
from psp_core.protect.gpm import GPM, more_space
from psp_core.training import PackTraining
from tests.conftest import in_float64
from tests.plain import begun, descend, packed, task_gradient, trial_of
from tests.protections import CPU, TINY, ProtectionContract

# I inputs and the bias's, N images, R columns of a basis


class TestGPM(ProtectionContract):
    protection = GPM
    settings: ClassVar[dict[str, Any]] = {"samples": 64, "threshold": 0.9}
    refused = frozenset({"complex", "convolutions"})


def layer_inputs(leaves: list[Tensor], x_NI: Tensor) -> list[Tensor]:
    """Of each layer, an image in each column, the last number 1."""
    found, x = [], x_NI
    for weight, bias in zip(leaves[::2], leaves[1::2], strict=True):
        found.append(torch.cat([x, x.new_ones(len(x), 1)], 1).T)
        x = (x @ weight + bias).relu()
    return found


def grown(basis_IR: Tensor, r_IN: Tensor, threshold: float) -> Tensor:
    """Eqs. 6 to 9: the basis with as few left singular vectors more as reach the threshold."""
    left_II, values, _ = torch.linalg.svd(r_IN - basis_IR @ basis_IR.T @ r_IN)
    number = 0
    while (basis_IR.T @ r_IN).norm() ** 2 + values[:number].square().sum() < threshold * r_IN.norm() ** 2:
        number += 1
    return torch.cat([basis_IR, left_II[:, :number]], 1)


def test_with_sgd_it_trains_as_the_paper_s_algorithm_does() -> None:
    """Plain SGD along gradients of which the part in the span of the basis is taken out."""
    with in_float64():
        trial = trial_of({"name": "gpm", "samples": 16, "threshold": 0.8})
        leaves, batches = begun(trial)
        bases = [leaf.new_zeros(len(leaf) + 1, 0) for leaf in leaves[::2]]
        for steps in batches:
            for x_BI, labels_B in steps:
                g = task_gradient(leaves, x_BI, labels_B)
                for layer, basis_IR in enumerate(bases):
                    whole_IO = torch.cat([g[2 * layer], g[2 * layer + 1][None]])
                    whole_IO -= basis_IR @ (basis_IR.T @ whole_IO)
                    g[2 * layer], g[2 * layer + 1] = whole_IO[:-1], whole_IO[-1]
                descend(leaves, g, trial.optimiser.lr)
            x_NI = torch.cat([x_BI for x_BI, _ in steps[-2:]])
            inputs = layer_inputs([leaf.detach() for leaf in leaves], x_NI)
            bases = [grown(basis_IR, r_IN, 0.8) for basis_IR, r_IN in zip(bases, inputs, strict=True)]
        _, found = packed(trial)
        assert all(0 < basis_IR.shape[1] < basis_IR.shape[0] for basis_IR in bases)
        for leaf, parameter in zip(leaves, found, strict=True):
            torch.testing.assert_close(parameter, leaf.detach())


@pytest.mark.parametrize(
    "settings",
    [
        {"context": "none"},
        {"context": "rotation"},
        {"context": "binary", "learned_contexts": True},
        {"context": "binary", "stream": "split", "classes_per_task": 5, "heads": "per-task"},
    ],
    ids=lambda settings: "-".join(map(str, settings.values())),
)
def test_what_is_spanned_whole_does_not_move_under_adam(settings: dict[str, Any]) -> None:
    """Of images whose inputs are all spanned no logit changes while other tasks train."""
    protect = {"name": "gpm", "samples": 12, "threshold": 1.0}
    tiny = {**TINY, "num_tasks": 2, "steps_per_task": 20, "optimiser": "adam"}
    with in_float64():
        trial = TrialConfig(**{**tiny, **settings, "protect": protect})
        training = PackTraining([trial], load_dataset("digits"), CPU)
        training.train_task()
        (x_EBI, _), *_ = training._recent(1)
        networks = training.learner.networks  # type: ignore[attr-defined]
        before_BO, weights = networks.logits_of(0, 0, x_EBI[0, -12:]), networks.flat.clone()
        training.train_task()
        torch.testing.assert_close(networks.logits_of(0, 0, x_EBI[0, -12:]), before_BO)
        assert (networks.flat - weights).abs().max() > 0.01


def test_output_contexts_are_refused() -> None:
    with pytest.raises(ValueError, match="output_contexts=true multiplies outputs before biases are added: leave out"):
        TrialConfig(**{**TINY, "protect": "gpm", "output_contexts": True})


def test_the_space_of_known_inputs_does_not_grow() -> None:
    inputs_NI = torch.randn(5, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    space_II = more_space(torch.zeros(9, 9, dtype=torch.float64), inputs_NI, 1.0)
    torch.testing.assert_close(space_II @ space_II, space_II)
    assert space_II.trace().item() == pytest.approx(5)
    assert not more_space(space_II, inputs_NI[:3], 0.999999).any()


def test_what_is_kept_is_a_square_for_each_layer_that_tasks_share() -> None:
    """Digits have 64 inputs; a bias counts as one more."""
    shared = TrialConfig(**{**TINY, "protect": "gpm"})
    heads = TrialConfig(**{**TINY, "protect": "gpm", "context": "none", "heads": "per-task"})
    assert [trial.method.protect.kept_bytes(trial, 0) for trial in (shared, heads)] == [  # type: ignore[attr-defined]
        (4 * (65**2 + 25**2 + 25**2), 0),
        (4 * (65**2 + 25**2), 0),
    ]
