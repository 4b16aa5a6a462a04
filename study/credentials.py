"""What opens a storage travels with the run: the variables by which AWS and Google's libraries know their user."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PREFIXES: Final = ("AWS_", "GOOGLE_")
FILES: Final = ("_FILE", "AWS_CA_BUNDLE", "GOOGLE_APPLICATION_CREDENTIALS")  # ends of names whose values name files


def credentials() -> dict[str, str]:
    """This process's variables; secrets."""
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}


def accept(environment: Mapping[str, str]) -> None:
    """Take another process's variables, but for those that name files which are not here."""
    if "AWS_ACCESS_KEY_ID" in environment:
        os.environ.pop("AWS_SESSION_TOKEN", None)  # it belongs to another key
    for name, value in environment.items():
        if not name.endswith(FILES) or Path(value).is_file():
            os.environ[name] = value
