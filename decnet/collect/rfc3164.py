"""The old syslog format, as `logger`, syslog(3) and traditional log files have it.

    <13>Nov 24 20:21:35 tag[19192]: text             through a local socket: no host
    <13>Nov 24 20:21:35 host tag[19192]: text        over a network
    Nov 24 20:21:35 host tag[19192]: text            in a file: no priority
    2026-11-24T20:21:35.185846+00:00 host tag: text  in a file, as rsyslog's own format

RFC 3164 describes what was seen, it requires nothing; so this reads what begins with a time
and refuses the rest. There is no year and no zone in the old time: the year is the one that
brings it nearest to now, the zone this machine's.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re

from decnet.collect.rfc5424 import INFO, LOCAL0, Message, SyntaxFault

_HEADER = re.compile(
    r"(?:<(?P<priority>\d{1,3})>)?"
    r"(?:(?P<month>[A-Z][a-z]{2}) {1,2}(?P<day>\d{1,2}) (?P<clock>\d\d:\d\d:\d\d)"
    r"|(?P<iso>\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d{1,6})?(?:Z|[+-]\d\d:\d\d)))"
    r" ",
    re.ASCII,
)
_TAG = re.compile(
    r"(?P<tag>[!-9;-Z\\^-~]{1,48})(?:\[(?P<pid>[!-Z\\^-~]{0,128})\])?:(?: |$)", re.ASCII
)
_HOST = re.compile(r"(?P<host>[!-~]{1,255}) ", re.ASCII)
_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def decode(line: str, now: dt.datetime) -> Message:
    """Read one line (without its line feed). The text behind the header is in `msg`.

    Args:
        now: aware; decides the year.
    Raises:
        SyntaxFault: it does not begin as such a line does.
    """
    header = _HEADER.match(line)
    if header is None:
        raise SyntaxFault("no header of RFC 5424 or RFC 3164")
    priority = int(header["priority"]) if header["priority"] else LOCAL0 * 8 + INFO
    if priority > 191:
        raise SyntaxFault("priority above 191")
    if header["iso"]:
        time = _iso(header["iso"])
    else:
        time = _nearest(header["month"], int(header["day"]), header["clock"], now)
    at, host = header.end(), ""
    tag = _TAG.match(line, at)
    if tag is None and (found := _HOST.match(line, at)):
        # Only where a tag follows is the first word a host; else it is text already.
        tag = _TAG.match(line, found.end())
        host = found["host"] if tag is not None else ""
    if tag is not None:
        at = tag.end()
    return Message(
        timestamp=time,
        hostname=host,
        app_name=tag["tag"] if tag is not None else "",
        procid=(tag["pid"] or "") if tag is not None else "",
        msg=line[at:].removeprefix("\ufeff"),
        severity=priority % 8,
        facility=priority // 8,
        version=0,
    )


def _iso(text: str) -> dt.datetime:
    try:
        # 3.11's fromisoformat wants three or six digits behind the point.
        clock, point, rest = text.partition(".")
        if point:
            digits = re.match(r"\d+", rest)
            assert digits is not None
            text = f"{clock}.{digits[0]:0<6}{rest[digits.end() :]}"
        return dt.datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(dt.UTC)
    except (ValueError, OverflowError) as error:
        raise SyntaxFault("no such time") from error


def _nearest(month: str, day: int, clock: str, now: dt.datetime) -> dt.datetime:
    hour, minute, second = (int(part) for part in clock.split(":"))
    times = []
    for year in (now.year - 1, now.year, now.year + 1):
        # The 29th of February is not in every year; a leap second is in none.
        with contextlib.suppress(ValueError, OverflowError):
            local = dt.datetime(year, _MONTHS.index(month) + 1, day, hour, minute, min(second, 59))
            times.append(local.astimezone(dt.UTC))
    if not times:
        raise SyntaxFault("no such time")
    return min(times, key=lambda time: abs(time - now))
