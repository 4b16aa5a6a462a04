"""Fixtures: a small pack of threads, the real data sets, small studies and their stores."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
import torch
from hypothesis import settings

from psp_core.contexts import get_context
from psp_core.datasets import SOURCES, data_root, load_dataset
from psp_core.groups import Stretch
from psp_core.methods import Learner
from psp_core.methods.base import network_size
from psp_core.models import SuperposedModel, TaskParts
from psp_core.streams import Tasks
from psp_core.training import PackTraining, train
from psp_core.trial import Trial
from study.plan import make_packs, merge
from study.spec import StudySpec
from study.store import TrialStore
from study.worker import Job, PackRun
from study.workers import Workers
from tests.clusters import end_all
from tests.published import publish_imagenet

torch.set_num_threads(1)

# A machine that does other things is slow now and then, and what a test draws in CI is drawn there again.
settings.register_profile("tests", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("tests")


@pytest.fixture(autouse=True)
def _global_generator() -> Iterator[None]:
    """Nothing draws from torch's global generator: results would depend on what had drawn from it before."""
    before = torch.get_rng_state()
    yield
    assert torch.equal(torch.get_rng_state(), before), "torch's global generator was used; draw from one with a seed"


@pytest.fixture(autouse=True)
def _no_process_left() -> Iterator[None]:
    """What a test started and did not wait for ends with the test."""
    yield
    end_all()


@contextlib.contextmanager
def in_float64() -> Iterator[None]:
    """Networks are made and trained in float64.

    Training is chaotic: of two orders of the same sums, float32 makes two trials whose accuracies differ by points
    after some dozen steps, on one processor and not on another. In float64 they stay equal to many digits.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


@pytest.fixture
def float64() -> Iterator[None]:
    with in_float64():
        yield


def require_data(name: str) -> Path:
    """The folder of a real data set; where it is not there the test is skipped, and in CI it fails."""
    missing = SOURCES[name].missing(data_root())
    if missing:
        refuse = pytest.fail if os.environ.get("PSP_REQUIRE_DATA") else pytest.skip
        refuse(f"needs the files of {name}: {missing[0]} is not there; set PSP_DATA")
    return data_root()


def whole_and_resumed(configs: Sequence[Trial], stop_after: int) -> tuple[PackTraining, PackTraining]:
    """A pack on digits trained in one go, and another from a file of its state after so many tasks."""
    whole, first, second = (PackTraining(configs, load_dataset("digits"), torch.device("cpu")) for _ in range(3))
    while not whole.done:
        whole.train_task()
    for _ in range(stop_after):
        first.train_task()
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second.load_state_dict(torch.load(file, weights_only=True))
    while not second.done:
        second.train_task()
    return whole, second


def assert_packed_equals_alone(configs: Sequence[Trial]) -> None:
    """Trials on digits measure the same in a pack and each alone; to be asked in float64, for they are whole trials."""
    for packed, config in zip(train(configs), configs, strict=True):
        (alone,) = train([config])
        assert packed.answers.keys() == alone.answers.keys()
        pairs = [(packed.loss, alone.loss), (packed.accuracy, alone.accuracy)]
        for mine, theirs in pairs + [(packed.answers[name], alone.answers[name]) for name in packed.answers]:
            torch.testing.assert_close(mine, theirs, equal_nan=True)


def started(config: Trial) -> Learner:
    """A pack of one on a CPU, as it begins."""
    return config.method.start([config], torch.device("cpu"))


def plain_module(config: Trial) -> SuperposedModel:
    """The network of a trial without contexts, as an ordinary module; what masks it has is not in it."""
    parts = TaskParts(context=get_context("none"), num_tasks=config.num_tasks, seed=config.seed, heads=config.heads)
    return config.model.build(network_size(config, config.superfluous), parts)


def tasks_of(config: Trial) -> Tasks:
    """The tasks of a trial."""
    return config.stream.tasks(config.dataset.sizes, config.num_tasks, config.seed)


def begin(training: PackTraining, task: int, index: int = 0) -> Stretch:
    """Begin a task, and one of its stretches, as training does, without taking its steps."""
    training.begin_task(task)
    training._step_1.zero_()
    stretch = Stretch(
        task=task,
        index=index,
        count=training.config.method.num_stretches(training.config),
        batch_size=training.config.batch_size,
        first=lambda: training._batch(training._step_1),
        recent=training._recent,
    )
    training._begin_stretch(stretch, task * training.config.steps_per_task)
    return stretch


@pytest.fixture(scope="session")
def mnist_root() -> Path:
    return require_data("mnist")


@pytest.fixture(scope="session")
def cifar_root(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The folder of CIFAR-10: the data root, or one into which what lies packed there is unpacked (15 s)."""
    unpack = data_root() / "unpack_cifar.py"
    if not SOURCES["cifar-10"].missing(data_root()) or not unpack.is_file():
        yield require_data("cifar-10")
        return
    folder = tmp_path_factory.mktemp("cifar")
    subprocess.run([sys.executable, str(unpack), str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)  # pytest keeps the folders of three sessions, and this one has 190 MB


@pytest.fixture(scope="session")
def imagenet_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("imagenet")
    publish_imagenet(root)
    return root


def small_study(**changes: object) -> StudySpec:
    content = {
        "name": "small",
        "axes": {"context": ["none", "binary"], "width": [4, 8]},
        "seeds": [0, 1],
        "settings": {"dataset": "digits", "num_tasks": 3, "steps_per_task": 5, "batch_size": 16, "lr": 0.01},
    }
    return StudySpec.from_mapping({**content, **changes})


def run_here(
    spec: StudySpec, out: Path, *, workers: Workers | None = None, max_members: int | None = None
) -> TrialStore:
    """Run a study in this process, without Ray, in the packs that such workers would get."""
    store = TrialStore(str(out))
    store.claim(spec, {})
    for pack in make_packs(merge(spec.trials()), workers, max_members):
        job = Job(study=spec.name, pack=pack, store=store.uri)
        name = pack.trials[0].data_name
        run = PackRun(job, load_dataset(name) if name else None)
        while not run.step()["done"]:
            pass
    return store


@pytest.fixture(scope="session")
def small_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stores") / "small"
    run_here(small_study(), out, max_members=2)
    return out


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 100 kB; skips the test where this user may not mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=100k", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this user may not mount a disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)
