"""What slurm.sh asks of Slurm and of Ray, with programs that only note their arguments in the place of both."""

import os
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "slurm.sh"
STANDING_IN = {
    "hostname": "echo 10.0.0.1 fd00::1",
    "squeue": "date -d '+1 hour' +%Y-%m-%dT%H:%M:%S",
    "srun": 'printf "%s\\n" "$@" > asked; exit "$CODE"',
    "scontrol": 'echo "$@" > requeued',
}


def run(folder: Path, code: int) -> tuple[int, list[str]]:
    """The script's exit code and the arguments of srun, where psp ends with a code."""
    for name, does in STANDING_IN.items():
        (folder / name).write_text(f"#!/bin/bash\n{does}\n")
        (folder / name).chmod(0o755)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / ".venv" / "bin" / "activate").write_text("")
    job = {"SLURM_JOB_ID": "7", "SLURM_NNODES": "3", "SLURM_CPUS_PER_TASK": "4", "CODE": str(code)}
    path = {"PATH": f"{folder}:{os.environ['PATH']}"}
    command = ["bash", str(SCRIPT), "my study.yaml", "--out", "there"]
    done = subprocess.run(command, cwd=folder, env=os.environ | job | path, capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, (folder / "asked").read_text().splitlines()


def test_it_runs_the_study_on_all_nodes_and_stops_before_the_jobs_end(tmp_path: Path) -> None:
    code, asked = run(tmp_path, 0)
    assert code == 0
    ray = asked[asked.index("symmetric-run") : asked.index("--")]
    assert ray[1:] == ["--address", "10.0.0.1:6386", "--min-nodes", "3", "--num-cpus", "4"]
    psp = asked[asked.index("psp-7.out") + 1 :]
    assert psp[:-1] == ["my study.yaml", "--out", "there", "--address", "10.0.0.1:6386", "--time-budget"]
    assert 0 < int(psp[-1]) <= 3600 - 180
    assert not (tmp_path / "requeued").exists()


@pytest.mark.parametrize(("code", "is_requeued"), [(124, True), (1, False)])
def test_a_job_whose_time_is_over_is_put_back_into_the_queue(tmp_path: Path, code: int, is_requeued: bool) -> None:
    assert run(tmp_path, code)[0] == code
    assert (tmp_path / "requeued").exists() is is_requeued
