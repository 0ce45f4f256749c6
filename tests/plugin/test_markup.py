"""HTML in messages."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.plugin.markup import text_of
from tests.plugin.raw import row


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ("plain", "plain"),
        ("", ""),
        ("a <strong>bold</strong> word", "a bold word"),
        ("<B>upper</B><br><br/><br />", "upper"),
        ('see <a href="https://example.com/?a=1&amp;b=2">this</a>', "see this"),
        ("<a title='x > y' class=\"a>b\">t</a>", "t"),
        ("<p\nclass=x\n>lines</p\n>", "lines"),
        ("<script>alert(1 < 2)</script>", "alert(1 < 2)"),
        ('<img src=x onerror="a">', ""),
        ("<svg/onload=alert(1)>x", "x"),
        ("<!-- <b>gone</b> -->kept<!DOCTYPE html>", "kept"),
        ("<st<!-- -->rong>x</strong>", "x"),
        ("a < b and c > d", "a < b and c > d"),
        ("1<2, x<y>z, <3", "1<2, x<y>z, <3"),
        ("From: Bob <bob@example.com>", "From: Bob <bob@example.com>"),
        ("file <unknown> is <nil>", "file <unknown> is <nil>"),
        ("never <b closed", "never <b closed"),
        ("never <!-- closed <b>x</b>", "never <!-- closed x"),
        ("<b <i>x</i>", "<b x"),
        ("<>< ></>", "<>< ></>"),
        ("</str<strong>ong>x</strong>", "</strong>x"),
        ("<str</strong>ong>x", "<strong>x"),
        ("&lt;b&gt; &amp;amp; &quot;q&quot; &#39;s&#39; &#x1F600;", "<b> &amp; \"q\" 's' 😀"),
        ("a &rarr; b &copy;", "a → b ©"),
        (
            "?a=1&copy=2&lt=3 AT&T &; &unknown; &#; &#xZ;",
            "?a=1&copy=2&lt=3 AT&T &; &unknown; &#; &#xZ;",
        ),
        ("&#0; &#1; &#xD800; &#1114112;", "\ufffd &#1; \ufffd \ufffd"),
        ("&lt;<b>&gt;</b>", "<>"),
    ],
)
def test_text_of(message: str, text: str) -> None:
    """Tags and comments go, entities are decoded once, and what is neither stays."""
    assert text_of(message) == text
    assert row(message=message)["event_description"] == (text or None)


@given(st.text(alphabet="ab/<>&;!-=\"' #lt3strong"))
def test_text_is_never_invented(message: str) -> None:
    """What is left is no longer than what was there, and a text without markup is left alone."""
    assert len(text_of(message)) <= len(message)
    assert text_of(message.replace("<", "").replace("&", "")) == (
        message.replace("<", "").replace("&", "")
    )


@pytest.mark.parametrize(
    "unit",
    [
        "a<",
        "<",
        "<a ",
        '<a "',
        '<a ="',
        "<a ='",
        "<!--",
        "<!-",
        "&",
        "&#",
        "&lt",
        "<b>",
        "</b ",
        "= '",
    ],
)
@pytest.mark.parametrize("lead", ["", "<a ", "<!--", '<a x="'])
def test_time_is_linear(unit: str, lead: str) -> None:
    """A message of 200,000 characters, half of it unfinished markup, takes less than 2 s."""
    message = "a" * 100_000 + lead + unit * (100_000 // len(unit))
    started = time.process_time()
    text_of(message)
    assert time.process_time() - started < 2
