"""What is installed from a wheel runs: with every file of the packages that is no module, and nothing else."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
PACKAGES = ("psp_core", "study", "analysis")


def done(*command: str | Path, **options: object) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, **options)  # type: ignore[call-overload]
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-3000:]
    return str(run.stdout)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built of a copy: building leaves files beside the sources."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in PACKAGES:
        shutil.copytree(PROJECT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(PROJECT / name, folder)
    done(sys.executable, "-m", "build", "--wheel", "--no-isolation", folder)
    (built,) = (folder / "dist").iterdir()
    return built


def test_a_wheel_has_every_file_of_the_packages_and_no_other(wheel: Path) -> None:
    files = {path.relative_to(PROJECT).as_posix() for name in PACKAGES for path in (PROJECT / name).rglob("*.*")}
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert {name for name in files if "__pycache__" not in name} == held
    assert {Path(name).suffix for name in held} >= {".py", ".yaml", ".json", ".csv"}


@pytest.mark.slow
def test_a_clean_environment_runs_the_quickstart_from_a_wheel(wheel: Path, tmp_path: Path) -> None:
    """Its requirements are those of this environment, so that nothing is downloaded."""
    there = tmp_path / "venv"
    done(sys.executable, "-m", "venv", "--without-pip", there)
    (packages,) = there.glob("lib/python*/site-packages")
    (packages / "requirements.pth").write_text("\n".join(path for path in sys.path if path.endswith("site-packages")))
    done(sys.executable, "-m", "pip", "--python", there / "bin/python", "install", "--no-deps", "--no-index", wheel)
    place = done(there / "bin/python", "-c", "import analysis, psp_core, study; print(study.__file__)", cwd=tmp_path)
    assert Path(place.strip()).is_relative_to(there)
    done(there / "bin/psp", "run", "quickstart", "--set", "width=16", "--set", "seed=0", cwd=tmp_path)
    for command in ("plot", "report"):
        done(there / "bin/psp", command, "results/quickstart", cwd=tmp_path)
    assert (tmp_path / "results/quickstart/figures/capacity.png").is_file()
    assert (tmp_path / "results/quickstart/report.html").is_file()
