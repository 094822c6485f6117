"""Where a webhook may go: public addresses only, and the very address that was checked.

A receiver's name is resolved by us, each of its addresses is judged, and the connection is made
to one of those: a name that answers differently a moment later leads nowhere.
"""

from __future__ import annotations

import asyncio
import ipaddress
import socket

import httpx2

URL_MOST = 2048
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_CARRIER = ipaddress.ip_network("100.64.0.0/10")
"""Carriers' own, and many VPNs'; Python calls it neither private nor global."""
_IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


class Refused(Exception):
    """The destination is not allowed; trying again changes nothing."""


def parse_url(text: str) -> httpx2.URL:
    """The URL of a receiver.

    Raises:
        Refused: not http(s), no host, with user and password, or too long.
    """
    try:
        url = httpx2.URL(text)
        port = url.port
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise Refused(f"not a URL: {error}") from error
    if len(text) > URL_MOST or not text.isprintable():
        raise Refused(f"not a URL, or longer than {URL_MOST} characters")
    if url.scheme not in ("http", "https") or not url.host:
        raise Refused("not an http:// or https:// URL with a host")
    if url.userinfo:
        raise Refused("a user or password in the URL; receivers know us by the signature")
    if port is not None and not 0 < port < 65_536:
        raise Refused("a port that is none")
    return url


def embedded(address: _IPAddress) -> _IPAddress:
    """The IPv4 address that an IPv6 one leads to (mapped, 6to4, NAT64, Teredo), else itself."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def why_not(text: str, *, allow_private: bool) -> str:
    """Why a webhook may not go to an address; "" where it may."""
    address = embedded(ipaddress.ip_address(text.partition("%")[0]))
    # Nothing of these is ever a receiver; 169.254.169.254 hands out a cloud machine's keys.
    for name in ("unspecified", "multicast", "link_local"):
        if getattr(address, f"is_{name}"):
            return name.replace("_", "-")
    if address.is_loopback:
        return "" if allow_private else "loopback"
    if address.is_global:
        return ""
    if (address.is_private or address in _CARRIER) and not address.is_reserved:
        return "" if allow_private else "private"
    return "reserved"


async def resolve(url: httpx2.URL, *, allow_private: bool) -> str:
    """The address to connect to.

    Raises:
        Refused: one of the name's addresses is not allowed.
        OSError: the name does not resolve (now).
    """
    host = url.raw_host.decode("ascii").strip("[]")
    port = url.port or (443 if url.scheme == "https" else 80)
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise Refused(f"not a host name: {error}") from error
    addresses = [str(entry[4][0]) for entry in found]
    for address in addresses:
        reason = why_not(address, allow_private=allow_private)
        if reason:
            raise Refused(
                f"{url.host} is at {address}, a {reason} address"
                + ("" if allow_private else " (DECNET_WEBHOOK_ALLOW_PRIVATE allows private ones)")
            )
    if not addresses:
        raise OSError(f"{url.host} has no address")
    return addresses[0]
