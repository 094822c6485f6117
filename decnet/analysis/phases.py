"""How far a visit went: looked around, got in, fetched tools, took things away. Pure.

Of interest is the time from the last look around to the first thing that was carried off: who
needs hours is a person, who needs a second is a program. Kept incrementally, as JSON of bounded
size in the attacker's row.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

LARGE = 1 << 20
"""Bytes of a payload that is counted as large."""
TEXT_MOST = 4096
PIECES_MOST = 64

RECON, ACCESS, EXECUTION, TOOLING, EXFILTRATION = (
    *("recon", "access", "execution"),
    *("tooling", "exfiltration"),
)
_BY_EVENT = {
    "auth_attempt": ACCESS,
    "login_attempt": ACCESS,
    "auth_failure": ACCESS,
    "download_attempt": TOOLING,
    "upload": TOOLING,
    "file_captured": TOOLING,
    "retr": EXFILTRATION,
    "vrfy": RECON,
    "query": RECON,
    "request": RECON,
}
_LOOKING = frozenset(
    {
        *("arch", "cat", "crontab", "df", "dmesg", "env", "find", "free", "getent", "groups"),
        *("head", "hostname", "id", "ifconfig", "ip", "last", "lastlog", "less", "locate", "ls"),
        *("lsblk", "lscpu", "lsmod", "lspci", "lsof", "mount", "netstat", "nmap", "nproc"),
        *("ping", "printenv", "ps", "pwd", "route", "ss", "stat", "top", "tty", "uname"),
        *("uptime", "w", "whereis", "which", "who", "whoami"),
    }
)
_FETCHING = frozenset(
    {
        *("wget", "curl", "tftp", "ftpget", "lwp-download"),
        *("apt", "apt-get", "yum", "dnf", "pip", "git"),
    }
)
_SENDING = re.compile(
    r"""
    \bcurl\b.*\s(-T|--upload-file|--data-binary\s*@|-d\s*@|-F\s*\S+=@)
    | \bwget\b.*\s--post-file
    | \b(scp|rsync)\b.*\s[^-\s]\S*\s+(\S+@)?[\w.-]+::?\S*\s*$
    | \b(nc|ncat|netcat|socat)\b[^<]*<\s*\S
    | \|\s*(nc|ncat|netcat|socat|ssh)\b
    | >\s*/dev/(tcp|udp)/
    | \bftpput\b | \btftp\b.*\s-p\b
    """,
    re.VERBOSE | re.ASCII,
)
_APART = re.compile(r"[;|&\n]+")
_SIZES = ("body_bytes", "payload_bytes", "size_bytes", "bytes")


@dataclass
class Phases:
    """When each phase was first seen and how often, and the way from looking to taking."""

    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    last_recon: dt.datetime | None = None
    """Before the first exfiltration."""
    first_exfil: dt.datetime | None = None
    large_payloads: int = 0

    def add(self, time: dt.datetime, event_type: str, fields: Mapping[str, str]) -> None:
        """One more event."""
        for phase in phases_of(event_type, fields):
            known = self.seen.get(phase)
            if known is None:
                self.seen[phase] = {"first": time.isoformat(), "count": 1}
            else:
                self.seen[phase] = {**known, "count": known["count"] + 1}
            if phase == EXFILTRATION and self.first_exfil is None:
                self.first_exfil = time
            elif phase == RECON and self.first_exfil is None:
                self.last_recon = max(time, self.last_recon or time)
        if event_type != "session_recorded" and payload_size(fields) >= LARGE:
            self.large_payloads += 1

    @property
    def latency(self) -> float | None:
        """Seconds from the last look around to the first thing taken; None where it was not."""
        if self.last_recon is None or self.first_exfil is None:
            return None
        return max(0.0, (self.first_exfil - self.last_recon).total_seconds())

    def as_json(self) -> dict[str, Any]:
        """For `attacker_behavior.phase_sequence`."""
        order = sorted(self.seen, key=lambda phase: self.seen[phase]["first"])
        return {
            "order": order,
            "phases": self.seen,
            "last_recon_at": self.last_recon.isoformat() if self.last_recon else None,
            "first_exfil_at": self.first_exfil.isoformat() if self.first_exfil else None,
            "recon_to_exfil_s": None if self.latency is None else round(self.latency, 3),
            "large_payloads": self.large_payloads,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any] | None) -> Phases:
        """The inverse; an empty one begins anew."""
        if not value or "phases" not in value:
            return cls()
        return cls(
            seen=dict(value["phases"]),
            last_recon=_time(value["last_recon_at"]),
            first_exfil=_time(value["first_exfil_at"]),
            large_payloads=int(value["large_payloads"]),
        )


def phases_of(event_type: str, fields: Mapping[str, str]) -> Iterator[str]:
    """The phases that an event belongs to, each once."""
    if event_type != "command":
        phase = _BY_EVENT.get(event_type)
        if phase is not None:
            yield phase
        return
    text = fields.get("command", fields.get("cmd", ""))[:TEXT_MOST]
    if _SENDING.search(text):
        yield EXFILTRATION
        return
    words = {_program(piece) for piece in _APART.split(text)[:PIECES_MOST]}
    if words & _FETCHING:
        yield TOOLING
    if words & _LOOKING:
        yield RECON
    if words - _FETCHING - _LOOKING - {""}:
        yield EXECUTION


def payload_size(fields: Mapping[str, str]) -> int:
    """Bytes that came with an event, by what it says; 0 where it says nothing."""
    sizes = [fields.get(name, "") for name in _SIZES]
    return max((int(s) for s in sizes if s.isascii() and s.isdigit() and len(s) < 16), default=0)


def _program(piece: str) -> str:
    for word in piece.split(None, 4)[:4]:
        name = word.strip("'\"()").rpartition("/")[2]
        if name not in ("sudo", "nohup", "busybox", "time", "exec") and "=" not in name:
            return name
    return ""


def _time(text: str | None) -> dt.datetime | None:
    return dt.datetime.fromisoformat(text) if text else None
