"""Each kernel is its PyTorch reference in one pass: on a device, or interpreted on a CPU."""

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from psp_core import Trial, TrialConfig, load_dataset
from psp_core.contexts import CONTEXTS, get_context
from psp_core.contexts.complex import unit_phasors
from psp_core.flat_views import flat_views
from psp_core.kernels import (
    batch_numbers,
    choice,
    complex_relu_bind,
    complex_rows,
    inputs,
    noted_losses,
    relu_bind,
    softmax_loss,
)
from psp_core.models import SuperposedMLP, mlp
from psp_core.networks import Networks
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import begin
from tests.contracts import rng

pytest.importorskip("triton")

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
DTYPES = [torch.float32, torch.bfloat16, torch.float64]
SIZES = [(1, 1, 1), (2, 37, 19), (3, 64, 80)]  # members, batch, outputs: a single block, odd ones, several
STREAMS: dict[str, dict[str, Any]] = {
    "permuting": {"permute_first": True},
    "split": {"stream": "split", "classes_per_task": 3},
    "turned": {"stream": "turned"},
    "nearest": {"stream": "turned", "interpolation": "nearest"},
    "flipped": {"augmentation": "flip"},
    "rotating": {"stream": "rotating"},
}


@pytest.fixture(autouse=True)
def _kernels() -> Iterator[None]:
    choice.ALSO_ON.add("cpu")
    yield
    choice.ALSO_ON.clear()


def drawn(*shape: int, dtype: torch.dtype = torch.float32, index: int = 0) -> Tensor:
    return torch.randn(shape, generator=rng(index), dtype=torch.float64).to(DEVICE, dtype)


def rows(size: tuple[int, int], wide: torch.dtype, index: int) -> Tensor:
    """Numbers of each member that lie among others, as biases and contexts do."""
    around = drawn(size[0], 2 * size[1] + 5, dtype=wide, index=index)
    return around[:, 3 : 3 + size[1]]


def wide(dtype: torch.dtype) -> torch.dtype:
    """What biases and contexts are in where activations are in `dtype`."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def close(found: Tensor, expected: Tensor, dtype: torch.dtype) -> None:
    """Equal but for the rounding of `dtype`, and for the order of sums."""
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 2**-7, torch.float64: 1e-12}[dtype]
    torch.testing.assert_close(
        found.double(), expected.double(), rtol=tolerance, atol=tolerance, equal_nan=True, check_dtype=False
    )


@pytest.mark.parametrize("has_factors", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_relu_bind(dtype: torch.dtype, size: tuple[int, int, int], has_factors: bool) -> None:
    num_members, _, num_outputs = size
    y, g = drawn(*size, dtype=dtype), drawn(*size, dtype=dtype, index=1)
    y[0, 0, 0] = float("nan")
    of_member = (num_members, num_outputs)
    bias, factors = rows(of_member, wide(dtype), 2), rows(of_member, wide(dtype), 3)
    factors[:, ::3] = 0
    given = factors if has_factors else None
    z, kept = relu_bind.relu_bind(y.clone(), bias, given)
    expected_z, h = relu_bind.reference(y.to(wide(dtype)), bias, given)
    assert z.dtype == dtype
    close(z, expected_z, dtype)
    bias_gradient, expected_bias = (
        rows(of_member, wide(dtype), 4),
        torch.zeros(of_member, dtype=wide(dtype), device=DEVICE),
    )
    found = relu_bind.unbind_relu(g.clone(), kept, given, bias_gradient)
    expected = relu_bind.reference_backward(g.to(wide(dtype)), h, given, expected_bias)
    close(found, expected, dtype)
    close(bias_gradient, expected_bias, dtype)


@pytest.mark.filterwarnings("ignore:invalid value")  # numpy's, of NaN
@pytest.mark.parametrize("order", ["EOB", "EBO"])
@pytest.mark.parametrize("size", [*SIZES, (1, 5, 600)])
@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_loss(dtype: torch.dtype, size: tuple[int, int, int], order: str) -> None:
    num_members, num_samples, num_outputs = size
    logits = drawn(num_members, num_outputs, num_samples, dtype=dtype).mul_(3)
    logits[-1, 0, 0] = float("nan")
    if order == "EBO":
        logits = logits.mT.contiguous().mT
    labels = torch.randint(num_outputs, (num_members, num_samples), generator=rng()).to(DEVICE)
    of_member = (num_members, num_outputs)
    bias, bias_gradient = rows(of_member, wide(dtype), 2), rows(of_member, wide(dtype), 3)
    expected_bias = torch.zeros(of_member, dtype=wide(dtype), device=DEVICE)
    expected = softmax_loss.reference(logits.to(wide(dtype), copy=True), bias, labels, expected_bias)
    loss, gradient = softmax_loss.softmax_loss(logits, bias, labels, bias_gradient)
    assert (loss.dtype, gradient.dtype) == (wide(dtype), dtype)
    close(loss, expected[0], wide(dtype))
    close(gradient, expected[1], dtype)
    close(bias_gradient, expected_bias, wide(dtype))


@pytest.mark.parametrize("has_factors", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_inputs(dtype: torch.dtype, size: tuple[int, int, int], has_factors: bool) -> None:
    num_members, num_samples, num_inputs = size
    images = torch.randint(256, (7, num_inputs), generator=rng(), dtype=torch.uint8).to(DEVICE)
    samples = torch.randint(7, (num_members, num_samples), generator=rng()).to(DEVICE)
    pixels = torch.stack([torch.randperm(num_inputs, generator=rng(e)) for e in range(num_members)]).to(DEVICE)
    pixels[:, 5:8] = -1
    constants = torch.tensor([0.0125, 0.43], dtype=wide(dtype), device=DEVICE)
    factors = rows((num_members, num_inputs), wide(dtype), 2) if has_factors else None
    given = images, samples, pixels, constants, factors, dtype
    close(inputs.launch(*given), inputs.reference(*given), dtype)


@pytest.mark.parametrize("num_members", [1, 5, 1100])
def test_batch_numbers_and_noted_losses(num_members: int) -> None:
    samples = torch.randint(7, (4, num_members, 3), generator=rng()).to(DEVICE)
    labels = torch.randint(10, (7,), generator=rng()).to(DEVICE)
    losses, step, loss = drawn(4, num_members), torch.tensor([2], device=DEVICE), drawn(num_members, index=1)
    expected_losses, expected_step = losses.clone(), step.clone()
    found = batch_numbers.batch_numbers(samples, step, labels)
    for one, other in zip(found, batch_numbers.reference(samples, step, labels), strict=True):
        assert torch.equal(one, other)
    noted_losses.note_losses(losses, step, loss)
    noted_losses.reference(expected_losses, expected_step, loss)
    assert torch.equal(losses, expected_losses)
    assert torch.equal(step, expected_step)


def phasors(size: tuple[int, int], dtype: torch.dtype) -> Tensor:
    """Rows as in a pack's contexts, (E, 2, I)."""
    _, views = flat_views({"bias": torch.Size([5]), "context": torch.Size([2, size[1]])}, size[0], DEVICE)
    views["context"].copy_(unit_phasors(drawn(*size, dtype=torch.float64)))
    return views["context"].to(dtype) if dtype == torch.float64 else views["context"]


@pytest.mark.parametrize("has_phasors", [True, False])
@pytest.mark.parametrize("is_real_input", [True, False])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_complex_relu_bind(
    dtype: torch.dtype, size: tuple[int, int, int], is_real_input: bool, has_phasors: bool
) -> None:
    num_members, num_samples, num_outputs = size
    parts = 1 if is_real_input else 2
    y = drawn(num_members, num_samples, parts, 2, num_outputs, dtype=dtype)
    g = drawn(num_members, num_samples, 2, num_outputs, dtype=dtype, index=1)
    y[0, 0, 0, 0, 0] = float("nan")
    of_member = (num_members, num_outputs)
    bias, c = rows(of_member, wide(dtype), 2), phasors(of_member, wide(dtype)) if has_phasors else None
    expected_z, h = complex_relu_bind.reference(y.to(wide(dtype), copy=True), bias, c)
    z, kept = complex_relu_bind.relu_bind(y, bias, c)
    assert z.dtype == dtype
    close(z, expected_z, dtype)
    bias_gradient, expected_bias = (
        rows(of_member, wide(dtype), 4),
        torch.zeros(of_member, dtype=wide(dtype), device=DEVICE),
    )
    expected = complex_relu_bind.reference_backward(g.to(wide(dtype), copy=True), h, c, expected_bias, is_real_input)
    found = complex_relu_bind.unbind_relu(g, kept, c, bias_gradient, is_real_input=is_real_input)
    assert found.shape == expected.shape
    close(found, expected, dtype)
    close(bias_gradient, expected_bias, dtype)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_complex_rows(dtype: torch.dtype, size: tuple[int, int, int]) -> None:
    num_members, num_inputs, num_outputs = size
    shapes = {"weight": torch.Size([num_inputs, 2, num_outputs]), "bias": torch.Size([num_outputs])}
    _, views = flat_views(shapes, num_members, DEVICE)
    weights, c = views["weight"].to(dtype), phasors((num_members, num_inputs), wide(dtype))
    weights.copy_(drawn(num_members, num_inputs, 2, num_outputs))
    context = get_context("complex")
    retrieved = complex_rows.retrieved(weights, c)
    close(retrieved, context.retrieve(weights.to(wide(dtype)), c), dtype)
    expected = context.store(retrieved.to(wide(dtype)), c)
    complex_rows.store(retrieved, c, retrieved)
    close(retrieved, expected, dtype)


def models(context: str, depth: int) -> list[SuperposedMLP]:
    members = [
        mlp(18, depth, get_context(context), in_features=21, out_features=5, num_tasks=3, seed=seed)
        for seed in range(2)
    ]
    for seed, member in enumerate(members):
        for layer in member.layers:
            torch.nn.init.normal_(layer.bias, generator=rng(seed))
    return members


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("context", CONTEXTS)
def test_a_step_has_the_gradients_of_autograd(context: str, depth: int) -> None:
    x, labels = drawn(2, 7, 21, dtype=torch.float64), torch.randint(5, (2, 7), generator=rng()).to(DEVICE)
    pack = Networks(models(context, depth), DEVICE)
    pack.begin(1)
    loss = pack.gradients(x, labels)
    for e, model in enumerate(models(context, depth)):
        alone = torch.nn.functional.cross_entropy(model(x[e].cpu(), task=1), labels[e].cpu())
        alone.backward()
        torch.testing.assert_close(loss[e].cpu(), alone.detach())
        for name, parameter in model.named_parameters():
            torch.testing.assert_close(pack.parameter_gradients[name][e].cpu(), parameter.grad)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("depth", [0, 2])
@pytest.mark.parametrize("context", ["none", "binary", "complex", "plain-complex", "rotation"])
def test_retrieved_networks_answer_alike(context: str, depth: int) -> None:
    x = drawn(2, 7, 21, dtype=torch.float64)
    pack = Networks(models(context, depth), DEVICE)
    expected = [model(x[e].cpu(), 2).detach() for e, model in enumerate(models(context, depth))]
    torch.testing.assert_close(pack.logits(pack.retrieve([2]), x).mT.cpu(), torch.stack(expected))


def trained(configs: Sequence[Trial], device: torch.device) -> Tensor:
    """The weights of a pack after the steps of a task."""
    training = PackTraining(configs, load_dataset("digits"), device)
    training.begin_task(0)
    training.take_steps()
    return training.learner.networks.flat.cpu()


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("contexts", "stream"),
    [
        *((("binary", "binary"), stream) for stream in STREAMS),
        *(((context, context), "permuting") for context in ("none", "complex", "rotation")),
        (("none", "gaussian"), "permuting"),
        (("plain-complex", "fourier"), "permuting"),
    ],
)
def test_steps_from_images_are_those_of_operations_one_after_another(contexts: tuple[str, str], stream: str) -> None:
    """SGD, which divides by nothing."""
    usual = {"num_tasks": 1, "steps_per_task": 2, "batch_size": 9, "width": 12, "optimiser": "sgd", "lr": 0.1}
    configs = [
        TrialConfig(dataset="digits", context=context, seed=seed, **usual, **STREAMS[stream])
        for seed, context in enumerate(contexts)
    ]
    with_kernels = trained(configs, DEVICE)
    choice.ALSO_ON.clear()
    torch.testing.assert_close(with_kernels, trained(configs, torch.device("cpu")))


class Operations(TorchDispatchMode):
    """Names of PyTorch's operations that pass over memory."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = str(func.overloadpacket).removeprefix("aten.")
        if not func.is_view and name not in {"empty", "new_empty", "empty_like", "_unsafe_view", "lift_fresh"}:
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("context", ["none", "binary", "complex", "plain-complex", "rotation"])
def test_bfloat16_has_the_same_gradients_to_two_digits(context: str, exact: bool) -> None:
    x, labels = drawn(2, 32, 21), torch.randint(5, (2, 32), generator=rng()).to(DEVICE)
    pack = Networks(models(context, 2), DEVICE, dtype=torch.bfloat16, exact_gradients=exact)
    assert pack.flat_gradients.dtype == (torch.float32 if exact else torch.bfloat16)
    plain = Networks(models(context, 2), DEVICE)
    losses = []
    for one in (pack, plain):
        one.begin(1)
        losses.append(one.gradients(x, labels))
    torch.testing.assert_close(*losses, rtol=0.02, atol=0.02)
    error = (pack.flat_gradients.float() - plain.flat_gradients).norm() / plain.flat_gradients.norm()
    assert 0 < error < 0.03


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
@pytest.mark.parametrize("context", ["none", "binary", "complex", "plain-complex"])
def test_gradients_are_products_and_kernels_and_nothing_else(
    context: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither copies nor conversions. Kernels are left out: Triton's interpreter copies tensors."""
    monkeypatch.setattr(choice.Kernel, "launch", lambda *arguments, **constants: None)
    config = TrialConfig(dataset="digits", precision=precision, context=context, num_tasks=1, width=12)
    training = PackTraining([config, replace(config, seed=1)], load_dataset("digits"), DEVICE)
    begin(training, 0)
    with Operations() as operations:
        training.learner.gradients(training._images(training._step_1))
    of_last_layer = {"mul"} if "complex" in context else set()
    assert operations.seen == {"bmm"} | of_last_layer


@pytest.mark.filterwarnings("ignore:invalid value", "ignore:overflow")  # numpy's
def test_the_rounded_weights_are_the_weights_whoever_moved_them() -> None:
    usual = {"num_tasks": 3, "steps_per_task": 3, "batch_size": 9, "width": 12, "optimiser": "sgd", "lr": 0.1}
    config = TrialConfig(dataset="digits", precision="bfloat16", eval_samples=1, **usual)
    configs = [config, replace(config, seed=1), replace(config, lr=1e38, seed=2)]
    training, other = (PackTraining(configs, load_dataset("digits"), DEVICE) for _ in range(2))
    group = training.learner.groups[0]
    assert group.rounded_EP.dtype == torch.bfloat16
    training.train_task()
    assert training.diverged_at[2] is not None
    training.train_task()  # after the third member was set to zero
    assert torch.equal(group.rounded_EP, group.values_EP.bfloat16())
    assert group.rounded_EP[0].count_nonzero() > 0
    assert group.rounded_EP[2].count_nonzero() == 0
    other.load_state_dict(training.state_dict())
    loaded = other.learner.groups[0]
    other.learner.begin(begin(other, 2))
    assert torch.equal(loaded.rounded_EP, group.rounded_EP)


def test_weights_that_nobody_rounds_are_rounded_at_each_step() -> None:
    """As where a method makes them anew at each step."""
    x, labels = drawn(2, 32, 21), torch.randint(5, (2, 32), generator=rng()).to(DEVICE)
    pack = Networks(models("binary", 2), DEVICE, dtype=torch.bfloat16)
    pack.begin(0)
    pack.flat.zero_()
    pack.gradients(x, labels)
    assert pack.parameter_gradients["layers.0.weight"].count_nonzero() == 0


def test_every_kernel_compiles_for_devices_that_are_not_here() -> None:
    """In a process in which Triton does not interpret."""
    done = subprocess.run([sys.executable, "-m", "tests.compiled_kernels"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    names = {line.split()[1] for line in lines}
    assert names == {
        f"{path.stem}.{name}"
        for path in Path(choice.__file__).parent.glob("*.py")
        for name in re.findall(r"^@Kernel\ndef (\w+)", path.read_text(), re.MULTILINE)
    }
    assert {line.split()[0] for line in lines} == {"sm_80", "sm_90"}
    assert not [line for line in lines if "STACK" in line and "STACK:0" not in line], "registers are spilled"
