"""The proxy to the REST interface: streams both ways, bounded, and quiet about browsers that leave.

A browser that goes away closes the request upstream at once; that is no error and is not logged.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

import httpx2

from decnet.web.api.headers import BODY_MOST, Receive, Scope, Send
from decnet.web.front.files import SECURITY
from decnet.web.front.settings import WebSettings

log = logging.getLogger("decnet.web")

METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
BODY_SECONDS = 30.0
"""How long a browser may take for the next piece of a body."""
CONNECT_SECONDS = 5.0
UPSTREAM_MOST = 200
HOP_BY_HOP = frozenset(
    (
        *(b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"te"),
        *(b"trailer", b"transfer-encoding", b"upgrade", b"proxy-connection", b"expect"),
    )
)
OURS = frozenset((b"host", b"forwarded", b"x-real-ip", b"date", b"server"))


class Gone(Exception):
    """The browser went away."""


class TooMuch(Exception):
    """A body beyond `BODY_MOST`."""


class Proxy:
    """Forwards requests. Make it in the loop that uses it, and `close` it there."""

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self.requests = self.failures = self.open = 0
        self._base = httpx2.URL(settings.upstream)
        self._client = httpx2.AsyncClient(
            # Plain HTTP to this machine: no certificate store is loaded.
            verify=False,
            trust_env=False,
            follow_redirects=False,
            limits=httpx2.Limits(
                max_connections=UPSTREAM_MOST, max_keepalive_connections=8, keepalive_expiry=4
            ),
        )

    def report(self) -> dict[str, Any]:
        """Fields of the heartbeat."""
        return {
            "proxied": self.requests,
            "upstream_failures": self.failures,
            "proxied_open": self.open,
        }

    async def close(self) -> None:
        """Close all connections."""
        await self._client.aclose()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.requests += 1
        self.open += 1
        try:
            exchange = _Exchange(self, scope, receive, send)
            status, text = await exchange.run()
            if text and not exchange.began:
                self.failures += status >= 500
                await exchange.refuse(status, text)
        finally:
            self.open -= 1

    def request(self, scope: Scope, content: AsyncIterator[bytes] | None) -> httpx2.Request:
        """The request for the REST interface."""
        query = scope["query_string"]
        raw = scope["raw_path"] + (b"?" + query if query else b"")
        patience = None if _is_stream(scope) else self._settings.timeout
        return self._client.build_request(
            scope["method"],
            self._base.copy_with(raw_path=raw),
            headers=_forwarded(scope),
            content=content,
            timeout=httpx2.Timeout(patience, connect=CONNECT_SECONDS, pool=CONNECT_SECONDS),
        )

    async def send(self, request: httpx2.Request) -> httpx2.Response:
        """The head of the answer; its body is still to be read."""
        return await self._client.send(request, stream=True)


class _Exchange:
    """One request and its answer."""

    def __init__(self, proxy: Proxy, scope: Scope, receive: Receive, send: Send) -> None:
        self._proxy, self._scope, self._receive, self._send = proxy, scope, receive, send
        self._read = asyncio.Event()
        self.began = False

    async def run(self) -> tuple[int, str]:
        """Forward; a status and a reason where there is no answer to forward."""
        relay = asyncio.create_task(self._relay())
        watch = asyncio.create_task(self._watch())
        try:
            await asyncio.wait({relay, watch}, return_when=asyncio.FIRST_COMPLETED)
            if not relay.done():
                return 499, ""
            relay.result()
        except Gone:
            return 499, ""
        except TooMuch:
            return 413, f"a body of more than {BODY_MOST} bytes"
        except TimeoutError:
            return 408, "the request's body did not come"
        except httpx2.ConnectTimeout:
            return 502, "the REST interface does not answer"
        except (httpx2.TimeoutException, httpx2.PoolTimeout):
            return 504, "the REST interface took too long"
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
            log.debug("upstream: %s", error)
            return 502, "the REST interface does not answer (is the worker api up?)"
        finally:
            for task in (relay, watch):
                task.cancel()
            await asyncio.gather(relay, watch, return_exceptions=True)
        return 200, ""

    async def refuse(self, status: int, text: str) -> None:
        """An answer of our own."""
        body = json.dumps({"detail": text}).encode()
        head = [(b"content-type", b"application/json"), (b"cache-control", b"no-store"), *SECURITY]
        if not self._read.is_set():
            head.append((b"connection", b"close"))
        head.append((b"content-length", str(len(body)).encode()))
        await self._send({"type": "http.response.start", "status": status, "headers": head})
        await self._send({"type": "http.response.body", "body": body})

    async def _relay(self) -> None:
        if self._scope["method"] not in METHODS:
            raise httpx2.UnsupportedProtocol("method")
        length = _header(self._scope, b"content-length")
        if length.isdigit() and int(length[:20]) > BODY_MOST:
            raise TooMuch
        has_body = length not in (b"", b"0") or _header(self._scope, b"transfer-encoding") != b""
        if not has_body:
            self._read.set()
        request = self._proxy.request(self._scope, self._body() if has_body else None)
        answer = await self._proxy.send(request)
        try:
            headers = [(n.lower(), v) for n, v in answer.headers.raw if n.lower() not in HOP_BY_HOP]
            start = {"type": "http.response.start", "status": answer.status_code}
            self.began = True
            await self._send({**start, "headers": [h for h in headers if h[0] not in OURS]})
            with _cut_short(answer):
                async for piece in answer.aiter_raw():
                    await self._send(
                        {"type": "http.response.body", "body": piece, "more_body": True}
                    )
            await self._send({"type": "http.response.body", "body": b""})
        finally:
            await answer.aclose()

    async def _body(self) -> AsyncIterator[bytes]:
        size = 0
        while True:
            async with asyncio.timeout(BODY_SECONDS):
                message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Gone
            piece = message.get("body", b"")
            size += len(piece)
            if size > BODY_MOST:
                raise TooMuch
            if piece:
                yield piece
            if not message.get("more_body"):
                self._read.set()
                return

    async def _watch(self) -> None:
        """Returns when the browser is gone."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass


@contextlib.contextmanager
def _cut_short(answer: httpx2.Response) -> Any:
    """An event stream that breaks off just ends: its reader comes back by itself."""
    try:
        yield
    except httpx2.TransportError:
        if not answer.headers.get("content-type", "").startswith("text/event-stream"):
            raise


def _forwarded(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The browser's headers, without those that are ours to say."""
    named = {
        name.strip().lower() for name in _header(scope, b"connection").split(b",") if name.strip()
    }
    headers = [
        (name, value)
        for name, value in scope["headers"]
        if name not in HOP_BY_HOP | OURS | named and not name.startswith(b"x-forwarded-")
    ]
    client = scope.get("client")
    headers.append((b"x-forwarded-for", (client[0] if client else "unknown").encode()))
    headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
    return headers


def _is_stream(scope: Scope) -> bool:
    return b"text/event-stream" in _header(scope, b"accept") or scope["path"].endswith(
        ("/events", "/stream")
    )


def _header(scope: Scope, name: bytes) -> bytes:
    return next((value for key, value in scope["headers"] if key == name), b"")
