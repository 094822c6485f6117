"""Address ranges as a few flat arrays: found by bisection, shared by every process that forks.

A set of ranges is cut into segments that follow one another without gap or overlap, each with
a value from 0 (nothing known) up. Starts and values are arrays of numbers in one buffer, so
500,000 ranges are 4 MB and not a single Python object: nothing whose reference count a child
could write to, nothing for a collector to walk.
"""

from __future__ import annotations

import array
import bisect
import ipaddress
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

V4_MOST = 2**32 - 1
V6_MOST = 2**128 - 1
_LOW = 2**64 - 1
_COUNT = struct.Struct("=Q")


@dataclass(frozen=True)
class Range:
    """Addresses from `start` to `end`, both inside, as numbers; `value` > 0."""

    start: int
    end: int
    value: int


@dataclass(frozen=True)
class Found:
    """The segment in which an address lies."""

    start: int
    end: int
    value: int


class Ranges:
    """Segments of one address family, on a buffer that it does not copy.

    Args:
        starts: where each segment begins; for IPv6 the upper 64 bits.
        lows: for IPv6 the lower 64 bits.
        values: of each segment; 0 is a gap.
    """

    def __init__(
        self, starts: Sequence[int], values: Sequence[int], lows: Sequence[int] | None = None
    ) -> None:
        self._starts = starts
        self._values = values
        self._lows = lows

    def __len__(self) -> int:
        return len(self._values)

    def find(self, number: int) -> Found | None:
        """The segment of an address; None in a gap."""
        at = self._at(number)
        if at < 0 or self._values[at] == 0:
            return None
        last = at + 1 == len(self._values)
        most = V4_MOST if self._lows is None else V6_MOST
        end = most if last else self._start(at + 1) - 1
        return Found(self._start(at), end, self._values[at])

    def _at(self, number: int) -> int:
        if self._lows is None:
            return bisect.bisect_right(self._starts, number) - 1
        high, low = number >> 64, number & _LOW
        after = bisect.bisect_right(self._starts, high)
        first = bisect.bisect_left(self._starts, high, 0, after)
        return bisect.bisect_right(self._lows, low, first, after) - 1

    def _start(self, at: int) -> int:
        start = self._starts[at]
        return start if self._lows is None else start << 64 | self._lows[at]


def flatten(ranges: Iterable[Range], *, merge: bool = False) -> list[tuple[int, int]]:
    """Segments (start, value) in order. Where ranges overlap, the one that starts later counts.

    So a narrow range inside a wide one is seen, and the wide one goes on behind it.

    Args:
        merge: neighbours of the same value become one segment (and its bounds are lost).
    """
    segments: list[tuple[int, int]] = []
    open_: list[Range] = []

    def begin(start: int, value: int) -> None:
        if segments and segments[-1][0] == start:
            segments.pop()
        same = segments[-1][1] == value if segments else value == 0
        if not (same and (merge or value == 0)):
            segments.append((start, value))

    def close(until: int | None) -> None:
        while open_ and (until is None or open_[-1].end < until):
            after = open_.pop().end + 1
            while open_ and open_[-1].end < after:
                open_.pop()
            begin(after, open_[-1].value if open_ else 0)

    for one in sorted(ranges, key=lambda r: (r.start, -r.end)):
        close(one.start)
        begin(one.start, one.value)
        open_.append(one)
    close(None)
    return segments


def pack(segments: Sequence[tuple[int, int]], version: int) -> bytes:
    """Segments as bytes that `unpack` reads, a multiple of 8 long."""
    most = V4_MOST if version == 4 else V6_MOST
    segments = [s for s in segments if s[0] <= most]
    values = array.array("I", [value for _, value in segments]).tobytes()
    if version == 4:
        starts = array.array("I", [start for start, _ in segments]).tobytes()
    else:
        starts = array.array("Q", [start >> 64 for start, _ in segments]).tobytes()
        starts += array.array("Q", [start & _LOW for start, _ in segments]).tobytes()
    body = _COUNT.pack(len(segments)) + starts
    return b"".join((body, _padding(body), values, _padding(values)))


def unpack(data: memoryview, at: int, version: int) -> tuple[Ranges, int]:
    """The ranges that begin at an offset, and the offset behind them.

    Raises:
        ValueError: the data ends before they do.
    """
    (count,) = _COUNT.unpack_from(data, at) if len(data) >= at + 8 else (len(data),)
    width = 4 if version == 4 else 16
    first = at + _COUNT.size
    values_at = first + _round(count * width)
    end = values_at + _round(count * 4)
    if end > len(data):
        raise ValueError("shorter than it says")
    values = data[values_at : values_at + count * 4].cast("I")
    if version == 4:
        return Ranges(data[first : first + count * 4].cast("I"), values), end
    middle = first + count * 8
    highs = data[first:middle].cast("Q")
    return Ranges(highs, values, data[middle : middle + count * 8].cast("Q")), end


def network_around(number: int, found: Found, version: int) -> str:
    """The largest network (as "192.0.2.0/24") around an address that lies within its segment."""
    width = 32 if version == 4 else 128
    size = 0
    while size < width:
        start = number >> (size + 1) << (size + 1)
        if start < found.start or start + (2 << size) - 1 > found.end:
            break
        size += 1
    start = number >> size << size
    address = ipaddress.IPv4Address(start) if version == 4 else ipaddress.IPv6Address(start)
    return f"{address}/{width - size}"


def _round(size: int) -> int:
    return (size + 7) & ~7


def _padding(data: bytes) -> bytes:
    return bytes(_round(len(data)) - len(data))
