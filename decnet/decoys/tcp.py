"""The generic decoy: a line of text for whoever connects, and a record of what they say first."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import socket
from collections.abc import AsyncIterator

from decnet.collect.text import clean_bytes
from decnet.decoys.house import House
from decnet.decoys.stream import Visit, serve_visits

SERVICE = "tcp"
SEEN_BYTES = 2048
PAUSE_SECONDS = 1.0
"""Silence after which what came so far is one message."""
MESSAGES_MOST = 20
_SIGNS = (
    (b"\x16\x03", "tls"),
    (b"SSH-", "ssh"),
    (b"\x03\x00", "rdp"),
    (b"\xffSMB", "smb"),
    (b"\xfeSMB", "smb"),
    (b"RFB ", "vnc"),
    (b"*1\r\n", "redis"),
    (b"\x00\x00\x00", "smb"),
    (b"\x05\x01", "socks"),
    (b"\x04\x01", "socks"),
)
_HTTP = (b"GET ", b"POST ", b"HEAD ", b"OPTIONS ", b"PUT ", b"CONNECT ", b"PRI * HTTP")


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block."""
    async with serve_visits(sock, house, lambda r, w: TcpVisit(r, w, house)):
        yield


class TcpVisit(Visit):
    """One connection."""

    FIRST_SECONDS = 20.0
    IDLE_SECONDS = 20.0
    VISIT_SECONDS = 300.0

    async def talk(self) -> None:
        """The banner, then a few messages, each answered by the same silence."""
        await self.say(f"{self.house.look.tcp}\r\n")
        for _ in range(MESSAGES_MOST):
            self._count()
            data = await self._message()
            if not data:
                return
            self.house.doorman.heard(self)
            self.tell(
                "request",
                looks_like=looks_like(data),
                payload=clean_bytes(data),
                payload_b64=base64.b64encode(data).decode(),
                sha256=hashlib.sha256(data).hexdigest(),
                size_bytes=len(data),
            )
            await self.say("ERR\r\n")

    async def _message(self) -> bytes:
        """What comes until the visitor pauses, at most `SEEN_BYTES`."""
        data = bytearray(await self.some())
        with contextlib.suppress(TimeoutError):
            while data and len(data) < SEEN_BYTES:
                more = await self.some(PAUSE_SECONDS)
                if not more:
                    break
                data += more
        # A flood beyond that is read, so that the connection ends in order, and forgotten.
        await asyncio.sleep(0)
        return bytes(data[:SEEN_BYTES])


def looks_like(data: bytes) -> str:
    """The protocol that the first bytes look like; "" where they look like none."""
    if data.startswith(_HTTP):
        return "http"
    return next((name for sign, name in _SIGNS if data.startswith(sign)), "")
