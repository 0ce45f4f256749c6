"""Windows events as XML: what their `<Data Name="…">` elements hold.

No document type, no entities, no external references, and no more than 64 KiB: XML in a log entry
comes from wherever the log's lines come from.
"""

from __future__ import annotations

LONGEST_EVENT = 65_536
"""Characters; a Windows Security event has two or three thousand."""


def event_data(entry: str) -> dict[str, str]:
    """The named data of the first `<Event>` of a log entry, empty where it cannot be read."""
    start = entry.find("<Event")
    end = entry.find("</Event>", start)
    text = entry[start : end + len("</Event>")]
    if start < 0 or end < 0 or len(text) > LONGEST_EVENT:
        return {}
    # Imported here: most runs never see a Windows event.
    from xml.etree.ElementTree import ParseError

    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    try:
        event = fromstring(text, forbid_dtd=True)
    except (ParseError, DefusedXmlException):
        return {}
    return {
        data.get("Name", ""): (data.text or "").strip()
        for data in event.iter()
        if data.tag.rpartition("}")[2] == "Data"
    }
