"""The wire: frames to bytes and back, without any I/O.

A frame is a header line `VERB argument` + LF (a CR before it is tolerated), a 4-byte big-endian
length, and that many bytes of JSON object, or none. A peer that breaks a rule is not talking
our protocol: `FrameError`, and its connection is dropped.

| verb  | argument | body     | direction | meaning                                            |
|-------|----------|----------|-----------|----------------------------------------------------|
| HELLO | name     | optional | both      | who I am; the broker answers each with its own     |
| PUB   | topic    | envelope | to broker | only `payload` and `type` are kept                 |
| SUB   | pattern  | none     | to broker | from now on                                        |
| UNSUB | pattern  | none     | to broker |                                                    |
| EVT   | topic    | envelope | to client | stamped by the broker with a new `id` and `ts`     |
| BYE   | none     | none     | both      | the sender closes                                  |

Frames of one connection are handled in order, so an answered HELLO tells that all before it was.
"""

from __future__ import annotations

import json
from typing import Any, NamedTuple, NoReturn

MAX_HEADER = 4096
MAX_BODY = 1 << 20
VERBS = frozenset({"HELLO", "PUB", "SUB", "UNSUB", "EVT", "BYE"})
VERSION = 1
"""Of the envelope and of the HELLO reply."""


class FrameError(ValueError):
    """The bytes are no frame of ours, or one beyond the bounds."""


class Frame(NamedTuple):
    """One frame; `body` is the raw JSON, unparsed, b"" where there is none."""

    verb: str
    argument: str
    body: bytes

    def parse(self) -> dict[str, Any]:
        """The body as an object; an empty body is an empty object.

        Raises:
            FrameError: not JSON, not an object, or nested beyond what Python parses.
        """
        return parse_object(self.body) if self.body else {}


def encode(verb: str, argument: str = "", body: bytes = b"") -> bytes:
    """One frame as bytes.

    Raises:
        FrameError: header or body too long, or an argument that would break the header.
    """
    header = f"{verb} {argument}".rstrip(" ")
    if not header.isascii() or not header.isprintable() or verb not in VERBS:
        raise FrameError(f"header not sendable: {header[:80]!r}")
    if len(header) >= MAX_HEADER:
        raise FrameError(f"header of {len(header)} bytes; at most {MAX_HEADER}")
    if len(body) > MAX_BODY:
        raise FrameError(f"body of {len(body)} bytes; at most {MAX_BODY}")
    return b"%s\n%s%s" % (header.encode("ascii"), len(body).to_bytes(4, "big"), body)


def dump_object(value: dict[str, Any]) -> bytes:
    """Compact ASCII JSON; values that JSON does not know become their `str`.

    Raises:
        FrameError: NaN or infinity, a circular or too deep value, or keys that are no text.
    """
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise FrameError(f"not sendable as JSON: {error}") from error
    return text.encode("ascii")


def parse_object(body: bytes) -> dict[str, Any]:
    """The inverse of `dump_object`, strict: UTF-8, no NaN, an object on top."""
    try:
        value = json.loads(body.decode("utf-8"), parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FrameError(f"body is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise FrameError("body is not a JSON object")
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


class FrameParser:
    """Cuts a byte stream into frames, however it arrives.

    It holds at most one unfinished frame: `MAX_HEADER + 4 + MAX_BODY` bytes and the last read.
    """

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._searched = 0
        self._header: tuple[str, str] | None = None

    def feed(self, data: bytes) -> list[Frame]:
        """Take what was read, return the frames that are complete now.

        Raises:
            FrameError: the stream is broken for good; frames before the fault are lost with it.
        """
        buffer = self._buffer
        buffer += data
        frames: list[Frame] = []
        start = 0
        while True:
            if self._header is None:
                end = buffer.find(b"\n", max(start, self._searched))
                if end < 0:
                    if len(buffer) - start > MAX_HEADER:
                        raise FrameError(f"no header within {MAX_HEADER} bytes")
                    # Another protocol's client may wait for us for ever without a line end.
                    _check_verb(bytes(buffer[start : start + 8]))
                    # The rest was searched: a slow drip costs no second look at it.
                    self._searched = len(buffer)
                    break
                if end - start > MAX_HEADER:
                    raise FrameError(f"header of {end - start} bytes; at most {MAX_HEADER}")
                self._header = _parse_header(bytes(buffer[start:end]))
                start = end + 1
            if len(buffer) - start < 4:
                break
            length = int.from_bytes(buffer[start : start + 4], "big")
            if length > MAX_BODY:
                raise FrameError(f"body of {length} bytes; at most {MAX_BODY}")
            if len(buffer) - start - 4 < length:
                break
            body = bytes(buffer[start + 4 : start + 4 + length])
            frames.append(Frame(*self._header, body))
            self._header = None
            start += 4 + length
        if start:
            del buffer[:start]
            self._searched = max(0, self._searched - start)
        return frames


def _check_verb(start: bytes) -> None:
    """Refuse the start of a header that no verb begins with."""
    word, space, _ = start.decode("latin-1").rstrip("\r").partition(" ")
    if not any(verb == word if space else verb.startswith(word) for verb in VERBS):
        raise FrameError(f"unknown verb {word!r}")


def _parse_header(line: bytes) -> tuple[str, str]:
    line = line.removesuffix(b"\r")
    if not line.isascii():
        raise FrameError("header is not ASCII")
    verb, _, argument = line.decode("ascii").partition(" ")
    if verb not in VERBS:
        raise FrameError(f"unknown verb {verb[:20]!r}")
    if not argument.isprintable():
        raise FrameError("control characters in a header")
    return verb, argument.strip(" ")
