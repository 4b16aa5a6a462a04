"""`psp plot`, `psp table`, `psp export` and `psp compare`: what came out."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from psp_core.messages import plural
from study.commands.arguments import Out, Outs, refuse_a_name
from study.redact import without_secrets

Format = Annotated[str, typer.Option(help="png, svg or pdf; several with commas.")]


def plot(
    outs: Outs,
    format: Format = "png",
    style: Annotated[
        str, typer.Option(help="page, talk, or paper: one column, with title and settings left to the text.")
    ] = "page",
    selected: Annotated[
        list[str] | None,
        typer.Option("--select", help="Draw these trials alone: context=binary,complex. Their looks stay."),
    ] = None,
    x: Annotated[str | None, typer.Option("--x", help="The setting that some figures run over, such as depth.")] = None,
    hue: Annotated[str | None, typer.Option(help="The setting that has colours, such as context.")] = None,
    dashes: Annotated[str | None, typer.Option(help="The setting that has dashes.")] = None,
    panel: Annotated[str | None, typer.Option(help="The setting that has a panel for each value.")] = None,
    bounds: Annotated[bool, typer.Option("--bounds", help="Draw published bounds beside capacity.")] = False,
    to: Annotated[
        str | None, typer.Option(help="The figures' folder. [default: OUT/figures; of several stores, figures here]")
    ] = None,
) -> None:
    """Draw every figure that the stored trials support. What is not chosen follows from what varies.

    Several stores are drawn side by side.
    """
    from analysis.brief import brief
    from analysis.figures.saving import check_format
    from analysis.plot import plot_store
    from analysis.store import read_store

    check_format(format)
    for out in outs:
        refuse_a_name(out)
    store = read_store(*outs)
    roles = {"x": x, "hue": hue, "dashes": dashes, "panel": panel}
    drawing = plot_store(outs, format, bounds=bounds, style=style, selected=selected or (), store=store, to=to, **roles)
    for line in drawing:
        typer.echo(without_secrets(line))
    for line in brief(store, outs[0]) if len(outs) == 1 else ():
        typer.echo(without_secrets(line))


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
    from analysis.tables import THRESHOLD

    format = "csv" if csv else format
    check_format(format)
    refuse_a_name(out)
    store = read_store(out)
    if law or crossings:
        text, notes = law_table(store, format, threshold, num_tasks=tasks, crossings=crossings)
    else:
        text, notes = summary_table(store, format, THRESHOLD if threshold is None else threshold, num_tasks=tasks)
    typer.echo(text)
    for note in (*notes, *store.left_out):  # what is printed may go into a file
        typer.echo(without_secrets(note), err=True)
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


def export(
    out: Out,
    csv: Annotated[bool, typer.Option("--csv", help="A CSV file. This is the default.")] = False,
    parquet: Annotated[bool, typer.Option("--parquet", help="A parquet file.")] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="A folder of runs, one for each trial, for TensorBoard.")
    ] = False,
    to: Annotated[Path | None, typer.Option(help="Where to write. [default: export.* in the store]")] = None,
) -> None:
    """Write a store as one wide table: a row for each trial, with its settings, results and costs."""
    from analysis.export import content, export_into, wide
    from analysis.store import StoreError, read_store
    from analysis.tensorboard import export_tensorboard

    if csv + parquet + tensorboard > 1:
        raise StoreError("Name one of --csv, --parquet and --tensorboard.")
    refuse_a_name(out)
    store = read_store(out)
    if tensorboard:
        if to is None and "://" in out:
            raise StoreError("Name a folder of this machine for TensorBoard with --to.")
        folder = to or Path(out) / "tensorboard"
        number = export_tensorboard(store, folder)
        typer.echo(f"{plural(number, 'run')}: {folder}   Look at them: tensorboard --logdir {shlex.quote(str(folder))}")
    else:
        table, format = wide(store), "parquet" if parquet else "csv"
        place = str(to) if to else export_into(out, table, format)
        if to:
            to.write_bytes(content(table, format))
        typer.echo(without_secrets(f"{plural(len(table), 'trial')}, {plural(len(table.columns), 'column')}: {place}"))
    if store.damaged:
        raise StoreError(" ".join(store.damaged))


def compare(
    out: Out,
    format: Format = "png",
) -> None:
    """Print the stored trials beside the papers' published values, as Markdown tables, and draw them."""
    from analysis.compare import compare_store
    from analysis.compare_plot import draw_comparisons
    from analysis.figures.saving import check_format

    check_format(format)
    refuse_a_name(out)
    comparisons = compare_store(out)
    typer.echo("\n\n".join(comparison.table() for comparison in comparisons))
    for line in draw_comparisons(comparisons, out, format):  # what is printed may go into a page
        typer.echo(without_secrets(line), err=True)
