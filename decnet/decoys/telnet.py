"""The telnet decoy: a log-in, then the pretended shell, recorded key by key."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator

from decnet.collect.text import clean
from decnet.decoys.house import House
from decnet.decoys.logins import Logins, logins_of
from decnet.decoys.recorder import Shards
from decnet.decoys.seat import Seat, motd
from decnet.decoys.stream import Goodbye, Visit, serve_visits
from decnet.decoys.telnet_parse import GREETING, Telnet
from decnet.decoys.terminal import LineEditor

SERVICE = "telnet"
TRIES_MOST = 3
BYTES_MOST = 4 << 20
"""Bytes that are read of one visitor."""
NAME_MOST = 256
"""Characters of a user name."""
_ENDS = (b"\r", b"\n", b"\x03", b"\x04")


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block.

    Raises:
        BadOption: DECNET_DECOY_TELNET_LOGINS cannot be read.
    """
    logins = logins_of(SERVICE, os.environ)
    shards = Shards(house.artifacts_dir, house.decky, SERVICE)
    try:
        async with serve_visits(sock, house, lambda r, w: TelnetVisit(r, w, house, logins, shards)):
            yield
    finally:
        shards.close()


class TelnetVisit(Visit):
    """One connection."""

    FIRST_SECONDS = 60.0
    IDLE_SECONDS = 300.0
    VISIT_SECONDS = 3600.0

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        house: House,
        logins: Logins,
        shards: Shards,
    ) -> None:
        super().__init__(reader, writer, house)
        self._logins = logins
        self._shards = shards
        self._telnet = Telnet()
        self._editor = LineEditor(echoes=True)
        self._keys = bytearray()
        self._held = b""
        self._bytes = 0
        self._seat: Seat | None = None

    async def talk(self) -> None:
        """Log in, then the shell."""
        await self.say(GREETING)
        banner = self.house.look.telnet.replace("\n", "\r\n")
        for _ in range(TRIES_MOST):
            user: str | None = ""
            while not user:  # as login does; the number of lines has an end
                user = await self._ask(banner + "login: ", hidden=False)
                if user is None:
                    return
                banner = f"{self.house.look.host} "
            secret = await self._ask("Password: ", hidden=True)
            if secret is None:
                return
            if self._try(user[:NAME_MOST], secret):
                await self._shell(user[:NAME_MOST])
                return
            banner = f"\r\nLogin incorrect\r\n{self.house.look.host} "
        await self._show(b"\r\nLogin incorrect\r\n")

    def over(self) -> None:
        """The recording ends with the connection."""
        if self._seat is not None:
            self._seat.end()

    def _try(self, user: str, secret: str) -> bool:
        accepted = self._logins.accepts(user, secret)
        self.tell_secret(
            user,
            secret.encode("utf-8", "surrogateescape"),
            outcome="accepted" if accepted else "refused",
            term=self._telnet.terminal,
            options=",".join(self._telnet.options),
        )
        return accepted

    async def _shell(self, user: str) -> None:
        size, term = self._telnet.size, clean(self._telnet.terminal)[:64] or "dumb"
        seat = self._seat = Seat(self.house, self._shards, self.visitor, user, self.id)
        seat.begin(size, term)
        await self._show(b"\r\n" + motd(self.house.look) + seat.prompt)
        while not seat.shell.is_over:
            line = await self._typed(hidden=False)
            if line is None:
                await self._show(b"logout\r\n")
                return
            if self._telnet.size != size:
                size = self._telnet.size
                seat.resized(*size)
            out = seat.run(line).replace(b"\n", b"\r\n")
            await self._show(out if seat.shell.is_over else out + seat.prompt)
            await asyncio.sleep(0)  # a pasted script must not stall the others

    # -- keys

    async def _ask(self, question: str, *, hidden: bool) -> str | None:
        await self._show(question.encode())
        return await self._typed(hidden=hidden)

    async def _typed(self, *, hidden: bool) -> str | None:
        """The next line, echoed unless it is hidden; None for Ctrl-D, or at the end.

        Raises:
            Goodbye: there were enough lines.
        """
        self._count()
        while True:
            while self._keys:
                at = min((n for n in map(self._keys.find, _ENDS) if n >= 0), default=-1)
                count = at + 1 if at >= 0 else len(self._keys)
                piece = bytes(self._keys[:count])
                del self._keys[:count]
                if self._seat is not None:
                    self._seat.typed(piece)
                typed = self._editor.feed(piece)
                echo = b"\r\n" * (b"\r\n" in typed.echo) if hidden else typed.echo
                if typed.lines:
                    # With what follows, in one piece: guessing programs read no further.
                    self._held = echo
                    self.house.doorman.heard(self)
                    return typed.lines[0]
                await self._show(echo)
            data = await self.some()
            self._bytes += len(data)
            if not data or self._bytes > BYTES_MOST:
                raise Goodbye
            decoded = self._telnet.feed(data)
            if decoded.answer:
                await self.say(decoded.answer)
            self._keys += decoded.keys

    async def _show(self, data: bytes) -> None:
        data, self._held = self._held + data, b""
        if self._seat is not None and data:
            self._seat.shown(data)
        # A byte 255 of ours would be a command of Telnet's.
        await self.say(data.replace(b"\xff", b"\xff\xff"))
