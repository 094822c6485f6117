"""From one line of a spool file to what is stored: never raises, whatever the line holds."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import hashlib
import json
import re
from dataclasses import dataclass, field

from decnet.collect import rfc3164, rfc5424
from decnet.collect.address import UNKNOWN, attacker_address
from decnet.collect.text import ascii_only, clean, clean_bytes, cut

SD_ID = "relay@55555"
PARSE_ERROR = "parse_error"
LINE_MOST = 64 << 10
"""Bytes in a line; a longer one is stored by its head."""
HEAD_MOST = 4096
"""Characters that are kept of a line that could not be read."""
SECRET_MOST = 4096
"""Bytes of a secret."""
AHEAD = dt.timedelta(days=1)
SHIPPED = "ship@"
"""A file of this name holds what a machine of the name behind it has sent; see `decnet.ship`."""
SOURCE_FIELD = "source_worker"

_DOCKER = b'{"log":"'
_PAIRS = re.compile(r"(?<!\S)(uid|user|src|pwd)=(\S{1,256})", re.ASCII)
_COMMAND = re.compile(r"(?<!\S)cmd=(.*)", re.ASCII | re.DOTALL)


@dataclass(frozen=True)
class Secret:
    """A credential that an event carries."""

    principal: str
    kind: str
    sha256: str
    b64: str
    printable: str
    outcome: str | None


@dataclass(frozen=True)
class Record:
    """One event, all of its text clean. `fault` is set where the line was no event."""

    timestamp: dt.datetime
    decky: str
    service: str
    event_type: str
    attacker_ip: str
    raw_line: str
    fields: dict[str, str] = field(default_factory=dict)
    msg: str | None = None
    secret: Secret | None = None
    fault: str = ""


def read_line(line: bytes, source: str, now: dt.datetime) -> Record:
    """The event in a line (without line feed), or a record of why it is none.

    Args:
        line: bytes of any kind.
        source: name of the file, for a line that does not say where it comes from.
        now: when it was read; stands in for a missing or absurd timestamp.
    """
    if len(line) > LINE_MOST:
        return fault(line, "too_long", source, now)
    try:
        text = line.decode()
    except UnicodeDecodeError:
        return fault(line, "not_utf8", source, now)
    try:
        message = _decode(_unwrapped(text) if line.startswith(_DOCKER) else text, now)
    except rfc5424.SyntaxFault as error:
        return fault(line, "not_rfc5424", source, now, detail=str(error))
    fields = _fields(message)
    msg = None if message.msg is None else clean(message.msg)
    if not message.elements and msg:
        fields |= _typed(msg)
    fields |= _shipped(source)
    time = message.timestamp
    return Record(
        timestamp=now if time is None or time > now + AHEAD else time,
        decky=message.hostname or UNKNOWN,
        service=message.app_name or UNKNOWN,
        event_type=message.msgid or ("command" if "command" in fields else "unknown"),
        attacker_ip=attacker_address(fields, msg or ""),
        raw_line=clean(text),
        fields=fields,
        msg=msg,
        secret=_secret(fields),
    )


def fault(
    line: bytes, reason: str, source: str, now: dt.datetime, *, detail: str = "", size: int = 0
) -> Record:
    """A record of a line that could not be stored as an event: its head and the reason.

    Args:
        size: the line's whole length where `line` is only its head.
    """
    head, shortened = cut(clean_bytes(line[:HEAD_MOST]), HEAD_MOST)
    fields = {"reason": reason, "size": str(size or len(line))}
    if detail:
        fields["detail"] = detail
    fields |= _shipped(source)
    if shortened or len(line) > HEAD_MOST:
        fields["truncated"] = "raw_line"
    return Record(
        timestamp=now,
        decky=UNKNOWN,
        service=clean(source)[:64],
        event_type=PARSE_ERROR,
        attacker_ip=UNKNOWN,
        raw_line=head,
        fields=fields,
        fault=reason,
    )


def _shipped(source: str) -> dict[str, str]:
    """The machine that sent it, by its certificate: whatever the line itself says of that."""
    if not source.startswith(SHIPPED):
        return {}
    return {SOURCE_FIELD: clean(source.removeprefix(SHIPPED))}


def _decode(text: str, now: dt.datetime) -> rfc5424.Message:
    try:
        return rfc5424.decode(text)
    except rfc5424.SyntaxFault as error:
        try:
            return rfc3164.decode(text, now)
        except rfc5424.SyntaxFault:
            raise error from None


def _unwrapped(text: str) -> str:
    """What Docker's json-file log driver put into a line; the line itself where it is none."""
    try:
        wrapped = json.loads(text)
        return str(wrapped["log"]).rstrip("\r\n")
    except (ValueError, KeyError, TypeError, RecursionError):
        return text


def _typed(msg: str) -> dict[str, str]:
    """A command that a shell of a real sshd reported as text: `… src=ADDRESS pwd=DIR cmd=…`.

    `cmd` comes last and takes the rest, so nothing that was typed stands for another field.
    """
    command = _COMMAND.search(msg)
    if command is None:
        return {}
    fields = dict(_PAIRS.findall(msg[: command.start()]))
    return {**fields, "command": command[1]}


def _fields(message: rfc5424.Message) -> dict[str, str]:
    """Parameters of our element (of all, where it is not there); repeated names are joined."""
    ours = [e for e in message.elements if e.id == SD_ID] or message.elements
    fields: dict[str, str] = {}
    for element in ours:
        for name, value in element.params:
            value = clean(value)
            fields[name] = f"{fields[name]}, {value}" if name in fields else value
    return fields


def _secret(fields: dict[str, str]) -> Secret | None:
    """The credential in the fields; None where `secret_b64` is missing or is no base64."""
    if "secret_b64" not in fields:
        return None
    try:
        secret = base64.b64decode(fields["secret_b64"], validate=True)
    except (binascii.Error, ValueError):
        return None
    if len(secret) > SECRET_MOST:
        return None
    return Secret(
        principal=fields.get("principal") or fields.get("username", ""),
        kind=fields.get("secret_kind") or "plaintext",
        sha256=hashlib.sha256(secret).hexdigest(),
        b64=base64.b64encode(secret).decode(),
        printable=fields.get("secret_printable", ascii_only(secret)),
        outcome=fields.get("outcome"),
    )
