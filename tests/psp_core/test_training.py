from collections.abc import Callable, Collection
from pathlib import Path

import pytest
import torch
from torch import nn

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.contexts import CONTEXTS, get_context
from psp_core.devices import Repeater
from psp_core.groups import Stretch
from psp_core.models import mlp
from psp_core.optimisers import OPTIMISERS, WithMomentum
from psp_core.streams.permuting import PermutingTasks
from psp_core.training import PackTraining
from psp_core.trial import replace
from psp_core.visits import batch_order
from tests.conftest import assert_packed_equals_alone, whole_and_resumed

DIGITS = TrialConfig(
    dataset="digits", width=16, num_tasks=3, steps_per_task=20, batch_size=32, lr=0.003, context="binary"
)


def lone(config: Trial) -> torch.Tensor:
    return train([config])[0].accuracy


@pytest.mark.usefixtures("float64")
def test_R_is_what_a_plain_loop_over_the_module_gives() -> None:
    """The same trial written by hand: an ordinary module, torch.optim, a for loop."""
    config = DIGITS
    data = load_dataset("digits")
    model = mlp(16, 2, get_context("binary"), in_features=64, out_features=10, num_tasks=3, seed=0)
    optimiser = torch.optim.RMSprop(model.parameters(), lr=config.lr)
    stream = PermutingTasks(64, 0)
    R = torch.full((3, 3), float("nan"), dtype=torch.float64)
    for task in range(3):
        for samples in batch_order(config, len(data.train_labels), task):
            x = data.normalise(data.train_images[samples][:, stream.describe(task)])
            optimiser.zero_grad()
            nn.functional.cross_entropy(model(x, task=task), data.train_labels[samples]).backward()
            optimiser.step()
        for j in range(task + 1):
            logits = model(data.normalise(data.test_images[:, stream.describe(j)]), task=j)
            R[task, j] = (logits.argmax(dim=1) == data.test_labels).double().mean()
    torch.testing.assert_close(lone(config), R, equal_nan=True)


def test_two_runs_of_one_seed_are_equal_and_two_seeds_are_not() -> None:
    first, again, other = train([DIGITS])[0], train([DIGITS])[0], train([replace(DIGITS, seed=1)])[0]
    assert torch.equal(first.loss.nan_to_num(), again.loss.nan_to_num())
    assert not torch.equal(first.loss.nan_to_num(), other.loss.nan_to_num())


def five(context: str, optimiser: str, **settings: object) -> list[Trial]:
    """Five members that differ in everything they may; two share a seed, and so their contexts."""
    base = replace(DIGITS, context=context, optimiser=optimiser, **settings)
    momenta = [0.0, 0.9, 0.5, 0.0, 0.9] if issubclass(OPTIMISERS[optimiser], WithMomentum) else [0.0] * 5
    lrs = [0.001, 0.0005, 0.003, 0.002, 0.001]
    return [
        replace(base, seed=seed, lr=lr, momentum=momentum)
        for seed, lr, momentum in zip([0, 1, 2, 2, 4], lrs, momenta, strict=True)
    ]


@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_a_packed_step_equals_a_lone_one(context: str, optimiser: str) -> None:
    configs = five(context, optimiser, num_tasks=2, steps_per_task=1)
    data, cpu = load_dataset("digits"), torch.device("cpu")
    packed = PackTraining(configs, data, cpu)
    packed.train_task()
    for e, config in enumerate(configs):
        alone = PackTraining([config], data, cpu)
        alone.train_task()
        torch.testing.assert_close(
            packed.learner.networks.flat[e], alone.learner.networks.flat[0], atol=1e-5, rtol=1e-4
        )


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    ("context", "optimiser"),
    [*((context, "rmsprop") for context in CONTEXTS), *(("binary", name) for name in OPTIMISERS if name != "rmsprop")],
)
def test_a_packed_trial_equals_a_lone_one(context: str, optimiser: str) -> None:
    assert_packed_equals_alone(five(context, optimiser))


def test_on_a_cpu_tf32_is_float32_to_the_bit() -> None:
    usual, other = lone(DIGITS), lone(replace(DIGITS, precision="float32"))
    assert torch.equal(usual.nan_to_num(), other.nan_to_num())


def change_by_a_step(precision: str, device: torch.device) -> torch.Tensor:
    """How one step of SGD, which divides by nothing, changes the weights."""
    config = replace(DIGITS, optimiser="sgd", num_tasks=1, steps_per_task=1, precision=precision)
    training = PackTraining([config], load_dataset("digits"), device)
    drawn = training.learner.networks.flat.clone()
    training.train_task()
    return training.learner.networks.flat - drawn


def test_a_step_in_bfloat16_is_the_same_but_for_rounding() -> None:
    """bfloat16 keeps 8 bits of a number; a unit that rounding takes over zero makes some per cent of a gradient."""
    exact, rounded = (change_by_a_step(precision, torch.device("cpu")) for precision in ("float32", "bfloat16"))
    assert 0 < (rounded - exact).norm() < 0.2 * exact.norm()


def test_a_stream_whose_tasks_cannot_be_pulled_back_is_measured_image_by_image(monkeypatch: pytest.MonkeyPatch) -> None:
    usual = train([DIGITS])[0].loss
    monkeypatch.setattr(PermutingTasks, "pull_back", staticmethod(lambda weights, descriptions: None))
    torch.testing.assert_close(usual, train([DIGITS])[0].loss, atol=1e-5, rtol=1e-5, equal_nan=True)


def test_a_pack_whose_members_have_all_diverged_is_not_trained_on(monkeypatch: pytest.MonkeyPatch) -> None:
    training = PackTraining([replace(DIGITS, lr=1e30)], load_dataset("digits"), torch.device("cpu"))
    training.train_task()
    monkeypatch.setattr(training, "_repeater", None)  # would raise
    training.train_task()
    training.train_task()
    assert training.done
    assert training.results()[0].accuracy.isnan().all()


def test_a_graph_of_steps_ends_where_other_groups_are_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a learner that trains heads alone in the second phase, each phase repeats a step of its own."""
    packnet = replace(DIGITS, context="none", heads="per-task", protect="packnet", num_tasks=2)
    training = PackTraining([packnet], load_dataset("digits"), torch.device("cpu"))
    learner, repeated = training.learner, list[tuple[int, bool, int]]()
    begin = learner.begin

    def begin_phase(stretch: Stretch) -> Collection[int]:
        learner.groups[0].is_active = not stretch.phase
        return begin(stretch)

    def run(repeater: Repeater, step: Callable[[], None], num_steps: int) -> None:
        repeated.append((id(repeater), learner.groups[0].is_active, num_steps))
        kept.append(repeater)

    kept = list[Repeater]()  # so that no two have one id
    monkeypatch.setattr(learner, "begin", begin_phase)
    monkeypatch.setattr(Repeater, "run", run)
    training.begin_task(0)
    training.take_steps()
    training.begin_task(1)
    training.take_steps()
    assert [(is_active, steps) for _, is_active, steps in repeated] == [(True, 13), (False, 7)] * 2
    assert len({repeater for repeater, _, _ in repeated}) == 4


@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_training_goes_on_from_its_state_to_the_bit(optimiser: str, learned: bool) -> None:
    """Interrupted after the second of four tasks; one member has diverged by then."""
    configs = five("complex", optimiser, num_tasks=4, learned_contexts=learned)
    configs.append(replace(configs[0], lr=1e30))
    whole, second = whole_and_resumed(configs, stop_after=2)
    for mine, theirs in zip(whole.results(), second.results(), strict=True):
        assert mine.diverged_at == theirs.diverged_at
        assert torch.equal(mine.loss.nan_to_num(), theirs.loss.nan_to_num())
        assert torch.equal(mine.accuracy.nan_to_num(), theirs.accuracy.nan_to_num())
        assert torch.equal(mine.num_samples, theirs.num_samples)
    assert torch.equal(whole.learner.networks.flat, second.learner.networks.flat)


def test_fewer_tasks_are_the_beginning_of_more() -> None:
    """What lets the plan merge trials that differ in num_tasks alone."""
    few, many = lone(replace(DIGITS, num_tasks=2)), lone(DIGITS)
    assert torch.equal(few[1], many[1, :2])
    assert torch.equal(few[0, 0], many[0, 0])


def test_measuring_does_not_change_training() -> None:
    whole = lone(DIGITS)
    ends = train([replace(DIGITS, eval_tasks="ends", eval_samples=50)])[0]
    assert torch.equal(whole[2], ends.accuracy[2])  # the last row is always whole
    assert ends.num_samples.tolist() == [[50, 0, 0], [50, 50, 0], [359, 359, 359]]


def test_ends_are_the_first_and_the_newest_task_and_milestones_are_whole() -> None:
    result = train([replace(DIGITS, num_tasks=5, eval_tasks="ends", eval_samples=50, milestones=(3,))])[0]
    assert result.num_samples.tolist() == [
        [50, 0, 0, 0, 0],
        [50, 50, 0, 0, 0],
        [359, 359, 359, 0, 0],
        [50, 0, 0, 50, 0],
        [359, 359, 359, 359, 359],
    ]
    assert torch.equal(result.accuracy.isfinite(), result.num_samples > 0)


def test_a_diverged_member_is_named_and_harms_nobody() -> None:
    wild = replace(DIGITS, lr=1e30, seed=1)
    steady, diverged = train([DIGITS, wild])
    assert steady.diverged_at is None
    assert diverged.diverged_at is not None
    assert diverged.diverged_at < 5
    assert diverged.accuracy.isnan().all()
    assert diverged.num_samples.sum() == 0
    beside = train([DIGITS, replace(DIGITS, seed=1)])[0]
    assert torch.equal(steady.accuracy.nan_to_num(), beside.accuracy.nan_to_num())


def test_learned_contexts_move_in_their_own_task_only() -> None:
    config = replace(DIGITS, learned_contexts=True)
    training = PackTraining([config, replace(config, seed=1)], load_dataset("digits"), torch.device("cpu"))
    name = "layers.1.contexts"

    def contexts() -> torch.Tensor:
        return torch.stack([of_member[name] for of_member in training.learner.networks.all_contexts])

    drawn = contexts()
    training.train_task()
    after_first = contexts()
    training.train_task()
    assert not torch.equal(after_first[:, 0], drawn[:, 0])
    assert torch.equal(after_first[:, 1:], drawn[:, 1:])
    assert torch.equal(contexts()[:, 0], after_first[:, 0])
    assert training.learner.storage[0].bytes_per_task == 4 * (64 + 16 + 16)  # numbers, no longer bits


def test_learned_contexts_are_what_torch_would_train_them_to() -> None:
    """One step by hand: RMSprop over the weights and the current task's contexts alike."""
    config = replace(DIGITS, learned_contexts=True, num_tasks=1, steps_per_task=2, context="rotation")
    data = load_dataset("digits")
    model = mlp(16, 2, get_context("rotation"), in_features=64, out_features=10, num_tasks=1, seed=0)
    leaves = [*model.parameters(), *(buffer.requires_grad_() for buffer in model.buffers())]
    optimiser = torch.optim.RMSprop(leaves, lr=config.lr)
    for samples in batch_order(config, len(data.train_labels), 0):
        optimiser.zero_grad()
        x = data.normalise(data.train_images[samples])
        nn.functional.cross_entropy(model(x, task=0), data.train_labels[samples]).backward()
        optimiser.step()
    training = PackTraining([config], data, torch.device("cpu"))
    training.train_task()
    for name, expected in [*model.named_parameters(), *model.named_buffers()]:
        found = {**training.learner.networks.parameters, **training.learner.networks.all_contexts[0]}[name].view_as(
            expected
        )
        torch.testing.assert_close(found, expected.detach(), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("context", ["none", "one-power"])
def test_a_context_without_numbers_for_each_task_cannot_be_learned(context: str) -> None:
    with pytest.raises(ValueError, match=f"learned_contexts=true does not apply to context='{context}'"):
        replace(DIGITS, context=context, learned_contexts=True)


def test_batches_are_epochs_each_sample_once() -> None:
    order = batch_order(replace(DIGITS, steps_per_task=10, batch_size=10), 50, 0).flatten()
    assert torch.equal(order[:50].sort().values, torch.arange(50))
    assert torch.equal(order[50:].sort().values, torch.arange(50))
    assert not torch.equal(order[:50], order[50:])


def test_members_of_different_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="must be alike in batch_size, width; pack them apart"):
        train([DIGITS, replace(DIGITS, width=8), replace(DIGITS, batch_size=16)])


def test_contexts_keep_what_plain_training_loses(mnist_root: Path) -> None:
    """The effect itself, on real images: 10 permuted tasks, a fifth of the paper's steps."""
    base = TrialConfig(width=128, num_tasks=10, steps_per_task=200, lr=1e-3, eval_samples=1000, eval_tasks="ends")
    final = {
        context: train([replace(base, context=context)], data=mnist_root)[0].final_accuracy
        for context in ("none", "binary", "complex")
    }
    assert final["binary"] > final["none"] + 0.1
    assert final["complex"] > final["none"] + 0.1
    assert final["binary"] > 0.8
