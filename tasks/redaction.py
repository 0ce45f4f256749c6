"""How text from outside, and addresses that may hold a password, are shown.

The text of events, responses of servers, names of files and values of settings pass through here
before they appear in a message, a table, a log or a page. Data (`--json`, `export`, Parquet) stays
exact.
"""

from __future__ import annotations

import re
from urllib.parse import unquote

LONGEST = 200
"""How many characters of a text are shown unless told otherwise."""
LONGEST_PATH = 1000
"""How many characters of a file's path are shown."""

# Characters that show nothing though Python calls them printable: the letters and marks among
# Unicode's Default_Ignorable_Code_Point (DerivedCoreProperties.txt).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]{0,20}")
_WITH_USER = {"http", "https", "s3", "gs", "abfs", "abfss", "hdfs", "udp", "tcp", "tls", "sftp"}
"""Schemes that are shown before an at-sign; another one may be a password with slashes in it."""
# The parts of an address that cannot be a secret: a well-formed host and port, and a plain path.
_HOST = r"(?:[\w.-]*|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?![^/?#])"
_HARMLESS = re.compile(rf"{_HOST}(?:/[\w./~+=-]*)?")
_HOST_ALONE = re.compile(rf"(?=localhost|[^/]*\.){_HOST}(?:/[\w./~+-]*)?")
_IN_TEXT = re.compile(rf"{_SCHEME.pattern}://\S*[^\s:;,.)'\"]")
HIDDEN = "***"
_LAYERS = 5  # of percent-encoding that are looked through


def foreign_text(text: object, limit: int | None = LONGEST) -> str:
    r"""Text from outside, without characters that control a terminal or forge a log's line.

    Control characters, line ends, direction marks, lone surrogates and what has no width become
    visible escapes, such as `\x1b` or `\u202e`. A second call changes nothing more.

    Args:
        text: The text, or an object whose `str` it is.
        limit: How many characters are shown; an ellipsis stands for the rest. None for all.
    """
    whole = str(text)
    shown = whole[:limit]
    if not shown.isprintable() or _INVISIBLE.search(shown):
        shown = "".join(map(_visible, shown))
    return shown if limit is None or len(whole) <= limit else f"{shown}…"


def _visible(character: str) -> str:
    if character.isprintable() and not _INVISIBLE.match(character):
        return character
    return character.encode("unicode_escape").decode()


def redact_address(address: str) -> str:
    """A URL or host as it may be shown: without its user, password, query and fragment.

    The address may be malformed. Parts that cannot be a secret stay; `***` replaces the rest.
    """
    text = address
    for _ in range(_LAYERS):
        text = unquote(text)
    if unquote(text) != text:
        return HIDDEN
    scheme, separator, rest = text.partition("://")
    if not separator:
        return foreign_text(text) if _HOST_ALONE.fullmatch(text) else HIDDEN
    if not _SCHEME.fullmatch(scheme):
        return HIDDEN
    user, at, rest = rest.rpartition("@")
    if at and scheme.lower() not in _WITH_USER:
        scheme = HIDDEN
    harmless = _HARMLESS.match(rest)
    # An at-sign behind a question mark: the password may end there, or the query.
    if harmless is None or "?" in user or "#" in user:
        return f"{scheme}://{HIDDEN}"
    hidden_user = f"{HIDDEN}@" if at else ""
    hidden_rest = rest[harmless.end() :]
    mark = hidden_rest[:1] if hidden_rest[:1] in {"?", "#"} else ""
    hidden_rest = f"{mark}{HIDDEN}" if hidden_rest else ""
    return foreign_text(f"{scheme}://{hidden_user}{harmless[0]}{hidden_rest}")


def redact(text: str) -> str:
    """A text with every URL in it as `redact_address` shows it."""
    return _IN_TEXT.sub(lambda url: redact_address(url[0]), text)
