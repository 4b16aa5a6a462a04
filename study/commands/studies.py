"""`psp list` and `psp settings`: what there is."""

import shutil
import sys
import textwrap
from typing import Annotated

import typer


def list_studies() -> None:
    """Show the studies that ship with the package."""
    from study.shipped import overview, shipped_studies

    studies = shipped_studies()
    column = 2 + max(map(len, studies))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, file in studies.items():
        text = f"{name:{column}}{overview(file)}"
        typer.echo(textwrap.fill(text, max(width, column + 20), subsequent_indent=column * " ", break_on_hyphens=False))


def settings(
    name: Annotated[str | None, typer.Argument(help="A setting, a part such as top-k, or a family of parts.")] = None,
) -> None:
    """Show all settings that a study can have, or all that is known of one."""
    from study.settings_text import detail, overview

    for line in detail(name) if name else overview():
        typer.echo(line)
