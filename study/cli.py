"""The command line: `psp`. Its commands are in `study/commands/`.

What imports torch, Ray or matplotlib is imported by the command that needs it: help must be instant.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Final

import typer

from study import __version__
from study.commands import plan, report, results, run, stores, studies
from study.redact import without_secrets

BAD_INPUT: Final = 2
COMMANDS: Final[Mapping[str, Mapping[str, Callable[..., None]]]] = {
    "Studies": {
        "list": studies.list_studies,
        "settings": studies.settings,
        "show": studies.show,
        "init": studies.init,
        "validate": studies.validate,
        "schema": studies.schema,
    },
    "Runs": {"plan": plan.plan, "run": run.run, "status": stores.status},
    "Results": {
        "report": report.report,
        "plot": results.plot,
        "table": results.table,
        "export": results.export,
        "compare": results.compare,
    },
    "Stores and machines": {"compact": stores.compact, "rm": stores.rm, "tune-planner": plan.tune_planner},
}
"""The commands as the help shows them, by heading."""
EXAMPLES: Final[Mapping[str, Sequence[str]]] = {
    "": (
        "psp run quickstart && psp plot results/quickstart",
        "psp init my-study.yaml && psp plan my-study.yaml",
        "psp --install-completion",
    ),
    "settings": ("psp settings", "psp settings context", "psp settings ewc"),
    "show": ("psp show quickstart", "psp show my-study.yaml --set lr=0.01 > all-settings.yaml"),
    "init": ("psp init", "psp init depth-and-width.yaml"),
    "validate": ("psp validate my-study.yaml",),
    "schema": ("psp schema > psp-study.schema.json",),
    "plan": ("psp plan quickstart", "psp plan my-study.yaml --set width=64,128"),
    "run": (
        "psp run rotating-fashion --small",
        "psp run my-study.yaml --out s3://bucket/my-study --address auto",
        "psp run my-study.yaml --only context=binary --only width=64,128",
        "psp run my-study.yaml --time-budget 3600",
    ),
    "status": ("psp status results/quickstart --watch", "psp status results/my-study --only context=binary --json"),
    "rm": (
        "psp rm results/my-study --where status=failed",
        "psp rm results/my-study --where context=binary,complex --where 'final_accuracy<0.2'",
    ),
    "report": ("psp report results/quickstart", "psp report results/before results/after --to compared.html"),
    "plot": (
        "psp plot results/quickstart --style paper --format pdf,svg",
        "psp plot results/my-study --x depth --hue context",
    ),
    "table": ("psp table results/quickstart --format latex --threshold 0.8", "psp table results/capacity-law --law"),
    "export": ("psp export results/quickstart --parquet", "psp export results/quickstart --tensorboard --to runs"),
    "compare": ("psp compare results/permuting-mnist-256",),
}
"""Below the help of a command, and of the program."""


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"psp {__version__}")
        raise typer.Exit()


def _examples(command: str) -> str | None:
    """As Markdown."""
    examples = EXAMPLES.get(command)
    return "\n".join(["Examples:", "", *(f"- {example}" for example in examples)]) if examples else None


app = typer.Typer(
    help="How many models fit in one set of weights, and what does it cost?",
    epilog=_examples(""),
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for heading, commands in COMMANDS.items():
    for name, command in commands.items():
        app.command(name, rich_help_panel=heading, epilog=_examples(name))(command)


@app.callback()
def program(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and exit.")
    ] = False,
) -> None:
    """How many models fit in one set of weights, and what does it cost?"""


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
