"""How enrich behaves: read once, from the environment."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from decnet.settings import Reader, SettingsError, credential

ONLINE = ("greynoise", "abuseipdb", "threatfox")
_URLS = {
    "greynoise": "https://api.greynoise.io",
    "abuseipdb": "https://api.abuseipdb.com",
    "threatfox": "https://threatfox-api.abuse.ch",
}


@dataclass(frozen=True)
class IntelSettings:
    """Times are seconds. Keys are secrets: not shown."""

    root: Path
    enabled: bool = False
    """Whether services in the network are asked at all; files are read in any case."""
    providers: tuple[str, ...] = ONLINE
    keys: Mapping[str, str] = field(default_factory=dict, repr=False)
    urls: Mapping[str, str] = field(default_factory=lambda: dict(_URLS))
    ttl: float = 86_400.0
    timeout: float = 10.0
    retry_first: float = 60.0
    at_once: int = 4

    @classmethod
    def from_env(cls, state_dir: Path, env: Mapping[str, str] | None = None) -> IntelSettings:
        """Read `DECNET_INTEL_…` and the providers' keys and addresses.

        Args:
            state_dir: where the data folder is, unless DECNET_INTEL_ROOT says otherwise.
        Raises:
            SettingsError: a value is out of range, or a provider is not known.
        """
        read = Reader(os.environ if env is None else env)
        providers = tuple(read.words("INTEL_PROVIDERS")) or ONLINE
        for name in providers:
            if name not in ONLINE:
                raise SettingsError(
                    f"DECNET_INTEL_PROVIDERS names {name!r}", f"known are: {' '.join(ONLINE)}"
                )
        return cls(
            root=read.path("INTEL_ROOT", state_dir / "intel"),
            enabled=read.switch("INTEL_ENABLED", False),
            providers=providers,
            keys={name: _key(read, name) for name in ONLINE},
            urls={name: _url(read, name) for name in ONLINE},
            ttl=read.number("INTEL_TTL_HOURS", 24, 1, 8760) * 3600.0,
            timeout=float(read.number("INTEL_TIMEOUT", 10, 1, 120)),
            retry_first=float(read.number("INTEL_RETRY", 60, 1, 86_400)),
            at_once=read.number("INTEL_AT_ONCE", 4, 1, 32),
        )


def _key(read: Reader, name: str) -> str:
    """DECNET_…_API_KEY, else the credential."""
    given = credential(f"{name}-api-key")
    return read.text(f"{name.upper()}_API_KEY", "") or (given.read_text().strip() if given else "")


def _url(read: Reader, name: str) -> str:
    text = read.text(f"{name.upper()}_URL", _URLS[name]).rstrip("/")
    parts = urlsplit(text)
    local = parts.hostname in ("127.0.0.1", "::1", "localhost")
    if not parts.hostname or not (parts.scheme == "https" or (parts.scheme == "http" and local)):
        raise SettingsError(
            f"DECNET_{name.upper()}_URL={text!r} is no https address",
            "an API key is sent there: use https:// (http:// only for this machine itself)",
        )
    return text
