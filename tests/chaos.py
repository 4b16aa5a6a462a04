"""A study while machines die: python -m tests.chaos --seed 0 --kills 20 --seconds 1500.

Two nodes on loopback train 100 trials. At random moments a worker, a node, the driver, or the head with all
on it is killed with -9; what is gone is started again, the run by the same command. At the end every
planned trial is stored once, and equal to a quiet run's.
"""

import argparse
import random
import tempfile
import time
from collections import Counter
from pathlib import Path

import pandas as pd
import psutil
import pyarrow.parquet as pq
import yaml

from study.spec import StudySpec
from study.workers import Workers
from tests.clusters import Cluster, psp
from tests.conftest import run_here, small_study

HEAD, SECOND = "127.0.0.1", "127.0.0.2"
TWO = Workers(device="cpu", count=2, memory=2**33, cores=1)


def study(num_seeds: int, steps_per_task: int) -> StudySpec:
    """Ten shapes."""
    return small_study(
        axes={"context": ["none", "binary", "complex", "one-power", "rotation"], "width": [8, 16]},
        seeds=list(range(num_seeds)),
        settings={"dataset": "digits", "num_tasks": 8, "steps_per_task": steps_per_task, "lr": 0.01, "batch_size": 32},
    )


class Chaos:
    """A cluster, a driver, and what kills them."""

    def __init__(self, spec: StudySpec, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.file, self.out = folder / "study.yaml", folder / "out"
        self.file.write_text(yaml.safe_dump(spec.to_mapping()))
        self.killed: Counter[str] = Counter()
        self.runs = 0
        self.cluster = Cluster()

    def run(self, kills: int, seconds: float) -> None:
        """Until the study is done.

        Raises:
            TimeoutError: it is not, after so many seconds.
        """
        deadline = time.monotonic() + seconds
        self.start_cluster()
        self.start_driver()
        next_kill = time.monotonic() + 15
        try:
            while self.driver.poll() != 0:
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not done after {seconds:g} s, {dict(self.killed)}: {self.last_words()}")
                if self.driver.poll() is not None:  # killed, or some packs failed too often: as a user would
                    self.start_driver()
                if sum(self.killed.values()) < kills and time.monotonic() > next_kill:
                    self.kill_something()
                    next_kill = time.monotonic() + self.random.uniform(4, 20)
                time.sleep(0.2)
        finally:
            self.driver.kill()
            self.cluster.stop()

    def start_cluster(self) -> None:
        self.cluster.start_head()
        self.cluster.start_node(SECOND)

    def start_driver(self) -> None:
        self.runs += 1
        with self.out.with_name(f"run-{self.runs}.log").open("w") as log:
            self.driver = psp(
                "run", str(self.file), "--address", self.cluster.address, "--out", str(self.out), "--max-members", "4",
                "--checkpoint-every", "0.5", environment=self.cluster.environment, output=log,
            )  # fmt: skip

    def kill_something(self) -> None:
        what = self.random.choices(["worker", "node", "driver", "head"], [5, 2, 3, 1])[0]
        workers = self.cluster.workers()
        if what == "worker" and not workers:
            return  # none is up yet
        if what == "worker":
            victim = self.random.choice(workers)
            try:
                victim.kill()
            except psutil.NoSuchProcess:
                return
        elif what == "driver":
            self.driver.kill()
            self.driver.wait()
        elif what == "node":
            self.cluster.kill(SECOND)
            self.cluster.start_node(SECOND)
        else:  # the machine on which the run was typed
            self.driver.kill()
            self.driver.wait()
            self.cluster.stop()
            self.start_cluster()
        self.killed[what] += 1
        print(f"{time.strftime('%X')} killed a {what}; {len(list(self.out.glob('trials/*')))} packs stored", flush=True)

    def last_words(self) -> str:
        return self.out.with_name(f"run-{self.runs}.log").read_text()[-2000:]


def compare(spec: StudySpec, out: Path, quiet: Path) -> None:
    """Every planned trial is there once, and its measurements are the quiet run's to the bit."""
    run_here(spec, quiet, workers=TWO, max_members=4)
    for table, keys, times in (
        ("trials", ["trial_id"], ["seconds", "steps_per_second"]),
        ("evals", ["trial_id", "tasks_seen", "task"], []),
    ):
        mine, theirs = (
            pq.read_table(folder / table).to_pandas().drop(columns=times).sort_values(keys).reset_index(drop=True)
            for folder in (out, quiet)
        )
        assert not mine.duplicated(keys).any()
        pd.testing.assert_frame_equal(mine, theirs, check_exact=True)


def main(seed: int, kills: int, seconds: float, num_seeds: int, steps_per_task: int = 3000) -> Counter[str]:
    """The whole of it; what was killed how often."""
    spec = study(num_seeds, steps_per_task)
    with tempfile.TemporaryDirectory(prefix="psp-chaos-") as folder:
        chaos = Chaos(spec, Path(folder), seed)
        chaos.run(kills, seconds)
        compare(spec, chaos.out, Path(folder) / "quiet")
        print(f"{len(spec.trials())} trials, equal to a quiet run; {dict(chaos.killed)} killed, {chaos.runs} runs")
        return chaos.killed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1500)
    parser.add_argument("--num-seeds", type=int, default=10, help="ten trials for each")
    arguments = parser.parse_args()
    main(arguments.seed, arguments.kills, arguments.seconds, arguments.num_seeds)
