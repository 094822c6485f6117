"""Telnet's own bytes taken out of the keys (RFC 854, 855, 1073, 1091): pure and bounded."""

from __future__ import annotations

from dataclasses import dataclass, field

IAC, DONT, DO, WONT, WILL, SB, SE = 255, 254, 253, 252, 251, 250, 240
IP, AYT, EC, EL = 244, 246, 247, 248
ECHO, SUPPRESS_GO_AHEAD, TERMINAL_TYPE, WINDOW_SIZE, LINE_MODE = 1, 3, 24, 31, 34
SUB_MOST = 128
"""Bytes of a subnegotiation; the rest of it is thrown away."""
ANSWERS_MOST = 64
"""Refusals in one visit: an option is refused once, and two machines must not do it for ever."""

GREETING = bytes(
    (
        *(IAC, WILL, ECHO),
        *(IAC, WILL, SUPPRESS_GO_AHEAD),
        *(IAC, DO, TERMINAL_TYPE),
        *(IAC, DO, WINDOW_SIZE),
    )
)
_ASK_TYPE = bytes((IAC, SB, TERMINAL_TYPE, 1, IAC, SE))
_KEYS = {IP: b"\x03", EC: b"\x7f", EL: b"\x15"}


@dataclass
class Decoded:
    """What a piece of input was: keys, and what is to be answered to the other machine."""

    keys: bytes = b""
    answer: bytes = b""


@dataclass
class Telnet:
    """The state of one connection.

    `terminal` and `size` (columns, rows) are what the client said of itself. `options` has what
    it offered or asked for, in order, as in "will-24": that tells programs apart.
    """

    terminal: str = ""
    size: tuple[int, int] = (80, 24)
    options: list[str] = field(default_factory=list)
    _state: int = 0
    _sub: bytearray | None = None
    _answered: set[tuple[int, int]] = field(default_factory=set)

    def feed(self, data: bytes) -> Decoded:
        """Take input of any length and content."""
        if self._state == 0 and self._sub is None and IAC not in data:
            return Decoded(keys=data)
        done = Decoded()
        keys = bytearray()
        for byte in data:
            self._byte(byte, keys, done)
        done.keys = bytes(keys)
        return done

    def _byte(self, byte: int, keys: bytearray, done: Decoded) -> None:
        state, self._state = self._state, 0
        if state == 0:
            if byte == IAC:
                self._state = IAC
            elif self._sub is not None:
                self._sub_byte(byte)
            else:
                keys.append(byte)
        elif state == IAC:
            self._command(byte, keys, done)
        else:
            self._option(state, byte, done)

    def _command(self, byte: int, keys: bytearray, done: Decoded) -> None:
        if byte == IAC:
            if self._sub is not None:
                self._sub_byte(byte)
            else:
                keys.append(byte)
        elif byte in (WILL, WONT, DO, DONT):
            self._state = byte
        elif byte == SB:
            self._sub = bytearray()
        elif byte == SE:
            self._end_sub()
        elif byte == AYT:
            done.answer += b"\r\n[Yes]\r\n" if len(done.answer) < ANSWERS_MOST else b""
        else:
            keys += _KEYS.get(byte, b"")

    def _option(self, verb: int, option: int, done: Decoded) -> None:
        if (verb, option) in self._answered or len(self._answered) >= ANSWERS_MOST:
            return
        self._answered.add((verb, option))
        name = {WILL: "will", WONT: "wont", DO: "do", DONT: "dont"}[verb]
        self.options.append(f"{name}-{option}")
        if verb == WILL and option == TERMINAL_TYPE:
            done.answer += _ASK_TYPE
        elif verb == WILL and option not in (WINDOW_SIZE, LINE_MODE):
            # Line mode is passed over, as small telnet servers do: guessing programs that are
            # refused it send key by key, and badly.
            done.answer += bytes((IAC, DONT, option))
        elif verb == DO and option not in (ECHO, SUPPRESS_GO_AHEAD):
            done.answer += bytes((IAC, WONT, option))

    def _sub_byte(self, byte: int) -> None:
        if self._sub is not None and len(self._sub) < SUB_MOST:
            self._sub.append(byte)

    def _end_sub(self) -> None:
        sub, self._sub = self._sub, None
        if sub is None:
            return
        if sub[:1] == bytes((WINDOW_SIZE,)) and len(sub) == 5:
            columns, rows = int.from_bytes(sub[1:3]), int.from_bytes(sub[3:5])
            self.size = (columns % 1000 or 80, rows % 1000 or 24)
        elif sub[:2] == bytes((TERMINAL_TYPE, 0)):
            self.terminal = sub[2:66].decode("latin-1")
