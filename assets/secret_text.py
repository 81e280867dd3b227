"""Texts that may be shown: passwords within addresses and connection strings are taken out."""

import re

_IN_URL = re.compile(r"(://[^:/@\s]*:)[^\s]+@")
# As libpq reads it: quoted, with quotes doubled where the whole string stands in SQL, or up to the next space.
_IN_DSN = re.compile(r"(?i)(password\s*=\s*)(''[^']*''|'(?:\\.|[^'\\])*'|[^\s&]+)")
_SHOWN = "***"


def without_passwords(text: str) -> str:
    """A text with `***` in place of each password of a URL or of a libpq connection string."""
    return _IN_DSN.sub(rf"\1{_SHOWN}", _IN_URL.sub(rf"\1{_SHOWN}@", text))
