"""What only a CUDA device can show: the same numbers through graphs, and packs that do not fit."""

from pathlib import Path

import pytest
import torch

from psp_core import Trial, TrialConfig, load_dataset, train
from psp_core.contexts import CONTEXTS
from psp_core.devices import Repeater, cpu_threads
from psp_core.evaluation import CHUNK_BYTES
from psp_core.held_out import HeldOut
from psp_core.optimisers import OPTIMISERS
from psp_core.training import PackTraining
from psp_core.trial import replace
from study.plan import Pack
from study.worker import Job, PackRun
from tests.gpu import ON_A_GPU
from tests.psp_core.test_imagenet import KINDS as IMAGENET
from tests.psp_core.test_imagenet import in_memory
from tests.psp_core.test_training import change_by_a_step
from tests.psp_core.test_training_streams import KINDS
from tests.psp_core.test_trunk import KINDS as TRUNKS

pytestmark = ON_A_GPU
DIGITS = TrialConfig(
    dataset="digits", width=16, num_tasks=3, steps_per_task=20, batch_size=32, lr=0.003, precision="float32"
)


def assert_there_as_here(configs: list[Trial]) -> None:
    """Whole trials on the device measure what they do on the CPU; to be asked in float64."""
    for there, here in zip(train(configs, device="cuda"), train(configs), strict=True):
        torch.testing.assert_close(there.loss, here.loss, equal_nan=True)
        torch.testing.assert_close(there.accuracy, here.accuracy, equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("context", CONTEXTS)
@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_the_device_changes_rounding_only(context: str, optimiser: str) -> None:
    """The step is captured as a graph after three steps."""
    base = replace(DIGITS, context=context, optimiser=optimiser, lr=0.001)
    configs = [replace(base, seed=seed, lr=lr) for seed, lr in enumerate([0.001, 0.002, 0.0005])]
    assert_there_as_here(configs)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", KINDS)
def test_every_stream_and_network_runs_there(kind: str) -> None:
    assert_there_as_here([replace(KINDS[kind], seed=seed, precision="float32") for seed in range(2)])


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", TRUNKS)
def test_every_trunk_is_trained_or_frozen_there_as_here(kind: str) -> None:
    """A graph is captured anew when the trunk is frozen, with another learning rate."""
    assert_there_as_here([replace(TRUNKS[kind], seed=seed, precision="float32") for seed in range(2)])


@pytest.mark.usefixtures("float64")
def test_images_that_stay_in_their_files_are_fetched_there(imagenet_root: Path) -> None:
    """A graph of the last task's images would read memory that is no longer theirs."""
    configs = [replace(c, steps_per_task=10, precision="float32", optimiser="sgd") for c in IMAGENET["two members"]]
    data = load_dataset("imagenet", imagenet_root)
    whole = in_memory(imagenet_root, configs)
    one, other = (PackTraining(configs, images, torch.device("cuda")) for images in (data, whole))
    while not one.done:
        one.train_task()
        other.train_task()
        torch.testing.assert_close(one.learner.networks.flat, other.learner.networks.flat)


@pytest.mark.parametrize(
    "kind",
    [
        {"context": "none"},
        {"context": "complex", "weight_decay": 0.01},
        {"context": "rotation"},
        {"learned_contexts": True},
        {"stream": "turned", "interpolation": "nearest", "lr_schedule": "cosine"},
        {"precision": "bfloat16"},
        {"precision": "bfloat16", "context": "complex"},
        {"precision": "bfloat16", "protect": "ewc", "protect_strength": 1.0},
        {"protect": "replay", "context": "binary"},
        {"protect": "a-gem"},
        {"protect": "lwf", "context": "complex"},
        {"precision": "bfloat16", "protect": "lwf"},
        {"precision": "bfloat16", "protect": "gpm"},
        {"precision": "bfloat16", "protect": "packnet"},
        {"context": "none", "joint": True},
        {"context": "binary", "joint": True, "heads": "per-task"},
        {"method": "hat"},
    ],
    ids=str,
)
def test_a_graph_takes_the_steps_that_are_taken_without_it(
    kind: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SGD, which divides by nothing, a step is as exact as its products."""

    def weights(num_eager: int) -> torch.Tensor:
        monkeypatch.setattr("psp_core.devices._EAGER_STEPS", num_eager)
        configs = [replace(DIGITS, seed=seed, optimiser="sgd", lr=0.01, **kind) for seed in range(2)]
        training = PackTraining(configs, load_dataset("digits"), torch.device("cuda"))
        training.train_task()
        training.train_task()
        return training.learner.networks.flat

    torch.testing.assert_close(weights(3), weights(10**6))


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("context", ["none", "binary", "complex", "rotation"])
def test_a_device_without_a_compiler_takes_the_same_steps(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Triton is not, PyTorch's operations serve."""
    configs = [replace(DIGITS, seed=seed, context=context, lr=0.001) for seed in range(2)]
    compiled = train(configs, device="cuda")
    monkeypatch.setattr("psp_core.kernels.choice._can_compile", lambda: False)
    monkeypatch.setattr("psp_core.optimisers.compiler_missing", lambda: "it is taken away")
    for one, other in zip(compiled, train(configs, device="cuda"), strict=True):
        torch.testing.assert_close(one.loss, other.loss, equal_nan=True)


@pytest.mark.parametrize("context", ["none", "binary", "complex", "rotation"])
def test_bfloat16_learns_what_float32_learns_there(context: str) -> None:
    """8 bits of each operand: a step is the same to some per cent, and so is what 200 of them have learned."""
    config = replace(DIGITS, context=context, num_tasks=1, steps_per_task=200)
    exact, rounded = (train([replace(config, precision=p)], device="cuda")[0] for p in ("float32", "bfloat16"))
    assert (exact.accuracy - rounded.accuracy).abs().max() < 0.05
    assert exact.accuracy.min() > 0.5


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("kind", ["rotating", "shuffled", "supsup", "augmented"])
def test_what_is_drawn_ahead_is_what_is_drawn_at_once(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of the next task's batches reaches the device before the last step that reads the task's."""
    kinds = {
        **KINDS,
        "supsup": replace(DIGITS, precision="tf32", method="supsup", context="none"),
        "augmented": replace(DIGITS, augmentation="crop-flip"),
    }
    configs = [replace(kinds[kind], seed=seed) for seed in (0, 1, 0)]
    ahead = train(configs, device="cuda")
    for module in ("visits", "methods.supsup"):
        monkeypatch.setattr(f"psp_core.{module}.drawn_for", lambda device, draw, end: draw)
    for one, other in zip(ahead, train(configs, device="cuda"), strict=True):
        torch.testing.assert_close(one.loss, other.loss, equal_nan=True)


def test_the_first_steps_run_as_they_are_and_the_rest_as_a_graph() -> None:
    calls, repeater = [], Repeater(torch.device("cuda"))
    total = torch.zeros(1, device="cuda")

    def step() -> None:
        calls.append(1)
        total.add_(1)

    repeater.run(step, 10)
    assert total.item() == 10
    assert len(calls) == 4  # three, and one that was recorded


@pytest.mark.parametrize("precision", ["tf32", "bfloat16"])
def test_a_step_in_lower_precision_is_the_same_but_for_rounding(precision: str) -> None:
    exact, rounded = (change_by_a_step(p, torch.device("cuda")) for p in ("float32", precision))
    assert (rounded - exact).norm() < 0.2 * exact.norm()


def test_a_diverged_member_harms_nobody() -> None:
    steady, diverged = train([DIGITS, replace(DIGITS, lr=1e30, seed=1)], device="cuda")
    beside = train([DIGITS, replace(DIGITS, seed=1)], device="cuda")[0]
    assert diverged.diverged_at is not None
    torch.testing.assert_close(steady.accuracy, beside.accuracy, atol=0, rtol=0, equal_nan=True)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("context", CONTEXTS)
def test_all_tasks_are_measured_there_as_here(context: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members that share contexts are retrieved as one there; in chunks of tasks and of images."""
    configs = [replace(DIGITS, context=context, seed=seed, num_tasks=5) for seed in (0, 1, 0, 0)]
    measured = []
    for device in ("cpu", "cuda"):
        training = PackTraining(configs, load_dataset("digits"), torch.device(device))
        answerer = training.learner.answerer(5)
        if device == "cuda":
            monkeypatch.setitem(CHUNK_BYTES, "cuda", 3 * 4 * answerer.networks.numbers_per_task)
        held_out = HeldOut.of(training.tasks, training.dataset, most=None, batch_size=1000)
        measured.append(answerer.measure(held_out, [0, 1, 3, 4]))
    for name, here in measured[0].items():
        torch.testing.assert_close(measured[1][name], here)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("context", ["binary", "complex", "rotation", "structured-rotation"])
def test_members_that_are_drawn_together_are_those_that_are_drawn_one_by_one(context: str) -> None:
    """In threads, each with a stream of its own."""
    configs = [replace(DIGITS, context=context, seed=seed) for seed in (0, 1, 2, 0)]
    with cpu_threads(3):
        there = PackTraining(configs, load_dataset("digits"), torch.device("cuda")).learner.networks
    here = PackTraining(configs, load_dataset("digits"), torch.device("cpu")).learner.networks
    torch.testing.assert_close(there.flat.cpu(), here.flat)
    for mine, theirs in zip(there.all_contexts, here.all_contexts, strict=True):
        for name, buffer in mine.items():
            torch.testing.assert_close(buffer.cpu(), theirs[name])


def test_a_pack_goes_on_from_a_checkpoint_that_was_written_beside_its_training(tmp_path: Path) -> None:
    """What is written is the device's state of its moment, however far training is by then."""
    configs = [replace(DIGITS, seed=seed, lr=lr) for seed, lr in ((0, 0.003), (0, 0.001), (1, 0.003))]
    results = []
    for name in ("whole", "resumed"):
        job = Job(study="s", pack=Pack(tuple(configs)), store=str(tmp_path / name), checkpoint_seconds=0)
        run = PackRun(job, load_dataset("digits"), "cuda")
        if name == "resumed":
            run.step()
            run.step()
            run.checkpoints.wait()
            run = PackRun(job, load_dataset("digits"), "cuda")
        while not run.step()["done"]:
            pass
        results.append([result.loss for result in run.results])
    for whole, resumed in zip(*results, strict=True):
        torch.testing.assert_close(whole, resumed, equal_nan=True)


@pytest.mark.parametrize("context", ["binary", "complex", "rotation"])
def test_products_in_bfloat16_measure_there_what_they_measure_here_but_for_rounding(context: str) -> None:
    """Networks as they are drawn: training would make two of small differences."""
    config = replace(DIGITS, context=context, precision="bfloat16")
    losses = []
    for device in ("cpu", "cuda"):
        training = PackTraining([config], load_dataset("digits"), torch.device(device))
        held_out = HeldOut.of(training.tasks, training.dataset, most=None, batch_size=1000)
        losses.append(training.learner.answerer(3).measure(held_out, [0, 1, 2])["loss"])
    torch.testing.assert_close(losses[1], losses[0], atol=0, rtol=0.02)
