"""collect's way once over a throw-away folder: loot, attachments, mails, old syslog, sockets."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from pathlib import Path

from decnet.collect.rfc5424 import INFO
from decnet.decoys.journal import make_line

_SHA = "ab" * 32
_EVENTS: tuple[tuple[str, dict[str, str]], ...] = (
    ("tls_client_hello", {"ja3": "a", "ja4": "b"}),
    ("upload", {"sha256": _SHA, "filename": "x.sh", "size_bytes": "1"}),
    ("request", {"x_forwarded_for": "198.51.100.1", "path": "/"}),
    (
        "message_accepted",
        {
            "sha256": _SHA,
            "rcpt_count": "1",
            "rcpt_domains": "example.org",
            "mail_from": "a@example.org",
            "attachments": json.dumps([{"sha256": _SHA, "filename": "a.exe", "size": 1}]),
        },
    ),
)


def write_round(spool: Path, number: int) -> None:
    """One more round of events in the spool; every second one is new."""
    now = dt.datetime.now(dt.UTC)
    with spool.open("ab") as file:
        for kind, fields in _EVENTS:
            told = {"src_ip": f"192.0.2.{number // 2}", **fields}
            file.write(make_line("warm", "x", kind, told, None, INFO, now) + b"\n")
        file.write(f"<13>{now:%b %d %H:%M:%S} warm tag[1]: from 192.0.2.1\n".encode())


async def send_stream(path: Path) -> None:
    """A message to the stream socket."""
    _, writer = await asyncio.open_unix_connection(path)
    writer.write(b"<13>Nov 24 20:21:35 warm: x\n")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
