"""Secrets are for the storage only: nothing that is printed or stored shows them."""

import re
from typing import Final

_IN_HOST: Final = re.compile(r"://[^/@\s]+@")
_IN_QUERY: Final = re.compile(r"(?i)([?&][^=&\s]*(?:secret|token|key|password|signature|credential)[^=&\s]*=)[^&\s]*")


def without_secrets(text: str) -> str:
    """The text with user names and passwords in URIs, and credentials in their queries, replaced by ***."""
    return _IN_QUERY.sub(r"\1***", _IN_HOST.sub("://***@", text))
