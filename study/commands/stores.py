"""`psp status` and `psp compact`: trial stores."""

from typing import TYPE_CHECKING

import typer

from psp_core.messages import plural
from study.commands.arguments import Out, stored_study
from study.redact import without_secrets

if TYPE_CHECKING:
    from study.spec import StudySpec
    from study.standing import Standing
    from study.store import TrialStore


def status(out: Out) -> None:
    """Show what is done, running, failed and to do, with errors."""
    from study.spec import StudyError
    from study.standing import whole_standing

    spec, store = stored_study(out)
    now = whole_standing(spec, store)
    typer.echo(without_secrets(_status_text(spec, store, now)))
    if now.damaged:
        raise StudyError(" ".join(now.damaged))
    raise typer.Exit(1 if now.count("failed") else 0)


def compact(out: Out) -> None:
    """Put a store's many small files together, so that it is read in seconds. Nothing is lost or changed."""
    from study.lease import Lease

    _, store = stored_study(out)
    with Lease(store.files):
        before, after = store.compact()
    typer.echo(f"{plural(before, 'file')} of trials, now {after}")


def _status_text(spec: "StudySpec", store: "TrialStore", now: "Standing") -> str:
    from study.lease import held
    from study.plan import trial_id
    from study.progress import describe
    from study.run import kept_half_way
    from study.unfinished import begun

    unfinished = store.unfinished()
    running = begun(unfinished) if held(store.files) else {}
    left = [planned for planned in now.planned if not planned.is_done]
    idle = [planned.status for planned in left if trial_id(planned.trained) not in running]
    lines = [
        f"{spec.name}: {plural(len(now.planned) + len(now.to_come), 'trial')} planned",
        f"  done     {now.count('ok', 'diverged')}" + (f" ({n} diverged)" if (n := now.count("diverged")) else ""),
        f"  running  {len(left) - len(idle)}",
        f"  failed   {idle.count('failed')}",
        f"  to do    {idle.count(None) + len(now.to_come)}"
        + (f" ({len(now.to_come)} when their settings are chosen)" if now.to_come else ""),
    ]
    if kept := kept_half_way(unfinished, now, running):
        lines.append(f"  kept     {kept}, to go on from there")
    for planned in now.planned:
        if planned.error and trial_id(planned.trained) not in running:
            label = describe([planned.trial], [*spec.varying, "seed"])
            lines.append(f"  {planned.status}: {label}: {planned.error.splitlines()[0]}")
    named = {trial_id(trial) for planned in now.planned for trial in (planned.trial, planned.trained)}
    others = len(now.stored.keys() - named - {planned.answer for planned in now.planned})
    if others:
        lines.append(
            f"  {plural(others, 'more trial')} stored that study.yaml does not plan: of fewer tasks, or of values that "
            "were taken out of the study"
        )
    return "\n".join(lines)
