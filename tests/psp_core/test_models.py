"""Facts of every model of the registry, then those of the fully connected and the small convolutional one."""

from collections import defaultdict
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from psp_core.contexts import get_context
from psp_core.heads import TaskHeads
from psp_core.methods.superposed import build_model
from psp_core.models import HEADS, MODELS, Model, NetworkSize, SuperposedMLP, SuperposedModel, TaskParts, mlp
from psp_core.networks import Networks
from psp_core.parts import settings_of
from psp_core.trial import TrialConfig
from tests.contracts import rng

SHAPES: dict[str, tuple[int, int, int]] = defaultdict(
    lambda: (1, 8, 8), {"resnet-18": (3, 16, 16), "resnet-50": (3, 48, 48)}
)
REAL = ["none", "binary", "rotation"]


def sized(name: str, depth: int = 2) -> Model:
    """Of width 4 and some depth, where the model has them to choose."""
    known = {"width": 4, "depth": depth}
    return MODELS[name](**{one.name: known[one.name] for one in settings_of(MODELS[name]) if one.name in known})


def built(name: str, context: str = "binary", *, heads: str = "shared", seed: int = 0, depth: int = 2) -> Any:
    size = NetworkSize(image_shape=SHAPES[name], out_features=5)
    return sized(name, depth).build(size, TaskParts(context=get_context(context), num_tasks=3, heads=heads, seed=seed))


def inputs(name: str, *leading: int) -> Tensor:
    channels, height, width = SHAPES[name]
    return torch.randn(*leading, channels * height * width, generator=rng())


def contexts_of(name: str) -> list[str]:
    return REAL if MODELS[name].needs_real_context else [*REAL, "complex", "one-power"]


MODEL_CONTEXTS = [(name, context) for name in MODELS for context in contexts_of(name)]


@pytest.mark.parametrize(("name", "context"), MODEL_CONTEXTS)
def test_gives_real_logits_that_depend_on_the_task(name: str, context: str) -> None:
    net, x = built(name, context), inputs(name, 5)
    first, second = (net(x, task=task) for task in (0, 1))
    assert first.shape == (5, 5)
    assert first.is_floating_point()
    assert torch.equal(first, second) == (context == "none")


@pytest.mark.parametrize("name", MODELS)
def test_complex_contexts_are_refused_by_those_that_say_so(name: str) -> None:
    assert MODELS[name].name == name
    if MODELS[name].needs_real_context:
        with pytest.raises(ValueError, match="context='complex' is complex"):
            built(name, "complex")
    else:
        built(name, "complex")


@pytest.mark.parametrize("name", MODELS)
def test_a_state_dict_restores_the_network(name: str) -> None:
    one, other = built(name, seed=0), built(name, seed=1)
    assert not torch.equal(one(inputs(name, 5), task=2), other(inputs(name, 5), task=2))
    other.load_state_dict(one.state_dict())
    assert torch.equal(one(inputs(name, 5), task=2), other(inputs(name, 5), task=2))


@pytest.mark.parametrize("heads", HEADS)
@pytest.mark.parametrize("name", MODELS)
def test_building_depends_on_the_seed_alone(name: str, heads: str) -> None:
    before = torch.get_rng_state()
    one, other = built(name, heads=heads), built(name, heads=heads)
    assert torch.equal(torch.get_rng_state(), before)
    for key, tensor in one.state_dict().items():
        assert torch.equal(other.state_dict()[key], tensor)


@pytest.mark.parametrize("context", REAL)
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("num_members", [1, 3])
def test_packed_members_have_the_gradients_they_have_alone(name: str, context: str, num_members: int) -> None:
    x, labels = inputs(name, num_members, 6), torch.randint(5, (num_members, 6), generator=rng())
    pack = Networks([built(name, context, seed=seed) for seed in range(num_members)], torch.device("cpu"))
    pack.begin(1)
    loss = pack.gradients(x, labels)
    for e in range(num_members):
        model = built(name, context, seed=e)
        alone = F.cross_entropy(model(x[e], task=1), labels[e])
        alone.backward()
        torch.testing.assert_close(loss[e], alone.detach(), rtol=1e-4, atol=1e-5)
        for key, parameter in model.named_parameters():
            found, expected = pack.parameter_gradients[key][e], parameter.grad
            if name == "resnet-50":  # so deep that rounding takes some activations over zero: a percent of a gradient
                assert (found - expected).norm() < 0.05 * expected.norm()
            else:
                torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-5)


# Heads


@pytest.mark.parametrize("name", MODELS)
def test_heads_of_each_task_are_the_only_trained_buffers(name: str) -> None:
    assert built(name).trained_buffers() == set()
    net = built(name, heads="per-task")
    head = {key for key, module in net.named_modules() if isinstance(module, TaskHeads)}
    assert net.trained_buffers() == {f"{key}.{buffer}" for key in head for buffer in ("weight", "bias")}
    assert net.trained_buffers() <= dict(net.named_buffers()).keys()
    assert len(net.trained_buffers()) == 2


@pytest.mark.parametrize("name", MODELS)
def test_without_contexts_tasks_still_differ_by_their_heads(name: str) -> None:
    net, x = built(name, "none", heads="per-task"), inputs(name, 5)
    assert not torch.allclose(net(x, task=0), net(x, task=1))


@pytest.mark.parametrize("name", MODELS)
def test_heads_take_the_last_layers_place_and_nothing_elses(name: str) -> None:
    shared, separate = built(name), built(name, heads="per-task")
    assert len(separate.superposed_layers()) == len(shared.superposed_layers()) - 1
    for one, other in zip(shared.superposed_layers(), separate.superposed_layers(), strict=False):
        assert torch.equal(one.weight, other.weight)
        assert torch.equal(one.contexts, other.contexts)
    last = shared.superposed_layers()[-1].weight.shape[0]
    assert separate.bytes_per_task() == shared.bytes_per_task() - -(-last // 8)


@pytest.mark.parametrize("name", MODELS)
def test_heads_that_are_not_known_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="heads='per-taks' is not known; did you mean 'per-task'"):
        built(name, heads="per-taks")


@pytest.mark.parametrize("context", ["complex", "one-power"])
def test_heads_of_each_task_refuse_complex_contexts(context: str) -> None:
    with pytest.raises(ValueError, match=f"heads='per-task' needs .* context='{context}' is complex"):
        built("mlp", context, heads="per-task")


# Sizes


def outputs_of_layers(net: SuperposedModel, x: Tensor) -> list[Tensor]:
    """What each layer with weights of its own gave, in the order of the modules."""
    layers = [module for module in net.modules() if "weight" in dict(module.named_parameters(recurse=False))]
    outputs: dict[nn.Module, Tensor] = {}
    for layer in layers:
        layer.register_forward_hook(lambda module, _, output: outputs.update({module: output}))
    net(x, task=0)
    return [outputs[layer] for layer in layers]


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 14), (3, 32, 32)])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("name", MODELS)
def test_layer_sizes_are_those_of_the_built_network(name: str, depth: int, shape: tuple[int, int, int]) -> None:
    size = NetworkSize(image_shape=shape, out_features=5)
    sizes = sized(name, depth).layer_sizes(size)
    net = sized(name, depth).build(size, TaskParts(context=get_context("binary"), num_tasks=2, seed=0))
    x = torch.randn(3, shape[0] * shape[1] * shape[2], generator=rng())
    given = [(output.shape[1], output[0, 0].numel()) for output in outputs_of_layers(net, x)]
    assert [(size.outputs, size.positions) for size in sizes] == given
    assert [(size.inputs, size.has_context) for size in sizes] == [
        (len(layer.weight), not layer.context.is_trivial) for layer in net.superposed_layers()
    ]
    num_parameters = sum(size.inputs * size.outputs + size.has_bias * size.outputs for size in sizes)
    assert num_parameters == sum(parameter.numel() for parameter in net.parameters())
    assert net.bytes_per_task() == sum(-(-size.inputs // 8) for size in sizes if size.has_context)
    assert net.bytes_once() == 0


@pytest.mark.parametrize("settings", [{}, {"output_contexts": True}, {"channel_contexts": True}])
@pytest.mark.parametrize("name", ["small-conv", "resnet-18", "resnet-50"])
def test_a_trial_knows_its_layers_contexts(name: str, settings: dict[str, bool]) -> None:
    trial = TrialConfig(dataset="digits", model=name, width=4, num_tasks=2, context="binary", **settings)
    net = build_model(trial, torch.device("cpu"))
    assert [(trial.method.context_size(layer), layer.has_context) for layer in trial.method.layers(trial)] == [
        (layer.context_size, not layer.context.is_trivial) for layer in net.superposed_layers()
    ]


# Fully connected


def model(context: str, *, depth: int = 2, seed: int = 0) -> SuperposedMLP:
    return mlp(8, depth, get_context(context), in_features=6, out_features=3, num_tasks=4, seed=seed)


def test_the_complex_network_is_what_complex_numbers_say() -> None:
    net, x = model("complex"), torch.randn(5, 6, generator=rng())
    z = x.to(torch.complex64)
    for i, layer in enumerate(net.layers):
        c, w = torch.view_as_complex(layer.contexts[3].T.contiguous()), layer.weight
        z = (z * c) @ torch.complex(w[:, 0], w[:, 1]) + layer.bias
        if i < 2:
            z = torch.complex(z.real.relu(), z.imag.relu())
    torch.testing.assert_close(net(x, task=3), z.real)


def test_depth_zero_is_one_linear_layer() -> None:
    assert len(model("binary", depth=0).layers) == 1


def test_depth_zero_with_heads_has_no_contexts() -> None:
    net = built("mlp", depth=0, heads="per-task")
    assert net.superposed_layers() == list(net.parameters()) == []
    assert net.bytes_per_task() == 0
    assert net(inputs("mlp", 2), task=2).shape == (2, 5)


def test_bytes_follow_the_papers_table_1() -> None:
    """Numbers of the first model's contexts and of each further one: complex M and M, OnePower M and 1."""
    inputs = 6 + 8 + 8
    assert (model("complex").bytes_once(), model("complex").bytes_per_task()) == (0, 4 * inputs)
    assert (model("one-power").bytes_once(), model("one-power").bytes_per_task()) == (4 * inputs, 4 * 3)


def test_bytes_per_task_add_up_over_layers() -> None:
    assert model("rotation").bytes_per_task() == 4 * (6 * 6 + 8 * 8 + 8 * 8)


# Small convolutional


def test_the_small_network_is_convolutions_norms_and_pools_and_one_linear_layer() -> None:
    """8x8 pixels are pooled to 4x4 and to 2x2, and then no more."""
    net, x = built("small-conv", depth=3), inputs("small-conv", 5)
    h = x.view(5, 1, 8, 8)
    for layer, outputs in zip(net.convolutions, (4, 8, 16), strict=True):
        kernel = (layer.conv.contexts[1][:, None] * layer.conv.weight).T.reshape(outputs, h.shape[1], 3, 3)
        h = F.conv2d(h, kernel, padding=1)
        h = nn.BatchNorm2d(outputs, affine=False, track_running_stats=False)(h).relu()
        h = nn.AdaptiveMaxPool2d(max(h.shape[-1] // 2, 2))(h)
    assert h.shape == (5, 16, 2, 2)
    expected = (h.flatten(2).mean(2) * net.last.contexts[1]) @ net.last.weight + net.last.bias
    torch.testing.assert_close(net(x, task=1), expected)


def test_the_small_network_needs_a_convolution() -> None:
    with pytest.raises(ValueError, match="depth=0"):
        built("small-conv", depth=0)
    with pytest.raises(ValueError, match="depth=0"):
        MODELS["small-conv"](depth=0)
