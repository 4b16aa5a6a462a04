"""What several commands take: arguments and options, and the study and store that they mean."""

import os
from glob import escape, glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from study.spec import StudySpec
    from study.store import TrialStore


def _studies(incomplete: str) -> list[str]:
    """What a shell completes where a study is meant."""
    from study.shipped import shipped_studies

    return [name for name in (*shipped_studies(), *glob(f"{escape(incomplete)}*.yaml")) if name.startswith(incomplete)]


def _stores(incomplete: str) -> list[str]:
    """What a shell completes where a store is meant: the stores below it."""
    return [
        os.path.dirname(file) for pattern in ("*", "*/*") for file in glob(f"{escape(incomplete)}{pattern}/study.yaml")
    ]


Study = Annotated[
    str, typer.Argument(help="A shipped study's name, or a path to a YAML file.", autocompletion=_studies)
]
Out = Annotated[
    str, typer.Argument(help="A trial store: a folder, or a URI such as s3://bucket/path.", autocompletion=_stores)
]
Outs = Annotated[
    list[str],
    typer.Argument(help="Trial stores: folders, or URIs.", metavar="OUT...", autocompletion=_stores),
]
Set = Annotated[list[str] | None, typer.Option("--set", help="Put values in place of the study's: key=v1,v2.")]
Only = Annotated[
    list[str] | None,
    typer.Option("--only", help="Only the study's trials that have one of these values: key=v1,v2."),
]
Json = Annotated[bool, typer.Option("--json", help="As JSON, for programs.")]
Data = Annotated[Path | None, typer.Option(help="The data sets' folder. [default: $PSP_DATA, else a cache]")]
Small = Annotated[bool, typer.Option("--small", help="The study's reduced form, which shows the effect in minutes.")]
MaxMembers = Annotated[
    int | None, typer.Option(min=1, help="At most so many trials in a pack. [default: what the device allows]")
]
PacksPerGpu = Annotated[
    int | None, typer.Option("--packs-per-gpu", min=1, help="How many packs share a GPU. [default: what ends soonest]")
]
OutOption = Annotated[str | None, typer.Option("--out", help="The trial store. [default: results/STUDY]")]


def chosen_study(study: str, assignments: list[str] | None, small: bool, only: list[str] | None = None) -> "StudySpec":
    """A study as the options change it.

    Raises:
        StudyError: the study is not valid.
    """
    from study.spec import load_study

    spec = load_study(study)
    return (spec.reduced() if small else spec).with_values(assignments or []).with_only(only or [])


def opened(
    study: str, out: str | None, assignments: list[str] | None, small: bool, only: list[str] | None = None
) -> "tuple[StudySpec, TrialStore]":
    """A study as the options change it, and its store, which need not be there yet.

    Raises:
        StudyError: the study is not valid, or the store cannot be opened.
    """
    from study.store import TrialStore

    spec = chosen_study(study, assignments, small, only)
    return spec, TrialStore(f"results/{spec.name}" if out is None else out)


def stored_study(out: str) -> "tuple[StudySpec, TrialStore]":
    """A store that is there, and its study.

    Raises:
        StudyError: there is none.
    """
    from study.spec import StudyError
    from study.store import TrialStore

    refuse_a_name(out)
    store = TrialStore(out)
    spec = store.read_study()
    if spec is None:
        raise StudyError(f"out={store.out!r} is no trial store: it has no study.yaml. Make one with psp run.")
    return spec, store


def refuse_a_name(out: str) -> None:
    """Refuse a study's name where its store was meant.

    Raises:
        StudyError: there is nothing at `out`, and a store at `results/` and `out`.
    """
    from study.spec import StudyError

    meant = f"results/{out}"
    if "://" not in out and not os.path.exists(out) and os.path.isfile(f"{meant}/study.yaml"):
        raise StudyError(f"out={out!r} is no trial store; did you mean {meant!r}?")
