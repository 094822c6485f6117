"""What all providers of intelligence have in common: an address in, a finding or a failure out."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

MALICIOUS, SUSPICIOUS, BENIGN, UNKNOWN = "malicious", "suspicious", "benign", "unknown"
ORDER = (MALICIOUS, SUSPICIOUS, BENIGN, UNKNOWN)
"""The first that any provider says is the address's verdict."""


class ProviderError(Exception):
    """A provider could not answer; worth another try later."""

    def __init__(self, message: str, retry_after: float = 0.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds for which it asked to be left alone; 0: it did not say."""


@dataclass(frozen=True)
class Finding:
    """What one provider says of an address."""

    verdict: str = UNKNOWN
    columns: dict[str, Any] = field(default_factory=dict)
    """Values for `attacker_intel`; all of the provider's columns, also those that are None."""


class Provider(Protocol):
    """One source of intelligence."""

    name: str
    is_online: bool
    """Whether the address leaves this machine."""

    async def ask(self, address: str) -> Finding:
        """What it knows of an address.

        Raises:
            ProviderError: nothing can be said now.
        """


def aggregate(verdicts: Iterable[str]) -> str:
    """The worst of them; `unknown` for none."""
    return min(verdicts, key=ORDER.index, default=UNKNOWN)


def may_leave(address: str) -> bool:
    """Whether an address may be told to somebody else: only a public one is of use to them."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    if mapped is not None:
        parsed = mapped
    return parsed.is_global and not parsed.is_multicast
