"""The redis decoy: an open Redis without a password, which does nothing that it is told to do."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

from decnet.collect import rfc5424
from decnet.collect.text import clean_bytes, cut
from decnet.decoys.house import House
from decnet.decoys.redis_parse import (
    INLINE_MOST,
    KEPT_MOST,
    ProtocolError,
    count_of,
    encode,
    inline,
    length_of,
)
from decnet.decoys.redis_store import Room, Store
from decnet.decoys.stream import CHUNK, BrokenRules, Visit, serve_visits

SERVICE = "redis"
REQUEST_KEPT = 32 << 10
"""Bytes of one request that are kept, all arguments together."""
# How a Redis is taken over: its files written elsewhere, code loaded, a master of their own.
_ALARMING = {"CONFIG", "SLAVEOF", "REPLICAOF", "MODULE", "EVAL", "SCRIPT", "SAVE", "BGSAVE"}
_ALARMING |= {"FLUSHALL", "FLUSHDB"}


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block."""
    room = Room()
    async with serve_visits(sock, house, lambda r, w: RedisVisit(r, w, house, room)):
        yield


class RedisVisit(Visit):
    """One connection."""

    LINE_MOST = INLINE_MOST
    LINES_MOST = 20_000
    COMMANDS_MOST = 2000

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        house: House,
        room: Room,
    ) -> None:
        super().__init__(reader, writer, house)
        self._store = Store(house.look, room)

    async def talk(self) -> None:
        """Requests, one after the other; they may come all at once."""
        for _ in range(self.COMMANDS_MOST):
            try:
                words = await self._request()
            except ProtocolError as error:
                answer = encode(f"-ERR Protocol error: {error}")
                raise BrokenRules(str(error), answer) from error
            if words is None:
                return
            if not words:
                continue
            self._tell_command(words)
            await self.say(encode(self._store.run(words)))
            if self._store.is_over:
                return

    def over(self) -> None:
        """What the visitor stored is gone with it."""
        self._store.close()

    def too_long(self) -> bytes:
        """As Redis says it."""
        return encode("-ERR Protocol error: too big inline request")

    async def _request(self) -> list[bytes] | None:
        """The words of the next request; None at the end.

        Raises:
            ProtocolError: it is none.
        """
        line = await self.line()
        if line is None:
            return None
        if not line.startswith(b"*"):
            return inline(line)
        words, kept = [], 0
        for _ in range(count_of(line)):
            head = await self.line()
            if head is None:
                return None
            word = await self._bulk(length_of(head), max(0, REQUEST_KEPT - kept))
            kept += len(word)
            words.append(word)
        return words

    async def _bulk(self, length: int, room: int) -> bytes:
        """An argument's beginning; the rest of it is read and forgotten."""
        word = b""
        while length:
            piece = await self.exactly(min(length, CHUNK))
            length -= len(piece)
            word += piece[: max(0, min(KEPT_MOST, room) - len(word))]
        if await self.exactly(2) != b"\r\n":
            raise ProtocolError("expected CRLF after a bulk string")
        return word

    def _tell_command(self, words: list[bytes]) -> None:
        name = clean_bytes(words[0][:64]).upper()
        if name == "AUTH" and len(words) in (2, 3):
            user = words[1] if len(words) == 3 else b"default"
            self.tell_secret(user[:256], words[-1], method="auth")
            return
        if name == "HELLO" and len(words) >= 5 and words[2].upper() == b"AUTH":
            self.tell_secret(words[3][:256], words[4], method="hello")
            return
        line = b" ".join(word[:1024] for word in words)
        severity = rfc5424.WARNING if name in _ALARMING else rfc5424.INFO
        text, _ = cut(clean_bytes(line[:4096]), 3500)
        self.tell("command", severity=severity, command=text, verb=name)
