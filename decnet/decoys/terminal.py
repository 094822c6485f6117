"""The line discipline of a pretended terminal: keys in, echo and finished lines out. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

LINE_MOST = 4096
_PLAIN = re.compile(rb"[^\x00-\x1f\x7f]+")
BELL = b"\x07"
_ERASE = b"\b \b"


@dataclass
class Typed:
    """What a piece of input did: bytes to echo, and what was finished by it in order.

    `lines` holds text for a line, None for Ctrl-D on an empty one. `interrupted` counts Ctrl-C.
    """

    echo: bytes = b""
    lines: list[str | None] = field(default_factory=list)


class LineEditor:
    """Collects a line as a terminal in cooked mode would.

    Args:
        echoes: False without a terminal: then lines are just cut at their ends.
    """

    def __init__(self, *, echoes: bool) -> None:
        self._echoes = echoes
        self._line = bytearray()
        self._escape = b""
        self._after_return = False

    @property
    def partial(self) -> str:
        """What was typed of a line that is not finished."""
        return self._line.decode("utf-8", "surrogateescape")

    def feed(self, data: bytes) -> Typed:
        """Take input; a carriage return, a line feed, or both together end a line."""
        typed = Typed()
        at = 0
        while at < len(data):
            plain = None if self._escape else _PLAIN.match(data, at)
            if plain is not None:
                self._after_return = False
                self._take(plain.group(), typed)
                at = plain.end()
            else:
                self._key(data[at], typed)
                at += 1
        return typed

    def _key(self, byte: int, typed: Typed) -> None:
        after_return, self._after_return = self._after_return, False
        if self._escape or byte == 0x1B:
            self._escape_key(byte)
        elif byte in b"\r\n":
            if byte == 0x0A and after_return:
                return
            self._after_return = byte == 0x0D
            self._echo(typed, b"\r\n")
            self._finish(typed)
        elif not self._echoes:
            self._take(bytes((byte,)), typed)
        elif byte in (0x08, 0x7F):
            self._erase(1, typed)
        elif byte == 0x15:  # Ctrl-U
            self._erase(LINE_MOST, typed)
        elif byte == 0x17:  # Ctrl-W
            kept = bytes(self._line).rstrip(b" ").rpartition(b" ")
            self._erase(len(self._line) - len(kept[0] + kept[1]), typed)
        elif byte == 0x03:
            self._line.clear()
            self._echo(typed, b"^C\r\n")
            typed.lines.append("")
        elif byte == 0x04:
            if not self._line:
                typed.lines.append(None)
        elif byte >= 0x20:
            self._take(bytes((byte,)), typed)

    def _take(self, data: bytes, typed: Typed) -> None:
        """Into the line, as far as there is room for it."""
        taken = data[: LINE_MOST - len(self._line)]
        self._line += taken
        self._echo(typed, taken if len(taken) == len(data) else taken + BELL)

    def _escape_key(self, byte: int) -> None:
        """Arrow and function keys do nothing: ESC, then "[" or "O" and on to a letter or "~"."""
        self._escape += bytes([byte])
        is_sequence = self._escape[1:2] in (b"[", b"O")
        if len(self._escape) == 1 or (len(self._escape) == 2 and is_sequence):
            return
        if not is_sequence or 0x40 <= byte <= 0x7E or len(self._escape) > 16:
            self._escape = b""

    def _erase(self, count: int, typed: Typed) -> None:
        for _ in range(min(count, len(self._line))):
            # A character of several bytes goes as one.
            while len(self._line) > 1 and self._line[-1] & 0xC0 == 0x80:
                self._line.pop()
            if self._line:
                self._line.pop()
                self._echo(typed, _ERASE)

    def _finish(self, typed: Typed) -> None:
        typed.lines.append(self.partial)
        self._line.clear()

    def _echo(self, typed: Typed, data: bytes) -> None:
        if self._echoes:
            typed.echo += data
