"""The environment variables by which the libraries of AWS and Google know their user; they travel to the workers."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

PREFIXES: Final = ("AWS_", "GOOGLE_")
FILES: Final = ("_FILE", "AWS_CA_BUNDLE", "GOOGLE_APPLICATION_CREDENTIALS")  # ends of names whose values name files


def credentials() -> dict[str, str]:
    """The values of these variables in this process; secrets."""
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIXES)}


def accept(environment: Mapping[str, str]) -> None:
    """Set another process's variables here, except those that name a file which is not here."""
    if "AWS_ACCESS_KEY_ID" in environment:
        os.environ.pop("AWS_SESSION_TOKEN", None)  # a session token belongs to its key
    for name, value in environment.items():
        if not name.endswith(FILES) or Path(value).is_file():
            os.environ[name] = value
