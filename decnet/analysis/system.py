"""Which system, and how far away, by the first packet of a connection. Pure.

The sniffer names a stack that it knows by its options; where it does not, the time to live and
the presence of timestamps say at least which family it is. The table is ours, and small.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

SCANNERS = frozenset({"nmap", "masscan", "zmap"})
"""Raw packets of programs: these are tools, and hide the system."""
_FAMILIES = {
    # first time to live, timestamps among the options -> family
    (64, True): "Linux or Unix",
    (64, False): "Unix",
    (128, True): "Windows",
    (128, False): "Windows",
    (255, True): "Solaris or network device",
    (255, False): "network device",
    (32, True): "embedded",
    (32, False): "embedded",
}
_KEPT = (
    *("signature", "tcp_hash", "window", "window_scale", "mss"),
    *("options", "initial_ttl", "ip_id_class", "isn_class"),
)
VALUE_MOST = 256


def number(text: str | None, most: int) -> int | None:
    """A whole number from 0 to `most` in a field; None where it is none."""
    if text and text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most:
        return int(text)
    return None


def os_of(fields: Mapping[str, str]) -> tuple[str | None, str | None]:
    """The system and the scanner that a SYN speaks of, either of them None."""
    guess = fields.get("os_guess", "")[:64]
    if guess in SCANNERS:
        return None, guess
    if guess:
        return guess, None
    initial = number(fields.get("initial_ttl"), 255) or first_ttl(number(fields.get("ttl"), 255))
    return _FAMILIES.get((initial, "ts" in fields.get("options", "").split(","))), None


def first_ttl(ttl: int | None) -> int:
    """The time to live with which a packet was sent; 0 where that is not known."""
    return next((first for first in (32, 64, 128, 255) if ttl and ttl <= first), 0)


def hops_of(fields: Mapping[str, str]) -> int | None:
    """Routers on the way."""
    told = number(fields.get("hop_distance"), 255)
    if told is not None:
        return told
    ttl = number(fields.get("ttl"), 255)
    return first_ttl(ttl) - ttl if ttl else None


def fingerprint_of(fields: Mapping[str, str]) -> dict[str, Any]:
    """What is kept of a SYN."""
    return {name: fields[name][:VALUE_MOST] for name in _KEPT if fields.get(name)}
