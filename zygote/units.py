"""Sizes and times as people write them: "128M" and "30s", to bytes and seconds and back.

Read: K, M, G, T are powers of 1024, as in systemd's files and the kernel's. Shown: MB is 10^6 with
one decimal, because memory tables are compared with what other tools print. `spell_bytes` gives
the text that would be read back as the same number.
"""

from __future__ import annotations

import math
import re

from zygote.errors import Exit, ZygoteError

_SIZES = {"": 1, "B": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40, "P": 2**50, "E": 2**60}
_SIZE = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([BKMGTPE]?)(?:iB)?")
_SIZE_HINT = 'bytes as a number, or with K, M, G or T (powers of 1024): "512K", "128M", "1.5G"'

_TIMES = {
    "us": 1e-6, "µs": 1e-6, "usec": 1e-6,
    "ms": 1e-3, "msec": 1e-3,
    "s": 1, "sec": 1, "second": 1, "seconds": 1,
    "min": 60, "m": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hour": 3600, "hours": 3600,
    "d": 86400, "day": 86400, "days": 86400,
    "w": 604800, "week": 604800, "weeks": 604800,
}  # fmt: skip
_TIME_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-zµ]*)")
_TIME_HINT = 'seconds as a number, or with a unit: "200ms", "30s", "5min", "1h 30min"'

_MOST_BYTES = 2**63 - 1


class UnitError(ZygoteError, ValueError):
    """A size or a time that cannot be read; `hint` says what would be right.

    It is a ValueError too, as validators want it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, code="bad-unit", hint=hint, exit_code=Exit.USAGE)


def parse_bytes(value: str | int) -> int:
    """`"128M"` -> 134217728; a plain number is bytes.

    Raises:
        UnitError: not a size, negative, or beyond 2^63.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise UnitError("not a size", _SIZE_HINT)
    if isinstance(value, int):
        size = value
    else:
        text = value.strip()
        match = _SIZE.fullmatch(text)
        if not match or text == "iB":
            raise UnitError("not a size", _size_hint(text))
        number, unit = match.groups()
        if "." not in number:
            size = int(number) * _SIZES[unit]
        else:
            size = round(float(number) * _SIZES[unit])
    if size < 0:
        raise UnitError("a size cannot be negative", _SIZE_HINT)
    if size > _MOST_BYTES:
        raise UnitError("larger than any size can be (2^63 bytes)", _SIZE_HINT)
    return size


def parse_seconds(value: str | int | float) -> float:
    """`"5min"` -> 300.0; a plain number is seconds; `"1h 30min"` adds up.

    Raises:
        UnitError: not a time, negative, infinite.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise UnitError("not a time", _TIME_HINT)
    seconds = float(value) if not isinstance(value, str) else _read_time(value.strip())
    if not math.isfinite(seconds):
        raise UnitError("not a finite time", _TIME_HINT)
    if seconds < 0:
        raise UnitError("a time cannot be negative", _TIME_HINT)
    return seconds


def format_bytes(size: float) -> str:
    """`85.9 MB` (10^6); from 10 GB on in GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e10 else f"{size / 1e6:.1f} MB"


def spell_bytes(size: int) -> str:
    """`128M`: the shortest text that `parse_bytes` reads as exactly this size."""
    for unit in "EPTGMK":
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit}"
    return str(size)


def format_seconds(seconds: float) -> str:
    """`41ms`, `2.5s`, `3min 20s`, `2h 05min`, `3d 4h`: two parts at most."""
    if seconds < 0:
        return "-" + format_seconds(-seconds)
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f}ms"
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}min {whole % 60:02}s"
    minutes = whole // 60
    if minutes < 24 * 60:
        return f"{minutes // 60}h {minutes % 60:02}min"
    hours = minutes // 60
    return f"{hours // 24}d {hours % 24}h"


def _size_hint(text: str) -> str:
    """What was probably meant."""
    guess = text.upper().replace(" ", "")
    if match := re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)([KMGTPE])(?:I?B)?(?:YTES?)?", guess):
        number, unit = match.groups()
        power = {"K": 10, "M": 20, "G": 30, "T": 40, "P": 50, "E": 60}[unit]
        return f'did you mean "{number}{unit}"? ({unit} is 2^{power} bytes)'
    if text.endswith("%"):
        return "a share of the machine's memory is not known here: " + _SIZE_HINT
    return _SIZE_HINT


def _read_time(text: str) -> float:
    seconds, at = 0.0, 0
    parts = 0
    while at < len(text):
        match = _TIME_PART.match(text, at)
        if not match:
            raise UnitError("not a time", _TIME_HINT)
        number, unit = match.groups()
        if not unit and (parts or match.end() != len(text)):
            raise UnitError("not a time: a part of it has no unit", _TIME_HINT)
        if unit and unit not in _TIMES:
            raise UnitError(f"not a time: no unit '{unit}'", _time_hint(number, unit))
        seconds += float(number) * _TIMES.get(unit, 1)
        parts += 1
        at = match.end()
        while at < len(text) and text[at] == " ":
            at += 1
    if not parts:
        raise UnitError("not a time", _TIME_HINT)
    return seconds


def _time_hint(number: str, unit: str) -> str:
    # A month in systemd, a minute to everybody else: not to be guessed silently.
    guess = "min" if unit == "M" else unit.lower()
    return f'did you mean "{number}{guess}"? {_TIME_HINT}' if guess in _TIMES else _TIME_HINT
