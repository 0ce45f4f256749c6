"""Removes HTML from a message: tags are removed, entities decoded once, other text stays.

A tag is `<`, the name of an HTML element and its attributes, up to `>`; a comment is a tag.
`a < b`, `<bob@example.com>` and a tag that is never closed are text, and so is the content of a
`<script>`. Every function here takes time in proportion to the length of any text.
"""

from __future__ import annotations

import html
import re
from functools import lru_cache

# Elements of the HTML Living Standard, its obsolete ones, and the SVG and MathML roots.
_ELEMENTS = frozenset(
    """
    a abbr acronym address applet area article aside audio b base basefont bdi bdo bgsound big blink
    blockquote body br button canvas caption center cite code col colgroup data datalist dd del
    details dfn dialog dir div dl dt em embed fieldset figcaption figure font footer form frame
    frameset h1 h2 h3 h4 h5 h6 head header hgroup hr html i iframe image img input ins isindex kbd
    keygen label legend li link listing main map mark marquee math menu menuitem meta meter nav nobr
    noembed noframes noscript object ol optgroup option output p param picture plaintext pre
    progress q rb rp rt rtc ruby s samp script search section select slot small source spacer span
    strike strong style sub summary sup svg table tbody td template textarea tfoot th thead time
    title tr track tt u ul var video wbr xmp
    """.split()  # noqa: SIM905 - a list of quoted words would hide the words
)
_WITH_DOCTYPE = _ELEMENTS | {"!doctype"}
_PLAIN_TAGS = _ELEMENTS | {f"/{name}" for name in _ELEMENTS}

# A scan ends at the next "<" and never goes back (possessive), so that a text full of unfinished
# tags is still read once. ">" inside a quoted attribute value does not end the tag.
_TAG = re.compile(
    r"</?(?P<name>!?[A-Za-z][A-Za-z0-9]*+)(?=[\s/>])"
    r"(?:=\s*+(?:\"[^\"<]*+\"|'[^'<]*+')|[^<>])*+>"
)
# Only what ends in a semicolon: `?a=1&copy=2` is a query, not a copyright sign.
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});")


def text_of(message: str) -> str:
    """The message as text: without tags and comments, entities decoded once.

    An entity that names no character stays as it is.
    """
    if "<" in message:
        # Most messages have no other tags. In this order, removing one cannot make another.
        plain = message.replace("</strong>", "<strong>").replace("<strong>", "")
        message = _without_tags(message) if "<" in plain else plain
    if "&" in message and ";" in message:
        message = _ENTITY.sub(_decoded, message)
    return message


def _without_tags(message: str) -> str:
    first, *pieces = message.split("<")
    kept = [first]
    for piece in pieces:
        tag, closed, rest = piece.partition(">")
        # Most tags are as plain as `<strong>`; the pattern reads any, at three times the cost.
        if not closed or tag not in _PLAIN_TAGS:
            return _TAG.sub(_unless_element, _without_comments(message))
        kept.append(rest)
    return "".join(kept)


def _without_comments(text: str) -> str:
    kept = []
    position = 0
    while (start := text.find("<!--", position)) >= 0 and (end := text.find("-->", start + 4)) >= 0:
        kept.append(text[position:start])
        position = end + 3
    kept.append(text[position:])
    return "".join(kept)


def _unless_element(tag: re.Match[str]) -> str:
    return "" if tag["name"].lower() in _WITH_DOCTYPE else tag.group()


def _decoded(entity: re.Match[str]) -> str:
    return _character(entity.group())


@lru_cache(maxsize=1024)
def _character(entity: str) -> str:
    return html.unescape(entity) or entity
