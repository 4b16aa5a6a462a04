"""What every model must do: a new one inherits the contract and adds its own facts."""

from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from psp_core import Trial, TrialConfig
from psp_core.contexts import get_context
from psp_core.models import MODELS, Model, NetworkSize, SuperposedModel, TaskParts
from psp_core.networks import Networks
from psp_core.training import train
from psp_core.trial import replace
from tests.contracts import rng

HEADS = ("shared", "per-task")


class ModelContract:
    """Inherit, and give the model, as small as it can be; and an image's shape that it takes, if not that of digits."""

    model: ClassVar[Model]
    image_shape: ClassVar[tuple[int, int, int]] = (1, 8, 8)

    def built(self, context: str = "binary", heads: str = "shared", seed: int = 0) -> SuperposedModel:
        """For five classes and three tasks."""
        size = NetworkSize(image_shape=self.image_shape, out_features=5)
        return self.model.build(size, TaskParts(context=get_context(context), num_tasks=3, heads=heads, seed=seed))

    def inputs(self, *leading: int) -> Tensor:
        channels, height, width = self.image_shape
        return torch.randn(*leading, channels * height * width, generator=rng())

    def trial(self, **settings: Any) -> Trial:
        tiny = {"dataset": "digits", "num_tasks": 2, "steps_per_task": 4, "batch_size": 16, "lr": 0.01}
        return TrialConfig(**{**tiny, "model": self.model, **settings})

    def test_is_registered_under_its_name(self) -> None:
        assert MODELS[self.model.name] is type(self.model)

    @pytest.mark.parametrize("context", ["none", "binary", "rotation"])
    def test_gives_logits_that_depend_on_the_context(self, context: str) -> None:
        network, x = self.built(context), self.inputs(4)
        first, second = (network(x, task=task) for task in (0, 1))
        assert first.shape == (4, 5)
        assert torch.equal(first, second) == (context == "none")

    def test_takes_complex_contexts_or_refuses_them(self) -> None:
        if not self.model.needs_real_context:
            assert self.built("complex")(self.inputs(4), task=1).shape == (4, 5)
            return
        with pytest.raises(ValueError, match="context='complex' is complex"):
            self.trial(context="complex")

    def test_building_depends_on_the_seed_alone(self) -> None:
        one, same, other = (self.built(seed=seed).state_dict() for seed in (0, 0, 1))
        assert all(torch.equal(one[name], same[name]) for name in one)
        assert any(not torch.equal(one[name], other[name]) for name in one)

    @pytest.mark.parametrize("heads", HEADS)
    def test_layers_have_the_sizes_that_arithmetic_counts(self, heads: str) -> None:
        counted = self.model.layer_sizes(NetworkSize(image_shape=self.image_shape, out_features=5))
        layers = self.built(heads=heads).superposed_layers()
        of_layers = counted if heads == "shared" else counted[:-1]
        assert [tuple(layer.weight.shape) for layer in layers] == [(size.inputs, size.outputs) for size in of_layers]

    @pytest.mark.parametrize("num_members", [1, 2])
    def test_packed_members_have_the_gradients_that_they_have_alone(self, num_members: int) -> None:
        x_EBI, labels_EB = self.inputs(num_members, 6), torch.randint(5, (num_members, 6), generator=rng())
        networks = Networks([self.built(seed=seed) for seed in range(num_members)], torch.device("cpu"))
        networks.begin(1)
        loss_E = networks.gradients(x_EBI, labels_EB)
        for e in range(num_members):
            alone = self.built(seed=e)
            loss = F.cross_entropy(alone(x_EBI[e], task=1), labels_EB[e])
            loss.backward()
            torch.testing.assert_close(loss_E[e], loss.detach(), rtol=1e-4, atol=1e-5)
            for name, parameter in alone.named_parameters():
                torch.testing.assert_close(networks.parameter_gradients[name][e], parameter.grad, rtol=1e-3, atol=1e-5)

    @pytest.mark.parametrize("settings", [{}, {"heads": "per-task"}, {"method": "supsup"}], ids=str)
    def test_a_trial_of_it_is_trained_and_measured(self, settings: dict[str, Any]) -> None:
        trials = [replace(self.trial(**settings), seed=seed) for seed in range(2)]
        for trial, result in zip(trials, train(trials, progress=False), strict=True):
            assert result.accuracy[-1].isfinite().all()
            assert result.num_params == trial.cost.num_params
