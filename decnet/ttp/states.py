"""What was decided of rules (`ttp_rule_state`), and the list of those in force (`ttp_rule`)."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.db.dialect import upsert
from decnet.db.tables import TtpRule, TtpRuleState, utc_now
from decnet.ttp.engine import Verdict
from decnet.ttp.rules import Rule

STATES = ("enabled", "disabled", "clipped")
WORKER = "ttp"
"""`set_by` of what the worker itself decided."""
SUPPRESSED = dt.timedelta(hours=1)


async def read_verdicts(session: AsyncSession) -> dict[str, Verdict]:
    """All that was decided, by rule; whether it still counts is `Verdict.holds`."""
    rows = (await session.scalars(select(TtpRuleState))).all()
    return {
        row.rule_id: Verdict(
            row.state,
            row.confidence_max if row.state == "clipped" else None,
            row.expires_at,
            row.reason,
            row.set_by,
        )
        for row in rows
    }


async def set_verdict(session: AsyncSession, rule_id: str, verdict: Verdict) -> None:
    """Decide, in the caller's transaction; "enabled" takes earlier decisions back.

    Raises:
        ValueError: no such state, or "clipped" without a ceiling from 0 to 1.
    """
    ceiling = verdict.confidence_max
    if verdict.state not in STATES:
        raise ValueError(f"{verdict.state!r} is none of {', '.join(STATES)}")
    if verdict.state == "clipped" and not (ceiling is not None and 0 <= ceiling <= 1):
        raise ValueError("a clipped rule needs a confidence_max from 0 to 1")
    row = {
        "rule_id": rule_id,
        "state": verdict.state,
        "confidence_max": ceiling if verdict.state == "clipped" else None,
        "expires_at": verdict.expires_at,
        "reason": verdict.reason[:500],
        "set_by": verdict.set_by[:64],
        "updated_at": utc_now(),
    }
    update = [name for name in row if name != "rule_id"]
    await session.execute(upsert(session, TtpRuleState, row, key=["rule_id"], update=update))


async def forget_verdict(session: AsyncSession, rule_id: str, set_by: str) -> None:
    """Take back what `set_by` decided of a rule, if anything."""
    await session.execute(
        delete(TtpRuleState).where(
            col(TtpRuleState.rule_id) == rule_id, col(TtpRuleState.set_by) == set_by
        )
    )


async def write_rules(session: AsyncSession, rules: Mapping[str, Rule]) -> None:
    """Make `ttp_rule` say what is in force; rows that say so already stay as they are."""
    found = (await session.execute(select(col(TtpRule.rule_id), col(TtpRule.yaml_content)))).all()
    known = {rule_id: content for rule_id, content in found}  # noqa: C416 -- a Row
    gone = sorted(set(known) - set(rules))
    if gone:
        await session.execute(delete(TtpRule).where(col(TtpRule.rule_id).in_(gone)))
    now = utc_now()
    rows = [
        {
            "rule_id": rule.id,
            "rule_version": rule.version,
            "name": rule.name,
            "source_path": rule.source,
            "yaml_content": rule.content,
            "techniques": rule.techniques,
            "loaded_at": now,
        }
        for rule in rules.values()
        if known.get(rule.id) != rule.content
    ]
    if rows:
        update = [name for name in rows[0] if name != "rule_id"]
        await session.execute(upsert(session, TtpRule, {}, key=["rule_id"], update=update), rows)


async def old_contents(session: AsyncSession, folder: Path) -> dict[str, list[str]]:
    """What was loaded last from each file of the operator's folder, rule by rule."""
    found: dict[str, list[str]] = {}
    rows = await session.execute(select(col(TtpRule.source_path), col(TtpRule.yaml_content)))
    for source, content in rows:
        path = Path(source)
        if path.parent == folder:
            found.setdefault(path.name, []).append(content)
    return found
