"""The line discipline of a pretended terminal: keys in, echo and finished lines out. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

LINE_MOST = 4096
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
        for byte in data:
            self._key(byte, typed)
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
            self._take(byte, typed)
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
            self._take(byte, typed)

    def _take(self, byte: int, typed: Typed) -> None:
        if len(self._line) >= LINE_MOST:
            self._echo(typed, BELL)
            return
        self._line.append(byte)
        self._echo(typed, bytes([byte]))

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
