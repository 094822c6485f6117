"""Whose address an event is about, as DECNET's operators know it."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping

UNKNOWN = "Unknown"
FIELDS = ("src_ip", "src", "client_ip", "remote_ip", "remote_addr", "target_ip", "ip")
"""Fields that name the attacker, the first that holds an address wins."""
SEARCHED = 2048
"""Characters of free text that are looked through."""

_PAIR = re.compile(r"\b(" + "|".join(FIELDS) + r"|rhost)=(\S{2,64})", re.ASCII)
_FROM = re.compile(r"\bfrom\s{1,4}(\S{2,64})", re.ASCII | re.IGNORECASE)


def attacker_address(fields: Mapping[str, str], text: str = "") -> str:
    """The attacker's IP address in its usual spelling, else "Unknown".

    Looks at the fields first, then for `name=address` in the text, then for "from ADDRESS".
    """
    for candidate in _candidates(fields, text[:SEARCHED]):
        if address := parse_address(candidate):
            return address
    return UNKNOWN


def parse_address(text: str) -> str:
    """An address from "1.2.3.4", "1.2.3.4:567", "::1" or "[::1]:22"; "" where it is none.

    An IPv4 address that came in as IPv6 ("::ffff:1.2.3.4") is the IPv4 address.
    """
    text = text.strip(" \t\"'(),;")
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def _candidates(fields: Mapping[str, str], text: str) -> Iterator[str]:
    for name in FIELDS:
        if name in fields:
            yield fields[name]
    for _, value in _PAIR.findall(text):
        yield value
    yield from _FROM.findall(text)
