"""Trial stores: `psp status`, `compact`, `rm`."""

import contextlib
import json
import sys
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from psp_core.messages import plural
from study.commands.arguments import Json, Only, Out, stored_study
from study.redact import without_secrets

if TYPE_CHECKING:
    from study.spec import StudySpec
    from study.standing import Standing
    from study.store import Row, TrialStore

MOST_LINES: Final = 10  # of what would be removed


def status(
    out: Out,
    only: Only = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show a run as it goes on, until it ends.")] = False,
    as_json: Json = False,
) -> None:
    """Show what is done, running, failed and to do, with errors."""
    from study.spec import StudyError
    from study.standing import whole_standing

    spec, store = stored_study(out)
    if watch:
        _watch(store)
    now = whole_standing(spec, store, only or ())
    facts = _status(spec, store, now, is_part=bool(only))
    typer.echo(without_secrets(json.dumps(facts, indent=1) if as_json else _status_text(facts)))
    if now.damaged:
        raise StudyError(" ".join(now.damaged))
    raise typer.Exit(1 if now.count("failed") else 0)


def _watch(store: "TrialStore") -> None:
    """Show the run that writes into a store, until none does."""
    from study.screen import Screen
    from study.watch import watch

    with contextlib.suppress(KeyboardInterrupt):
        watch(store.files, Screen())


def compact(out: Out) -> None:
    """Put a store's many small files together, so that it is read in seconds. Nothing is lost or changed."""
    from study.lease import Lease

    _, store = stored_study(out)
    with Lease(store.files):
        before, after = store.compact()
    typer.echo(f"{plural(before, 'file')} of trials, now {after}")


def rm(
    out: Out,
    where: Annotated[
        list[str],
        typer.Option(
            help="Which trials: column=v1,v2, or a column with !=, <, <=, > or >= and one value; null for none. Of "
            "several --where all must hold."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Remove them without asking.")] = False,
) -> None:
    """Remove trials from a store: their rows in every table. The next run trains what the study still plans."""
    from study.lease import Lease
    from study.removal import Condition, remove, rows_where

    spec, store = stored_study(out)
    rows, number = rows_where(store, [Condition.read(text) for text in where])
    if not rows:
        typer.echo(f"None of {plural(number, 'trial')} is meant; nothing to remove.")
        return
    typer.echo(f"{len(rows)} of {plural(number, 'trial')}:\n" + "\n".join(_of_each_kind(rows, spec.varying)))
    if not yes and not (sys.stdin.isatty() and typer.confirm("Remove them? What they measured is lost.")):
        typer.echo("Nothing is removed. To remove them: --yes", err=True)
        raise typer.Exit(1)
    with Lease(store.files):
        remove(store, {row["trial_id"] for row in rows})
    typer.echo(f"removed {plural(len(rows), 'trial')}; {number - len(rows)} left")


def _of_each_kind(rows: "list[Row]", axes: list[str]) -> list[str]:
    """A line for each combination of the settings that vary, with the number of its trials."""
    kinds = Counter(
        " ".join(f"{axis}={row[axis]}" for axis in ("status", *axes) if row.get(axis) is not None) for row in rows
    )
    lines = [f"  {number} of {kind}" for kind, number in kinds.items()]
    more = len(lines) - MOST_LINES
    return [*lines[:MOST_LINES], f"  and {more} more kinds"] if more > 1 else lines


def _status(spec: "StudySpec", store: "TrialStore", now: "Standing", *, is_part: bool) -> dict[str, Any]:
    """What a store's trials are: numbers, and a text for each that went wrong."""
    from study.lease import held
    from study.plan import trial_id
    from study.progress import describe
    from study.run import kept_half_way
    from study.unfinished import begun

    unfinished = store.unfinished()
    running = begun(unfinished) if held(store.files) else {}
    left = [planned for planned in now.planned if not planned.is_done]
    idle = [planned.status for planned in left if trial_id(planned.trained) not in running]
    return {
        "study": spec.name,
        "planned": len(now.planned) + len(now.to_come),
        "done": now.count("ok", "diverged"),
        "diverged": now.count("diverged"),
        "running": len(left) - len(idle),
        "failed": idle.count("failed"),
        "to_do": idle.count(None) + len(now.to_come),
        "to_come": len(now.to_come),
        "kept": kept_half_way(unfinished, now, running),
        "errors": [
            {
                "trial_id": trial_id(planned.trial),
                "status": planned.status,
                "trial": describe([planned.trial], [*spec.varying, "seed"]),
                "error": planned.error.splitlines()[0],
            }
            for planned in now.planned
            if planned.error and trial_id(planned.trained) not in running
        ],
        "unplanned": 0 if is_part else len(now.unplanned()),
    }


def _status_text(facts: Mapping[str, Any]) -> str:
    lines = [
        f"{facts['study']}: {plural(facts['planned'], 'trial')} planned",
        f"  done     {facts['done']}" + (f" ({n} diverged)" if (n := facts["diverged"]) else ""),
        f"  running  {facts['running']}",
        f"  failed   {facts['failed']}",
        f"  to do    {facts['to_do']}" + (f" ({n} when their settings are chosen)" if (n := facts["to_come"]) else ""),
    ]
    if facts["kept"]:
        lines.append(f"  kept     {facts['kept']}, to go on from there")
    lines += (f"  {one['status']}: {one['trial']}: {one['error']}" for one in facts["errors"])
    if facts["unplanned"]:
        lines.append(
            f"  {plural(facts['unplanned'], 'more trial')} stored that study.yaml does not plan: of fewer tasks, or of "
            "values that were taken out of the study"
        )
    return "\n".join(lines)
