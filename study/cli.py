"""The command line: psp list | settings | plan | tune-planner | run | status | compact | plot | table | compare."""

import os
import shlex
import shutil
import signal
import sys
import textwrap
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psp_core.messages import plural
from study.redact import without_secrets

if TYPE_CHECKING:
    from study.plan import Pack
    from study.spec import StudySpec
    from study.standing import Standing
    from study.store import TrialStore
    from study.workers import Workers

# What imports torch, Ray or matplotlib is imported by the command that needs it: help must be instant.

app = typer.Typer(
    help="How many models fit in one set of weights, and what does it cost?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
BAD_INPUT = 2
OUT_OF_TIME = 124  # as timeout(1) has it
SIGNALLED = 128  # and the signal's number: 130 for Ctrl-C, 143 for SIGTERM
STARTED = time.monotonic()

Study = Annotated[str, typer.Argument(help="A shipped study's name, or a path to a YAML file.")]
Out = Annotated[str, typer.Argument(help="A trial store: a folder, or a URI such as s3://bucket/path.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="Put values in place of the study's: key=v1,v2.")]
Data = Annotated[Path | None, typer.Option(help="The data sets' folder. [default: $PSP_DATA, else a cache]")]
Small = Annotated[bool, typer.Option("--small", help="The study's reduced form, which shows the effect in minutes.")]
MaxMembers = Annotated[
    int | None, typer.Option(min=1, help="At most so many trials in a pack. [default: what the device allows]")
]
PacksPerGpu = Annotated[
    int | None, typer.Option("--packs-per-gpu", min=1, help="How many packs share a GPU. [default: what ends soonest]")
]
OutOption = Annotated[str | None, typer.Option("--out", help="The trial store. [default: results/<study>]")]


@app.command("list")
def list_studies() -> None:
    """Show the studies that ship with the package."""
    from study.shipped import overview, shipped_studies

    studies = shipped_studies()
    column = 2 + max(map(len, studies))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, file in studies.items():
        text = f"{name:{column}}{overview(file)}"
        typer.echo(textwrap.fill(text, max(width, column + 20), subsequent_indent=column * " ", break_on_hyphens=False))


@app.command()
def settings(
    name: Annotated[str | None, typer.Argument(help="A setting, a part such as top-k, or a family of parts.")] = None,
) -> None:
    """Show all settings that a study can have, or all that is known of one."""
    from study.settings_text import detail, overview

    for line in detail(name) if name else overview():
        typer.echo(line)


@app.command()
def plan(
    study: Study,
    out: OutOption = None,
    assignments: Set = None,
    small: Small = False,
    data: Data = None,
    max_members: MaxMembers = None,
    packs_per_gpu: PacksPerGpu = None,
) -> None:
    """Show what would run here: trials, packs, steps, memory, estimated time. Runs nothing."""
    from study.choice import chosen
    from study.explain import chosen_lines, explained
    from study.plan import START_SECONDS, duration, without
    from study.run import find_data
    from study.screen import words
    from study.spec import StudyError
    from study.standing import Stored, by_stage
    from study.widths import widths
    from study.workers import choices_here

    spec, store = _open(study, out, assignments, small)
    stages, found = by_stage(spec, Stored.of(store))
    typer.echo(f"{spec.name}: {spec.about}")
    seconds = []
    for stage in stages:
        foreseen = stage.foreseen()
        packs_of = cache(lambda workers, foreseen=foreseen: foreseen.packs(workers, max_members))
        workers, why = chosen(choices_here(packs_per_gpu), packs_of)
        packs = without(packs_of(workers), stage.done())
        lines = [*explained(stage), *widths(planned.trial for planned in foreseen.planned)]
        typer.echo("\n".join([*([stage.name] if stage.name else []), *lines]))
        if packs:
            typer.echo(_plan_text(packs, workers, why, spec.varying))
            seconds.append(duration(packs, workers))
    for line in chosen_lines(spec, found):
        typer.echo(line)
    if len(seconds) > 1:
        typer.echo(f"in all     about {words(START_SECONDS + sum(seconds))} here")
    if stages[0].damaged:
        raise StudyError(" ".join(stages[0].damaged))
    for line in find_data(spec, data) if seconds else ():
        typer.echo(f"  data     {line}")


@app.command("tune-planner")
def tune_planner(
    rows: Annotated[
        Path | None, typer.Option(help="Fit to the rows of this file of rates again, and measure nothing.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write the rates. [default: where psp plan and psp run find them]")
    ] = None,
) -> None:
    """Measure how fast this machine's GPU, else one of its CPU cores, trains, for better estimates; takes a minute."""
    from study.rates import own_file
    from study.tuner import beside, tuned

    rates = tuned(rows)
    out = own_file(rates.device) if out is None else out
    told = beside(rates)
    errors = [estimated / measured - 1 for _, measured, estimated in told]
    for (what, measured, estimated), error in zip(told, errors, strict=True):
        typer.echo(f"  measured {_short(measured)}, estimated {_short(estimated)} ({error:+.0%}): {what}")
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(rates.to_json())
    typer.echo(
        f"{rates.device}: {plural(len(told), 'measurement')}, estimated within {max(map(abs, errors)):.0%}: {out}"
    )


@app.command()
def run(
    study: Study,
    out: OutOption = None,
    assignments: Set = None,
    small: Small = False,
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
        bool, typer.Option("--keep-state", help="Keep where trials end, so that num_tasks can grow later.")
    ] = False,
) -> None:
    """Train what is planned and not yet stored. Safe to stop and to repeat."""
    from study.files import StorageError
    from study.run import RunOptions, run_study
    from study.screen import Screen
    from study.stop import ClusterLost, Stop

    _refuse_no_time(trial_timeout=trial_timeout, time_budget=time_budget)
    screen = Screen()
    spec, store = _open(study, out, assignments, small)
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
    )
    again = f"Go on with the same command: psp {without_secrets(shlex.join(sys.argv[1:]))}"
    with Stop(STARTED + time_budget if time_budget else None) as stop:
        try:
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
    screen.say(f"Results: {store.out}   Draw them: psp plot {shlex.quote(store.out)}")
    raise typer.Exit(1 if missing else 0)


@app.command()
def status(out: Out) -> None:
    """Show what is done, running, failed and to do, with errors."""
    from study.spec import StudyError
    from study.standing import whole_standing

    spec, store = _stored(out)
    now = whole_standing(spec, store)
    typer.echo(without_secrets(_status_text(spec, store, now)))
    if now.damaged:
        raise StudyError(" ".join(now.damaged))
    raise typer.Exit(1 if now.count("failed") else 0)


@app.command()
def compact(out: Out) -> None:
    """Put a store's many small files together, so that it is read in seconds. Nothing is lost or changed."""
    from study.lease import Lease

    _, store = _stored(out)
    with Lease(store.files):
        before, after = store.compact()
    typer.echo(f"{plural(before, 'file')} of trials, now {after}")


@app.command()
def plot(
    out: Out,
    format: Annotated[str, typer.Option(help="png, svg or pdf.")] = "png",
    x: Annotated[str | None, typer.Option("--x", help="The setting that some figures run over, such as depth.")] = None,
    hue: Annotated[str | None, typer.Option(help="The setting that has colours, such as context.")] = None,
    style: Annotated[str | None, typer.Option(help="The setting that has dashes.")] = None,
    panel: Annotated[str | None, typer.Option(help="The setting that has a panel for each value.")] = None,
    bounds: Annotated[bool, typer.Option("--bounds", help="Draw published bounds beside capacity.")] = False,
) -> None:
    """Draw every figure that the stored trials support. What is not chosen follows from what varies."""
    from analysis.plot import plot_store

    _guess(out)
    for line in plot_store(out, format, bounds=bounds, x=x, hue=hue, style=style, panel=panel):
        typer.echo(without_secrets(line))


@app.command()
def table(
    out: Out,
    format: Annotated[str, typer.Option(help="text, csv, markdown or latex.")] = "text",
    csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv: every number as it is.")] = False,
    threshold: Annotated[
        float | None,
        typer.Option(
            help="Capacity keeps this share of a single task's accuracy. [default: 0.9; laws: 0.8, 0.9, 0.95]"
        ),
    ] = None,
    tasks: Annotated[int | None, typer.Option(min=1, help="After so many tasks. [default: after the last]")] = None,
    law: Annotated[bool, typer.Option("--law", help="Instead: capacity as a power of width, for each curve.")] = False,
    crossings: Annotated[
        bool, typer.Option("--crossings", help="Instead: the width at which a curve's capacity overtakes another's.")
    ] = False,
) -> None:
    """Print accuracy, forgetting, transfer, capacity and cost of each curve, with 95% intervals over seeds."""
    from analysis.law_text import law_table
    from analysis.store import StoreError, read_store
    from analysis.table_text import check_format, summary_table

    format = "csv" if csv else format
    check_format(format)
    _guess(out)
    store = read_store(out)
    if law or crossings:
        text, notes = law_table(store, format, threshold, num_tasks=tasks, crossings=crossings)
    else:
        text, notes = summary_table(store, format, 0.9 if threshold is None else threshold, num_tasks=tasks)
    typer.echo(text)
    for note in (*notes, *store.left_out):  # what is printed may go into a file
        typer.echo(without_secrets(note), err=True)
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


@app.command()
def compare(
    out: Out,
    format: Annotated[str, typer.Option(help="png, svg or pdf.")] = "png",
) -> None:
    """Print the stored trials beside the papers' published values, as Markdown tables, and draw them."""
    from analysis.compare import compare_store
    from analysis.compare_plot import draw_comparisons
    from analysis.folder import check_format

    check_format(format)
    _guess(out)
    comparisons = compare_store(out)
    typer.echo("\n\n".join(comparison.table() for comparison in comparisons))
    for line in draw_comparisons(comparisons, out, format):  # what is printed may go into a page
        typer.echo(without_secrets(line), err=True)


def main() -> None:
    """Run the program; bad input ends with a message and exit code 2, never a traceback."""
    try:
        app()
    except (ValueError, OSError) as error:
        from analysis.store import StoreError
        from study.files import StorageError
        from study.spec import StudyError

        if not isinstance(error, StudyError | StoreError | StorageError):
            raise
        text = without_secrets(f"error: {error}")
        typer.echo(text, err=True)
        sys.exit(BAD_INPUT)


def _open(study: str, out: str | None, assignments: list[str] | None, small: bool) -> "tuple[StudySpec, TrialStore]":
    from study.spec import load_study
    from study.store import TrialStore

    spec = load_study(study)
    spec = (spec.reduced() if small else spec).with_values(assignments or [])
    return spec, TrialStore(f"results/{spec.name}" if out is None else out)


def _stored(out: str) -> "tuple[StudySpec, TrialStore]":
    """A store that is there, and its study.

    Raises:
        StudyError: there is none.
    """
    from study.spec import StudyError
    from study.store import TrialStore

    _guess(out)
    store = TrialStore(out)
    spec = store.read_study()
    if spec is None:
        raise StudyError(f"out={store.out!r} is no trial store: it has no study.yaml. Make one with psp run.")
    return spec, store


def _guess(out: str) -> None:
    """Refuse a study's name where its store was meant.

    Raises:
        StudyError: there is nothing at `out`, and a store at `results/` and `out`.
    """
    from study.spec import StudyError

    meant = f"results/{out}"
    if "://" not in out and not os.path.exists(out) and os.path.isfile(f"{meant}/study.yaml"):
        raise StudyError(f"out={out!r} is no trial store; did you mean {meant!r}?")


def _refuse_no_time(**seconds: float | None) -> None:
    from study.spec import StudyError

    for name, value in seconds.items():
        if value is not None and not value > 0:
            raise StudyError(f"{name}={value:g} must be more than 0 seconds; leave it out for no limit.")


def _plan_text(packs: "list[Pack]", workers: "Workers", why: str, axes: list[str]) -> str:
    from psp_core.devices import compiler_missing
    from study.plan import START_SECONDS, ends
    from study.progress import describe
    from study.screen import words

    sizes = sorted({len(pack.trials) for pack in packs})
    by_member = sorted(packs, key=lambda pack: pack.member_bytes)
    small, large = (
        f"{_mebibytes(pack.member_bytes)} ({describe(pack.trials, axes)})" for pack in (by_member[0], by_member[-1])
    )
    most = max(pack.bytes(workers.device) for pack in packs)
    until = [START_SECONDS + end for end in ends(packs, workers)]
    steps = [(pack.num_steps, len(pack.trials)) for pack in packs]
    lines = [
        f"  workers  {workers}",
        *([f"  because  {why}"] if why else []),
        f"  packs    {len(packs)} of {f'{sizes[0]}..' if len(sizes) > 1 else ''}{plural(sizes[-1], 'trial')}",
        f"  steps    {sum(n * e for n, e in steps):,} of a trial, {sum(n for n, _ in steps):,} of a pack",
        f"  memory   a trial from {small} to {large}; a pack up to {_mebibytes(most)}",
        f"  time     about {words(max(until))} here, {words(min(until))} to the first results; good to a factor of two",
        f"  rates    {workers.rates.words(workers.name)}",
    ]
    if most > workers.memory:
        lines.append("  note     more memory than a worker has: fewer workers or a larger machine may be needed")
    if workers.device == "cuda" and (reason := compiler_missing()):
        lines.append(f"  note     optimiser steps are not compiled, which makes them slower: {reason}")
    return "\n".join(lines)


def _short(seconds: float) -> str:
    """A measured time in its unit."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _mebibytes(num_bytes: int) -> str:
    size = num_bytes / 2**20
    return f"{size:,.{0 if size >= 10 else 1}f} MiB"


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
