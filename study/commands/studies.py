"""Studies and their files: `psp list`, `settings`, `show`, `init`, `validate`, `schema`."""

import json
import shutil
import sys
import textwrap
from importlib import resources
from pathlib import Path
from typing import Annotated, Final

import typer

from psp_core.messages import plural
from study.commands.arguments import Json, Only, Set, Small, Study, chosen_study

SCHEMA: Final = "psp-study.schema.json"
"""The file that a new study file names, so that editors find it beside the study file."""


def list_studies(as_json: Json = False) -> None:
    """Show the studies that ship with the package."""
    from study.shipped import outline, overview, shipped_studies

    studies = {name: outline(file) for name, file in shipped_studies().items()}
    if as_json:
        typer.echo(json.dumps([{"name": name, **outlined} for name, outlined in studies.items()], indent=1))
        return
    column = 2 + max(map(len, studies))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else sys.maxsize
    for name, outlined in studies.items():
        text = f"{name:{column}}{overview(outlined)}"
        typer.echo(textwrap.fill(text, max(width, column + 20), subsequent_indent=column * " ", break_on_hyphens=False))


def settings(
    name: Annotated[str | None, typer.Argument(help="A setting, a part such as top-k, or a family of parts.")] = None,
) -> None:
    """Show all settings that a study can have, or all that is known of one."""
    from study.settings_text import detail, overview

    for line in detail(name) if name else overview():
        typer.echo(line)


def show(study: Study, assignments: Set = None, small: Small = False, only: Only = None, as_json: Json = False) -> None:
    """Show a study with every setting, defaults included: a study file of the same trials."""
    from study.resolved import resolved, resolved_text

    spec = chosen_study(study, assignments, small, only)
    if as_json:
        typer.echo(json.dumps(resolved(spec), indent=1))
        return
    typer.echo(f"# {plural(len(spec.trials()), 'trial')}")
    for line in resolved_text(spec):
        typer.echo(line)


def init(
    file: Annotated[Path, typer.Argument(help="The file to write. Its name is the study's.")] = Path("my-study.yaml"),
) -> None:
    """Write a commented study file to begin with, and beside it the schema by which editors complete and check it."""
    from study.spec import NAME, StudyError

    if file.exists():
        raise StudyError(f"{file} is there already; give another name, such as 'psp init {file.stem}-2.yaml'.")
    if file.suffix not in (".yaml", ".yml") or not NAME.fullmatch(file.stem):
        raise StudyError(
            f"file={str(file)!r} must be lower-case letters, digits and hyphens, and end with .yaml, such as "
            "'my-study.yaml'."
        )
    template = resources.files("study").joinpath("template.yaml").read_text(encoding="utf-8")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(template.replace("NAME", file.stem).replace("FILE", str(file)), encoding="utf-8")
    (file.parent / SCHEMA).write_text(_schema(), encoding="utf-8")
    typer.echo(f"wrote {file} and, for editors, {file.parent / SCHEMA}. What would run: psp plan {file}")


def validate(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Study files, or shipped studies' names.")],
) -> None:
    """Check study files as a run does before anything trains: keys, values, and every combination of settings."""
    from study.spec import load_study

    for file in files:
        spec = load_study(file)
        small = f", {len(spec.reduced().trials())} with --small" if spec.small else ""
        typer.echo(f"{file} is valid: {spec.name}, {plural(len(spec.trials()), 'trial')}{small}")


def schema() -> None:
    """Print the JSON schema of study files, made from all parts that there are."""
    typer.echo(_schema())


def _schema() -> str:
    from study.json_schema import study_schema

    return json.dumps(study_schema(), indent=1)
