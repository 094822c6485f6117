"""Octet-counted frames: "LENGTH SP MESSAGE". See: RFC 5425, 4.3."""

from __future__ import annotations

from decnet.collect.record import LINE_MOST

FRAME_MOST = LINE_MOST
"""Bytes of a message; a longer one is refused at its length, before it is read."""

_DIGITS = len(str(FRAME_MOST))


class FrameFault(ValueError):
    """What came is no frame; there is no way to find the next one, so the connection ends."""


def frame(message: bytes) -> bytes:
    """One frame.

    Raises:
        ValueError: the message is empty or too long.
    """
    if not 0 < len(message) <= FRAME_MOST:
        raise ValueError(f"a message of {len(message)} bytes, at most {FRAME_MOST}")
    return b"%d %b" % (len(message), message)


class FrameReader:
    """Cuts a stream into messages; holds at most one incomplete frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self.fault: FrameFault | None = None
        """Set where what came is no frame; the messages before it count."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing is left over: the stream may end here."""
        return not self._buffer

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now; none any more after a fault."""
        if self.fault is not None:
            return []
        self._buffer += data
        messages: list[bytes] = []
        at = 0
        try:
            while (found := self._next(at)) is not None:
                start, at = found
                messages.append(bytes(self._buffer[start:at]))
        except FrameFault as fault:
            self.fault = fault
        del self._buffer[:at]
        return messages

    def _next(self, at: int) -> tuple[int, int] | None:
        """Where the message of the frame at `at` begins and ends; None where it is incomplete."""
        buffer = self._buffer
        space = buffer.find(b" ", at, at + _DIGITS + 1)
        digits = bytes(buffer[at : space if space >= 0 else at + _DIGITS + 1])
        # A first digit of 0 is none: MSG-LEN = NONZERO-DIGIT *DIGIT.
        if digits and (not digits.isdigit() or digits.startswith(b"0")):
            raise FrameFault(f"no length: {digits!r}")
        if space < 0:
            if len(digits) > _DIGITS:
                raise FrameFault(f"a frame of more than {FRAME_MOST} bytes")
            return None
        if not digits:
            raise FrameFault("no length")
        length = int(digits)
        if length > FRAME_MOST:
            raise FrameFault(f"a frame of {length} bytes, at most {FRAME_MOST}")
        end = space + 1 + length
        return (space + 1, end) if end <= len(buffer) else None
