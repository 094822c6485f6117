"""Syslog lines by RFC 5424: what decoys write and collect reads.

    <134>1 2026-11-24T03:00:00.000001Z decky-01 ssh - command [relay@55555 src_ip="…" …] text

One event a line, so no line break may be in it: `encode` refuses none and escapes all (see
`text.clean`). `decode` is strict about the header and reads any structured data that the RFC
allows. For every message of clean text, decode(encode(m)) == m.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass, field

from decnet.collect.text import clean

LOCAL0 = 16
ERROR, WARNING, INFO = 3, 4, 6
"""Severities that decoys use."""
NIL = "-"
HOSTNAME_MOST, APP_NAME_MOST, PROCID_MOST, MSGID_MOST = 255, 48, 128, 32

Params = tuple[tuple[str, str], ...]

_HEADER = re.compile(
    r"<(\d{1,3})>([1-9]\d{0,2}) ([!-~]{1,40}) ([!-~]{1,255}) ([!-~]{1,48}) ([!-~]{1,128})"
    r" ([!-~]{1,32}) ",
    re.ASCII,
)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d{1,6})?)(Z|[+-]\d\d:\d\d)", re.ASCII)
_NAME = re.compile(r"[!#-<>-\\^-~]{1,32}", re.ASCII)
_PLAIN = re.compile(r'[^"\\\]]*')
_TO_ESCAPE = re.compile(r'(["\\\]])')


class SyntaxFault(ValueError):
    """Not a line of RFC 5424; the text says where it stops being one."""


@dataclass(frozen=True)
class Element:
    """One structured-data element: its SD-ID and parameters in order (names may repeat)."""

    id: str
    params: Params = ()


@dataclass(frozen=True)
class Message:
    """One syslog message. `None` and "" stand for the NILVALUE "-" where the RFC has one."""

    timestamp: dt.datetime | None
    hostname: str = ""
    app_name: str = ""
    procid: str = ""
    msgid: str = ""
    elements: tuple[Element, ...] = ()
    msg: str | None = None
    severity: int = INFO
    facility: int = LOCAL0
    version: int = field(default=1, compare=False)


def encode(message: Message) -> str:
    """The line, without a line feed. Names are forced into what the RFC allows.

    Raises:
        ValueError: a timestamp without zone, or a priority out of range.
    """
    if not (0 <= message.facility <= 23 and 0 <= message.severity <= 7):
        raise ValueError(f"no priority: {message.facility}.{message.severity}")
    data = "".join(
        "[" + sd_name(e.id) + "".join(f' {sd_name(n)}="{_value(v)}"' for n, v in e.params) + "]"
        for e in message.elements
    )
    parts = [
        f"<{message.facility * 8 + message.severity}>{message.version}",
        _time(message.timestamp),
        header_name(message.hostname, HOSTNAME_MOST),
        header_name(message.app_name, APP_NAME_MOST),
        header_name(message.procid, PROCID_MOST),
        header_name(message.msgid, MSGID_MOST),
        data or NIL,
    ]
    if message.msg is not None:
        parts.append(clean(message.msg))
    return " ".join(parts)


def decode(line: str) -> Message:
    """Read one line (without its line feed).

    Raises:
        SyntaxFault: it is not RFC 5424.
    """
    header = _HEADER.match(line)
    if header is None:
        raise SyntaxFault("no header")
    priority, version, time, hostname, app_name, procid, msgid = header.groups()
    if int(priority) > 191:
        raise SyntaxFault("priority above 191")
    at, elements = _elements(line, header.end())
    if at == len(line):
        msg = None
    elif line[at] == " ":
        msg = line[at + 1 :].removeprefix("\ufeff")
    else:
        raise SyntaxFault(f"no space after the structured data, at {at}")
    return Message(
        timestamp=None if time == NIL else _read_time(time),
        hostname=_not_nil(hostname),
        app_name=_not_nil(app_name),
        procid=_not_nil(procid),
        msgid=_not_nil(msgid),
        elements=elements,
        msg=msg,
        severity=int(priority) % 8,
        facility=int(priority) // 8,
        version=int(version),
    )


def header_name(text: str, most: int) -> str:
    """A header field: printable ASCII without spaces, cut at `most`; "-" for nothing."""
    return "".join(c if "!" <= c <= "~" else "_" for c in text[:most]) or NIL


def sd_name(text: str) -> str:
    """An SD-ID or parameter name: what it may not hold becomes "_"; at most 32 characters."""
    safe = "".join(c if _NAME.fullmatch(c) else "_" for c in text[:32])
    return safe or "_"


def _value(text: str) -> str:
    return _TO_ESCAPE.sub(r"\\\1", clean(text))


def _time(time: dt.datetime | None) -> str:
    if time is None:
        return NIL
    if time.tzinfo is None:
        raise ValueError("a timestamp needs a zone")
    return time.astimezone(dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _read_time(text: str) -> dt.datetime:
    match = _TIME.fullmatch(text)
    if match is None:
        raise SyntaxFault("no timestamp")
    day, clock, zone = match.groups()
    # Six digits: 3.11's fromisoformat takes any number of them, but says nothing of rounding.
    whole, _, fraction = clock.partition(".")
    zone = "+00:00" if zone == "Z" else zone
    try:
        time = dt.datetime.fromisoformat(f"{day}T{whole}.{fraction:0<6}{zone}")
        return time.astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise SyntaxFault("no such time") from error


def _not_nil(text: str) -> str:
    return "" if text == NIL else text


def _elements(line: str, at: int) -> tuple[int, tuple[Element, ...]]:
    """Where the structured data ends, and what it holds."""
    if line.startswith(NIL, at):
        return at + 1, ()
    found = []
    while line.startswith("[", at):
        at, element = _element(line, at)
        found.append(element)
    if not found:
        raise SyntaxFault(f"no structured data at {at}")
    return at, tuple(found)


def _element(line: str, at: int) -> tuple[int, Element]:
    name = _NAME.match(line, at + 1)
    if name is None:
        raise SyntaxFault(f"no SD-ID at {at + 1}")
    at, params = name.end(), []
    while line.startswith(" ", at):
        key = _NAME.match(line, at + 1)
        if key is None or not line.startswith('="', key.end()):
            raise SyntaxFault(f"no parameter at {at + 1}")
        at, value = _param_value(line, key.end() + 2)
        params.append((key.group(), value))
    if not line.startswith("]", at):
        raise SyntaxFault(f"the element is not closed at {at}")
    return at + 1, Element(name.group(), tuple(params))


def _param_value(line: str, at: int) -> tuple[int, str]:
    """Read up to the closing quote. A backslash escapes a quote, a backslash and a bracket only."""
    parts = []
    while True:
        plain = _PLAIN.match(line, at)
        assert plain is not None
        parts.append(plain.group())
        at = plain.end()
        if at == len(line):
            raise SyntaxFault("a value is not closed")
        if line[at] == '"':
            return at + 1, "".join(parts)
        if line[at] == "]":
            raise SyntaxFault(f"a bare ] in a value at {at}")
        escaped = line[at + 1 : at + 2]
        is_escape = escaped != "" and escaped in '"\\]'
        parts.append(escaped if is_escape else "\\")
        at += 2 if is_escape else 1
