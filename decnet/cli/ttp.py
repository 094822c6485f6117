"""`decnetctl ttp …`: rules, tags, techniques, exports, backfill; straight from the database.

The fleet need not run. What is decided of a rule counts within seconds where it does.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import json
import sys
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from decnet.cli.database import with_database
from decnet.cli.rest import printable, say
from decnet.cli.ttp_files import seen_techniques
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from decnet.db.engine import Database
    from decnet.ttp.engine import Verdict


def rules(*, as_json: Json = False) -> None:
    """List the rules in force, and what was decided of them."""

    from sqlmodel import col, select  # late: --help and completion load no table

    from decnet.db.tables import TtpRule, utc_now
    from decnet.ttp import states

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
    _show(table, "no rule is loaded; start the worker: decnetctl spawn ttp" if not lines else "")


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
    from decnet.ttp import query
    from decnet.ttp.shared import get_shared

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
    from decnet.ttp.shared import get_shared

    found = asyncio.run(with_database(lambda db: seen_techniques(db, attacker, since_days)))
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
    from decnet.db.tables import utc_now
    from decnet.ttp.engine import Verdict

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
    from decnet.ttp.engine import Verdict

    _decide(rule, Verdict("enabled", None, None, reason, getpass.getuser()))
    say(f"{rule} is enabled")


# -- below


def _decide(rule: str, verdict: Verdict) -> None:
    from decnet.db.tables import TtpRule
    from decnet.ttp import states
    from decnet.ttp.shared import get_shared

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
