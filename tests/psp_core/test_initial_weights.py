"""What weights and biases begin with, beside PyTorch's own layers and the papers' rules."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from psp_core import TrialConfig
from psp_core.contexts import get_context
from psp_core.convolutions import SuperposedConv2d
from psp_core.heads import TaskHeads
from psp_core.initial_weights import INITIAL_WEIGHTS
from psp_core.layers import SuperposedLinear
from psp_core.methods.superposed import build_model
from psp_core.models import SuperposedModel
from psp_core.trial import replace

CPU = torch.device("cpu")
RESNET = TrialConfig(dataset="digits", model="resnet-18", width=4, num_tasks=2)


def assert_uniform(found: Tensor, theirs: Tensor) -> None:
    """Of the same range and variance; both hold many numbers, drawn from fixed seeds."""
    for extreme in (torch.amax, torch.amin):
        torch.testing.assert_close(extreme(found), extreme(theirs), rtol=0.02, atol=0)
    torch.testing.assert_close(found.var(), theirs.var(), rtol=0.05, atol=0)


def test_pytorch_s_are_those_of_its_own_layers() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        linear, conv = nn.Linear(200, 3000), nn.Conv2d(16, 300, 3)
    mine = SuperposedLinear(200, 3000, get_context("binary"), 1, seed=0, initial="pytorch")
    assert_uniform(mine.weight.detach(), linear.weight.detach())
    assert_uniform(mine.bias.detach(), linear.bias.detach())
    kernel = SuperposedConv2d(16, 300, 3, get_context("binary"), 1, seed=0, initial="pytorch")
    assert_uniform(kernel.weight.detach(), conv.weight.detach())
    heads = TaskHeads(200, 3000, 2, seed=0, initial="pytorch")
    for weight, bias in zip(heads.weight, heads.bias, strict=True):
        assert_uniform(weight, linear.weight.detach())
        assert_uniform(bias, linear.bias.detach())
    assert not torch.equal(*heads.bias)


@pytest.mark.parametrize("context", ["binary", "complex", "none"])
def test_kaiming_normal_goes_by_fan_in_and_leaves_biases_at_zero(context: str) -> None:
    layer = SuperposedLinear(200, 300, get_context(context), 1, seed=0, initial="kaiming-normal")
    per_weight = layer.weight.square().sum() / (200 * 300)
    torch.testing.assert_close(per_weight, torch.tensor(2 / 200), rtol=0.02, atol=0)
    assert layer.bias.count_nonzero() == 0
    if context != "complex":
        kernel = SuperposedConv2d(16, 64, 3, get_context(context), 1, seed=0, initial="kaiming-normal")
        torch.testing.assert_close(kernel.weight.square().mean(), torch.tensor(2 / 144), rtol=0.03, atol=0)


def built(**settings: Any) -> SuperposedModel:
    return build_model(replace(RESNET, **settings), CPU)


def plain_layers(initial: str, **settings: Any) -> tuple[list[str], list[str]]:
    """The parameters and heads that begin otherwise than as usual, and those that do not."""
    usual, found = built(**settings), built(**settings, initial_weights=initial)
    theirs = dict(usual.named_parameters()) | {
        name: dict(usual.named_buffers())[name] for name in usual.trained_buffers()
    }
    mine = dict(found.named_parameters()) | {
        name: dict(found.named_buffers())[name] for name in found.trained_buffers()
    }
    same = [name for name in mine if torch.equal(mine[name], theirs[name])]
    return [name for name in mine if name not in same], same


def test_as_psp_s_code_a_stem_and_a_baseline_are_pytorch_s_and_the_rest_is_as_usual() -> None:
    assert plain_layers("pytorch-plain", context="binary")[0] == ["stem.conv.weight"]
    changed, same = plain_layers("pytorch-plain", context="none")
    assert same == []
    assert "last.bias" in changed
    changed, same = plain_layers("pytorch-plain", context="none", heads="per-task")
    assert sorted(same) == ["last.bias", "last.weight"]  # multihead: Xavier normal, biases 0
    stem = built(context="binary", initial_weights="pytorch-plain").stem.conv.weight  # type: ignore[union-attr]
    assert 0.7 / 3 < stem.abs().max() <= 1 / 3  # of 9 inputs


def test_a_complex_network_without_contexts_begins_as_one_with_them() -> None:
    """As in PSP's code, whose complex baseline is no layer of PyTorch's."""
    config = TrialConfig(dataset="digits", context="plain-complex", width=4)
    usual, found = (build_model(c, CPU) for c in (config, replace(config, initial_weights="pytorch-plain")))
    for one, other in zip(usual.parameters(), found.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("initial", INITIAL_WEIGHTS)
@pytest.mark.parametrize("model", ["mlp", "lenet-300-100", "small-conv", "resnet-18", "resnet-50"])
def test_every_network_begins_with_finite_weights_of_a_usual_size(model: str, initial: str) -> None:
    width = {} if model == "lenet-300-100" else {"width": 4}
    net = build_model(TrialConfig(dataset="digits", model=model, context="none", **width, initial_weights=initial), CPU)
    for layer in net.superposed_layers():
        assert 0 < layer.weight.detach().std() < 3 * math.sqrt(2 / min(layer.weight.shape[0], layer.weight.shape[1]))


def test_where_no_weights_are_trained_they_are_refused() -> None:
    for method in ("supsup", "hopsupsup"):
        with pytest.raises(
            ValueError, match=f"initial_weights='pytorch' does not apply to method='{method}'; leave it"
        ):
            TrialConfig(method=method, context="none", initial_weights="pytorch")
    with pytest.raises(ValueError, match="initial_weights='pytorhc' is not known; did you mean 'pytorch'"):
        TrialConfig(initial_weights="pytorhc")
