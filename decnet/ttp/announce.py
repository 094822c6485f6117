"""What is told on the bus, after the commit: new tags by whose they are, and news of rules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.models import TtpRuleFired, TtpRuleNews, TtpTagged
from decnet.ttp.catalogue import Change
from decnet.ttp.engine import Verdict

TAGS_MOST = 200
"""Ids in one event; a batch with more gives several."""


def tagged(bus: BusClient, rows: Iterable[Mapping[str, Any]]) -> None:
    """`ttp.tagged` per attacker, identity and session; `ttp.rule.fired.<T>` per technique."""
    whose: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    what: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        owner = (row["attacker_uuid"], row["identity_uuid"], row["session_id"])
        whose.setdefault(owner, []).append(row)
        what.setdefault(row["technique_id"], []).append(row)
    for (attacker, identity, session), theirs in whose.items():
        for at in range(0, len(theirs), TAGS_MOST):
            part = theirs[at : at + TAGS_MOST]
            payload = TtpTagged(
                attacker_uuid=attacker,
                identity_uuid=identity,
                session_id=session,
                tag_uuids=[row["uuid"] for row in part],
                techniques_added=sorted({leaf(row) for row in part}),
            )
            bus.publish(topics.TTP_TAGGED, payload)
    for technique, fired in what.items():
        subs = {row["sub_technique_id"] for row in fired} - {None}
        news = TtpRuleFired(
            technique_id=technique,
            sub_technique_ids=sorted(subs),
            rule_ids=sorted({row["rule_id"] for row in fired}),
            count=len(fired),
        )
        bus.publish(topics.ttp_rule_fired(technique), news, type="fired")


def reloaded(bus: BusClient, change: Change) -> None:
    """`ttp.rule.reloaded.<R>`: loaded, changed, or gone (state "removed")."""
    news = TtpRuleNews(
        rule_id=change.rule_id,
        rule_version=change.rule.version if change.rule else None,
        state="enabled" if change.rule else "removed",
    )
    bus.publish(topics.ttp_rule_reloaded(change.rule_id), news, type="reloaded")


def state(bus: BusClient, rule_id: str, verdict: Verdict | None) -> None:
    """`ttp.rule.state.<R>`; None: enabled again."""
    bus.publish(topics.ttp_rule_state(rule_id), _news(rule_id, verdict), type="state")


def suppressed(bus: BusClient, rule_id: str, verdict: Verdict) -> None:
    """`ttp.rule.suppressed`: it took too long again and again."""
    bus.publish(topics.TTP_RULE_SUPPRESSED, _news(rule_id, verdict))


def leaf(row: Mapping[str, Any]) -> str:
    """The most exact technique of a tag."""
    return str(row["sub_technique_id"] or row["technique_id"])


def _news(rule_id: str, verdict: Verdict | None) -> TtpRuleNews:
    if verdict is None:
        return TtpRuleNews(rule_id=rule_id)
    return TtpRuleNews.model_validate(
        {
            "rule_id": rule_id,
            "state": verdict.state,
            "confidence_max": verdict.confidence_max,
            "expires_at": verdict.expires_at,
            "reason": verdict.reason,
        }
    )
