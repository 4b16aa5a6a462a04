"""The command line: `psp`. Its commands are in `study/commands/`.

What imports torch, Ray or matplotlib is imported by the command that needs it: help must be instant.
"""

import sys
from collections.abc import Callable, Mapping
from typing import Final

import typer

from study.commands import plan, results, run, stores, studies
from study.redact import without_secrets

BAD_INPUT: Final = 2
COMMANDS: Final[Mapping[str, Callable[..., None]]] = {
    "list": studies.list_studies,
    "settings": studies.settings,
    "plan": plan.plan,
    "run": run.run,
    "status": stores.status,
    "plot": results.plot,
    "table": results.table,
    "compare": results.compare,
    "compact": stores.compact,
    "tune-planner": plan.tune_planner,
}
"""In the order of the help."""

app = typer.Typer(
    help="How many models fit in one set of weights, and what does it cost?",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for name, command in COMMANDS.items():
    app.command(name)(command)


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
