"""What may be shown of a URL: everything but the user and password in it."""

from __future__ import annotations

import re

# to the last @: a key's own slashes and at-signs may stand there unescaped
_USER = re.compile(r"(?<=://)\S*@")


def redact(text: str) -> str:
    """The text with `***` for the user and password of every URL in it."""
    return _USER.sub("***@", text)
