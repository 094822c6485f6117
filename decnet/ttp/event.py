"""What rules look at: one event of any source, as named texts. Pure.

Attackers hide words behind quotes, backslashes and percent signs; `derive` adds the texts as a
shell or a web server would have read them, so that rules need no pattern for each disguise.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_plus

from decnet.collect.text import clean, cut

TEXT_MOST = 4096
"""Characters of a text that patterns are tried on; what is longer is counted."""
EVIDENCE_MOST = 256

KINDS = (
    *("command", "auth_attempt", "http_request", "payload", "session", "credential", "email"),
    *("intel", "identity", "canary_fingerprint", "http_fingerprint", "ipv6_leak", "behavior"),
)
_KIND_OF = {
    "command": "command",
    "login_attempt": "auth_attempt",
    "auth_attempt": "auth_attempt",
    "auth_failure": "auth_attempt",
    "request": "http_request",
    "session_recorded": "session",
    "message_accepted": "email",
    "ipv6_leak": "ipv6_leak",
    "tls_client_hello": "http_fingerprint",
    "http_fingerprint": "http_fingerprint",
    "http_request_fingerprint": "http_fingerprint",
    "tls_session": "http_fingerprint",
}
SILENT = frozenset(
    {
        *("connect", "connection", "accept", "disconnect", "close", "startup", "shutdown"),
        *("parse_error", "decky_mutated", "amp_probe_reply"),
    }
)
"""Event types that say nothing of a technique."""
EVENT_TYPES = {kind: [t for t, k in _KIND_OF.items() if k == kind] for kind in KINDS}
"""Kind -> the event types that are it; all others that are not silent are payloads."""

_NO_TEXT = frozenset(
    {
        *("src_ip", "src_port", "session_id", "secret_b64", "secret_printable", "shard_path"),
        *("sha256", "status", "uid", "version", "outcome", "truncated"),
    }
)
_DISGUISE = re.compile(r"\$\{?IFS(?:%\?\?)?\}?(?:\$\d)?", re.ASCII)
_QUOTES = re.compile(r"""['"`\\]""")


@dataclass(slots=True)
class Event:
    """One thing that happened, or one row that says something of an attacker or an identity.

    `id` names it within its kind and is the same whenever it is read. `data` holds what is no
    text: lists, numbers, for lifters.
    """

    kind: str
    id: str
    time: dt.datetime
    fields: dict[str, str]
    attacker_ip: str = ""
    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    decky: str | None = None
    service: str = ""
    number: int = 0
    """`logs.id`, where it is from there."""
    may_add_attacker: bool = False
    """Whoever did this is an attacker even if no decoy saw the address."""
    data: dict[str, Any] = field(default_factory=dict)
    was_cut: bool = False

    def text(self, name: str) -> str:
        """The field's text, bounded; "" where there is none."""
        value = self.fields.get(name, "")
        if len(value) > TEXT_MOST:
            self.was_cut = True
            return value[:TEXT_MOST]
        return value

    def evidence(self, names: tuple[str, ...]) -> dict[str, str]:
        """The fields that prove it, cut and clean; those that are there."""
        return {name: shown(self.fields[name]) for name in names if self.fields.get(name)}


def shown(text: str) -> str:
    """Hostile text as evidence: printable, at most `EVIDENCE_MOST` characters."""
    return cut(clean(text[:EVIDENCE_MOST]), EVIDENCE_MOST)[0]


def kind_of(event_type: str) -> str | None:
    """The kind of a decoy's event; None where it says nothing."""
    return None if event_type in SILENT else _KIND_OF.get(event_type, "payload")


def of_log(row: Any) -> Event | None:
    """From a row of `logs`; None where it says nothing of a technique."""
    kind = kind_of(row.event_type)
    if kind is None:
        return None
    raw = row.fields if isinstance(row.fields, dict) else {}
    fields = {str(k): v for k, v in raw.items() if isinstance(v, str)}
    if row.msg:
        fields.setdefault("msg", row.msg)
    fields["event_type"] = row.event_type
    fields["service"] = row.service
    return Event(
        kind=kind,
        id=str(row.id),
        time=row.timestamp,
        fields=derive(kind, fields),
        attacker_ip=row.attacker_ip,
        session_id=fields.get("session_id", "")[:128] or None,
        decky=row.decky,
        service=row.service,
        number=row.id,
    )


def derive(kind: str, fields: Mapping[str, str]) -> dict[str, str]:
    """The fields with those that follow from them.

    command: `command` (whatever it was called), `plain` (as a shell would have read it).
    http_request: `url` (decoded twice), `everything` (with body and headers that carry attacks).
    payload: `text` (event type and all values).
    email: `from_domain`, `rcpt_domains`.
    """
    made = dict(fields)
    if kind == "command":
        command = made.get("command") or made.get("cmd") or made.get("msg", "")
        made["command"] = command
        made["plain"] = _QUOTES.sub("", _DISGUISE.sub(" ", command[: 2 * TEXT_MOST]))
    elif kind == "http_request":
        query = f"?{made['query']}" if made.get("query") else ""
        url = _decoded(made.get("path", "") + query)
        made["url"] = url
        parts = [url, _decoded(made.get("body", ""))]
        parts += [made.get(n, "") for n in ("user_agent", "referer", "x_forwarded_for", "cookie")]
        # Parted by what no request holds: a line feed would look like one of the attacker's.
        made["everything"] = " \x1f ".join(part for part in parts if part)
    elif kind == "payload":
        texts = [v for k, v in made.items() if k not in _NO_TEXT and k != "event_type"]
        made["text"] = " ".join([made.get("event_type", ""), *texts])
    elif kind == "email":
        made["from_domain"] = domain_of(made.get("mail_from") or made.get("from", ""))
        listed = made.get("rcpt_domains", "").replace(",", " ").split()
        found = set(listed) or {
            domain_of(a) for a in made.get("rcpt_to", "").replace(";", ",").split(",")
        }
        made["rcpt_domains"] = " ".join(sorted(found - {""}))
    return made


def domain_of(address: str) -> str:
    """What stands behind the last @, small; "" where there is none."""
    name, at, domain = address.strip(" <>\"'").rpartition("@")
    return domain.rstrip(">. ").lower()[:255] if at and name else ""


def _decoded(text: str) -> str:
    """Percent signs undone twice, as careless servers do; never longer than it was."""
    text = text[: 4 * TEXT_MOST]
    for _ in range(2):
        if "%" not in text and "+" not in text:
            break
        text = unquote_plus(text, errors="replace")
    return text
