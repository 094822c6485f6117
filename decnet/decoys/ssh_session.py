"""One channel of an SSH visitor: a shell or a single command, recorded key by key."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import asyncssh

from decnet.collect.text import clean
from decnet.decoys.house import House
from decnet.decoys.recorder import Shards
from decnet.decoys.seat import Seat, motd
from decnet.decoys.terminal import LineEditor

IDLE_SECONDS = 300.0
SESSION_SECONDS = 3600.0
LINES_MOST = 1000
"""Lines in one session; then it ends as if the network had."""
WAITING_MOST = 256
"""Lines that may wait for their turn; the channel is not read meanwhile."""


class Session(asyncssh.SSHServerSession[bytes]):
    """A channel. asyncssh calls the methods in the order in which they stand here."""

    def __init__(
        self,
        house: House,
        shards: Shards,
        visitor: dict[str, Any],
        user: str,
        on_key: Any,
    ) -> None:
        self._house = house
        self._seat = Seat(house, shards, visitor, user)
        self._visitor = visitor
        self._on_key = on_key
        self._editor = LineEditor(echoes=False)
        self._channel: asyncssh.SSHServerChannel[bytes] | None = None
        self._size = (80, 24)
        self._term = ""
        self._command: str | None = None
        self._waiting: deque[str | None] = deque()
        self._is_working = False
        self._is_held = False
        self._timers: list[asyncio.TimerHandle] = []

    def connection_made(self, chan: asyncssh.SSHServerChannel[bytes]) -> None:
        """The channel is open."""
        self._channel = chan

    def pty_requested(self, term_type: str, term_size: Any, term_modes: Any) -> bool:
        """A terminal."""
        self._term = clean(term_type)[:64] or "dumb"
        self._size = (int(term_size[0]) % 1000, int(term_size[1]) % 1000)
        self._editor = LineEditor(echoes=True)
        return True

    def shell_requested(self) -> bool:
        """An interactive shell."""
        return True

    def exec_requested(self, command: str) -> bool:
        """One command."""
        self._command = command
        return True

    def subsystem_requested(self, subsystem: str) -> bool:
        """SFTP and the like: refused, and told."""
        told = {**self._visitor, "subsystem": subsystem, "session_id": self._seat.id}
        self._house.journal.event("unknown_subsystem", told)
        return False

    def session_started(self) -> None:
        """Shell or command may begin."""
        loop = asyncio.get_running_loop()
        self._seat.begin(self._size, self._term, self._command)
        self._timers = [loop.call_later(SESSION_SECONDS, self._hang_up)]
        self._still_there()
        if self._command is not None:
            self._take([self._command, None])
        elif self._term:
            self._show(motd(self._house.look))
            self._prompt()

    def data_received(self, data: bytes, datatype: Any) -> None:
        """Keys."""
        self._on_key()
        self._still_there()
        self._seat.typed(data)
        if self._command is not None:
            return  # input of a command that has answered already: recorded, not read
        typed = self._editor.feed(data)
        self._show(typed.echo)
        self._take(typed.lines)

    def eof_received(self) -> bool:
        """No more input: a script on standard input has ended."""
        if self._command is None:
            partial = self._editor.partial
            self._take([partial, None] if partial else [None])
        return True

    def terminal_size_changed(self, width: int, height: int, *pixels: int) -> None:
        """The visitor resized the window."""
        self._seat.resized(width, height)

    def pause_writing(self) -> None:
        """The visitor does not read: nothing more is read from it, and no line is run."""
        self._is_held = True
        if self._channel is not None:
            self._channel.pause_reading()

    def resume_writing(self) -> None:
        """It reads again."""
        self._is_held = False
        if self._channel is not None and len(self._waiting) <= WAITING_MOST:
            self._channel.resume_reading()
        self._take([])

    def signal_received(self, signal: str) -> None:
        """Signals end it, as they would end a shell."""
        self._finish(128 + 15)

    def connection_lost(self, exc: Exception | None) -> None:
        """The channel is gone, however that came: tell what it was."""
        for timer in self._timers:
            timer.cancel()
        self._waiting.clear()
        self._channel = None
        self._seat.end()

    # -- lines

    def _take(self, lines: list[str | None]) -> None:
        self._waiting.extend(lines)
        if len(self._waiting) > WAITING_MOST and self._channel is not None:
            self._channel.pause_reading()
        if self._waiting and not self._is_working:
            self._is_working = True
            self._work()

    def _work(self) -> None:
        """One line, then let others have the loop: a pasted script must not stall the decoy."""
        if not self._waiting or self._is_held or self._channel is None:
            self._is_working = False
            return
        line = self._waiting.popleft()
        if len(self._waiting) == WAITING_MOST:
            self._channel.resume_reading()
        if line is None or self._seat.lines >= LINES_MOST:
            self._finish(self._seat.shell.status)
        else:
            self._run(line)
        asyncio.get_running_loop().call_soon(self._work)

    def _run(self, line: str) -> None:
        data = self._seat.run(line)
        self._show(data.replace(b"\n", b"\r\n") if self._term else data)
        if self._seat.shell.is_over:
            self._finish(self._seat.shell.status)
        elif self._command is None:
            self._prompt()

    # -- the channel

    def _prompt(self) -> None:
        if self._term:
            self._show(self._seat.prompt)

    def _show(self, data: bytes) -> None:
        if data and self._channel is not None and not self._channel.is_closing():
            self._channel.write(data)
            self._seat.shown(data)

    def _finish(self, status: int) -> None:
        self._waiting.clear()
        if self._channel is not None and not self._channel.is_closing():
            if self._term and self._command is None:
                self._show(b"logout\r\n")
            self._channel.exit(status % 256)

    def _still_there(self) -> None:
        loop = asyncio.get_running_loop()
        for timer in self._timers[1:]:
            timer.cancel()
        self._timers[1:] = [loop.call_later(IDLE_SECONDS, self._hang_up)]

    def _hang_up(self) -> None:
        self._finish(0)
