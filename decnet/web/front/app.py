"""The ASGI application: `/api/` goes to the REST interface, all else is a file."""

from __future__ import annotations

import json

from decnet.web.api.headers import Receive, Scope, Send
from decnet.web.front.files import SECURITY, Files
from decnet.web.front.proxy import Proxy


class Front:
    """Answers browsers."""

    def __init__(self, files: Files, proxy: Proxy) -> None:
        self._files = files
        self._proxy = proxy

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["raw_path"].startswith(b"/api/"):
            await self._proxy(scope, receive, send)
        elif scope["method"] in ("GET", "HEAD"):
            await self._file(scope, send)
        else:
            await answer(send, 405, "only GET and HEAD here", (b"allow", b"GET, HEAD"))

    async def _file(self, scope: Scope, send: Send) -> None:
        file = self._files.get(scope["path"])
        asked = next((v for n, v in scope["headers"] if n == b"if-none-match"), b"")
        fresh = file.etag in asked.replace(b"W/", b"").split(b", ")
        headers = [h for h in file.headers if not (fresh and h[0] == b"content-length")]
        status = 304 if fresh else 200
        await send({"type": "http.response.start", "status": status, "headers": headers})
        body = b"" if fresh or scope["method"] == "HEAD" else file.body
        await send({"type": "http.response.body", "body": body})


async def answer(send: Send, status: int, text: str, *headers: tuple[bytes, bytes]) -> None:
    """A short JSON answer of our own."""
    body = json.dumps({"detail": text}).encode()
    head = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
        *SECURITY,
        *headers,
    ]
    await send({"type": "http.response.start", "status": status, "headers": head})
    await send({"type": "http.response.body", "body": body})
