"""Removes HTML from a message: tags are removed, entities decoded once, other text stays.

A tag is `<`, the name of an HTML element and its attributes, up to `>`; a comment is a tag.
`a < b`, `<bob@example.com>` and a tag that is never closed are text, and so is the content of a
`<script>`. Every function here takes time in proportion to the length of any text.
"""

from __future__ import annotations

import html
import re

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from tasks.plugin.json_strings import buffers, every_second, find, slices

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
        message = _without_tags(message)
    if "&" in message:
        message = _ENTITY.sub(_decoded, message)
    return message


def texts_of(messages: pa.StringArray) -> pa.StringArray:
    """The text of each message, as `text_of` has it; null stays null."""
    marked = _rows_with(messages, "<", "&")
    if not marked.any():
        return messages
    mask = pa.array(marked)
    texts, plain = _without_plain_tags(messages.filter(mask))
    messages = pc.replace_with_mask(messages, mask, texts)
    rest = _rows_with(messages, "&")
    rest[marked] |= ~plain
    if not rest.any():
        return messages
    mask = pa.array(rest)
    others = map(text_of, messages.filter(mask).to_pylist())
    return pc.replace_with_mask(messages, mask, pa.array(others, pa.string()))


def _rows_with(texts: pa.StringArray, *characters: str) -> npt.NDArray[np.bool_]:
    offsets, data = buffers(texts)
    rows = np.zeros(len(texts), bool)
    rows[np.searchsorted(offsets, find(data, *characters), side="right") - 1] = True
    return rows


def _without_plain_tags(messages: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.bool_]]:
    """The messages without tags as plain as `<strong>`, and which of them had no others.

    The others are returned as they are.
    """
    offsets, data = buffers(messages)
    opening, closing = find(data, "<"), np.append(find(data, ">"), len(data)).astype(np.int32)
    closing = closing[np.searchsorted(closing, opening)] + np.int32(1)
    message = np.searchsorted(offsets, opening, side="right") - 1
    plain = np.ones(len(messages), bool)
    limit = np.minimum(np.append(opening[1:], len(data)), offsets[message + 1])
    plain[message[closing > limit]] = False
    kept = plain[message]
    opening, closing, message = opening[kept], closing[kept], message[kept]
    if len(opening):
        ends = np.stack((opening, closing), axis=1).reshape(-1)
        tags = slices(data, ends).take(every_second(len(ends), 0)).dictionary_encode()
        known = np.array([tag[1:-1] in _PLAIN_TAGS for tag in tags.dictionary.to_pylist()], bool)
        plain[message[~known[tags.indices.to_numpy()]]] = False
        kept = plain[message]
        opening, closing = opening[kept], closing[kept]
    ends = np.concatenate(([0], np.stack((opening, closing), axis=1).reshape(-1), [len(data)]))
    pieces = slices(data, ends.astype(np.int32)).take(every_second(len(ends), 0))
    removed = np.concatenate(([0], np.cumsum(closing - opening))).astype(np.int32)
    _, left = buffers(pieces)
    return slices(left, offsets - removed[np.searchsorted(opening, offsets)]), plain


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
    return html.unescape(entity.group()) or entity.group()
