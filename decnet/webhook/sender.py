"""One event to one receiver: checked address, signed body, a few tries."""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import httpx2

from decnet.collect.text import clean, cut
from decnet.webhook import address
from decnet.webhook.event import Event, body, headers
from decnet.webhook.settings import WebhookSettings

RETRIES = 3
"""After the first try; the waits double, each ±20 %."""
RETRY_AFTER_MOST = 30.0
"""Seconds that a receiver's Retry-After may ask for."""
ANSWER_MOST = 16 << 10
"""Bytes of an answer that are read (and thrown away), so that the connection can be kept."""
ERROR_MOST = 300
AT_ONCE = 10
"""Deliveries in progress at once, over all subscriptions."""


@dataclass(frozen=True)
class Receiver:
    """A subscription as its deliveries need it."""

    uuid: str
    name: str
    url: str
    secret: str = field(repr=False)
    patterns: tuple[str, ...]
    concurrency: int = 1


@dataclass(frozen=True)
class Outcome:
    """How a delivery ended. `status` is that of the last answer; `seconds` of the last try."""

    ok: bool
    attempts: int
    status: int | None
    seconds: float
    error: str = ""


@dataclass(frozen=True)
class _Try:
    status: int | None
    error: str = ""
    again: bool = False
    wait: float = 0.0


class Sender:
    """Sends. Keeps a client a receiver, so that no connection (and no certificate that was
    checked for it) is ever shared between names. Close it in the loop that used it.
    """

    def __init__(self, settings: WebhookSettings) -> None:
        self._settings = settings
        self._clients: dict[tuple[str, str], httpx2.AsyncClient] = {}
        # Trusts nobody: for receivers without TLS, whose clients never ask for it.
        self._plain = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self._tls: ssl.SSLContext | None = None
        self._room = asyncio.Semaphore(AT_ONCE)
        self.tries = 0
        # It logs URLs, and there are receivers whose URL is the secret.
        logging.getLogger("httpx2").setLevel(logging.WARNING)

    async def deliver(self, receiver: Receiver, event: Event) -> Outcome:
        """Send until it is accepted, refused for good, or tried `RETRIES` times again."""
        content = body(event)
        wait, attempts = self._settings.retry_first, 0
        while True:
            attempts += 1
            async with self._room:
                began = time.monotonic()
                done = await self._try(receiver, event, content)
                seconds = time.monotonic() - began
            if not done.error:
                return Outcome(True, attempts, done.status, seconds)
            if not done.again or attempts > RETRIES:
                return Outcome(False, attempts, done.status, seconds, done.error)
            # Outside of the semaphore: who waits takes nobody's place.
            await asyncio.sleep(max(wait * random.uniform(0.8, 1.2), done.wait))
            wait *= 2

    async def keep(self, receivers: Sequence[Receiver]) -> None:
        """Close the clients of all others."""
        wanted = {(r.uuid, r.url) for r in receivers}
        for key in [key for key in self._clients if key not in wanted]:
            await self._clients.pop(key).aclose()

    async def close(self) -> None:
        """Close all connections."""
        await self.keep(())

    async def _try(self, receiver: Receiver, event: Event, content: bytes) -> _Try:
        self.tries += 1
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._post(receiver, event, content)
        except address.Refused as error:
            return _Try(None, _told(f"refused: {error}"))
        except TimeoutError:
            return _Try(None, f"no answer within {self._settings.timeout:g} s", True)
        except (httpx2.TransportError, OSError) as error:
            return _Try(None, _told(f"{type(error).__name__}: {error}"), True)
        except (httpx2.HTTPError, httpx2.InvalidURL, ValueError) as error:
            return _Try(None, _told(f"{type(error).__name__}: {error}"))

    async def _post(self, receiver: Receiver, event: Event, content: bytes) -> _Try:
        url = address.parse_url(receiver.url)
        where = await address.resolve(url, allow_private=self._settings.allow_private)
        client = self._client(receiver, secure=url.scheme == "https")
        request = client.build_request(
            "POST",
            url.copy_with(host=where),
            content=content,
            headers={**headers(event, receiver.secret, content), "Host": url.netloc.decode()},
            extensions={"sni_hostname": url.raw_host.decode("ascii").strip("[]")},
        )
        answer = await client.send(request, stream=True)
        try:
            read = 0
            async for piece in answer.aiter_raw():
                read += len(piece)
                if read > ANSWER_MOST:
                    break
        finally:
            await answer.aclose()
        code = answer.status_code
        if 200 <= code < 300:
            return _Try(code)
        if 300 <= code < 400:
            return _Try(code, f"answered {code}: redirects are not followed")
        again = code >= 500 or code == 429
        return _Try(code, f"answered {code}", again, _retry_after(answer) if again else 0.0)

    def _client(self, receiver: Receiver, *, secure: bool) -> httpx2.AsyncClient:
        key = (receiver.uuid, receiver.url)
        if key not in self._clients:
            if secure and self._tls is None:
                self._tls = ssl.create_default_context()
            self._clients[key] = httpx2.AsyncClient(
                verify=self._tls if secure and self._tls else self._plain,
                timeout=httpx2.Timeout(self._settings.timeout),
                limits=httpx2.Limits(
                    max_connections=AT_ONCE, max_keepalive_connections=2, keepalive_expiry=15
                ),
                trust_env=False,
                follow_redirects=False,
            )
        return self._clients[key]


def _retry_after(answer: httpx2.Response) -> float:
    text = answer.headers.get("retry-after", "")
    return min(float(text), RETRY_AFTER_MOST) if text.isascii() and text.isdigit() else 0.0


def _told(text: str) -> str:
    return cut(clean(text), ERROR_MOST)[0]
