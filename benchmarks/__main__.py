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
    growth,
    hopfield,
    measuring,
    phases,
    plain_loop,
    steps,
    supermasks,
    throughput,
)
from psp_core.messages import lookup

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
}


def main(
    names: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(BENCHMARKS)}. [default: all]")] = None,
    out: Annotated[Path, typer.Option(help="Where the tables go.")] = Path("results/bench"),
    quick: Annotated[bool, typer.Option(help="A few sizes only: does it run at all?")] = False,
) -> None:
    """Measure speed on this machine: its GPU, else one CPU core."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.set_num_threads(1)
    out.mkdir(parents=True, exist_ok=True)
    heading = f"{datetime.date.today()}, {machine(device)}"
    typer.echo(heading)
    for name in names or BENCHMARKS:
        benchmark = lookup("benchmark", name, BENCHMARKS)
        rows = pd.DataFrame(list(benchmark.measure(device, quick=quick)))
        title = (benchmark.__doc__ or name).strip()
        text = f"## {title}\n\n{heading}\n\n{markdown(rows)}\n"
        typer.echo(f"\n{text}")
        (out / f"{name}.md").write_text(text)
        rows.to_csv(out / f"{name}.csv", index=False)


def machine(device: torch.device) -> str:
    """What the numbers were measured on."""
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"1 of {os.cpu_count()} CPU cores, {_cpu()}"
    return f"{where}; torch {torch.__version__}, Python {platform.python_version()}"


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


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
