"""Frames: round trips however the bytes are cut, and a clean refusal of everything else."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.bus.frames import (
    MAX_BODY,
    MAX_HEADER,
    VERBS,
    Frame,
    FrameError,
    FrameParser,
    dump_object,
    encode,
    parse_object,
)

frames = st.builds(
    Frame,
    st.sampled_from(sorted(VERBS)),
    st.text("abc.*>_-09", max_size=20),
    st.one_of(
        st.just(b""),
        st.dictionaries(st.text(), st.integers() | st.text(), max_size=3).map(dump_object),
        st.binary(max_size=50),
    ),
)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(p % (len(data) + 1) for p in places), len(data)]
    return [data[a:b] for a, b in itertools.pairwise(edges)]


@given(st.lists(frames, max_size=6), st.lists(st.integers(0, 10_000), max_size=12))
def test_frames_arrive_whole_however_they_are_cut(sent: list[Frame], places: list[int]) -> None:
    parser = FrameParser()
    got: list[Frame] = []
    for piece in cut(b"".join(encode(*frame) for frame in sent), places):
        got += parser.feed(piece)
    assert got == sent


@given(st.lists(frames, min_size=1, max_size=3))
def test_frames_byte_by_byte(sent: list[Frame]) -> None:
    parser = FrameParser()
    got: list[Frame] = []
    for byte in b"".join(encode(*frame) for frame in sent):
        got += parser.feed(bytes([byte]))
    assert got == sent


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_frames_garbage_gives_frames_or_our_error(data: bytes, places: list[int]) -> None:
    parser = FrameParser()
    try:
        for piece in cut(data, places):
            for frame in parser.feed(piece):
                assert frame.verb in VERBS
                assert frame.argument.isascii() and frame.argument.isprintable()
    except FrameError:
        pass


@given(frames, st.binary(min_size=1, max_size=40), st.integers(0, 200))
def test_frames_damaged_stream_never_raises_another_error(
    frame: Frame, noise: bytes, place: int
) -> None:
    good = encode(*frame)
    at = place % (len(good) + 1)
    parser = FrameParser()
    try:
        for got in parser.feed(good[:at] + noise + good[at:]):
            got.parse()
    except FrameError:
        pass


def test_frames_tolerate_a_carriage_return() -> None:
    assert FrameParser().feed(b"SUB a.>\r\n\0\0\0\0") == [Frame("SUB", "a.>", b"")]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"PUB " + b"x" * MAX_HEADER, "no header"),
        (b"PUB " + b"x" * MAX_HEADER + b"\n", "header of"),
        (b"GET / HTTP/1.1\r\n", "unknown verb"),
        (b"\n", "unknown verb"),
        (b"pub a\n", "unknown verb"),
        (b"\x16\x03\x01\x02", "unknown verb"),
        (b"PUBLISH", "unknown verb"),
        (b"PU B", "unknown verb"),
        (b"PUB \xff\n", "not ASCII"),
        (b"PUB a\x1b[2J\n", "control characters"),
        (b"PUB a\n" + (MAX_BODY + 1).to_bytes(4, "big"), "body of"),
        (b"PUB a\n\xff\xff\xff\xff", "body of"),
    ],
)
def test_frames_beyond_the_bounds_are_refused_before_they_are_held(data: bytes, why: str) -> None:
    with pytest.raises(FrameError, match=why):
        FrameParser().feed(data)


def test_frames_largest_body_passes() -> None:
    body = b'"' + b"x" * (MAX_BODY - 2) + b'"'
    assert FrameParser().feed(encode("PUB", "a", body)) == [Frame("PUB", "a", body)]
    with pytest.raises(FrameError, match="at most"):
        encode("PUB", "a", body + b" ")


@pytest.mark.parametrize("argument", ["a\nPUB b", "a\r", "ä", "x" * MAX_HEADER])
def test_frames_argument_that_would_break_the_header_is_not_sent(argument: str) -> None:
    with pytest.raises(FrameError):
        encode("PUB", argument)


@pytest.mark.parametrize(
    "body",
    [
        *(b"[]", b"1", b"null", b"{", b"\xff", b'{"a":NaN}', b'{"a":Infinity}'),
        *(b"[" * 200_000, b'{"a":' * 100_000, b'{"a":' + b"9" * 10_000 + b"}"),
    ],
)
def test_frames_body_that_is_no_object_is_our_error(body: bytes) -> None:
    with pytest.raises(FrameError):
        parse_object(body)


def test_frames_objects_that_json_cannot_hold_are_our_error() -> None:
    circular: dict[str, object] = {}
    circular["self"] = circular
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    for value in (circular, deep, {"a": float("nan")}, {(1, 2): 3}):
        with pytest.raises(FrameError):
            dump_object(value)  # type: ignore[arg-type]


@given(st.dictionaries(st.text(), st.text() | st.integers() | st.none(), max_size=5))
def test_frames_objects_round_trip_as_ascii(value: dict[str, object]) -> None:
    data = dump_object(value)
    assert data.isascii()
    assert parse_object(data) == value == json.loads(data)
