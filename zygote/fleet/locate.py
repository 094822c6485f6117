"""The line of every key and list item in a TOML text.

No TOML parser for Python tells where a key stands, and an error without a line is half an error.
This scanner does nothing else: it expects a text that `tomllib` has read without complaint, and
so need not judge it, only step over values correctly. A test checks it against tomllib.

A place is a path as pydantic's errors have it: ("worker", "web", "after", 1) is the second item
of `after` in [worker.web]. A table has the line of its header, even if a header of something
inside it comes first.
"""

from __future__ import annotations

import re
import tomllib
from typing import NamedTuple

Path = tuple[str | int, ...]

_SPACE = re.compile(r"[ \t]*")
_BETWEEN = re.compile(r"(?:[ \t\n]|#[^\n]*)*")
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SCALAR = re.compile(r"[^,\]}#\n]*")
# The end mark may have two more quotes before it, which belong to the text.
_STRINGS = (
    ('"""', re.compile(r'"""(?:[^\\"]|\\.|"{1,2}(?!"))*"{3,5}', re.DOTALL)),
    ("'''", re.compile(r"'''(?:[^']|'{1,2}(?!'))*'{3,5}", re.DOTALL)),
    ('"', re.compile(r'"(?:[^\\"\n]|\\.)*"')),
    ("'", re.compile(r"'[^'\n]*'")),
)


class Spot(NamedTuple):
    """Where something begins; both count from 1."""

    line: int
    column: int


def locate(text: str) -> dict[Path, Spot]:
    """Where each key, table and list item begins.

    Args:
        text: good TOML.
    Raises:
        ValueError: it is not; use tomllib to learn why.
    """
    return _Scanner(text.replace("\r\n", "\n")).scan()


def nearest(spots: dict[Path, Spot], path: Path) -> Spot | None:
    """The spot of `path`, or of what it would stand in."""
    while path:
        if path in spots:
            return spots[path]
        path = path[:-1]
    return None


class _Scanner:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._spots: dict[Path, Spot] = {}
        self._arrays: dict[Path, int] = {}
        """Arrays of tables -> index of their last table."""
        self._line, self._line_start = 1, 0
        self._counted = 0

    def scan(self) -> dict[Path, Spot]:
        """The whole text: headers, and keys with their values."""
        table: Path = ()
        while True:
            self._skip(_BETWEEN)
            if self._at == len(self._text):
                return self._spots
            if self._text.startswith("[", self._at):
                table = self._header()
            else:
                self._pair(table)

    def _header(self) -> Path:
        """`[a.b]` or `[[a.b]]`: the table that the next keys go into."""
        double = self._text.startswith("[[", self._at)
        self._at += 2 if double else 1
        keys = self._keys()
        path: Path = ()
        for key, spot in keys[:-1]:
            path = self._into((*path, key), spot)
        last, spot = keys[-1]
        path = (*path, last)
        if not double:
            self._spots[path] = spot
        else:
            self._spots.setdefault(path, spot)
            self._arrays[path] = self._arrays.get(path, -1) + 1
            path = (*path, self._arrays[path])
            self._spots[path] = spot
        self._expect("]]" if double else "]")
        return path

    def _into(self, path: Path, spot: Spot) -> Path:
        """A table on the way to another: in an array of tables it is the last one."""
        self._spots.setdefault(path, spot)
        return (*path, self._arrays[path]) if path in self._arrays else path

    def _pair(self, table: Path) -> None:
        """`a.b = value`."""
        path = table
        keys = self._keys()
        for key, spot in keys:
            path = (*path, key)
            self._spots.setdefault(path, spot)
        self._expect("=")
        self._skip(_SPACE)
        self._value(path)

    def _keys(self) -> list[tuple[str, Spot]]:
        keys = []
        while True:
            self._skip(_SPACE)
            spot = self._spot()
            keys.append((self._key(), spot))
            self._skip(_SPACE)
            if not self._text.startswith(".", self._at):
                return keys
            self._at += 1

    def _key(self) -> str:
        start = self._at
        if self._text[start : start + 1] in ("'", '"'):
            self._string()
            raw = self._text[start : self._at]
            return raw[1:-1] if "\\" not in raw or raw[0] == "'" else _unescape(raw)
        self._skip(_BARE)
        if self._at == start:
            raise ValueError(f"no key at {self._spot()}")
        return self._text[start : self._at]

    def _value(self, path: Path) -> None:
        mark = self._text[self._at : self._at + 1]
        if mark == "[":
            self._array(path)
        elif mark == "{":
            self._inline_table(path)
        elif mark in ("'", '"'):
            self._string()
        else:
            self._skip(_SCALAR)

    def _array(self, path: Path) -> None:
        self._expect("[")
        index = 0
        while True:
            self._skip(_BETWEEN)
            if self._text.startswith("]", self._at):
                self._at += 1
                return
            self._spots[(*path, index)] = self._spot()
            self._value((*path, index))
            self._skip(_BETWEEN)
            if not self._text.startswith("]", self._at):
                self._expect(",")
            index += 1

    def _inline_table(self, path: Path) -> None:
        self._expect("{")
        while True:
            # From Python 3.15 on (TOML 1.1) it may go over several lines.
            self._skip(_BETWEEN)
            if self._text.startswith("}", self._at):
                self._at += 1
                return
            self._pair(path)
            self._skip(_BETWEEN)
            if not self._text.startswith("}", self._at):
                self._expect(",")

    def _string(self) -> None:
        for mark, pattern in _STRINGS:
            if self._text.startswith(mark, self._at):
                if match := pattern.match(self._text, self._at):
                    self._at = match.end()
                    return
                break
        raise ValueError(f"string without an end at {self._spot()}")

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        if match:
            self._at = match.end()

    def _expect(self, mark: str) -> None:
        self._skip(_SPACE)
        if not self._text.startswith(mark, self._at):
            raise ValueError(f"no {mark!r} at {self._spot()}")
        self._at += len(mark)

    def _spot(self) -> Spot:
        """Of the current position; lines are counted on from the last time."""
        passed = self._text.count("\n", self._counted, self._at)
        if passed:
            self._line += passed
            self._line_start = self._text.rindex("\n", self._counted, self._at) + 1
        self._counted = self._at
        return Spot(self._line, self._at - self._line_start + 1)


def _unescape(quoted: str) -> str:
    """A quoted key with backslashes: tomllib knows all of them."""
    (key,) = tomllib.loads(f"{quoted} = 0")
    return key
