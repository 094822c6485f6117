"""The canary's own settings."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from decnet.settings import Reader, SettingsError, inner

_ZONE = re.compile(r"(?=.{1,190}$)[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+", re.ASCII)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True)
class CanarySettings:
    """Where it listens, and under which names bait finds it.

    Args:
        http_base: what stands before "/c/SLUG" in bait: "http://files.example.org:8088".
        dns_zone: lower-case, without a dot at its end; "" for no DNS server.
        trusted_proxies: networks whose X-Forwarded-For is believed.
        journal_most: bytes of the journal file.
    """

    http_base: str
    bind: str
    port: int
    dns_zone: str
    dns_bind: str
    dns_port: int
    dns_answer: str
    trusted_proxies: tuple[Network, ...]
    journal: Path
    journal_most: int

    @classmethod
    def from_env(cls, state_dir: Path, env: Mapping[str, str] | None = None) -> CanarySettings:
        """Read the environment.

        Raises:
            SettingsError: a value is none of its kind.
        """
        read = Reader(os.environ if env is None else env)
        bind = read.text("CANARY_BIND", "127.0.0.1")
        port = read.port("CANARY_PORT", 8088)
        zone = read.text("CANARY_DNS_ZONE", "").lower().strip(".")
        if zone and not _ZONE.fullmatch(zone):
            raise SettingsError(
                f"DECNET_CANARY_DNS_ZONE={zone!r} is no DNS zone",
                "write a name of two or more labels: canary.example.org",
            )
        base = read.text("CANARY_HTTP_BASE", f"http://127.0.0.1:{port}").rstrip("/")
        if urlsplit(base).scheme not in ("http", "https") or not urlsplit(base).netloc:
            raise SettingsError(
                f"DECNET_CANARY_HTTP_BASE={base!r} is no URL",
                "write what visitors can reach: http://files.example.org:8088",
            )
        try:
            proxies = tuple(
                ipaddress.ip_network(word, strict=False) for word in read.words("TRUSTED_PROXIES")
            )
            answer = str(ipaddress.IPv4Address(read.text("CANARY_DNS_ANSWER", "192.0.2.1")))
        except ValueError as error:
            raise SettingsError(
                f"DECNET_TRUSTED_PROXIES or DECNET_CANARY_DNS_ANSWER: {error}",
                "write IP addresses, proxies also as networks: 10.0.0.0/8",
            ) from error
        return cls(
            http_base=base,
            bind=bind,
            port=port,
            dns_zone=zone,
            dns_bind=read.text("CANARY_DNS_BIND", bind),
            dns_port=read.port("CANARY_DNS_PORT", 5353),
            dns_answer=answer,
            trusted_proxies=proxies,
            journal=inner(state_dir, "canary") / "canary-hits.jsonl",
            journal_most=read.number("CANARY_JOURNAL_MAX", 64 << 20, 1 << 10, 1 << 40),
        )
