"""What was seen, for other tools: a layer for ATT&CK Navigator, a bundle of STIX 2.1. Pure.

Ids follow from what they stand for, so the same tags give the same file. Attack patterns carry
MITRE's own ids: a platform that knows ATT&CK recognises them.
"""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from decnet.ttp.attack import Attack
from decnet.ttp.engine import NAMESPACE
from decnet.ttp.query import Sight, TechniqueCount

STIX_SCO = uuid.UUID("00abedb4-aa42-466c-9c01-fed23315a9b7")
"""The namespace that STIX 2.1 prescribes for ids of observables."""
DOMAIN = "enterprise-attack"


def navigator(
    attack: Attack, found: Iterable[TechniqueCount], name: str, description: str = ""
) -> dict[str, Any]:
    """A layer, format 4.5: the score is the number of attackers."""
    entries: list[dict[str, Any]] = []
    for count in found:
        tactic = attack.tactics.get(count.tactic)
        entries.append(
            {
                "techniqueID": count.technique,
                "tactic": tactic.short if tactic else count.tactic,
                "score": count.attackers,
                "comment": f"{count.tags} tags, last {_time(count.last)}",
                "enabled": True,
                "metadata": [
                    {"name": "tags", "value": str(count.tags)},
                    {"name": "confidence", "value": f"{count.confidence:.2f}"},
                    {"name": "first seen", "value": _time(count.first)},
                ],
                "showSubtechniques": "." in count.technique,
            }
        )
    return {
        "name": name,
        "versions": {
            "attack": attack.release.partition(".")[0],
            "navigator": "5.1.0",
            "layer": "4.5",
        },
        "domain": DOMAIN,
        "description": description,
        "sorting": 3,
        "hideDisabled": False,
        "techniques": entries,
        "gradient": {
            "colors": ["#ffe766ff", "#ff6666ff"],
            "minValue": 0,
            "maxValue": max((entry["score"] for entry in entries), default=1),
        },
    }


def stix(attack: Attack, found: Sequence[Sight], name: str) -> dict[str, Any]:
    """A bundle: who looks (identity), addresses, what they did (attack patterns, sightings)."""
    watcher_id = _id("identity", name)
    objects: dict[str, dict[str, Any]] = {}
    if found:
        first = min(sight.first for sight in found)
        objects[watcher_id] = {
            "type": "identity",
            "spec_version": "2.1",
            "id": watcher_id,
            **_stamps(first, first),
            "name": name,
            "identity_class": "system",
        }
    for sight in found:
        address = _address(sight.ip)
        pattern = _pattern(attack, sight.technique)
        objects.setdefault(address["id"], address)
        objects.setdefault(pattern["id"], pattern)
        observed_id = _id("observed-data", f"{sight.ip}|{sight.technique}")
        objects[observed_id] = {
            "type": "observed-data",
            "spec_version": "2.1",
            "id": observed_id,
            "created_by_ref": watcher_id,
            **_stamps(sight.first, sight.last),
            "first_observed": _time(sight.first),
            "last_observed": _time(sight.last),
            "number_observed": min(sight.tags, 999_999_999),
            "object_refs": [address["id"]],
        }
        sighting_id = _id("sighting", f"{sight.ip}|{sight.technique}")
        objects[sighting_id] = {
            "type": "sighting",
            "spec_version": "2.1",
            "id": sighting_id,
            "created_by_ref": watcher_id,
            **_stamps(sight.first, sight.last),
            "first_seen": _time(sight.first),
            "last_seen": _time(sight.last),
            "count": min(sight.tags, 999_999_999),
            "confidence": round(sight.confidence * 100),
            "sighting_of_ref": pattern["id"],
            "observed_data_refs": [observed_id],
            "where_sighted_refs": [watcher_id],
        }
    ordered = [objects[key] for key in sorted(objects)]
    digest = json.dumps(ordered, sort_keys=True)
    return {"type": "bundle", "id": _id("bundle", digest), "objects": ordered}


def _pattern(attack: Attack, technique_id: str) -> dict[str, Any]:
    technique = attack.techniques.get(technique_id)
    own = _id("attack-pattern", technique_id)
    tactics = [attack.tactics[t].short for t in technique.tactics] if technique else []
    # A fixed time: the object is ATT&CK's and not ours, and must not change with our tags.
    time = dt.datetime(2025, 11, 13, tzinfo=dt.UTC)
    return {
        "type": "attack-pattern",
        "spec_version": "2.1",
        "id": f"attack-pattern--{technique.stix}" if technique else own,
        **_stamps(time, time),
        "name": technique.name if technique else technique_id,
        "external_references": [
            {
                "source_name": "mitre-attack",
                "external_id": technique_id,
                "url": attack.url(technique_id),
            }
        ],
        **(
            {
                "kill_chain_phases": [
                    {"kill_chain_name": "mitre-attack", "phase_name": short} for short in tactics
                ]
            }
            if tactics
            else {}
        ),
    }


def _address(ip: str) -> dict[str, Any]:
    kind = "ipv6-addr" if ipaddress.ip_address(ip).version == 6 else "ipv4-addr"
    # The canonical JSON (RFC 8785) of the properties that make the id.
    canonical = json.dumps({"value": ip}, separators=(",", ":"))
    made = uuid.uuid5(STIX_SCO, canonical)
    return {"type": kind, "spec_version": "2.1", "id": f"{kind}--{made}", "value": ip}


def _stamps(created: dt.datetime, modified: dt.datetime) -> dict[str, str]:
    return {"created": _time(created), "modified": _time(modified)}


def _id(kind: str, what: str) -> str:
    return f"{kind}--{uuid.uuid5(NAMESPACE, f'{kind}|{what}')}"


def _time(time: dt.datetime) -> str:
    """RFC 3339 with milliseconds and Z, as STIX wants it."""
    return time.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
