"""Windows events as XML: what their `<Data Name="…">` elements hold.

XML in a log entry comes from wherever the log's lines come from. What is parsed is the element
`<EventData>` alone: it begins with the root, so it can have no document type and so no entities
of its own; expat, asked for nothing else, never opens anything; and 64 KiB are enough. An element
that holds nothing but plain `<Data>` is read by a pattern, in a fifth of expat's time.
"""

from __future__ import annotations

import re
from xml.parsers import expat

LONGEST_DATA = 65_536
"""Characters; that of a Windows Security event has one or two thousand."""

_END = "</EventData>"
# Printable ASCII that needs no rule of XML: no markup, reference, quote or "]]>".
_TEXT = r"[ !#-%(-;=?-\\^-~]*+"
_DATA = re.compile(rf"<Data Name=(['\"])({_TEXT})\1>({_TEXT})</Data>")
_PLAIN = re.compile(rf"<EventData>(?:[ \t\r\n]*+{_DATA.pattern})*+[ \t\r\n]*+</EventData>")


def event_data(entry: str) -> dict[str, str]:
    """The named data of the first event of a log entry, empty where it cannot be read."""
    start = entry.find("<EventData")
    end = entry.find(_END, start)
    text = entry[start : end + len(_END)]
    if start < 0 or end < 0 or len(text) > LONGEST_DATA:
        return {}
    if _PLAIN.fullmatch(text):
        return {name: value.strip() for _, name, value in _DATA.findall(text)}
    data = _NamedData()
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = data.start
    parser.CharacterDataHandler = data.text
    try:
        parser.Parse(text, True)  # noqa: FBT003 - expat takes its arguments by position
    except expat.ExpatError:
        return {}
    return {name: value.strip() for name, value in data.found.items()}


class _NamedData:
    """Collects the text of `<Data>` elements by their `Name`, the last of each."""

    def __init__(self) -> None:
        self.found: dict[str, str] = {}
        self._name = ""

    def start(self, tag: str, attributes: dict[str, str]) -> None:
        self._name = attributes.get("Name", "") if tag == "Data" else ""
        if self._name:
            self.found[self._name] = ""

    # Text behind an element's end counts to it, too: in an event there is only white space.
    def text(self, text: str) -> None:
        if self._name:
            self.found[self._name] += text
