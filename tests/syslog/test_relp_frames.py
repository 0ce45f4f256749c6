from __future__ import annotations

from contextlib import suppress
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.syslog.relp_frames import (
    LAST_NUMBER,
    Frame,
    FrameReader,
    RelpError,
    answer_of,
    frame,
    number_after,
)

FRAMES = st.lists(
    st.builds(
        Frame,
        st.integers(0, LAST_NUMBER),
        st.sampled_from([b"rsp", b"serverclose", b"X" * 32]),
        st.binary(max_size=40),
    ),
    max_size=6,
)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The data, cut at these places."""
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@given(FRAMES, st.lists(st.integers(0, 500), max_size=8))
def test_frames_in_any_pieces(frames: list[Frame], cuts: list[int]) -> None:
    """However a stream is cut, the frames that were put in come out."""
    stream = b"".join(frame(number, command.decode(), data) for number, command, data in frames)
    reader = FrameReader()
    assert [one for piece in pieces(stream, cuts) for one in reader.feed(piece)] == frames


@given(FRAMES, st.binary(max_size=80), st.lists(st.integers(0, 500), max_size=8))
def test_anything(frames: list[Frame], rubbish: bytes, cuts: list[int]) -> None:
    """Behind frames, anything is more frames, an unfinished one, or an error; never a hang."""
    stream = b"".join(frame(number, command.decode(), data) for number, command, data in frames)
    reader = FrameReader()
    found: list[Frame] = []
    with suppress(RelpError):
        for piece in pieces(stream + rubbish, cuts):
            found.extend(reader.feed(piece))
    assert found[: len(frames)] == frames


@pytest.mark.parametrize(
    "stream",
    [
        b"HTTP/1.1 400",
        b" 1 rsp 0\n",
        b"1234567890",
        b"1 rsp 1234567890",
        b"1 rsp! ",
        b"1 " + b"x" * 33,
        b"1 rsp 5\n",
        b"1 rsp 3 200x",
        b"1 rsp 0 x",
        b"1 rsp 17000 ",
        b"-1 rsp 0\n",
        b"1  rsp",
    ],
)
def test_what_is_no_frame(stream: bytes) -> None:
    """It is refused as soon as it can be told, not once more of it has come."""
    with pytest.raises(RelpError):
        list(FrameReader().feed(stream))


def test_without_data() -> None:
    """A frame without data may do without the space before them, and need not."""
    assert list(FrameReader().feed(b"0 serverclose 0\n7 rsp 0 \n")) == [
        Frame(0, b"serverclose", b""),
        Frame(7, b"rsp", b""),
    ]
    assert frame(7, "close") == b"7 close 0\n"


def test_answers() -> None:
    """A code, and perhaps a text; what belongs to the command may stand in further lines."""
    assert answer_of(b"200 OK") == (200, "OK")
    assert answer_of(b"200") == (200, "")
    assert answer_of(b"200 OK\nrelp_version=0\n") == (200, "OK")
    assert answer_of(b"500 \x1b[31m \xff") == (500, "\\x1b[31m \ufffd")
    for data in (b"", b"OK", b"20", b"2000", b"200OK", b"-200"):
        with pytest.raises(RelpError):
            answer_of(data)


def test_transaction_numbers() -> None:
    """They begin anew behind the last one of nine digits, and leave out 0, which is for hints."""
    assert number_after(0) == 1
    assert number_after(LAST_NUMBER - 1) == LAST_NUMBER
    assert number_after(LAST_NUMBER) == 1
