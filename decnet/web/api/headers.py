"""What wraps the application: security headers on every answer, a bound on every body."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from anyio import BrokenResourceError, ClosedResourceError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_MOST = 12 << 20
"""Bytes of a request's body: an 8 MiB file in base64, and its surroundings."""
HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (
        b"content-security-policy",
        b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (b"cache-control", b"no-store"),
)


class BodyTooLarge(Exception):
    """More than `BODY_MOST` bytes came."""


class Shell:
    """Headers and bounds around an ASGI application."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        read, began, refused = 0, False, False

        async def bounded() -> MutableMapping[str, Any]:
            nonlocal read, refused
            message = await receive()
            read += len(message.get("body", b""))
            if read > BODY_MOST:
                refused = True
                raise BodyTooLarge
            return message

        async def dressed(message: MutableMapping[str, Any]) -> None:
            nonlocal began
            if refused and not began:
                # What the application makes of it (a bad request) is not what it was.
                raise BodyTooLarge
            if message["type"] == "http.response.start":
                began = True
                have = {name for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *((name, value) for name, value in HEADERS if name not in have),
                ]
            await send(message)

        try:
            if _declared(scope) > BODY_MOST:
                raise BodyTooLarge
            await self._app(scope, bounded, dressed)
        except BodyTooLarge:
            if not began:
                refused = False
                await _refuse(dressed)
        except BaseExceptionGroup as group:
            # A reader who leaves amid a stream is no error of ours: FastAPI's task that feeds the
            # stream finds its other end closed a moment before it is cancelled.
            if not began or group.split(_is_closed_end)[1] is not None:
                raise


def _is_closed_end(error: BaseException) -> bool:
    return isinstance(error, BrokenResourceError | ClosedResourceError)


def _declared(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value[:20])
    return 0


async def _refuse(send: Send) -> None:
    body = json.dumps({"detail": f"a body of more than {BODY_MOST} bytes"}).encode()
    headers = [(b"content-type", b"application/json"), (b"connection", b"close")]
    await send({"type": "http.response.start", "status": 413, "headers": headers})
    await send({"type": "http.response.body", "body": body})
