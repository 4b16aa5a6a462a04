"""The command line as people expect: help, version, completion, and files to begin with."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from study import __version__
from study.cli import COMMANDS, EXAMPLES
from study.shipped import shipped_studies
from study.spec import load_study
from tests.conftest import small_study

ROOT = Path(__file__).parents[2]


def imported_by(*arguments: str, **environment: str) -> set[str]:
    """The modules that the program has imported when it ends."""
    code = (
        f"import atexit, sys; sys.argv = {['psp', *arguments]!r}; from study.cli import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return set(done.stderr.split())


@pytest.mark.parametrize("arguments", [["--help"], ["run", "--help"], ["--version"], ["list"]])
def test_help_is_instant(arguments: list[str]) -> None:
    assert not imported_by(*arguments) & {"torch", "ray", "pandas", "matplotlib", "numpy", "scipy"}


def test_a_shell_completes_studies_and_stores_and_waits_for_nothing(tmp_path: Path) -> None:
    def completed(line: str) -> list[str]:
        words = {"_PSP_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": "2"}
        program = [sys.executable, "-c", "import sys; sys.argv = ['psp']; from study.cli import main; main()"]
        done = subprocess.run(
            program,
            cwd=tmp_path,
            env={**os.environ, **words, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
        )
        return done.stdout.split()

    (tmp_path / "results" / "quickstart").mkdir(parents=True)
    (tmp_path / "results" / "quickstart" / "study.yaml").touch()
    (tmp_path / "quick.yaml").touch()
    assert completed("psp run quick") == ["quickstart", "quick.yaml"]
    assert completed("psp plot res") == ["results/quickstart"]
    assert completed("psp plot results/") == ["results/quickstart"]
    environment = {"_PSP_COMPLETE": "complete_bash", "COMP_WORDS": "psp run quick", "COMP_CWORD": "2"}
    assert not imported_by(**environment) & {"torch", "ray", "pandas"}


def test_the_version_is_said(psp) -> None:
    assert psp("--version").out == f"psp {__version__}\n"


def test_help_has_every_command_under_a_heading_and_examples(psp) -> None:
    text = psp("--help").out
    for heading, commands in COMMANDS.items():
        assert f" {heading} " in text
        for command in commands:
            assert f"│ {command} " in text
    commands = {name for of_heading in COMMANDS.values() for name in of_heading}
    assert {*EXAMPLES} <= {"", *commands}
    assert EXAMPLES["plot"][0] in " ".join(psp("plot", "--help").out.split())


def test_examples_have_options_that_there_are(psp) -> None:
    for command, examples in EXAMPLES.items():
        text = psp(*([command] if command else []), "--help").out
        for example in examples:
            assert example.startswith(f"psp {command}")
            assert [word for word in example.split() if word.startswith("--") and word not in text] == []


def test_a_new_study_file_is_valid_and_knows_its_schema(psp, tmp_path: Path) -> None:
    outcome = psp("init", "deep/nets.yaml")
    assert outcome.code == 0
    file = tmp_path / "deep" / "nets.yaml"
    spec = load_study(str(file))
    assert spec.name == "nets"
    assert psp("validate", str(file)).out == f"{file} is valid: nets, {len(spec.trials())} trials, 3 with --small\n"
    named = file.read_text().splitlines()[0].removeprefix("# yaml-language-server: $schema=")
    schema = json.loads((file.parent / named).read_text())
    assert schema == json.loads(psp("schema").out)
    Draft202012Validator(schema).validate(yaml.safe_load(file.read_text()))
    before = file.read_text()
    outcome = psp("init", "deep/nets.yaml")
    assert outcome.code == 2
    assert "is there already" in outcome.err
    assert file.read_text() == before


def test_what_a_new_study_file_has_in_comments_is_valid_too(psp, tmp_path: Path) -> None:
    psp("init")
    file = tmp_path / "my-study.yaml"
    lines = file.read_text().splitlines()
    keys = ("  # lr: ", "# variants:", "#   - ")
    assert sum(line.startswith(keys) for line in lines) == 4
    shown = [line.replace("# ", "", 1) if line.startswith(keys) else line for line in lines]
    file.write_text("\n".join(line for line in shown if not line.startswith("  lr: 0.003")))
    spec = load_study(str(file))
    assert len(spec.axes["lr"]) == 5
    assert [variant.get("protect_strength") for variant in spec.variants] == [None, 1, 10, 100]


@pytest.mark.parametrize("name", ["My-Study.yaml", "study.txt", "-.yaml"])
def test_a_study_file_of_another_name_is_refused(psp, tmp_path: Path, name: str) -> None:
    outcome = psp("init", "--", name)
    assert outcome.code == 2
    assert "such as 'my-study.yaml'" in outcome.err
    assert not list(tmp_path.iterdir())


def test_validate_names_the_file_that_is_wrong(psp, tmp_path: Path) -> None:
    (tmp_path / "bad.yaml").write_text("name: bad\naxes: {widht: [4]}\n")
    outcome = psp("validate", "quickstart", "bad.yaml")
    assert outcome.code == 2
    assert outcome.out == "quickstart is valid: quickstart, 60 trials\n"
    assert outcome.err.startswith("error: bad.yaml: axes: 'widht' is not a setting")


def test_programs_get_what_people_read(psp, small_store: Path) -> None:
    listed = {study.pop("name"): study for study in json.loads(psp("list", "--json").out)}
    assert listed.keys() == shipped_studies().keys()
    assert listed["quickstart"]["trials"] == 60
    assert listed["quickstart"]["small_trials"] is None
    assert listed["rivals"]["is_tuned"] is True
    planned = json.loads(psp("plan", "quickstart", "--only", "context=binary", "--json").out)
    (stage,) = planned["stages"]
    assert (planned["study"], planned["store"]) == ("quickstart", "results/quickstart")
    assert (stage["planned"], stage["to_do"], stage["trial_steps"]) == (12, 12, 12 * 10 * 150)
    assert planned["seconds"] > stage["seconds"] > 0
    stages = json.loads(psp("plan", "rivals", "--small", "--json").out)["stages"]
    assert [stage["stage"] for stage in stages] == ["tuning", "measuring"]
    assert stages[1]["to_come"] > 0
    now = json.loads(psp("status", str(small_store), "--json").out)
    assert (now["planned"], now["done"], now["failed"], now["errors"]) == (8, 8, 0, [])


def test_a_quiet_run_prints_nothing_and_logs_everything(psp, small_store: Path, tmp_path: Path) -> None:
    study = tmp_path / "small.yaml"
    study.write_text(yaml.safe_dump(small_study().to_mapping()))
    done = ("run", str(study), "--out", str(small_store))
    outcome = psp(*done, "-q", "--log-file", "run.log")
    assert (outcome.code, outcome.out, outcome.err) == (0, "", "")
    logged = [line.split(" ", 1)[1] for line in (tmp_path / "run.log").read_text().splitlines()]
    assert logged == psp(*done).out.splitlines()
    assert any(line.startswith("Each curve, mean over width") for line in logged)
    for options, message in (
        (("-q", "-v"), "contradict"),
        (("--log-file", "no/run.log"), "log_file='no/run.log' cannot"),
    ):
        outcome = psp(*done, *options)
        assert outcome.code == 2
        assert message in outcome.err
