"""Rows of other workers' tables as events: behaviour, intelligence, canaries, reuse, identities."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlmodel import col

from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    AttackerIdentity,
    AttackerIntel,
    CanaryToken,
    CanaryTrigger,
    CredentialReuse,
)
from decnet.ttp.event import Event

ABUSE = {
    3: "Fraud Orders",
    4: "DDoS Attack",
    5: "FTP Brute-Force",
    6: "Ping of Death",
    7: "Phishing",
    8: "Fraud VoIP",
    9: "Open Proxy",
    10: "Web Spam",
    11: "Email Spam",
    12: "Blog Spam",
    13: "VPN IP",
    14: "Port Scan",
    15: "Hacking",
    16: "SQL Injection",
    17: "Spoofing",
    18: "Brute-Force",
    19: "Bad Web Bot",
    20: "Exploited Host",
    21: "Web App Attack",
    22: "SSH Abuse",
    23: "IoT Targeted",
}
"""AbuseIPDB's categories by number."""
WHOSE_MOST = 50
"""Attackers of one reused secret that get a tag."""


def behaviors() -> Select[Any]:
    """Attackers and how they behave, by the time of the profiler's last word."""
    return select(
        col(Attacker.uuid).label("key"),
        col(Attacker.updated_at).label("time"),
        col(Attacker.last_seen),
        col(Attacker.service_count),
        col(Attacker.decky_count),
        col(AttackerBehavior.behavior_class),
        col(AttackerBehavior.beacon_interval_s),
        col(AttackerBehavior.beacon_jitter_pct),
        col(AttackerBehavior.tool_guesses),
        col(AttackerBehavior.timing_stats),
    ).join(AttackerBehavior, col(AttackerBehavior.attacker_uuid) == col(Attacker.uuid))


def of_behavior(row: Any) -> Iterable[Event]:
    """One event an attacker; its tags stay, whatever it does later."""
    data = {
        "behavior_class": row.behavior_class,
        "beacon_interval_s": row.beacon_interval_s,
        "beacon_jitter_pct": row.beacon_jitter_pct,
        "beacon_profile": (row.timing_stats or {}).get("beacon_profile"),
        "tools": list(row.tool_guesses or ()),
        "deckies": row.decky_count,
        "services": row.service_count,
    }
    yield Event(
        kind="behavior",
        id=row.key,
        time=row.last_seen,
        fields={"behavior_class": row.behavior_class or ""},
        attacker_uuid=row.key,
        data=data,
    )


def intel() -> Select[Any]:
    """What is known of attackers, by the time when it was asked."""
    return select(
        col(AttackerIntel.uuid).label("key"),
        col(AttackerIntel.cached_at).label("time"),
        *(
            getattr(AttackerIntel, name)
            for name in (
                *("attacker_uuid", "greynoise_classification", "greynoise_noise"),
                *("greynoise_name", "abuseipdb_score", "abuseipdb_categories", "feodo_listed"),
                *("feodo_malware", "threatfox_listed", "threatfox_malware"),
                *("threatfox_threat_type", "blocklists", "aggregate_verdict"),
            )
        ),
    )


def of_intel(row: Any) -> Iterable[Event]:
    """One event an attacker."""
    categories = [ABUSE.get(number, f"category {number}") for number in row.abuseipdb_categories]
    categories += [str(name) for name in row.blocklists]
    categories += ["feodo"] if row.feodo_listed else []
    categories += [row.threatfox_threat_type] if row.threatfox_threat_type else []
    categories += ["noise"] if row.greynoise_noise else []
    names = (
        *("greynoise_classification", "greynoise_name", "abuseipdb_score", "feodo_malware"),
        *("threatfox_malware", "threatfox_threat_type", "aggregate_verdict"),
    )
    values = {name: getattr(row, name) for name in names}
    yield Event(
        kind="intel",
        id=row.attacker_uuid,
        time=row.time,
        fields={name: str(value) for name, value in values.items() if value is not None},
        attacker_uuid=row.attacker_uuid,
        data={
            "verdict": row.aggregate_verdict,
            "categories": categories,
            "score": row.abuseipdb_score,
        },
    )


def identities() -> Any:
    """Actors behind several addresses, but for those that turned out to be another."""
    return select(
        col(AttackerIdentity.uuid).label("key"),
        col(AttackerIdentity.updated_at).label("time"),
        col(AttackerIdentity.last_seen_at),
        col(AttackerIdentity.confidence),
        col(AttackerIdentity.observation_count),
        col(AttackerIdentity.c2_endpoints),
        col(AttackerIdentity.payload_hashes),
        col(AttackerIdentity.merged_into_uuid),
    )


def of_identity(row: Any) -> Iterable[Event]:
    """One event an identity; none where it is a part of another."""
    if row.merged_into_uuid is not None:
        return
    yield Event(
        kind="identity",
        id=row.key,
        time=row.last_seen_at,
        fields={"confidence": f"{row.confidence:.2f}"},
        identity_uuid=row.key,
        data={
            "addresses": row.observation_count,
            "c2_endpoints": len(row.c2_endpoints),
            "payload_hashes": len(row.payload_hashes),
        },
    )


def reuses() -> Select[Any]:
    """Secrets in several places, in the order of their ids."""
    return select(
        *(
            getattr(CredentialReuse, name)
            for name in (
                *("id", "secret_sha256", "secret_kind", "principal", "attacker_uuids"),
                *("services", "target_count", "last_seen"),
            )
        )
    )


def of_reuse(row: Any) -> Iterable[Event]:
    """One event an attacker that has the secret."""
    data = {
        "targets": row.target_count,
        "addresses": len(row.attacker_uuids),
        "services": len(row.services),
    }
    for uuid in sorted(row.attacker_uuids)[:WHOSE_MOST]:
        yield Event(
            kind="credential",
            id=f"{row.secret_sha256[:32]}:{row.secret_kind}/{uuid}",
            time=row.last_seen,
            fields={"secret_kind": row.secret_kind, "principal": row.principal or ""},
            attacker_uuid=uuid,
            data=data,
        )


def canaries() -> Select[Any]:
    """Baits that rang, in the order of their ids."""
    return select(
        *(
            getattr(CanaryTrigger, name)
            for name in (
                *("id", "hit_id", "occurred_at", "src_ip", "user_agent", "request_path"),
                "dns_qname",
            )
        ),
        col(CanaryToken.kind),
        col(CanaryToken.generator),
        col(CanaryToken.placement_path),
        col(CanaryToken.decky_name),
    ).join(CanaryToken, col(CanaryToken.uuid) == col(CanaryTrigger.token_uuid))


def of_canary(row: Any) -> Iterable[Event]:
    """One event a ring. Whoever rang took the bait: an attacker, known to decoys or not.

    A question by DNS comes from somebody's resolver: that makes nobody an attacker.
    """
    values = {
        "token_kind": row.kind,
        "generator": row.generator,
        "placement_path": row.placement_path,
        "user_agent": row.user_agent,
        "request_path": row.request_path,
        "dns_qname": row.dns_qname,
    }
    yield Event(
        kind="canary_fingerprint",
        id=row.hit_id,
        time=row.occurred_at,
        fields={name: value for name, value in values.items() if value},
        attacker_ip=row.src_ip,
        decky=row.decky_name,
        may_add_attacker=row.kind != "dns",
    )


def text_of(time: dt.datetime) -> str:
    """A time for a cursor."""
    return time.astimezone(dt.UTC).isoformat()
