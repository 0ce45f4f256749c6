"""Windows events as XML: what their `<Data Name="…">` elements hold.

XML in a log entry comes from wherever the log's lines come from. What is parsed begins with the
root element, so it can have no document type and with it no entities of its own; expat, asked for
nothing else, never opens anything; and 64 KiB are enough.
"""

from __future__ import annotations

from xml.parsers import expat

LONGEST_EVENT = 65_536
"""Characters; a Windows Security event has two or three thousand."""


def event_data(entry: str) -> dict[str, str]:
    """The named data of the first `<Event>` of a log entry, empty where it cannot be read."""
    start = entry.find("<Event")
    end = entry.find("</Event>", start)
    text = entry[start : end + len("</Event>")]
    if start < 0 or end < 0 or len(text) > LONGEST_EVENT:
        return {}
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
