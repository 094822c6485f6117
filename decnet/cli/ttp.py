"""`decnetctl ttp …`: rules, tags, techniques, exports, backfill; straight from the database.

The fleet need not run. What is decided of a rule counts within seconds where it does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import json
import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.cli.database import with_database
from decnet.cli.rest import printable, say
from decnet.db.engine import Database
from decnet.db.tables import TtpRule, utc_now
from decnet.ttp import export, query, states
from decnet.ttp.attack import Attack
from decnet.ttp.backfill import Report
from decnet.ttp.backfill import backfill as fill
from decnet.ttp.catalogue import Catalogue
from decnet.ttp.engine import Verdict
from decnet.ttp.examples import failures
from decnet.ttp.rules import FILE_MOST, read_rules
from decnet.ttp.settings import TtpSettings
from decnet.ttp.shared import get_shared
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError

SIGHTS_MOST = 100_000


def rules(*, as_json: Json = False) -> None:
    """List the rules in force, and what was decided of them."""

    async def read(db: Database) -> tuple[Any, dict[str, Verdict]]:
        async with db.session() as session:
            found = (await session.scalars(select(TtpRule).order_by(col(TtpRule.rule_id)))).all()
            return found, await states.read_verdicts(session)

    found, verdicts = asyncio.run(with_database(read))
    lines = []
    for rule in found:
        verdict = verdicts.get(rule.rule_id)
        counts = verdict is not None and verdict.holds(utc_now())
        lines.append(
            {
                "rule_id": rule.rule_id,
                "rule_version": rule.rule_version,
                "name": rule.name,
                "techniques": rule.techniques,
                "state": verdict.state if verdict and counts else "enabled",
                "confidence_max": verdict.confidence_max if verdict and counts else None,
                "expires_at": verdict.expires_at if verdict and counts else None,
                "reason": verdict.reason if verdict and counts else "",
                "source_path": rule.source_path,
            }
        )
    if as_json:
        say(json.dumps(lines, default=str))
        return
    table = _table("RULE", "STATE", "TECHNIQUES", "NAME")
    for line in lines:
        state = line["state"]
        if state == "clipped":
            state += f" {line['confidence_max']:.2f}"
        if line["expires_at"]:
            state += f" until {line['expires_at']:%m-%d %H:%M}"
        table.add_row(line["rule_id"], state, " ".join(line["techniques"]), printable(line["name"]))
    _show(table, "no rule is loaded; start the worker: decnetctl start ttp" if not lines else "")


def tags(
    *,
    limit: int = 50,
    attacker: str | None = None,
    technique: str | None = None,
    rule: str | None = None,
    as_json: Json = False,
) -> None:
    """List what was found, newest first.

    Args:
        limit: at most so many.
        attacker: only this address, or uuid.
        technique: only this: T1110 (with its sub-techniques), or T1110.001.
        rule: only by this rule.
    """
    wanted = query.Filter(attacker=attacker, technique=technique, rule=rule)

    async def read(db: Database) -> Any:
        async with db.session() as session:
            return await query.tags(session, wanted, limit)

    found = asyncio.run(with_database(read))
    if as_json:
        say(json.dumps([{**tag.model_dump(mode="json"), "ip": ip} for tag, ip in found]))
        return
    attack = get_shared().attack
    table = _table("TIME", "WHO", "TECHNIQUE", "RULE", "SURE", "WHAT")
    for tag, ip in found:
        leaf = tag.sub_technique_id or tag.technique_id
        evidence = " ".join(f"{k}={v}" for k, v in tag.evidence.items())
        table.add_row(
            f"{tag.observed_at:%m-%d %H:%M:%S}",
            printable(ip or f"identity {tag.identity_uuid[:8]}"),
            f"{leaf} {attack.name(leaf)}",
            tag.rule_id,
            f"{tag.confidence:.2f}",
            printable(evidence)[:100],
        )
    _show(table, "nothing was found yet" if not found else "")


def techniques(
    *, attacker: str | None = None, since_days: float | None = None, as_json: Json = False
) -> None:
    """List the techniques that were seen.

    Args:
        attacker: only by this address, or uuid.
        since_days: only of the last days.
    """
    found = asyncio.run(with_database(lambda db: _techniques(db, attacker, since_days)))
    attack = get_shared().attack
    if as_json:
        say(
            json.dumps(
                [
                    {
                        "technique": one.technique,
                        "name": attack.name(one.technique),
                        "tactic": one.tactic,
                        "tags": one.tags,
                        "attackers": one.attackers,
                        "confidence": one.confidence,
                        "first": one.first,
                        "last": one.last,
                    }
                    for one in found
                ],
                default=str,
            )
        )
        return
    table = _table("TECHNIQUE", "NAME", "TACTIC", "WHO", "TAGS", "LAST")
    for one in found:
        tactic = attack.tactics.get(one.tactic)
        table.add_row(
            one.technique,
            attack.name(one.technique),
            tactic.name if tactic else one.tactic,
            str(one.attackers),
            str(one.tags),
            f"{one.last:%m-%d %H:%M:%S}",
        )
    _show(table, "nothing was found yet" if not found else "")


def disable(
    rule: str, *, confidence_max: float | None = None, hours: float | None = None, reason: str = ""
) -> None:
    """Turn a rule off, or clip its confidence.

    Args:
        rule: its id, R0001.
        confidence_max: do not turn it off, only let it be no surer than this (0 to 1).
        hours: only for so long.
        reason: why, for others.
    """
    until = None if hours is None else utc_now() + dt.timedelta(hours=hours)
    state = "disabled" if confidence_max is None else "clipped"
    _decide(rule, Verdict(state, confidence_max, until, reason, getpass.getuser()))
    say(f"{rule} is {state}{'' if until is None else f' until {until:%Y-%m-%d %H:%M} UTC'}")


def enable(rule: str, *, reason: str = "") -> None:
    """Take back what was decided of a rule.

    Args:
        rule: its id, R0001.
        reason: why, for others.
    """
    _decide(rule, Verdict("enabled", None, None, reason, getpass.getuser()))
    say(f"{rule} is enabled")


def check(file: Path) -> int:
    """Try a rule file: faults, and examples that do not hold.

    Args:
        file: YAML, as in DECNET_TTP_RULES_DIR.
    """
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
    found = asyncio.run(with_database(lambda db: _techniques(db, attacker, since_days)))
    whose = f" by {attacker}" if attacker else ""
    layer = export.navigator(get_shared().attack, found, f"Honeypot{whose}", "Seen on decoys")
    say(json.dumps(layer, indent=1))


def stix(*, attacker: str | None = None, since_days: float | None = None) -> None:
    """Print a bundle of STIX 2.1: addresses, what they did, when.

    Args:
        attacker: only what this address, or uuid, did.
        since_days: only of the last days.
    """
    wanted = _filter(attacker, since_days)

    async def read(db: Database) -> list[query.Sight]:
        async with db.session() as session:
            return await query.sights(session, wanted, SIGHTS_MOST + 1)

    found = asyncio.run(with_database(read))
    if len(found) > SIGHTS_MOST:
        sys.stderr.write(f"only the first {SIGHTS_MOST} sightings; use --attacker, --since-days\n")
    bundle = export.stix(get_shared().attack, found[:SIGHTS_MOST], "decnet honeypot")
    say(json.dumps(bundle, indent=1))


# -- below


async def _techniques(
    db: Database, attacker: str | None, since_days: float | None
) -> list[query.TechniqueCount]:
    async with db.session() as session:
        return await query.techniques(session, _filter(attacker, since_days))


def _filter(attacker: str | None, since_days: float | None) -> query.Filter:
    since = None if since_days is None else utc_now() - dt.timedelta(days=since_days)
    return query.Filter(attacker=attacker, since=since)


def _decide(rule: str, verdict: Verdict) -> None:
    async def write(session: AsyncSession) -> None:
        known = await session.get(TtpRule, rule)
        if known is None and rule not in {one.id for one in get_shared().rules}:
            raise ZygoteError(
                f"there is no rule {printable(rule)}",
                code="no-rule",
                hint="decnetctl ttp rules lists them",
                exit_code=Exit.USAGE,
            )
        await states.set_verdict(session, rule, verdict)

    try:
        asyncio.run(with_database(lambda db: db.write(write)))
    except ValueError as error:
        raise ZygoteError(str(error), code="usage", exit_code=Exit.USAGE) from error


def _table(*names: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in names:
        table.add_column(name, justify="right" if name in ("TAGS", "SURE") else "left")
    return table


def _show(table: Table, instead: str) -> None:
    # A pipe has no width: nothing is cut there.
    console = Console(highlight=False, markup=False, width=None if sys.stdout.isatty() else 240)
    console.print(instead or table)
