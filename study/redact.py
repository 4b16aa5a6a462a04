"""Secrets are for the storage only: nothing that is printed or stored shows them."""

import re
from typing import Final

# Half of AWS's keys hold a "/", and any password may hold an "@": the last "@" before the query ends them.
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
"""Parameters of pyarrow's URIs that hold no credential; the value of any other is hidden."""


def without_secrets(text: str) -> str:
    """The text with user names and passwords in URIs, and the values of their queries' parameters, replaced by ***."""
    return _PARAMETER.sub(_hidden, _USER.sub("://***@", text))


def _hidden(parameter: re.Match[str]) -> str:
    return parameter[0] if parameter[1].lower() in _HARMLESS else f"{parameter[1]}=***"
