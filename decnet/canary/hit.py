"""One ring of the bell, from request or query to what is stored. Pure."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from decnet.canary.settings import Network
from decnet.collect.address import parse_address
from decnet.collect.text import clean, cut

SLUG = re.compile(r"[a-z2-7]{20}", re.ASCII)
"""What `make_slug` makes: letters and digits that survive DNS in any case."""
PATH_MOST, AGENT_MOST, HEADER_MOST, HEADERS_MOST = 512, 512, 256, 32
_PATH = re.compile(r"/c/([A-Za-z2-7]{20})(?:[/?#.].*)?", re.ASCII | re.DOTALL)
_SECRET_HEADERS = {"authorization", "proxy-authorization", "cookie"}


@dataclass(frozen=True)
class Hit:
    """A hit on a slug that may or may not be a token's; `id` makes storing it twice harmless."""

    slug: str
    src_ip: str
    at: dt.datetime
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    user_agent: str | None = None
    path: str | None = None
    qname: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    fingerprint: dict[str, Any] | None = None

    def as_line(self) -> bytes:
        """For the journal."""
        return json.dumps({**self.__dict__, "at": self.at.isoformat()}).encode() + b"\n"

    @classmethod
    def from_line(cls, line: bytes) -> Hit:
        """From the journal.

        Raises:
            ValueError: not a line of ours (cut by a full disk, say).
        """
        try:
            found = json.loads(line)
            return cls(**{**found, "at": dt.datetime.fromisoformat(found["at"])})
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(f"no hit: {error}") from error


def slug_of_path(path: str) -> str:
    """The slug in a request's path ("/c/SLUG", "/c/SLUG.gif", "/c/SLUG/bucket"), or ""."""
    match = _PATH.fullmatch(path)
    return match[1].lower() if match else ""


def slug_of_name(name: str, zone: str) -> str:
    """The slug in a DNS name: the label before the zone, whatever stands before it; or ""."""
    name = name.lower().rstrip(".")
    if not zone or not name.endswith("." + zone):
        return ""
    label = name.removesuffix("." + zone).rpartition(".")[2]
    return label if SLUG.fullmatch(label) else ""


def client_address(peer: str, forwarded: str | None, trusted: Sequence[Network]) -> str:
    """Who asks: the peer, or what the proxies that we trust say of it.

    Read from the right, as each proxy appends: the first that is none of ours. All to the left
    of it is what the client says of itself.
    """
    address = parse_address(peer) or peer
    for word in reversed((forwarded or "").split(",")[-16:]):
        if not _is_trusted(address, trusted):
            return address
        said = parse_address(word)
        if not said:
            return address
        address = said
    return address


def shown_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers, cut and clean; of those that carry secrets only that they came."""
    return {
        clean(name)[:64]: "(sent)" if name in _SECRET_HEADERS else shown(value, HEADER_MOST)
        for name, value in list(headers.items())[:HEADERS_MOST]
    }


def shown(text: str, most: int) -> str:
    """Clean and cut."""
    return cut(clean(text), most)[0]


def _is_trusted(address: str, trusted: Sequence[Network]) -> bool:
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(found in network for network in trusted if network.version == found.version)
