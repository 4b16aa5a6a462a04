"""Run the benchmarks: prints tables, and stores them as Markdown and CSV."""

import datetime
import os
import platform
from pathlib import Path
from typing import Annotated

import pandas as pd
import torch
import typer

from benchmarks import (
    binding,
    convolutions,
    engine,
    gpu,
    growth,
    hopfield,
    measuring,
    phases,
    plain_loop,
    steps,
    studies,
    supermasks,
    throughput,
)
from benchmarks.timing import Row
from psp_core.messages import lookup
from study.workers import cpu_name

BENCHMARKS = {
    "steps": steps,
    "throughput": throughput,
    "plain": plain_loop,
    "engine": engine,
    "growth": growth,
    "measuring": measuring,
    "phases": phases,
    "convolutions": convolutions,
    "binding": binding,
    "supermasks": supermasks,
    "hopfield": hopfield,
    "gpu": gpu,
    "studies": studies,
}
DEFAULT = "all but studies, and but gpu where there is none"
ON_REQUEST = ("studies",)  # which take minutes, and need Ray and MNIST


def main(
    names: Annotated[
        list[str] | None, typer.Argument(help=f"Any of {', '.join(BENCHMARKS)}. [default: {DEFAULT}]")
    ] = None,
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("results/bench"),
    quick: Annotated[bool, typer.Option(help="A few sizes only: does it run at all?")] = False,
) -> None:
    """Measure speed on this machine: its GPU, else one CPU core."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    heading = f"{datetime.date.today()}, {machine(device)}"
    typer.echo(heading)
    for name in names or _by_default(device):
        benchmark = lookup("benchmark", name, BENCHMARKS)
        title, rows = (benchmark.__doc__ or name).strip(), list[Row]()
        for row in benchmark.measure(device, quick=quick):
            rows.append(row)  # each is kept as it comes: whoever asks may not have time for all
            typer.echo(", ".join(f"{column}: {_cell(value)}" for column, value in row.items()), err=True)
            text = f"## {title}\n\n{heading}\n\n{markdown(pd.DataFrame(rows))}\n"
            (out / f"{name}.md").write_text(text)
            pd.DataFrame(rows).to_csv(out / f"{name}.csv", index=False)
        if rows:
            typer.echo(f"\n{text}")


def _by_default(device: torch.device) -> list[str]:
    """Those that run where none is named."""
    left_out = ON_REQUEST if device.type == "cuda" else (*ON_REQUEST, "gpu")
    return [name for name in BENCHMARKS if name not in left_out]


def machine(device: torch.device) -> str:
    """What the numbers were measured on."""
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"1 of {os.cpu_count()} CPU cores, {cpu_name()}"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def markdown(rows: pd.DataFrame) -> str:
    """A table, numbers to three digits."""
    cells = [[_cell(value) for value in row] for row in rows.itertuples(index=False)]
    lines = [list(map(str, rows.columns)), ["---"] * len(rows.columns), *cells]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "" if value != value else f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    typer.run(main)
