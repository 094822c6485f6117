"""A queue of tasks in an SQLite file, in the manner of Celery: what is sent is done at most once.

A connection is made where it is used, so never before the fork.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

TASKS: dict[str, Callable[..., str]] = {}


def task(function: Callable[..., str]) -> Callable[..., str]:
    """Make a function known to the worker, by its name."""
    TASKS[function.__name__] = function
    return function


def connect() -> sqlite3.Connection:
    """Open the file; $SHOP_DATA is its folder."""
    file = Path(os.environ.get("SHOP_DATA", "."), "shop.db")
    database = sqlite3.connect(file, timeout=10, isolation_level=None)
    database.execute(
        "CREATE TABLE IF NOT EXISTS tasks "
        "(id INTEGER PRIMARY KEY, name TEXT, words TEXT, state TEXT, result TEXT)"
    )
    return database


def send(name: str, *words: Any) -> int:
    """Queue a task; gives its number."""
    with closing(connect()) as database:
        added = database.execute(
            "INSERT INTO tasks (name, words, state) VALUES (?, ?, 'waiting')",
            (name, json.dumps(words)),
        )
        return added.lastrowid or 0


def look(number: int) -> dict[str, Any] | None:
    """How a task is."""
    with closing(connect()) as database:
        row = database.execute("SELECT state, result FROM tasks WHERE id = ?", (number,)).fetchone()
    return {"id": number, "state": row[0], "result": row[1]} if row else None


def work_once() -> bool:
    """Take the oldest waiting task and do it; False if there is none."""
    with closing(connect()) as database:
        row = database.execute(
            "UPDATE tasks SET state = 'taken' WHERE id = "
            "(SELECT id FROM tasks WHERE state = 'waiting' ORDER BY id LIMIT 1) "
            "RETURNING id, name, words"
        ).fetchone()
        if row is None:
            return False
        number, name, words = row
        result = TASKS[name](*json.loads(words))
        database.execute(
            "UPDATE tasks SET state = 'done', result = ? WHERE id = ?", (result, number)
        )
        return True
