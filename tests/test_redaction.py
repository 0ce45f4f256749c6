"""What is shown of other people's text, and of addresses with a password in them."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.redaction import LONGEST, foreign_text, redact, redact_address

MARKER = "hunter2"
ANY_TEXT = st.text(st.characters(exclude_categories=()))
ACTING = {"Cc", "Cf", "Cs", "Zl", "Zp", "Cn", "Co"}
"""Categories of characters that act on a terminal, forge a line, or show nothing of their own."""

ADDRESSES = (
    "https://{}@host/x",
    "https://user:{}@host/x",
    "https://user:pass@{}@host",
    "https://us/er:{}/@host",
    "https://user:pa ss{}@host",
    "https://user:pa\nss{}@host",
    "https://user:{}?x@host",
    "https://user:{}#x@host",
    "https://user%3A{}%40host/x",
    "https://user%253A{}%2540host/x",
    "https://user:{}@[::1",
    "https://[::1:{}/x",
    "https://user:{}",
    "https:///user:{}@host",
    "https:/user:{}@host",
    "https:user:{}@host",
    "https:\\\\user:{}@host",
    "//user:{}@host",
    "user:{}@host",
    "user:{}",
    " https://user:{}@host",
    "ht tps://user:{}@host",
    "https://host?secret_key={}",
    "https://host/x?access_key=a&secret_key={}",
    "https://host/x?e=a@{}",
    "https://host/x#{}",
    "https://host/x&secret_key={}",
    "https://host/x;secret_key={}",
    "https://host:{}/",
    "s3://KEY:{}@bucket/prefix",
    "s3://KEY:a/b+{}=@bucket/prefix?region=eu",
    "s3://bucket%3Fsecret_key%3D{}",
)
"""Addresses, well-formed and not, with a place for a secret."""


@given(ANY_TEXT)
@example("\x1b[31m\x07\x9b\x7f\r\n\t\u2028\u2029\ufeff\ud800\U000e0041")
@example("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c")
@example("\u200b\u200c\u200d\u2060\u00ad\u034f\u115f\u1160\u17b4\u3164\uffa0\ufe0f\U000e01ef")
def test_nothing_of_a_text_acts_on_a_terminal_or_a_log(text: str) -> None:
    """No control or direction character, line end, surrogate or invisible one is left."""
    shown = foreign_text(text, None)
    assert not {unicodedata.category(character) for character in shown} & ACTING
    assert not set(shown) & set("\u034f\u115f\u1160\u17b4\u3164\uffa0\ufe0f\U000e01ef")
    assert foreign_text(shown, None) == shown


@given(ANY_TEXT, st.integers(1, 300))
def test_a_long_text_is_shown_up_to_an_ellipsis(text: str, limit: int) -> None:
    """So many characters of it, each at most ten where it is escaped, and no more."""
    shown = foreign_text(text, limit)
    assert len(shown) <= 10 * limit + 1
    assert shown.endswith("…") or len(text) <= limit
    assert foreign_text("x" * (LONGEST + 1)) == "x" * LONGEST + "…"


@given(st.text(st.characters(categories=("L", "Nd", "P"), max_codepoint=0x2FF)))
def test_a_text_that_does_no_harm_is_shown_as_it_is(text: str) -> None:
    """Letters of any language, digits and punctuation."""
    assert foreign_text(text, None) == text


def test_what_acts_is_shown_as_its_escape() -> None:
    """A reader can tell which character it was."""
    assert foreign_text("a\x1b[2J\n\u202eb\udcff") == "a\\x1b[2J\\n\\u202eb\\udcff"
    assert foreign_text("C:\\new é 漢") == "C:\\new é 漢"


@pytest.mark.parametrize("address", ADDRESSES)
def test_an_address_is_shown_without_what_may_be_secret(address: str) -> None:
    """Malformed as it may be: neither the user part nor the query nor what is not understood."""
    assert MARKER not in redact_address(address.format(MARKER))


@given(
    before=st.text(st.sampled_from("https://u:@[]%?#=&\\ \n\x1b.é")),
    between=st.text(st.sampled_from("/:@[]%?#=&\\ \n.")),
    after=st.text(st.sampled_from("host:/?#&=@[]%. ")),
)
@example(before="", between="://", after="")
def test_no_address_shows_what_is_before_an_at_sign(before: str, between: str, after: str) -> None:
    """Whatever stands around a password, `@` behind it hides it."""
    assert MARKER not in redact_address(f"{before}{MARKER}{between}@{after}")


@given(
    before=st.text(st.sampled_from("https://u:@[]%#=&\\ \n\x1b.é")),
    after=st.text(st.sampled_from("host:/?#&=@[]%. ")),
)
def test_no_address_shows_its_query(before: str, after: str) -> None:
    """What follows a question mark is hidden, whatever comes before and after."""
    assert MARKER not in redact_address(f"{before}?key={MARKER}{after}")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("https://api.cloudpassage.com", "https://api.cloudpassage.com"),
        ("http://[::1]:8080/api", "http://[::1]:8080/api"),
        ("s3://bucket/some/prefix-1", "s3://bucket/some/prefix-1"),
        ("s3://KEY:SECRET@bucket/prefix?region=eu", "s3://***@bucket/prefix?***"),
        ("halo.example.com:443", "halo.example.com:443"),
        ("localhost:8080", "localhost:8080"),
        ("KEYID", "***"),
    ],
)
def test_what_is_harmless_of_an_address_is_shown(address: str, shown: str) -> None:
    """The reader can tell which address is meant."""
    assert redact_address(address) == shown


def test_addresses_in_a_message_are_shown_as_such() -> None:
    """A library's message with a URL in it."""
    text = f"cannot reach 'http://user:{MARKER}@proxy:3128/', http://h: gone"
    assert redact(text) == "cannot reach 'http://***@proxy:3128/', http://h: gone"
