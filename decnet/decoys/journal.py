"""What a decoy says of a visit: events with fields, as lines of bounded length.

Nothing that an attacker sends can break a line or grow it without end: text is cleaned, each
field is cut, the line as a whole is bounded, and what was cut is named in the field `truncated`.
"""

from __future__ import annotations

import base64
import datetime as dt
from collections.abc import Mapping

from decnet.collect import rfc5424
from decnet.collect.record import SD_ID, SECRET_MOST
from decnet.collect.text import ascii_only, clean, cut
from decnet.decoys.spool import Spool

VALUE_MOST = 4096
"""Characters of a field."""
LINE_MOST = 32 << 10
"""Bytes of a line; half of what `collect` takes."""


class Journal:
    """Writes one service's events into a spool."""

    def __init__(self, spool: Spool, decky: str, service: str) -> None:
        self._spool = spool
        self.decky = decky
        self.service = service

    def event(
        self,
        event_type: str,
        fields: Mapping[str, object] | None = None,
        *,
        msg: str | None = None,
        severity: int = rfc5424.INFO,
    ) -> None:
        """Record an event now; never raises. Fields that are None or "" are left out."""
        values = {k: str(v) for k, v in (fields or {}).items() if v not in (None, "")}
        line = make_line(
            self.decky, self.service, event_type, values, msg, severity, dt.datetime.now(dt.UTC)
        )
        self._spool.append(line)

    def secret(
        self,
        event_type: str,
        fields: Mapping[str, object],
        *,
        principal: str,
        secret: bytes,
        kind: str = "plaintext",
        outcome: str = "",
    ) -> None:
        """Record a credential that was tried: its exact bytes as base64, and readably."""
        self.event(
            event_type,
            {
                **fields,
                "principal": principal,
                "secret_printable": ascii_only(secret[:256]),
                # A secret cut short would be another secret: too long is not a credential.
                "secret_b64": base64.b64encode(secret).decode()
                if len(secret) <= SECRET_MOST // 2
                else "",
                "secret_kind": kind,
                "outcome": outcome,
            },
        )


def make_line(
    decky: str,
    service: str,
    event_type: str,
    fields: Mapping[str, str],
    msg: str | None,
    severity: int,
    time: dt.datetime,
) -> bytes:
    """The line's bytes, at most `LINE_MOST`; pure."""
    most = VALUE_MOST
    while True:
        line = _line(decky, service, event_type, fields, msg, severity, time, most)
        if len(line) <= LINE_MOST:
            return line
        # Escapes and quotes make it longer than the fields are: halve until it fits.
        most //= 2


def _line(
    decky: str,
    service: str,
    event_type: str,
    fields: Mapping[str, str],
    msg: str | None,
    severity: int,
    time: dt.datetime,
    most: int,
) -> bytes:
    params, shortened = [], []
    for name, value in fields.items():
        # Cut before cleaning: a megabyte is not to be escaped first. Then again: it has grown.
        short, was_cut = cut(value, most)
        short, grew = cut(clean(short), most)
        params.append((name, short))
        if was_cut or grew:
            shortened.append(name)
    if shortened:
        params.append(("truncated", ",".join(shortened)[:most]))
    message = rfc5424.Message(
        timestamp=time,
        hostname=decky,
        app_name=service,
        msgid=event_type,
        elements=(rfc5424.Element(SD_ID, tuple(params)),),
        msg=None if msg is None else cut(clean(msg[:most]), most)[0],
        severity=severity,
    )
    return rfc5424.encode(message).encode()
