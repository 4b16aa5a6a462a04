"""`psp run`."""

import shlex
import signal
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from psp_core.messages import plural
from study.commands.arguments import Data, MaxMembers, Only, OutOption, PacksPerGpu, Set, Small, Study, opened
from study.redact import without_secrets

if TYPE_CHECKING:
    from study.screen import Screen
    from study.store import TrialStore

OUT_OF_TIME: Final = 124  # as timeout(1) has it
SIGNALLED: Final = 128  # and the signal's number: 130 for Ctrl-C, 143 for SIGTERM
STARTED: Final = time.monotonic()


def run(
    study: Study,
    out: OutOption = None,
    assignments: Set = None,
    small: Small = False,
    only: Only = None,
    address: Annotated[str | None, typer.Option(help="A running Ray cluster, such as 'auto'.")] = None,
    data: Data = None,
    max_members: MaxMembers = None,
    packs_per_gpu: PacksPerGpu = None,
    gpus: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="GPUs to plan for, and to ask an autoscaler for; 0: CPU cores only. [default: what ends soonest]",
        ),
    ] = None,
    max_concurrent: Annotated[int | None, typer.Option(min=1, help="At most so many packs at the same time.")] = None,
    trial_timeout: Annotated[
        float | None, typer.Option(help="Seconds that a trial, and its pack, may train before it fails.")
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(help="Seconds until the command stops, start-up included; the same command goes on from there."),
    ] = None,
    checkpoint_every: Annotated[float, typer.Option(min=0, help="Seconds of training between checkpoints.")] = 10,
    keep_state: Annotated[
        bool,
        typer.Option(
            "--keep-state", help="Keep where trials end: to grow num_tasks later, and for psp_core.load_model."
        ),
    ] = False,
    retry_failed: Annotated[
        bool,
        typer.Option("--retry-failed", help="Train only the trials that failed. [default: these and all that is left]"),
    ] = False,
    report: Annotated[
        bool, typer.Option("--report", help="Keep OUT/report.html new while the study runs: once a minute at most.")
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print what begins and gets on too.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Print errors alone.")] = False,
    log_file: Annotated[
        Path | None, typer.Option(help="Add every line, also those of -v, to this file, each with its time.")
    ] = None,
) -> None:
    """Train what is planned and not yet stored. Safe to stop and to repeat."""
    from study.files import StorageError
    from study.refresh import Refresher
    from study.run import RunOptions, run_study
    from study.stop import ClusterLost, Stop

    _refuse_no_time(trial_timeout=trial_timeout, time_budget=time_budget)
    screen = _screen(quiet, verbose, log_file)
    spec, store = opened(study, out, assignments, small, only)
    options = RunOptions(
        data=data,
        address=address,
        max_members=max_members,
        packs_per_gpu=packs_per_gpu,
        gpus=gpus,
        max_concurrent=max_concurrent,
        time_limit=trial_timeout,
        checkpoint_seconds=checkpoint_every,
        keep_state=keep_state,
        retry_failed=retry_failed,
    )
    again = f"Go on with the same command: psp {without_secrets(shlex.join(sys.argv[1:]))}"
    with Stop(STARTED + time_budget if time_budget else None) as stop:
        try:
            with Refresher(store.uri) if report else nullcontext() as refresher:
                missing = run_study(spec, store, screen, options, stop)
        except KeyboardInterrupt:
            screen.say(f"Stopped; finished trials are kept. {again}")
            raise typer.Exit(SIGNALLED + (stop.signal or signal.SIGINT)) from None
        except StorageError as error:
            raise StorageError(f"{error}. Finished trials are kept. When the storage takes more: {again}") from None
        except ClusterLost:  # which has been said
            raise typer.Exit(1) from None
    if missing and stop.out_of_time:
        screen.say(f"The time budget of {time_budget:g} s is used; {plural(missing, 'trial')} still to train. {again}")
        raise typer.Exit(OUT_OF_TIME)
    if missing:
        screen.say(
            f"{plural(missing, 'trial')} without a result; see why: psp status {shlex.quote(store.out)}   {again}"
        )
    for line in _brief(store):
        screen.say(line)
    if refresher:
        told = f"not written: {without_secrets(refresher.error)}" if refresher.error else f"{store.out}/report.html"
        screen.say(f"Report: {told}")
    screen.say(f"Results: {store.out}   Draw them: psp plot {shlex.quote(store.out)}")
    raise typer.Exit(1 if missing else 0)


def _screen(quiet: bool, verbose: bool, log_file: Path | None) -> "Screen":
    from study.screen import Screen
    from study.spec import StudyError

    if quiet and verbose:
        raise StudyError("--quiet and --verbose contradict each other: give one of them.")
    try:
        return Screen(is_quiet=quiet, is_verbose=verbose, log=log_file)
    except OSError as error:
        raise StudyError(f"log_file={str(log_file)!r} cannot be written: {error}. Choose another place.") from None


def _brief(store: "TrialStore") -> list[str]:
    """What the store says in a few lines; nothing where it cannot be read, which psp status and psp plot explain."""
    from analysis.brief import brief
    from analysis.store import StoreError, read_store

    try:
        return [without_secrets(line) for line in brief(read_store(store.uri), store.out)]
    except StoreError:
        return []


def _refuse_no_time(**seconds: float | None) -> None:
    from study.spec import StudyError

    for name, value in seconds.items():
        if value is not None and not value > 0:
            raise StudyError(f"{name}={value:g} must be more than 0 seconds; leave it out for no limit.")
