"""The same answers on a CUDA device."""

import pytest
import torch
from torch import Tensor

from psp_core import load_dataset
from psp_core.supermasks import (
    HopfieldMemory,
    MaskTable,
    Superposition,
    binary,
    entropy,
    one_shot,
    packed,
    recover,
    signed_kaiming_constant,
    top_k_mask,
    unpacked,
)
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.contracts import rng
from tests.gpu import ON_A_GPU
from tests.psp_core.supermasks.test_hopfield import SIZE, patterns
from tests.psp_core.supermasks.test_hopsupsup import SPLIT

pytestmark = ON_A_GPU
SHAPES = [(784, 300), (300, 100), (100, 110)]


def superposition(device: str) -> Superposition:
    table = MaskTable(SHAPES, 40, device)
    for task in range(40):
        table.append(
            [torch.randint(2, shape, generator=rng(task)).to(device, torch.get_default_dtype()) for shape in SHAPES]
        )
    weights = [signed_kaiming_constant(*shape, rng()).to(device) for shape in SHAPES]
    return Superposition(weights, table, entropy, 10)


@pytest.mark.usefixtures("float64")
def test_gradients_differ_by_rounding_only() -> None:
    x = torch.randn(6, 4, 784, generator=rng())
    there, here = superposition("cuda"), superposition("cpu")
    torch.testing.assert_close(there.gradient(x.cuda()).cpu(), here.gradient(x))
    for algorithm in (one_shot, binary):
        assert (algorithm(there, x.cuda()).cpu() == algorithm(here, x)).all()


def test_masks_and_bits_are_the_same() -> None:
    scores: Tensor = torch.randn(3, 50, 30, generator=rng())
    mask = top_k_mask(scores, 0.3)
    assert torch.equal(top_k_mask(scores.cuda(), 0.3).cpu(), mask)
    bits = packed(mask.flatten(-2).cuda())
    assert torch.equal(bits.cpu(), packed(mask.flatten(-2)))
    assert torch.equal(unpacked(bits, (50, 30)).cpu(), mask)


def test_a_mask_is_recovered() -> None:
    table = HopfieldMemory(SIZE, device="cuda")
    table.append(patterns(1)[0].cuda())
    images = torch.randn(4, SIZE, generator=rng()).cuda()
    (mask,) = recover([table], lambda masks, x: 0.1 * x * masks[0], [images] * 5)
    assert torch.equal(mask.cpu(), patterns(1)[0])


@pytest.mark.usefixtures("float64")
def test_masks_are_trained_through_a_graph_and_recovered_there() -> None:
    configs = [replace(SPLIT, width=256, seed=seed) for seed in range(2)]
    here, there = (PackTraining(configs, load_dataset("digits"), torch.device(name)) for name in ("cpu", "cuda"))
    for training in (here, there):
        while not training.done:
            training.train_task()
    for mine, theirs in zip(here.learner.own, there.learner.own, strict=True):
        for task in range(SPLIT.num_tasks):
            for mask, other in zip(mine.mask(task), theirs.mask(task), strict=True):
                assert torch.equal(mask, other.cpu())
    torch.testing.assert_close(there.measured["mask_agreement"], here.measured["mask_agreement"], equal_nan=True)
