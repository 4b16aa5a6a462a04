import pytest
import torch

from psp_core import TrialConfig, load_dataset
from psp_core.contexts import CONTEXTS, get_context
from psp_core.gradient_agreement import gradient_agreement
from psp_core.networks import Networks
from psp_core.packed_mlp import PackedMLP
from tests.psp_core.test_networks import batch, models

CPU = torch.device("cpu")


@pytest.mark.parametrize("context", CONTEXTS)
def test_the_shared_weights_gradient_is_the_retrieved_one_s_stored(context: str) -> None:
    """Proposition 3's form, exactly: dJ/dW = (dJ/dV) stored, with V the retrieved weights."""
    x, labels = batch(1)
    pack = Networks(models(context, 1), CPU)
    pack.begin(1)
    pack.gradients(x, labels)
    retrieved = pack.retrieve([1])
    of_retrieved = [tuple(torch.zeros_like(tensor) for tensor in layer) for layer in retrieved]
    # Retrieved weights need no context; where they are complex, the one that binds nothing.
    unbound = get_context("plain-complex" if CONTEXTS[context].is_complex else "none")
    nothing = [torch.zeros(1, 0) for _ in retrieved]
    PackedMLP(unbound).loss_and_gradients(retrieved, nothing, of_retrieved, x, labels)
    stored = [
        get_context(context).store(gradient, own)
        for (gradient, _), own in zip(of_retrieved, pack.contexts.values(), strict=True)
    ]
    weights = [gradient for name, gradient in pack.parameter_gradients.items() if name.endswith("weight")]
    for mine, expected in zip(weights, stored, strict=True):
        torch.testing.assert_close(mine, expected)


def test_gradients_agree_longer_in_wider_networks_and_with_contexts() -> None:
    """What is not exact: crosstalk moves the place where the gradient is taken."""
    data = load_dataset("digits")

    def last(context: str, width: int) -> float:
        config = TrialConfig(
            dataset="digits", context=context, width=width, num_tasks=4, steps_per_task=100, lr=1e-3, batch_size=32
        )
        agreements = list(gradient_agreement(config, data, CPU))
        assert (agreements[0].cosine, agreements[0].length) == pytest.approx((1, 1), abs=1e-4)
        assert [agreement.tasks_seen for agreement in agreements] == [1, 2, 3, 4]
        return agreements[-1].cosine

    narrow, wide, without = last("binary", 16), last("binary", 256), last("none", 256)
    assert wide > narrow
    assert wide > without + 0.1
