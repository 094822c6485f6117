"""`decnetctl export`: what was seen, for other tools. From the database: the fleet need not run."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import App, Parameter

from decnet.cli.database import with_database
from zygote.errors import ZygoteError

if TYPE_CHECKING:
    from decnet.db.engine import Database

export = App(name="export", help="What was seen, for other tools: STIX, ATT&CK Navigator, CSV.")
Out = Annotated[
    Path | None, Parameter(name=["--out", "-o"], help="Into this file, whole or not at all.")
]
What = Literal["visits", "attackers", "credentials", "sessions", "techniques"]
FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""Spreadsheets take a cell that begins so for a formula, and attackers know that."""


@export.command
def stix(*, attacker: str | None = None, since_days: float | None = None, out: Out = None) -> None:
    """Print a bundle of STIX 2.1: addresses, what they did, when.

    Args:
        attacker: only what this address, or uuid, did.
        since_days: only of the last days.
    """
    from decnet.cli import ttp_files  # late: --help and completion load no table

    with _written(out):
        ttp_files.stix(attacker=attacker, since_days=since_days)


@export.command
def navigator(
    *, attacker: str | None = None, since_days: float | None = None, out: Out = None
) -> None:
    """Print a layer for ATT&CK Navigator: open it there by "Open Existing Layer".

    Args:
        attacker: only what this address, or uuid, did.
        since_days: only of the last days.
    """
    from decnet.cli import ttp_files

    with _written(out):
        ttp_files.navigator(attacker=attacker, since_days=since_days)


@export.command(name="csv")
def csv_(
    what: What = "visits",
    /,
    *,
    attacker: str | None = None,
    since_days: float | None = None,
    raw: bool = False,
    out: Out = None,
) -> None:
    """Print a table as CSV (RFC 4180, UTF-8, times in UTC).

    Args:
        what: visits (every event), attackers, credentials, sessions, or techniques.
        attacker: only of this address.
        since_days: only of the last days.
        raw: cells as they are. Without it a cell that a spreadsheet would take for a formula
            gets an apostrophe in front: attackers choose much of what stands here.
    """

    from decnet.export.rows import HEADS, batches

    async def work(db: Database) -> None:
        writer = csv.writer(sys.stdout, lineterminator="\r\n")
        writer.writerow(HEADS[what])
        async for rows in batches(db, what, attacker, since_days):
            writer.writerows([[_cell(value, raw) for value in row] for row in rows])

    with _written(out):
        asyncio.run(with_database(work))


def _cell(value: object, raw: bool) -> str:
    text = "" if value is None else str(value)
    # Python writes no lone surrogate as UTF-8, and an attacker's byte may be one.
    text = text.encode("utf-8", "backslashreplace").decode()
    return f"'{text}" if not raw and text.startswith(FORMULA) and not _is_number(text) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def _written(out: Path | None) -> Iterator[None]:
    """stdout, or for that while a file that takes its place when all went well."""
    if out is None:
        yield
        return
    try:
        handle, draft = tempfile.mkstemp(prefix=f".{out.name}.", dir=out.absolute().parent)
    except OSError as error:
        raise _unwritable(out, error) from error
    try:
        # mkstemp makes it 0600: it holds what attackers typed.
        with os.fdopen(handle, "w", encoding="utf-8", newline="") as file:
            with contextlib.redirect_stdout(file):
                yield
        Path(draft).replace(out)
    except OSError as error:
        raise _unwritable(out, error) from error
    finally:
        Path(draft).unlink(missing_ok=True)
    sys.stderr.write(f"{out}: {out.stat().st_size} bytes\n")


def _unwritable(out: Path, error: OSError) -> ZygoteError:
    return ZygoteError(
        f"cannot write {out}: {error.strerror}", code="no-file", hint="name another file: --out"
    )
