"""The web decoy: HTTP/1.x by hand, so that every byte has a bound and every wait an end."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from typing import Any

from decnet.collect import rfc5424
from decnet.collect.text import clean_bytes
from decnet.decoys.captures import Capture
from decnet.decoys.house import BACKLOG, House
from decnet.decoys.http_pages import Page, Site
from decnet.decoys.http_parse import (
    BODY_MOST,
    HEAD_MOST,
    BadRequest,
    Login,
    Request,
    authorization,
    body_length,
    chunk_length,
    decoded_path,
    form_login,
    parse_head,
)
from decnet.decoys.http_upload import brings_file, told, uploads_of
from zygote import sockets

SERVICE = "http"
FIRST_SECONDS = 15.0
"""To send a whole first head: one byte a second does not keep a place."""
IDLE_SECONDS = 30.0
BODY_SECONDS = 20.0
UPLOAD_SECONDS = 120.0
CHUNK = 16 << 10
REQUESTS_MOST = 200
"""On one connection."""
BODY_SHOWN = 2048
SEEN_MOST = 256
"""Bytes of what came that are shown with a broken request."""
_HEADERS_SHOWN = ("host", "user_agent", "referer", "content_type", "accept", "x_forwarded_for")


@contextlib.asynccontextmanager
async def serve(sock: socket.socket, house: House) -> AsyncIterator[None]:
    """Serve on the listening socket inside the block."""

    async def visit(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await Visit(reader, writer, house).run()

    server = await asyncio.start_server(visit, sock=sock, limit=HEAD_MOST, backlog=BACKLOG)
    try:
        yield
    finally:
        await sockets.stop_accepting(sock)
        server.close()
        await house.doorman.drain()


class Visit:
    """One connection."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, house: House
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._house = house
        peer = writer.get_extra_info("peername") or ("", 0)
        self._from = {"src_ip": str(peer[0]), "src_port": peer[1]}
        self._seen = b""
        self._site = Site(house.look)
        self._capture: Capture | None = None

    async def run(self) -> None:
        """Until the visitor goes, is silent for too long, or breaks the rules."""
        journal, doorman = self._house.journal, self._house.doorman
        doorman.admit(self, self._writer.transport.abort)
        journal.event("connect", self._from)
        try:
            for number in range(REQUESTS_MOST):
                if not await self._request(FIRST_SECONDS if number == 0 else IDLE_SECONDS):
                    break
                doorman.heard(self)
        except BadRequest as error:
            told = {**self._from, "reason": str(error), "seen": clean_bytes(self._seen)}
            journal.event("protocol_error", told)
            self._send(self._site.error(error.status), keep_alive=False)
        except TimeoutError:
            self._send(self._site.error(408), keep_alive=False)
        except (ConnectionError, asyncio.IncompleteReadError, OSError):
            pass
        finally:
            doorman.leave(self)
            self._drop_capture()
            await self._close()

    async def _request(self, patience: float) -> bool:
        """Read and answer one request; False when it was the last."""
        async with asyncio.timeout(patience):
            head = await self._read_head()
        if not head:
            return False
        request = parse_head(head)
        if request.headers.get("expect", "").lower() == "100-continue":
            self._writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        if brings_file(request):
            self._capture = self._house.captures.begin()
        async with asyncio.timeout(UPLOAD_SECONDS if self._capture else BODY_SECONDS):
            body = await self._read_body(request)
        page = self._answer(request, body)
        self._drop_capture()
        self._send(page, keep_alive=request.keeps_alive, with_body=request.method != "HEAD")
        async with asyncio.timeout(BODY_SECONDS):
            await self._writer.drain()
        return request.keeps_alive

    def _answer(self, request: Request, body: bytes) -> Page:
        told: dict[str, Any] = {
            **self._from,
            "method": request.method,
            "path": request.path,
            "query": request.query,
            "version": f"{request.version[0]}.{request.version[1]}",
        }
        for name in _HEADERS_SHOWN:
            told[name] = request.headers.get(name.replace("_", "-"))
        header = authorization(request.headers.get("authorization", ""))
        form = form_login(told["content_type"] or "", body) if body else None
        uploaded = self._tell_uploads(request, told)
        page = self._site.page_for(
            request.method,
            decoded_path(request.path),
            tried_form=form is not None,
            tried_header=header is not None,
            uploaded=uploaded,
        )
        shown = "" if form else clean_bytes(body[:BODY_SHOWN])
        size = {
            "body_bytes": (self._capture.size_bytes if self._capture else len(body)) or None,
            "status": page.status,
        }
        self._house.journal.event("request", {**told, "body": shown, **size})
        for login in (header, form):
            if login is not None:
                self._tell_login(login, told)
        return page

    def _tell_uploads(self, request: Request, seen: dict[str, Any]) -> bool:
        """Keep the body where it is a file; whether there was one."""
        capture = self._capture
        if capture is None or not capture.size_bytes:
            return False
        uploads = uploads_of(request, capture)
        if not uploads:
            return False
        capture.keep()
        who = {name: seen[name] for name in ("src_ip", "src_port", "method", "path", "user_agent")}
        for upload in uploads:
            fields = {**who, **told(upload, capture)}
            self._house.journal.event("upload", fields, severity=rfc5424.WARNING)
        return True

    def _drop_capture(self) -> None:
        if self._capture is not None:
            self._capture.drop()
            self._capture = None

    def _tell_login(self, login: Login, told: dict[str, Any]) -> None:
        seen = {name: told[name] for name in ("src_ip", "src_port", "path", "user_agent")}
        self._house.journal.secret(
            "login_attempt",
            {**seen, "method": login.how},
            principal=login.principal,
            secret=login.secret,
            kind=login.kind,
            outcome="refused",
        )

    # -- bytes

    async def _read_head(self) -> bytes:
        """Up to the empty line, without it; b"" where the visitor went away.

        Raises:
            BadRequest: 431, longer than `HEAD_MOST`.
        """
        first = await self._reader.read(1)
        if first and not (first.isalpha() or first in b"\r\n"):
            # TLS, SMB, anything: no use waiting for an end of line that never comes.
            self._seen = first + await self._reader.read(SEEN_MOST - 1)
            raise BadRequest(400, "not HTTP")
        head, blank = b"", 0
        while True:
            line = first + await self._read_line(431)
            first = b""
            self._seen = (head + line)[:SEEN_MOST]
            if not line.endswith(b"\n"):
                return b""
            if line in (b"\r\n", b"\n"):
                if head:
                    return head.rstrip(b"\r\n")
                blank += 1  # empty lines before a request are to be ignored, but not for ever
                if blank > 8:
                    raise BadRequest(400, "nothing but empty lines")
                continue
            if not head:
                parse_head(line.rstrip(b"\r\n"))  # no request line: why wait for headers
            head += line
            if len(head) > HEAD_MOST:
                raise BadRequest(431, "head too long")

    async def _read_line(self, status: int) -> bytes:
        try:
            return await self._reader.readline()
        except ValueError as error:  # longer than the stream's limit
            raise BadRequest(status, "line too long") from error

    async def _read_body(self, request: Request) -> bytes:
        """The body, or its beginning where it is captured."""
        most = self._house.captures.most if self._capture else BODY_MOST
        body = bytearray()
        length = body_length(request, most)
        if length is not None:
            await self._read_bytes(length, body)
            return bytes(body)
        came = 0
        while size := chunk_length((await self._read_line(400)).rstrip(b"\r\n"), most):
            came += size
            if came > most:
                raise BadRequest(413, "body too long")
            await self._read_bytes(size, body)
            if (await self._read_line(400)).strip():
                raise BadRequest(400, "chunk")
        for _ in range(32):  # trailers
            if not (await self._read_line(400)).strip():
                return bytes(body)
        raise BadRequest(400, "trailers")

    async def _read_bytes(self, count: int, body: bytearray) -> None:
        """So many bytes more: into the capture where there is one, the first into `body`."""
        while count:
            data = await self._reader.read(min(count, CHUNK))
            if not data:
                raise asyncio.IncompleteReadError(b"", count)
            count -= len(data)
            body += data[: BODY_MOST - len(body)]
            if self._capture is not None:
                self._capture.write(data)

    def _send(self, page: Page, *, keep_alive: bool, with_body: bool = True) -> None:
        if not self._writer.is_closing():
            data = self._site.respond(page, with_body=with_body, keep_alive=keep_alive)
            self._writer.write(data)

    async def _close(self) -> None:
        """Close in order; by force where the visitor does not read."""
        self._writer.close()
        try:
            async with asyncio.timeout(5):
                await self._writer.wait_closed()
        except (OSError, TimeoutError):
            self._writer.transport.abort()
