"""The HTTP side: the same tiny picture for every slug, known or not, and nothing else."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from email.utils import formatdate

from decnet.canary.bell import Bell
from decnet.canary.hit import client_address, slug_of_path
from decnet.canary.settings import Network
from decnet.decoys.doorman import Doorman
from decnet.decoys.http_parse import HEAD_MOST, BadRequest, Request, parse_head
from zygote import sockets

GIF = (
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff!\xf9\x04\x01\x00\x00\x00\x00,"
    b"\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02D\x01\x00;"
)
"""One transparent pixel."""
BACKLOG = 1024
CONNECTIONS_MOST = 512
HEAD_SECONDS = 10.0
REQUESTS_MOST = 50
"""On one connection."""
_REASONS = {
    200: "OK",
    400: "Bad Request",
    404: "Not Found",
    405: "Not Allowed",
    408: "Request Time-out",
    414: "Request-URI Too Large",
    431: "Request Header Fields Too Large",
    505: "HTTP Version Not Supported",
}


@contextlib.asynccontextmanager
async def serve(
    sock: socket.socket, bell: Bell, trusted: Sequence[Network], counts: Counter[str]
) -> AsyncIterator[Doorman]:
    """Serve on the listening socket inside the block."""
    doorman = Doorman(CONNECTIONS_MOST)

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Visit(reader, writer, bell, trusted, counts).run(doorman)

    server = await asyncio.start_server(visit, sock=sock, limit=HEAD_MOST, backlog=BACKLOG)
    try:
        yield doorman
    finally:
        await sockets.stop_accepting(sock)
        server.close()
        await doorman.drain()


class Visit:
    """One connection."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        bell: Bell,
        trusted: Sequence[Network],
        counts: Counter[str],
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._bell = bell
        self._trusted = trusted
        self._counts = counts
        self._peer = str((writer.get_extra_info("peername") or ("",))[0])

    async def run(self, doorman: Doorman) -> None:
        """Until the visitor goes, is silent for too long, or breaks the rules."""
        doorman.admit(self, self._writer.transport.abort)
        try:
            for _ in range(REQUESTS_MOST):
                if not await self._request():
                    break
                doorman.heard(self)
        except BadRequest as error:
            self._counts["bad_requests"] += 1
            self._send(error.status, keep_alive=False)
        except (TimeoutError, ConnectionError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            doorman.leave(self)
            await self._close()

    async def _request(self) -> bool:
        async with asyncio.timeout(HEAD_SECONDS):
            head = await self._read_head()
        if not head:
            return False
        request = parse_head(head)
        self._counts["requests"] += 1
        slug = slug_of_path(request.path)
        if slug:
            ip = client_address(self._peer, request.headers.get("x-forwarded-for"), self._trusted)
            self._bell.http(slug, ip, request.path, request.query, request.headers)
        # A body is not read: whoever sends one gets an answer and a closed connection.
        keep = request.keeps_alive and not _has_body(request)
        self._send(
            200 if request.path.startswith("/c/") else 404,
            keep_alive=keep,
            with_body=request.method != "HEAD",
        )
        async with asyncio.timeout(HEAD_SECONDS):
            await self._writer.drain()
        return keep

    async def _read_head(self) -> bytes:
        """Up to the empty line; b"" where the visitor went away.

        Raises:
            BadRequest: too long, or not HTTP.
        """
        head = b""
        while True:
            try:
                line = await self._reader.readline()
            except ValueError as error:
                raise BadRequest(431, "line too long") from error
            if not line.endswith(b"\n"):
                if head or line:
                    raise BadRequest(400, "cut short")
                return b""
            if line in (b"\r\n", b"\n"):
                if head:
                    return head.rstrip(b"\r\n")
                raise BadRequest(400, "no request line")
            if not head:
                parse_head(line.rstrip(b"\r\n"))
            head += line
            if len(head) > HEAD_MOST:
                raise BadRequest(431, "head too long")

    def _send(self, status: int, *, keep_alive: bool, with_body: bool = True) -> None:
        if self._writer.is_closing():
            return
        reason = _REASONS.get(status, "Bad Request")
        body, kind = GIF, "image/gif"
        if status != 200:
            title = f"{status} {reason}"
            body = (
                f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n"
                f"<center><h1>{title}</h1></center>\r\n<hr><center>nginx</center>\r\n"
                "</body>\r\n</html>\r\n"
            ).encode()
            kind = "text/html"
        head = [
            f"HTTP/1.1 {status} {reason}",
            "Server: nginx",
            f"Date: {formatdate(usegmt=True)}",
            f"Content-Type: {kind}",
            f"Content-Length: {len(body)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
        ]
        if status == 200:
            head.append("Cache-Control: no-store")
        self._writer.write("\r\n".join([*head, "", ""]).encode() + (body if with_body else b""))

    async def _close(self) -> None:
        self._writer.close()
        try:
            async with asyncio.timeout(5):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()


def _has_body(request: Request) -> bool:
    return (
        request.headers.get("content-length", "0") != "0" or "transfer-encoding" in request.headers
    )
