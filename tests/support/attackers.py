"""Rows as other workers would have left them, written with a connection of one's own."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import random
import sqlite3
import time
from pathlib import Path

from tests.support.bus import DEADLINE

START = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
KINDS = ("connect", "login_attempt", "command", "request", "rcpt_to")


def address(number: int) -> str:
    """A public address; no packet is ever sent to it."""
    return f"8.8.{number // 250}.{1 + number % 250}"


def write_logs(file: Path, count: int, *, seed: int, addresses: int = 40) -> None:
    """Events of some addresses and a bounty for every tenth, in transactions of many sizes."""
    chance = random.Random(seed)
    with contextlib.closing(sqlite3.connect(file, timeout=DEADLINE)) as connection:
        written = 0
        while written < count:
            time.sleep(chance.uniform(0, 0.01))
            size = min(chance.randrange(1, 60), count - written)
            with connection:
                for _ in range(size):
                    written += 1
                    ip = address(chance.randrange(addresses))
                    when = (START + dt.timedelta(seconds=written)).strftime("%Y-%m-%d %H:%M:%S.%f")
                    kind = chance.choice(KINDS)
                    fields = {"command": f"id {written}", "rcpt_to": f"<a@d{written % 7}.example>"}
                    place = (f"decky-{chance.randrange(300)}", "ssh")
                    connection.execute(
                        "INSERT INTO logs (timestamp, decky, service, event_type, attacker_ip, "
                        "raw_line, fields) VALUES (?, ?, ?, ?, ?, '-', ?)",
                        (when, *place, kind, ip, json.dumps(fields)),
                    )
                    if written % 10 == 0:
                        connection.execute(
                            "INSERT INTO bounty (timestamp, decky, service, attacker_ip, "
                            "bounty_type, payload) VALUES (?, ?, ?, ?, 'artifact', '{}')",
                            (when, *place, ip),
                        )
