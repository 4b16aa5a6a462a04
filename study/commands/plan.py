"""`psp plan` and `psp tune-planner`: what would run, and how long it would take."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from psp_core.messages import plural
from study.commands.arguments import Data, MaxMembers, Only, OutOption, PacksPerGpu, Set, Small, Study, opened

if TYPE_CHECKING:
    from study.plan import Pack
    from study.workers import Workers


def plan(
    study: Study,
    out: OutOption = None,
    assignments: Set = None,
    small: Small = False,
    only: Only = None,
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

    spec, store = opened(study, out, assignments, small, only)
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
