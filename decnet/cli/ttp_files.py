"""`decnetctl ttp check|backfill|navigator|stix`: files in, files out."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from decnet.cli.database import with_database
from decnet.cli.rest import say
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from decnet.db.engine import Database
    from decnet.ttp import query
    from decnet.ttp.backfill import Report

SIGHTS_MOST = 100_000


def check(file: Path) -> int:
    """Try a rule file: faults, and examples that do not hold.

    Args:
        file: YAML, as in DECNET_TTP_RULES_DIR.
    """
    from decnet.ttp.attack import Attack  # late: --help and completion load no table
    from decnet.ttp.examples import failures
    from decnet.ttp.rules import FILE_MOST, read_rules

    try:
        with file.open("rb") as handle:
            data = handle.read(FILE_MOST + 1)
    except OSError as error:
        raise ZygoteError(f"cannot read {file}: {error.strerror}", code="no-file") from error
    found = read_rules(data, str(file), Attack.load())
    wrong = [failure for rule in found for failure in failures(rule)]
    for line in wrong:
        say(line)
    say(f"{len(found)} rules, {len(wrong)} examples that do not hold")
    return Exit.FAILED if wrong else Exit.DONE


def backfill(
    *,
    since_days: float = 7,
    source: str = "all",
    dry_run: bool = False,
    batch_size: int = 500,
    as_json: Json = False,
) -> None:
    """Apply the rules in force to what happened before. Tells nobody on the bus.

    Args:
        since_days: how far back.
        source: command, canary, all, or one of logs, behavior, intel, identity, reuse.
        dry_run: only count.
        batch_size: rows in one turn (1 to 5000).
    """
    from decnet.ttp.backfill import backfill as fill
    from decnet.ttp.catalogue import Catalogue
    from decnet.ttp.settings import TtpSettings
    from decnet.ttp.shared import get_shared

    catalogue = Catalogue(get_shared(), TtpSettings.from_env().rules_dir)
    catalogue.refresh()

    async def work(db: Database) -> Report:
        return await fill(
            db,
            catalogue,
            since_days=since_days,
            source=source,
            dry_run=dry_run,
            batch_size=min(max(batch_size, 1), 5000),
        )

    try:
        report = asyncio.run(with_database(work))
    except ValueError as error:
        raise ZygoteError(str(error), code="usage", exit_code=Exit.USAGE) from error
    for fault in catalogue.faults.values():
        sys.stderr.write(f"not used: {fault}\n")
    if as_json:
        numbers = {"events": report.events, "tags": report.tags, "new": report.new}
        say(json.dumps({**numbers, "dry_run": dry_run}))
        return
    would = " would be" if dry_run else ""
    say(f"{report.events} events, {report.tags} tags, {report.new}{would} new")


def navigator(*, attacker: str | None = None, since_days: float | None = None) -> None:
    """Print a layer for ATT&CK Navigator: open it there by "Open Existing Layer".

    Args:
        attacker: only what this address, or uuid, did.
        since_days: only of the last days.
    """
    from decnet.ttp import export
    from decnet.ttp.shared import get_shared

    found = asyncio.run(with_database(lambda db: seen_techniques(db, attacker, since_days)))
    whose = f" by {attacker}" if attacker else ""
    layer = export.navigator(get_shared().attack, found, f"Honeypot{whose}", "Seen on decoys")
    say(json.dumps(layer, indent=1))


def stix(*, attacker: str | None = None, since_days: float | None = None) -> None:
    """Print a bundle of STIX 2.1: addresses, what they did, when.

    Args:
        attacker: only what this address, or uuid, did.
        since_days: only of the last days.
    """
    from decnet.ttp import export, query
    from decnet.ttp.shared import get_shared

    wanted = filter_of(attacker, since_days)

    async def read(db: Database) -> list[query.Sight]:
        async with db.session() as session:
            return await query.sights(session, wanted, SIGHTS_MOST + 1)

    found = asyncio.run(with_database(read))
    if len(found) > SIGHTS_MOST:
        sys.stderr.write(f"only the first {SIGHTS_MOST} sightings; use --attacker, --since-days\n")
    bundle = export.stix(get_shared().attack, found[:SIGHTS_MOST], "decnet honeypot")
    say(json.dumps(bundle, indent=1))


async def seen_techniques(
    db: Database, attacker: str | None, since_days: float | None
) -> list[query.TechniqueCount]:
    """The techniques that were seen, by whom and since when."""
    from decnet.ttp import query

    async with db.session() as session:
        return await query.techniques(session, filter_of(attacker, since_days))


def filter_of(attacker: str | None, since_days: float | None) -> query.Filter:
    """The filter that the options mean."""
    from decnet.db.tables import utc_now
    from decnet.ttp import query

    since = None if since_days is None else utc_now() - dt.timedelta(days=since_days)
    return query.Filter(attacker=attacker, since=since)
