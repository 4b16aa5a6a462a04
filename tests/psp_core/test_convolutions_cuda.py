"""Convolutions on a CUDA device: channels last in memory, the same numbers, through graphs too."""

import pytest
import torch

from psp_core import TrialConfig, load_dataset
from psp_core.contexts import get_context
from psp_core.devices import arithmetic
from psp_core.models import NetworkSize, TaskParts
from psp_core.models.resnet import ResNet18Model
from psp_core.norms import NormedConv2d
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import begin
from tests.contracts import rng
from tests.gpu import ON_A_GPU

pytestmark = ON_A_GPU
BASE = TrialConfig(
    dataset="digits", width=16, num_tasks=1, steps_per_task=8, batch_size=32, lr=0.003, precision="float32"
)
KINDS = {
    "alone": [{"model": "small-conv"}],
    "a resnet alone": [{"model": "resnet-18", "width": 8}],
    "a pack": [{"model": "small-conv", "seed": seed} for seed in range(2)],
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_a_graph_of_convolutions_takes_the_steps_that_are_taken_without_it(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def weights(num_eager: int) -> torch.Tensor:
        monkeypatch.setattr("psp_core.devices._EAGER_STEPS", num_eager)
        configs = [replace(BASE, **settings) for settings in KINDS[kind]]
        training = PackTraining(configs, load_dataset("digits"), torch.device("cuda"))
        training.train_task()
        return training.learner.networks.flat

    torch.testing.assert_close(weights(3), weights(10**6))


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
@pytest.mark.parametrize("kind", KINDS)
def test_convolutions_find_the_gradients_there_that_they_find_here(kind: str, precision: str) -> None:
    """There channels are last in memory, which float64 is spared."""
    sizes = {"float32": 0.01, "tf32": 0.1, "bfloat16": 0.6}  # of a ResNet on a CPU 0.4: one pixel is left

    def gradients(device: str, precision: str) -> torch.Tensor:
        configs = [replace(BASE, precision=precision, **settings) for settings in KINDS[kind]]
        training = PackTraining(configs, load_dataset("digits"), torch.device(device))
        begin(training, 0)
        with arithmetic(precision, training.device):
            training.learner.gradients(training._batch(training._step_1))
        return training.learner.networks.flat_gradients.cpu()

    expected, found = gradients("cpu", "float32"), gradients("cuda", precision)
    assert (found - expected).norm() < sizes[precision] * expected.norm()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_resnet_keeps_channels_last_in_memory(channels: int, dtype: torch.dtype) -> None:
    size = NetworkSize(image_shape=(channels, 16, 16), out_features=10)
    parts = TaskParts(context=get_context("binary"), num_tasks=1, seed=0, device=torch.device("cuda"))
    network = ResNet18Model(width=8).build(size, parts).cuda()
    outputs = []
    for module in network.modules():
        if isinstance(module, NormedConv2d):
            module.register_forward_hook(lambda module, given, output: outputs.append(output))
    with torch.autocast("cuda", dtype, enabled=dtype == torch.bfloat16):
        network(torch.randn(4, channels * 16 * 16, generator=rng()).cuda(), 0)
    assert len(outputs) == 20
    for output in outputs:
        assert output.dtype == dtype
        assert output.is_contiguous(memory_format=torch.channels_last)
