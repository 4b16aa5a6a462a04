"""Batch norm of each batch and of each task, in modules, packs and whole trials."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from psp_core import TrialConfig, load_dataset
from psp_core.contexts import get_context
from psp_core.evaluation import Measured, TaskGiven
from psp_core.held_out import HeldOut
from psp_core.methods.superposed import SETTLING_BATCHES, build_model
from psp_core.models import MODELS, NetworkSize, TaskParts
from psp_core.norms import TaskBatchNorm, static_batch_norm, total_moments
from psp_core.training import PackTraining
from psp_core.trial import replace
from tests.conftest import started, whole_and_resumed
from tests.contracts import rng

CPU = torch.device("cpu")
NORMED = TrialConfig(
    dataset="digits", stream="split", classes_per_task=3, num_tasks=3, model="small-conv", width=4, norm="per-task",
    steps_per_task=12, batch_size=32, lr=0.003,
)  # fmt: skip
KINDS = {
    "contexts": NORMED,
    "heads": replace(NORMED, heads="per-task", context="none"),
    "learned": replace(NORMED, learned_contexts=True),
    "affine": replace(NORMED, norm="affine"),
    "upper bound": replace(NORMED, norm="affine", context="none", trunk="per-task"),
    "resnet-18": replace(NORMED, model="resnet-18", width=2),
    "resnet-50": replace(NORMED, model="resnet-50", width=2, num_tasks=2, steps_per_task=4),
}


def images(*leading: int) -> Tensor:
    return torch.randn(*(leading or (5,)), 2, 8, 8, generator=rng())


@pytest.mark.parametrize("training", [True, False])
def test_static_batch_norm_is_pytorchs_without_affine_and_statistics(training: bool) -> None:
    """At every batch anew, whatever came before it."""
    norm = nn.BatchNorm2d(2, affine=False, track_running_stats=False).train(training)
    for x in (images(), 7 + 3 * images().flip(0), images()):
        torch.testing.assert_close(static_batch_norm(x), norm(x))
    torch.testing.assert_close(static_batch_norm(7 + 3 * images()), static_batch_norm(images()), rtol=1e-4, atol=1e-4)


def test_static_batch_norm_needs_two_numbers_for_each_channel() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        static_batch_norm(torch.ones(1, 2, 1, 1))


def test_a_tasks_batch_norm_is_pytorchs_with_that_tasks_statistics() -> None:
    norm = TaskBatchNorm(2, 3)
    nn.init.normal_(norm.mean, generator=rng())
    nn.init.uniform_(norm.variance, 0.5, 2.0, generator=rng(1))
    assert torch.equal(norm(images(), task=1), static_batch_norm(images()))  # in training mode
    norm.eval()
    for task in range(3):
        plain = nn.BatchNorm2d(2, affine=False).eval()
        plain.running_mean, plain.running_var = norm.mean[task], norm.variance[task]
        torch.testing.assert_close(norm(images(), task), plain(images()))
    with pytest.raises(IndexError, match=r"task=3 must lie in 0\.\.2"):
        norm(images(), task=3)


def test_an_affine_one_is_pytorchs_with_parameters_in_training_and_after_it() -> None:
    norm, plain = TaskBatchNorm(2, 3, affine=True), nn.BatchNorm2d(2, momentum=None)
    assert norm.scale.tolist() == [1, 1]
    assert norm.shift.tolist() == [0, 0]
    for parameter, theirs in ((norm.scale, plain.weight), (norm.shift, plain.bias)):
        nn.init.normal_(parameter, generator=rng(2))
        theirs.data.copy_(parameter.data)
    torch.testing.assert_close(norm(images(), task=1), plain(images()))
    norm.mean[1], norm.variance[1] = plain.running_mean, plain.running_var
    torch.testing.assert_close(norm.eval()(images(), task=1), plain.eval()(images()))


def test_moments_of_batches_together_are_those_of_all_their_numbers() -> None:
    x_NEBC = torch.randn(4, 2, 30, 3, generator=rng()) + torch.arange(4.0).view(4, 1, 1, 1)
    moments = torch.stack([x_NEBC.mean(2), x_NEBC.var(2, correction=0)], dim=2)
    every = x_NEBC.double().transpose(1, 2).flatten(0, 1)
    expected = torch.stack([every.mean(0), every.var(0, correction=0)], dim=1)
    torch.testing.assert_close(total_moments(moments), expected, rtol=1e-5, atol=1e-6)


# Packs


def weights_of(network: nn.Module, training: PackTraining, member: int, task: int) -> None:
    """Give an ordinary module a member's parameters and all its rows."""
    pack = training.learner.networks
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter.copy_(pack.parameters[name][member])
        for name, buffer in network.named_buffers():
            buffer.copy_(pack.all_contexts[member][name])


def statistics_by_hand(network: nn.Module, batches: list[Tensor], task: int) -> dict[str, Tensor]:
    """What each norm got in all batches, put together and measured as one."""
    given: dict[str, list[Tensor]] = {}
    hooks = [
        module.register_forward_pre_hook(lambda _, x, name=name: given.setdefault(name, []).append(x[0].detach()))
        for name, module in network.named_modules()
        if isinstance(module, TaskBatchNorm)
    ]
    for batch in batches:
        network(batch, task)
    for hook in hooks:
        hook.remove()
    every = {name: torch.cat(parts).double().movedim(1, 0).flatten(1) for name, parts in given.items()}
    return {f"{name}.mean": x.mean(1) for name, x in every.items()} | {
        f"{name}.variance": x.var(1, correction=0) for name, x in every.items()
    }


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seeds", [(0,), (0, 1), (2, 2)])
def test_statistics_are_those_of_the_tasks_last_batches_under_its_final_weights(
    kind: str, seeds: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members of one seed that differ in lr have statistics of their own."""
    monkeypatch.setattr("psp_core.methods.superposed.SETTLING_BATCHES", 3)
    configs = [replace(KINDS[kind], seed=seed, lr=0.003 / (e + 1)) for e, seed in enumerate(seeds)]
    training = PackTraining(configs, load_dataset("digits"), CPU)
    training.train_task()
    training.begin_task(1)
    training.take_steps()
    steps = range(configs[0].steps_per_task - 3, configs[0].steps_per_task)
    for e, config in enumerate(configs):
        network = build_model(config, CPU)
        weights_of(network, training, e, 1)
        batches = [training._batch(torch.tensor([step]))[0][e] for step in steps]
        expected = statistics_by_hand(network, batches, task=1)
        assert expected.keys() == training.learner.networks.measured
        for name, statistics in expected.items():
            found = training.learner.networks.all_contexts[e][name]
            torch.testing.assert_close(found[1], statistics.float(), rtol=1e-3, atol=1e-4)
            assert not torch.equal(found[0], found[1])


def test_so_many_batches_are_measured() -> None:
    assert SETTLING_BATCHES == 50
    training = PackTraining([replace(NORMED, steps_per_task=60, num_tasks=1)], load_dataset("digits"), CPU)
    taken: list[int] = []
    images = training._images
    training._images = lambda step: taken.append(int(step)) or images(step)  # type: ignore[method-assign,func-returns-value]
    training.train_task()
    assert taken == [*range(60), *range(10, 60)]


@pytest.mark.parametrize("kind", KINDS)
def test_an_images_result_does_not_depend_on_its_batch(kind: str) -> None:
    training = PackTraining([KINDS[kind]], load_dataset("digits"), CPU)
    training.train_task()
    data = training.dataset
    x = data.normalise(data.test_images[:40])
    together = training.learner.networks.logits_of(0, 0, x)
    alone = torch.cat([training.learner.networks.logits_of(0, 0, image[None]) for image in x])
    torch.testing.assert_close(alone, together, rtol=1e-4, atol=1e-4)


def test_with_static_norms_it_does() -> None:
    training = PackTraining([replace(NORMED, norm="static")], load_dataset("digits"), CPU)
    training.train_task()
    x = training.dataset.normalise(training.dataset.test_images[:40])
    together, apart = (training.learner.networks.logits_of(0, 0, part)[:20] for part in (x, x[:20]))
    assert not torch.allclose(together, apart, atol=0.01)


def test_training_steps_do_not_depend_on_the_norm() -> None:
    """Statistics are used at test time only."""
    ours, static = (
        PackTraining([replace(NORMED, norm=n)], load_dataset("digits"), CPU) for n in ("per-task", "static")
    )
    for training in (ours, static):
        training.train_task()
        training.train_task()
    assert torch.equal(ours.learner.networks.flat, static.learner.networks.flat)
    assert not torch.equal(ours.measured["loss"].nan_to_num(), static.measured["loss"].nan_to_num())


def test_a_tasks_statistics_stay_until_it_is_trained_again() -> None:
    training = PackTraining([replace(NORMED, num_tasks=2, num_cycles=2)], load_dataset("digits"), CPU)
    name = "convolutions.1.norm.variance"
    rows = [training.learner.networks.all_contexts[0][name].clone()]
    for _ in range(3):
        training.train_task()
        rows.append(training.learner.networks.all_contexts[0][name].clone())
    changed = [[not torch.equal(new[task], old[task]) for task in range(2)] for old, new in pairwise(rows)]
    assert changed == [[True, False], [False, True], [True, False]]


@pytest.mark.parametrize("kind", ["contexts", "heads", "learned"])
def test_training_goes_on_from_its_state_to_the_bit(kind: str) -> None:
    configs = [replace(KINDS[kind], seed=3, lr=lr) for lr in (0.003, 0.001)]
    whole, second = whole_and_resumed(configs, stop_after=2)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert mine.loss[2].isfinite().all()
    for mine_of, theirs_of in zip(
        whole.learner.networks.all_contexts, second.learner.networks.all_contexts, strict=True
    ):
        for name in whole.learner.networks.measured:
            assert torch.equal(mine_of[name], theirs_of[name])


@pytest.mark.parametrize("seeds", [(0,), (0, 1)])
def test_scales_and_shifts_are_trained_as_all_tasks_weights_are(seeds: tuple[int, ...]) -> None:
    """One step of SGD, by autograd through the module and by the pack."""
    config = replace(KINDS["upper bound"], optimiser="sgd", lr=0.1, steps_per_task=1)
    training = PackTraining([replace(config, seed=seed) for seed in seeds], load_dataset("digits"), CPU)
    training.begin_task(0)
    x_EBI, labels_EB = training._batch(torch.tensor([0]))
    training.take_steps()
    for e, seed in enumerate(seeds):
        network = build_model(replace(config, seed=seed), CPU)
        nn.functional.cross_entropy(network(x_EBI[e], 0), labels_EB[e]).backward()
        for name, parameter in network.named_parameters():
            torch.testing.assert_close(training.learner.networks.parameters[name][e], parameter - 0.1 * parameter.grad)
        assert (network.convolutions[0].norm.shift.grad != 0).all()


@pytest.mark.parametrize("model", ["small-conv", "resnet-18", "resnet-50"])
def test_a_channel_has_two_parameters_more(model: str) -> None:
    affine, without = (replace(NORMED, model=model, norm=norm) for norm in ("affine", "per-task"))
    channels = sum(layer.outputs for layer in affine.method.layers(affine)[:-1])
    for count in (lambda config: config.cost.num_params, lambda config: started(config).storage[0].num_params):
        assert count(affine) == count(without) + 2 * channels


@pytest.mark.parametrize(("model", "norms"), [("small-conv", 4 + 8), ("resnet-18", 4 * 5 + 8 * 5 + 16 * 5 + 32 * 5)])
def test_statistics_cost_8_bytes_a_channel_and_task(model: str, norms: int) -> None:
    config = replace(NORMED, model=model)
    of_norm = {norm: started(replace(config, norm=norm)).storage[0].bytes_per_task for norm in ("static", "per-task")}
    assert of_norm["per-task"] - of_norm["static"] == 8 * norms
    (learned,) = started(replace(config, learned_contexts=True)).storage
    (without,) = started(replace(config, learned_contexts=True, norm="static")).storage
    assert learned.bytes_per_task - without.bytes_per_task == 8 * norms


def test_resnet_50_has_26_560_normalised_channels() -> None:
    """Half of torchvision's 53,120 affine parameters."""
    size = NetworkSize(image_shape=(3, 32, 32), out_features=10)
    model = MODELS["resnet-50"](width=64, norm="per-task")
    net = model.build(size, TaskParts(context=get_context("none"), num_tasks=1, seed=0))
    assert sum(buffer.numel() for buffer in net.buffers()) == 53_120


@pytest.mark.parametrize(
    "settings",
    [{"norm": "static"}, {"method": "hopsupsup", "context": "none", "model": "mlp", "norm": "static", "depth": 1}],
)
def test_so_many_test_images_are_answered_together(settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(NORMED, **settings, test_batch_size=32)
    training = PackTraining([config], load_dataset("digits"), CPU)
    asked: list[int] = []
    answer = TaskGiven.measure

    def watched(self: TaskGiven, held_out: HeldOut, tasks: Sequence[int]) -> Measured:
        ask = self.networks.answer
        self.networks.answer = lambda e, task, x: asked.append(len(x)) or ask(e, task, x)  # type: ignore[method-assign,func-returns-value]
        return answer(self, held_out, tasks)

    monkeypatch.setattr(TaskGiven, "measure", watched)
    training.train_task()
    num_tests = int(training.measured["num_samples"][0, 0, 0])
    assert sum(asked) == num_tests
    assert len(asked) == -(-num_tests // 32) > 2
    assert max(asked) <= 32
    assert TrialConfig().test_batch_size == 1000


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"model": "mlp", "norm": "per-task"},
            "norm='per-task' does not apply to model='mlp'; leave it out, or use 'resnet-18' or ",
        ),
        ({"model": "lenet-300-100", "norm": "per-task"}, "norm='per-task' does not apply to model='lenet-300-100'"),
        ({"norm": "per-taks"}, "norm='per-taks' is not known; did you mean 'per-task'"),
        ({"contexts_per_task": 2}, "norm='per-task' needs one context for each task"),
        ({"schedule": "blend"}, "norm='per-task' needs one context for each task"),
        ({"norm": "affine", "contexts_per_task": 2}, "norm='affine' needs one context for each task"),
        (
            {"norm": "affine", "trunk": "random", "heads": "per-task"},
            "norm='affine' does not apply to trunk='random', where nothing trains",
        ),
        (
            {"norm": "affine", "method": "supsup", "context": "none"},
            "norm='affine' does not apply to method='supsup', which trains no scales",
        ),
        ({"test_batch_size": 64}, "test_batch_size=64 does not apply to model='small-conv', norm='per-task', whose"),
        ({"norm": "static", "test_batch_size": 1}, "test_batch_size=1 must be at least 2"),
    ],
)
def test_what_has_no_statistics_of_each_task_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(NORMED, **settings)


def test_a_network_with_an_unknown_norm_is_not_built() -> None:
    with pytest.raises(ValueError, match="norm='none' is not known"):
        TaskParts(context=get_context("none"), num_tasks=1, seed=0, norm="none").conv(1, 4, 3, 0)
    with pytest.raises(ValueError, match="norm='none' is not known"):
        MODELS["small-conv"](width=4, norm="none")
