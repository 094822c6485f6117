"""From a session's input to what the hands did: single keys, pastes, lines. Pure."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from decnet.analysis.recording import Keys

PASTE_LEAST = 4
"""Printable characters in one piece of input: no hand types so many between two reads."""
PASTE_GAP = 0.015
"""Seconds between two keys; closer ones came from a clipboard or a program."""
PASTE_RUN = 8
"""So many keys that close together are a paste too."""
PAUSE = 2.0
"""A longer gap is thinking, not typing."""
LINES_MOST = 2000
LINE_MOST = 2048
TAB, ERASE, ESCAPE = "\t", "\x08\x7f", "\x1b"
SHORTCUTS = {
    "\x01": "ctrl-a",
    "\x02": "ctrl-b",
    "\x03": "ctrl-c",
    "\x04": "ctrl-d",
    "\x05": "ctrl-e",
    "\x0b": "ctrl-k",
    "\x0c": "ctrl-l",
    "\x12": "ctrl-r",
    "\x15": "ctrl-u",
    "\x17": "ctrl-w",
    "\x19": "ctrl-y",
    "\x1a": "ctrl-z",
}
ARROWS = {"A": "up", "B": "down", "C": "right", "D": "left"}


@dataclass
class Line:
    """A finished line: what stood on it, when its first key and its end came (seconds)."""

    text: str
    began: float
    ended: float
    pasted: bool = False


@dataclass
class Strokes:
    """What was done with the keyboard."""

    lines: list[Line] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    """Seconds between two keys typed by hand, pauses left out."""
    pairs: dict[tuple[str, str], list[float]] = field(default_factory=dict)
    """Gap of each pair of typed characters."""
    keys: int = 0
    printable: int = 0
    pasted: int = 0
    """Characters that came in bursts."""
    bursts: int = 0
    erased: int = 0
    tabs: int = 0
    shortcuts: dict[str, int] = field(default_factory=dict)
    arrows: dict[str, int] = field(default_factory=dict)


def strokes_of(keys: Keys) -> Strokes:
    """Read the input once."""
    found = Strokes()
    reader = _Reader(found)
    pieces = keys.inputs
    fast = _fast_runs([time for time, _ in pieces])
    for at, (time, text) in enumerate(pieces):
        reader.piece(time, text, in_burst=fast[at], new_burst=not (at and fast[at - 1]))
    return found


def _fast_runs(times: list[float]) -> list[bool]:
    """Which pieces belong to a run of at least `PASTE_RUN` that follow each other at once."""
    fast = [False] * len(times)
    start = 0
    for at in range(1, len(times) + 1):
        if at == len(times) or times[at] - times[at - 1] > PASTE_GAP:
            if at - start >= PASTE_RUN:
                fast[start:at] = [True] * (at - start)
            start = at
    return fast


class _Reader:
    """The line discipline, as far as it takes to know what stood on each line."""

    def __init__(self, found: Strokes) -> None:
        self._found = found
        self._line: list[str] = []
        self._began: float | None = None
        self._pasted = False
        self._last: tuple[float, str] | None = None
        self._escape = ""
        self._after_return = False

    def piece(self, time: float, text: str, *, in_burst: bool, new_burst: bool) -> None:
        """One piece of input, as it came from the network."""
        found = self._found
        printable = sum(c.isprintable() for c in text)
        whole = printable >= PASTE_LEAST and not text.startswith(ESCAPE)
        if whole or (in_burst and new_burst):
            found.bursts += 1
        if whole or in_burst:
            found.pasted += printable
            self._pasted = True
        for char in text:
            self._key(time, char, typed=not (whole or in_burst))

    def _key(self, time: float, char: str, *, typed: bool) -> None:
        found = self._found
        found.keys += 1
        after_return, self._after_return = self._after_return, char == "\r"
        if self._escape or char == ESCAPE:
            self._escape_key(char)
            return
        if char == "\n" and after_return:
            return
        if typed and char.isprintable():
            self._time(time, char)
        if char in "\r\n":
            self._finish(time)
        elif char in ERASE:
            found.erased += 1
            self._line[-1:] = []
        elif char == TAB:
            found.tabs += 1
        elif char in SHORTCUTS:
            name = SHORTCUTS[char]
            found.shortcuts[name] = found.shortcuts.get(name, 0) + 1
            if name in ("ctrl-c", "ctrl-u"):
                self._line.clear()
        elif char.isprintable():
            found.printable += 1
            self._began = time if self._began is None else self._began
            if len(self._line) < LINE_MOST:
                self._line.append(char)

    def _escape_key(self, char: str) -> None:
        self._escape += char
        if len(self._escape) == 1 or (len(self._escape) == 2 and char in "[O"):
            return
        if char in ARROWS and self._escape[1] in "[O":
            name = ARROWS[char]
            self._found.arrows[name] = self._found.arrows.get(name, 0) + 1
        if char.isalpha() or char == "~" or len(self._escape) > 16:
            self._escape = ""

    def _time(self, time: float, char: str) -> None:
        if self._last is not None:
            gap = time - self._last[0]
            if 0 < gap <= PAUSE:
                self._found.gaps.append(gap)
                pair = self._found.pairs.setdefault((self._last[1], char), [])
                if len(pair) < 64:
                    pair.append(gap)
        self._last = (time, char)

    def _finish(self, time: float) -> None:
        text = "".join(self._line).strip()
        if text and len(self._found.lines) < LINES_MOST:
            began = time if self._began is None else self._began
            self._found.lines.append(Line(text, began, time, self._pasted))
        self._line.clear()
        self._began, self._pasted, self._last = None, False, None


def variation(gaps: list[float]) -> float:
    """Coefficient of variation; 0 for fewer than two."""
    mean = statistics.fmean(gaps) if gaps else 0.0
    return statistics.stdev(gaps) / mean if len(gaps) > 1 and mean > 0 else 0.0
