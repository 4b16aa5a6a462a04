"""`psp report`: one page of what came out, also while the study runs."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from study.commands.arguments import Outs, refuse_a_name
from study.redact import without_secrets

if TYPE_CHECKING:
    from analysis.report import Progress
    from psp_core.experiment import Experiment
    from study.spec import StudySpec
    from study.standing import Standing
    from study.store import TrialStore

AXES: Final = ("width", "lr", "num_tasks", "seed")


def report(
    outs: Outs,
    to: Annotated[
        Path | None,
        typer.Option(help="The page's file. [default: OUT/report.html; of several stores, report.html here]"),
    ] = None,
) -> None:
    """Write one HTML page: findings in words, charts, tables, costs, and how to make them again. Needs no network.

    Several stores are shown side by side. A study that is half way is shown as far as it is.
    """
    from analysis.report import write_report

    for out in outs:
        refuse_a_name(out)
    progress = {out: found for out in outs if (found := progress_of(out))}
    typer.echo(f"wrote {without_secrets(write_report(outs, progress, to))}")


def progress_of(out: str) -> "Progress | None":
    """How far a store's study is; None where the study is not known, or of another version."""
    from study.spec import StudyError
    from study.standing import whole_standing
    from study.store import TrialStore

    try:
        store = TrialStore(out)
        spec = store.read_study()
        return _progress(spec, store, whole_standing(spec, store)) if spec else None
    except StudyError:  # its trials can be shown all the same
        return None


def _progress(spec: "StudySpec", store: "TrialStore", now: "Standing") -> "Progress":
    from analysis.report import Progress
    from study.lease import held
    from study.plan import trial_id
    from study.store import RUNS
    from study.unfinished import begun

    running = begun(store.unfinished()) if held(store.files) else {}
    left = [planned for planned in now.planned if not planned.is_done]
    states = ["running" if trial_id(planned.trained) in running else planned.status or "to do" for planned in left]
    missing = [_told(planned.trial) | {"status": state} for planned, state in zip(left, states, strict=True)]
    missing += [_told(trial) | {"status": "to do"} for trial in now.to_come]
    ran_with = {str(name): str(value) for name, value in store.provenance().items() if name != RUNS}
    return Progress(
        name=spec.name,
        about=spec.about,
        planned=len(now.planned) + len(now.to_come),
        done=now.count("ok", "diverged"),
        diverged=now.count("diverged"),
        failed=states.count("failed"),
        running=states.count("running"),
        others=len(now.unplanned()),
        missing=missing,
        commands=_commands(spec.name, [list(map(str, run["set"])) for run in store.runs()]),
        study=store.files.read("study.yaml").decode(errors="replace"),
        ran_with=ran_with,
    )


def _told(trial: "Experiment") -> dict[str, Any]:
    """What tells a trial from others: its curve, and AXES."""
    return {"curve": "".join(trial.curve_of.values())} | {name: trial.row[name] for name in AXES if name in trial.row}


def _commands(name: str, runs: list[list[str]]) -> list[str]:
    """What trains all of the study again, and writes its page."""
    place = shlex.quote(f"results/{name}")
    whole = f"psp run study.yaml --out {place}"
    beside = [
        f"{whole} {' '.join(f'--set {shlex.quote(each)}' for each in some)}"
        for some in dict.fromkeys(map(tuple, runs))
        if some
    ]
    return [*([whole] if not beside or [] in runs else []), *beside, f"psp report {place}"]
