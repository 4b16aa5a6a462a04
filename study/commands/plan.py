"""`psp plan` and `psp tune-planner`: what would run, and how long it would take."""

import json
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from psp_core.messages import plural
from study.commands.arguments import Data, Json, MaxMembers, Only, OutOption, PacksPerGpu, Set, Small, Study, opened

if TYPE_CHECKING:
    from study.plan import Pack
    from study.standing import Standing
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
    as_json: Json = False,
) -> None:
    """Show what would run here: trials, packs, steps, memory, estimated time. Runs nothing."""
    from study.explain import chosen_lines, same_tasks
    from study.plan import START_SECONDS
    from study.run import find_data
    from study.screen import words
    from study.spec import StudyError
    from study.standing import Stored, by_stage

    spec, store = opened(study, out, assignments, small, only)
    stages, found = by_stage(spec, Stored.of(store))
    if not as_json:
        typer.echo(f"{spec.name}: {spec.about}")
    planned = []
    for stage in stages:
        facts, lines = _stage(stage, spec.varying, max_members, packs_per_gpu)
        planned.append(facts)
        if not as_json:
            typer.echo("\n".join(lines))
    seconds = [facts["seconds"] for facts in planned if facts["packs"]]
    in_all = START_SECONDS + sum(seconds) if seconds else 0
    notes, chose = list(same_tasks(spec)), list(chosen_lines(spec, found))
    for line in [*notes, *chose] if not as_json else ():
        typer.echo(line)
    if len(seconds) > 1 and not as_json:
        typer.echo(f"in all     about {words(in_all)} here")
    if stages[0].damaged:
        raise StudyError(" ".join(stages[0].damaged))
    data_sets = find_data(spec, data) if seconds else []
    if as_json:
        whole = {"study": spec.name, "about": spec.about, "store": store.out, "stages": planned, "chosen": chose}
        typer.echo(json.dumps({**whole, "notes": notes, "seconds": in_all, "data": data_sets}, indent=1))
        return
    for line in data_sets:
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


def _stage(
    stage: "Standing", axes: list[str], max_members: int | None, packs_per_gpu: int | None
) -> tuple[dict[str, Any], list[str]]:
    """What of a stage would run here: numbers (seconds, bytes), and the same in words."""
    from study.choice import chosen
    from study.explain import explained
    from study.plan import START_SECONDS, duration, ends, without
    from study.widths import widths
    from study.workers import choices_here

    foreseen = stage.foreseen()
    packs_of = cache(lambda workers: foreseen.packs(workers, max_members))
    workers, why = chosen(choices_here(packs_per_gpu), packs_of)
    packs = without(packs_of(workers), stage.done())
    facts = {
        "stage": stage.name,
        "planned": len(stage.planned),
        "to_do": len(stage.planned) - stage.count("ok", "diverged"),
        "to_come": len(stage.to_come),
        "packs": len(packs),
    }
    lines = [*([stage.name] if stage.name else []), *explained(stage), *widths(each.trial for each in foreseen.planned)]
    if not packs:
        return facts, lines
    return facts | {
        "pack_sizes": sorted({len(pack.trials) for pack in packs}),
        "workers": workers.count,
        "device": workers.device,
        "because": why,
        "trial_steps": sum(pack.num_steps * len(pack.trials) for pack in packs),
        "pack_steps": sum(pack.num_steps for pack in packs),
        "pack_bytes": max(pack.bytes(workers.device) for pack in packs),
        "seconds": duration(packs, workers),
        "seconds_to_first": START_SECONDS + min(ends(packs, workers)),
    }, [*lines, *_lines(packs, workers, why, axes)]


def _lines(packs: "list[Pack]", workers: "Workers", why: str, axes: list[str]) -> list[str]:
    """The packs of a stage, in words."""
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
    return lines


def _short(seconds: float) -> str:
    """A measured time in its unit."""
    return f"{seconds:.2f} s" if seconds >= 1 else f"{1e3 * seconds:.3g} ms"


def _mebibytes(num_bytes: int) -> str:
    size = num_bytes / 2**20
    return f"{size:,.{0 if size >= 10 else 1}f} MiB"
