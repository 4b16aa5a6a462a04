"""Hides secrets in everything that is printed or stored."""

import re
from typing import Final

# Many AWS keys contain "/", and a password may contain "@". So the last "@" before the query ends the credentials.
_USER: Final = re.compile(r"://[^?\s]*@")
_PARAMETER: Final = re.compile(r"(?<=[?&])([^=&?\s]+)=[^&\s]*")
_HARMLESS: Final = {
    "allow_bucket_creation",
    "allow_bucket_deletion",
    "endpoint_override",
    "expiration",
    "region",
    "retry_limit_seconds",
    "scheme",
    "tls_ca_file_path",
}
"""Parameters of pyarrow's URIs that hold no credential; the value of every other parameter is hidden."""


def without_secrets(text: str) -> str:
    """The text with *** for user names, passwords and values of query parameters in URIs."""
    return _PARAMETER.sub(_hidden, _USER.sub("://***@", text))


def _hidden(parameter: re.Match[str]) -> str:
    return parameter[0] if parameter[1].lower() in _HARMLESS else f"{parameter[1]}=***"
