"""The mysql decoy: a greeting, a log-in whose proof is kept, access denied. No query is read."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import secrets
import socket
from collections.abc import AsyncIterator, Iterator

from decnet.decoys import mysql_parse as wire
from decnet.decoys.house import House
from decnet.decoys.stream import BrokenRules, Visit, serve_visits, text_of

SERVICE = "mysql"
_SWITCHABLE = ("caching_sha2_password", "sha256_password", "client_ed25519", "dialog", "")


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block."""
    threads = itertools.count(7 + house.look.seed % 200)
    async with serve_visits(sock, house, lambda r, w: MysqlVisit(r, w, house, threads)):
        yield


class MysqlVisit(Visit):
    """One connection."""

    FIRST_SECONDS = 20.0
    VISIT_SECONDS = 60.0

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        house: House,
        threads: Iterator[int],
    ) -> None:
        super().__init__(reader, writer, house)
        self._thread = next(threads)

    async def talk(self) -> None:
        """Greet, take the proof, refuse."""
        self._count()
        salt = bytes(secrets.choice(range(0x21, 0x7F)) for _ in range(wire.SALT_BYTES))
        await self.say(wire.greeting(self.house.look.mysql, self._thread, salt))
        sequence, payload = await self._packet()
        self.house.doorman.heard(self)
        try:
            login = wire.parse_login(payload)
        except wire.BadPacket as error:
            raise BrokenRules(
                str(error), wire.error(sequence + 1, 1043, "08S01", "Bad handshake")
            ) from error
        response, plugin = login.response, login.plugin or wire.NATIVE
        if plugin != wire.NATIVE and plugin in _SWITCHABLE:
            await self.say(wire.switch_to_native(sequence + 1, salt))
            sequence, response = await self._packet()
            plugin = wire.NATIVE
        self._tell(login, salt, response, plugin)
        user = login.user[:80].decode("utf-8", "replace")
        using = "YES" if response else "NO"
        text = f"Access denied for user '{user}'@'{self.source}' (using password: {using})"
        await self.say(wire.error(sequence + 1, 1045, "28000", text))

    def _tell(self, login: wire.LoginRequest, salt: bytes, response: bytes, plugin: str) -> None:
        native = plugin == wire.NATIVE and len(response) == 20
        if plugin == "mysql_clear_password":
            kind, secret = "plaintext", response.rstrip(b"\0")
        else:
            kind, secret = (plugin if native else f"mysql_{plugin[:32]}"), response
        self.tell_secret(
            text_of(login.user[:256]),
            secret,
            kind=kind if response else "plaintext",
            method=plugin,
            salt=salt.hex(),
            crackable=wire.crackable(salt, response) if native else None,
            database=text_of(login.database[:256]),
            client=login.attributes.get("_client_name") or login.attributes.get("program_name"),
            client_version=login.attributes.get("_client_version"),
            client_os=login.attributes.get("_os"),
            capabilities=f"{login.capabilities:08x}",
        )

    async def _packet(self) -> tuple[int, bytes]:
        """The next packet's number and payload.

        Raises:
            BrokenRules: longer than `wire.PACKET_MOST`, or empty.
        """
        head = await self.exactly(4)
        length = int.from_bytes(head[:3], "little")
        if length > wire.PACKET_MOST:
            self.unread(head)
            raise BrokenRules("packet too long", wire.error(2, 1153, "08S01", "Got packet too big"))
        return head[3], await self.exactly(length)
