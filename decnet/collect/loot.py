"""What an event leaves behind: fingerprints, credentials, artifacts, leaks, relay probes; pure.

An event is free text from a decoy that repeats an attacker: everything is looked at with doubt,
cut, and left out where it does not look like what it should be.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from decnet.collect.address import UNKNOWN, parse_address
from decnet.collect.record import Record
from decnet.decoys.looks import DOMAIN

FINGERPRINT, CREDENTIAL, ARTIFACT = "fingerprint", "credential", "artifact"
IP_LEAK, PROBE_RELAY = "ip_leak", "probe_relay"
MAIL = "message_accepted"

VALUE_MOST = 512
"""Characters of a value in a payload."""
FIELDS_MOST = 32
ATTACHMENTS_MOST = 64
"""Of a mail."""
PROBE_RCPTS_MOST = 3
"""A mail to more recipients is spam; one to a few elsewhere asks whether we relay."""

_IDENTITY: Mapping[str, tuple[str, ...]] = {
    "tls_client_hello": ("ja4", "ja3"),
    "quic_client_hello": ("ja4",),
    "tcp_syn_fingerprint": ("tcp_hash",),
    "ssh_client_banner": ("client_version", "hassh"),
    "http_request_fingerprint": ("header_print", "user_agent"),
    "jarm_fingerprint": ("jarm", "target_port"),
    "hassh_fingerprint": ("hassh_server", "target_port"),
    "tcpfp_fingerprint": ("tcpfp", "target_port"),
    "tls_certificate": ("cert_sha256", "target_port"),
}
"""Event -> the fields that make two of them the same fingerprint."""
_FILES = ("file_captured", "upload")
_PASSING = frozenset(
    {"src_ip", "src_port", "dst_ip", "probe_id", "truncated", "rtt_s", "session_id", "body"}
)
"""Fields that say when and how, not what."""
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,12}", re.ASCII)


@dataclass(frozen=True)
class Loot:
    """A row of `bounty`. `key` is equal for two finds of the same thing."""

    bounty_type: str
    payload: dict[str, Any]
    key: str


@dataclass(frozen=True)
class Attachment:
    """A file that came with an event."""

    sha256: str
    size_bytes: int = 0
    extension: str = ""


@dataclass(frozen=True)
class Mail:
    """A mail that a decoy took: hashes, counts and domains; no address, no subject, no text."""

    decky: str
    service: str
    attacker_ip: str
    received_at: dt.datetime
    sha256: str
    body_sha256: str
    size_bytes: int
    rcpt_count: int
    rcpt_domains: tuple[str, ...]
    from_domain: str
    header_names: tuple[str, ...]
    attachment_count: int
    attachments: tuple[Attachment, ...] = field(default=())


def loot_of(record: Record) -> list[Loot]:
    """What the event leaves; nothing where nobody is known whom it could belong to."""
    if record.attacker_ip == UNKNOWN or record.fault:
        return []
    return list(_loot(record))


def attachments_of(record: Record) -> list[Attachment]:
    """Files with their hashes: a mail's attachments, or what was uploaded or captured."""
    fields = record.fields
    if record.event_type in _FILES and _SHA256.fullmatch(fields.get("sha256", "")):
        name, size = fields.get("filename", ""), fields.get("size_bytes", "")
        return [Attachment(fields["sha256"], whole(size), extension(name))]
    if record.event_type == MAIL:
        return _attached(fields)
    return []


def mail_of(record: Record) -> Mail | None:
    """The mail in a `message_accepted`; None for other events."""
    fields = record.fields
    if record.event_type != MAIL or record.fault:
        return None
    attachments = tuple(attachments_of(record))
    return Mail(
        decky=record.decky,
        service=record.service,
        attacker_ip=record.attacker_ip,
        received_at=record.timestamp,
        sha256=_sha256(fields.get("sha256", "")),
        body_sha256=_sha256(fields.get("body_sha256", "")),
        size_bytes=whole(fields.get("size_bytes", "")),
        rcpt_count=whole(fields.get("rcpt_count", "")),
        rcpt_domains=_words(fields.get("rcpt_domains", "")),
        from_domain=_domain(fields.get("mail_from", "")),
        header_names=_words(fields.get("header_names", "")),
        attachment_count=max(whole(fields.get("attachment_count", "")), len(attachments)),
        attachments=attachments,
    )


def extension(name: str) -> str:
    """ ".exe" of a file's name, in lower case; "" where there is none worth the name."""
    found = PurePosixPath(name.replace("\\", "/")).suffix
    return found.lower() if _EXTENSION.fullmatch(found) else ""


def whole(text: str) -> int:
    """A count in a field; 0 where it is none."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 15 else 0


def _loot(record: Record) -> Iterator[Loot]:
    fields, kind = record.fields, record.event_type
    if kind in _IDENTITY and (kind != "tls_certificate" or "target_ip" in fields):
        # A certificate that the sniffer saw is our own decoy's.
        yield from _fingerprint(record, kind, _IDENTITY[kind])
    elif record.service == "ssh" and "client_version" in fields:
        yield from _fingerprint(record, "ssh_client_version", ("client_version",))
    if record.secret is not None:
        secret = {
            "principal": record.secret.principal,
            "secret_kind": record.secret.kind,
            "secret_sha256": record.secret.sha256,
        }
        shown = {"secret_printable": record.secret.printable, "outcome": record.secret.outcome}
        identity = [record.service, *secret.values()]
        yield _made(record, CREDENTIAL, {**secret, **shown}, identity)
    if kind in (*_FILES, MAIL) and _SHA256.fullmatch(fields.get("sha256", "")):
        yield _made(record, ARTIFACT, {"kind": kind, **_kept(fields)}, [fields["sha256"]])
    if kind == "download_attempt" and fields.get("url"):
        yield _made(record, ARTIFACT, {"kind": kind, **_kept(fields)}, [fields["url"]])
    if kind.endswith("_leak"):
        kept = _kept(fields)
        yield _made(record, IP_LEAK, {"kind": kind, **kept}, [kind, *sorted(kept.values())])
    elif address := _forwarded(record):
        payload = {"kind": "x_forwarded_for", "address": address, "service": record.service}
        yield _made(record, IP_LEAK, payload, [address])
    if kind == MAIL and _is_relay_probe(fields):
        identity = [fields.get("mail_from", ""), fields.get("rcpt_to", "")]
        yield _made(record, PROBE_RELAY, {"kind": kind, **_kept(fields)}, identity)


def _fingerprint(record: Record, kind: str, names: tuple[str, ...]) -> Iterator[Loot]:
    identity = [record.fields.get(name, "") for name in names]
    if any(identity):
        payload = {"fingerprint_type": kind, **_kept(record.fields)}
        yield _made(record, FINGERPRINT, payload, [kind, *identity])


def _made(record: Record, kind: str, payload: Mapping[str, Any], identity: list[str]) -> Loot:
    parts = json.dumps([kind, record.attacker_ip, *identity])
    return Loot(kind, dict(payload), hashlib.sha256(parts.encode()).hexdigest())


def _kept(fields: Mapping[str, str]) -> dict[str, str]:
    named = [(name, value) for name, value in fields.items() if name not in _PASSING]
    return {name: value[:VALUE_MOST] for name, value in named[:FIELDS_MOST]}


def _forwarded(record: Record) -> str:
    """The address that a proxy named; a client may write there what it likes, so it is a claim."""
    if record.event_type != "request":
        return ""
    first = record.fields.get("x_forwarded_for", "")[:256].partition(",")[0]
    address = parse_address(first)
    return "" if address == record.attacker_ip else address


def _is_relay_probe(fields: Mapping[str, str]) -> bool:
    domains = _words(fields.get("rcpt_domains", ""))
    return 0 < whole(fields.get("rcpt_count", "")) <= PROBE_RCPTS_MOST and any(
        domain.lower() != DOMAIN for domain in domains
    )


def _attached(fields: Mapping[str, str]) -> list[Attachment]:
    try:
        listed = json.loads(fields.get("attachments", "[]"))
    except (ValueError, RecursionError):  # cut: the hashes alone are there as well
        listed = [{"sha256": sha} for sha in fields.get("attachment_sha256", "").split(",")]
    found: dict[str, Attachment] = {}
    for one in (listed if isinstance(listed, list) else [])[:ATTACHMENTS_MOST]:
        if isinstance(one, dict) and _SHA256.fullmatch(str(one.get("sha256", ""))):
            size, name = str(one.get("size", "")), str(one.get("filename", ""))
            found[one["sha256"]] = Attachment(one["sha256"], whole(size), extension(name))
    return list(found.values())


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip()[:255] for word in text.split(",") if word.strip())[:100]


def _domain(address: str) -> str:
    return address.rpartition("@")[2].strip("<> ")[:255].lower() if "@" in address else ""


def _sha256(text: str) -> str:
    return text if _SHA256.fullmatch(text) else ""
