"""A context and a stream of one's own, written as the README says: a file, a line in the registry, a test class."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

CONTEXT = '''
"""Block-sign contexts: neighbours share a sign."""

import torch
from torch import Tensor

from psp_core.contexts.binary import random_signs
from psp_core.contexts.diagonal import Diagonal


class BlockSigns(Diagonal, name="block-signs"):
    """A random sign for every two inputs."""

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """The signs, each twice."""
        return random_signs((-(-size // 2),), generator).repeat_interleave(2)[:size]

    def bytes_per_task(self, size: int) -> int:
        """A bit for each sign."""
        return -(-size // 16)
'''
CONTEXT_TEST = """
from psp_core.contexts import get_context
from tests.contracts import ContextContract


class TestBlockSigns(ContextContract):
    context = get_context("block-signs")
"""
STREAM = '''
"""The shifted stream: every task shows the same images moved around."""

import torch
from torch import Tensor

from psp_core.datasets import Sizes
from psp_core.parts import setting
from psp_core.randomness import generator
from psp_core.rules import at_least
from psp_core.streams.base import Stream, Tasks


class Shifted(Stream, name="shifted"):
    """Task k's pixels are those of the data set so many places further on, which comes from the seed."""

    least: int = setting(0, "How many places at least.", rule=at_least(0), column="shifted_least")

    def tasks(self, data: Sizes, num_tasks: int, seed: int) -> Tasks:
        """Tasks of as many places each as the seed says."""
        return ShiftedTasks(data.num_inputs, seed, self.least)


class ShiftedTasks(Tasks):
    """Task k moves the numbers of all images by so many places."""

    def __init__(self, num_inputs: int, seed: int, least: int) -> None:
        """Remember all of them."""
        self.num_inputs, self.seed, self.least = num_inputs, seed, least

    def describe(self, task: int, fraction: float = 0.0) -> Tensor:
        """How many places, shape ()."""
        return self.least + torch.randint(10**6, (), generator=generator(self.seed, "shift", task))

    def apply(self, images_EBI: Tensor, description_E: Tensor) -> Tensor:
        """Move them."""
        places = torch.arange(self.num_inputs, device=images_EBI.device)
        from_EI = (places + description_E[:, None]) % self.num_inputs
        return images_EBI.gather(2, from_EI[:, None].expand(images_EBI.shape))
'''
STREAM_TEST = """
from psp_core.streams import STREAMS
from tests.contracts import StreamContract


class TestShifted(StreamContract):
    stream = STREAMS["shifted"]()
"""


def project_with_both(folder: Path) -> None:
    """A copy of the project, and in it what somebody added: four files, and a line in either registry."""
    for name in ("analysis", "benchmarks", "psp_core", "study", "tests"):
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", folder)
    written = {
        "psp_core/contexts/block_signs.py": CONTEXT,
        "psp_core/streams/shifted.py": STREAM,
        "tests/test_block_signs.py": CONTEXT_TEST,
        "tests/psp_core/test_shifted.py": STREAM_TEST,
    }
    for name, text in written.items():
        (folder / name).write_text(text.lstrip())
    for package, line in (
        ("contexts", "from psp_core.contexts.block_signs import BlockSigns"),
        ("streams", "from psp_core.streams.shifted import Shifted"),
    ):
        registry = folder / "psp_core" / package / "__init__.py"
        registry.write_text(registry.read_text().replace("from psp_core.", f"{line}\nfrom psp_core.", 1))


def run(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
def test_nothing_else_has_to_know_a_new_context_or_stream(tmp_path: Path) -> None:
    """What is tested of every context and every stream passes for both, and so does what looks at all of them."""
    project_with_both(tmp_path)
    concerned = "block-signs or BlockSigns or shifted or Shifted or colour or every_context or every_stream"
    out = run(tmp_path, "pytest", "-q", "-p", "no:cacheprovider", "-m", "not slow", "tests", "-k", concerned)
    assert (
        int(out.rpartition(" passed")[0].split()[-1]) > 40
    )  # both contracts, and what is asked of every one elsewhere
    changes = ("--set", "context=block-signs,binary", "--set", "stream=shifted", "--set", "shifted_least=3")
    assert "24 planned" in run(tmp_path, "study", "plan", "quickstart", *changes)
