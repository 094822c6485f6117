"""Where the dashboard listens, and where its REST interface is."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader, Settings

_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True)
class WebSettings:
    """`upstream` is "http://HOST:PORT" of the REST interface. Times are seconds."""

    host: str
    port: int
    upstream: str
    timeout: float = 120.0

    @classmethod
    def from_env(cls, settings: Settings, env: Mapping[str, str] | None = None) -> WebSettings:
        """Read the environment.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        host = _ANY.get(settings.api_host, settings.api_host)
        place = f"[{host}]" if ":" in host else host
        return cls(
            host=read.text("WEB_HOST", "127.0.0.1"),
            port=read.port("WEB_PORT", 8080),
            upstream=f"http://{place}:{settings.api_port}",
            timeout=read.number("WEB_TIMEOUT", 120, 1, 3600),
        )
