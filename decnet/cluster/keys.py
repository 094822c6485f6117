"""What an event shows of who sent it, as keys ("ja3:…", "payload:…"). Pure; never raises.

Only kinds that can reach the threshold are keys. A key is short and clean whatever the attacker
wrote: hashes are lower hex, an endpoint is "host:port" in ASCII.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Mapping

STRONG = ("ja3", "hassh")
"""Kinds whose equal value links two addresses by itself."""
WEAK = ("payload", "c2")
"""Kinds that link unless all fingerprints that both have disagree."""
COMPARED = ("ja3", "hassh", "ja4")
KINDS = (*STRONG, *WEAK, "ja4")
KEYS_MOST = 32
"""Keys of one kind that an address may have: who changes faster says nothing with them."""

_MD5 = re.compile(r"[0-9a-f]{32}")
_HASH = re.compile(r"[0-9a-f]{32}|[0-9a-f]{40}|[0-9a-f]{64}")
_JA3_RAW = re.compile(r"\d{1,5}(,[\d-]{0,2000}){4}")
_JA4 = re.compile(r"[tqd][0-9a-z]{9}_[0-9a-f]{12}_[0-9a-f]{12}")
_URL = re.compile(r"\b(https?|ftp|tftp)://([^\s/'\"<>|;&)]{1,300})", re.IGNORECASE)
_NAME = re.compile(r"[a-z0-9]([a-z0-9.-]{0,250}[a-z0-9])?")
_PORTS = {"http": 80, "https": 443, "ftp": 21, "tftp": 69}
_EMPTY_FILES = {hashlib.new(name, b"").hexdigest() for name in ("md5", "sha1", "sha256")}
_SCANNED_BACK = "prober"
_SERVER_SIDE = {"hassh_fingerprint", "jarm_fingerprint"}
"""The prober's events fingerprint the attacker's servers, not the client that came to us."""
TEXT_MOST = 4096
URLS_MOST = 8
ATTACHMENTS_MOST = 8


def keys_of(service: str, event_type: str, fields: Mapping[str, object]) -> set[str]:
    """The keys that an event shows.

    Args:
        fields: the event's fields, as the attacker made them.
    """
    if service == _SCANNED_BACK or event_type in _SERVER_SIDE:
        return set()
    found: set[str] = set()
    for name in ("ja3", "ja3_hash"):
        found |= _ja3(_text(fields, name))
    hassh = _text(fields, "hassh").lower()
    if _MD5.fullmatch(hassh):
        found.add(f"hassh:{hassh}")
    ja4 = _text(fields, "ja4").lower()
    if _JA4.fullmatch(ja4):
        found.add(f"ja4:{ja4}")
    for name in ("sha256", "payload_sha256", "file_sha256"):
        digest = _text(fields, name).lower()
        if _HASH.fullmatch(digest) and digest not in _EMPTY_FILES:
            found.add(f"payload:{digest}")
    for digest in _text(fields, "attachment_sha256").lower().split(",")[:ATTACHMENTS_MOST]:
        if _HASH.fullmatch(digest) and digest not in _EMPTY_FILES:
            found.add(f"payload:{digest}")
    for name in ("command", "cmd", "url"):
        found |= {f"c2:{endpoint}" for endpoint in endpoints_in(_text(fields, name))}
    return found


def endpoints_in(text: str) -> set[str]:
    """Where the URLs in a command point to, as "host:port"; never this host itself."""
    found = set()
    for match in list(_URL.finditer(text[:TEXT_MOST]))[:URLS_MOST]:
        endpoint = _endpoint(match.group(1).lower(), match.group(2).lower())
        if endpoint:
            found.add(endpoint)
    return found


def kind_of(key: str) -> str:
    """The kind of a key."""
    return key.partition(":")[0]


def value_of(key: str) -> str:
    """The key without its kind."""
    return key.partition(":")[2]


def compared(keys: Iterable[str]) -> set[str]:
    """Those that may agree or disagree."""
    return {key for key in keys if kind_of(key) in COMPARED}


def _text(fields: Mapping[str, object], name: str) -> str:
    value = fields.get(name)
    return value[:TEXT_MOST] if isinstance(value, str) else ""


def _ja3(text: str) -> set[str]:
    small = text.lower()
    if _MD5.fullmatch(small):
        return {f"ja3:{small}"}
    if _JA3_RAW.fullmatch(text):
        # JA3 is by its definition the MD5 of this text.
        return {f"ja3:{hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()}"}
    return set()


def _endpoint(scheme: str, authority: str) -> str | None:
    host, port = authority.rpartition("@")[2], str(_PORTS[scheme])
    if host.startswith("["):
        host, _, rest = host[1:].partition("]")
        port = rest.removeprefix(":") or port
    elif ":" in host:
        host, _, port = host.partition(":")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) < 65536):
        return None
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        host = host.rstrip(".")
        if not _NAME.fullmatch(host) or "." not in host:
            return None
        return f"{host}:{int(port)}"
    if address.is_loopback or address.is_unspecified or address.is_link_local:
        return None
    return f"[{address}]:{int(port)}" if address.version == 6 else f"{address}:{int(port)}"
