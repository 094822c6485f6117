"""An attacker's profile, kept up to date event by event. Pure: rows in, columns out.

Every list has a limit: a profile is of bounded size however long its attacker goes on.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decnet.analysis.timing import BEACONING, Timing, beacon_name, classify
from decnet.analysis.tools import tools_in
from decnet.collect.address import UNKNOWN
from decnet.collect.noise import NOISY

PLACES_MOST = 256
"""Services, deckies, steps of the path."""
COMMANDS_MOST = 100
COMMAND_MOST = 512
FINGERPRINTS_MOST = 32
TOOLS_MOST = 16
_FINGERPRINTS = {
    "client_version": "ssh_client_banner",
    "user_agent": "http_user_agent",
    "key_fingerprint": "ssh_public_key",
    "hassh": "hassh",
    "ja3": "ja3",
}


@dataclass
class Profile:
    """One address. `services`, `deckies` in the order of their first touch."""

    ip: str
    first_seen: dt.datetime
    last_seen: dt.datetime
    event_count: int = 0
    services: list[str] = field(default_factory=list)
    deckies: list[str] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    fingerprints: list[dict[str, Any]] = field(default_factory=list)
    banners: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    has_secrets: bool = False
    """Whether credentials came with the events that were added now."""

    @classmethod
    def of_rows(cls, attacker: Any, behavior: Any | None) -> Profile:
        """From the stored rows."""
        return cls(
            ip=attacker.ip,
            first_seen=attacker.first_seen,
            last_seen=attacker.last_seen,
            event_count=attacker.event_count,
            services=list(attacker.services),
            deckies=list(attacker.traversal_path),
            commands=list(attacker.commands),
            fingerprints=list(attacker.fingerprints),
            banners=list(behavior.ssh_client_banners) if behavior else [],
            tools=list(behavior.tool_guesses) if behavior else [],
            timing=Timing.from_json(behavior.timing_stats if behavior else None),
        )

    def add(self, event: Any) -> None:
        """One more event: a row of `logs`, in the order of its id."""
        fields: Mapping[str, str] = event.fields or {}
        self.event_count += 1
        self.first_seen = min(self.first_seen, event.timestamp)
        self.last_seen = max(self.last_seen, event.timestamp)
        _remember(self.services, event.service, PLACES_MOST)
        _remember(self.deckies, event.decky, PLACES_MOST)
        if event.event_type not in NOISY:
            # The coming and going of connections would hide the rhythm of what is done on them.
            self.timing = self.timing.add(event.timestamp)
        if event.event_type == "command":
            self._add_command(event, fields)
        for name, kind in _FINGERPRINTS.items():
            if fields.get(name):
                self._add_fingerprint(kind, fields[name][:COMMAND_MOST])
        self.has_secrets = self.has_secrets or "secret_b64" in fields

    def _add_command(self, event: Any, fields: Mapping[str, str]) -> None:
        command = {
            "command_text": fields.get("command", fields.get("cmd", ""))[:COMMAND_MOST],
            "ts": event.timestamp.isoformat(),
            "decky": event.decky,
            "service": event.service,
            "user": fields.get("user", ""),
        }
        self.commands = [*self.commands[1 - COMMANDS_MOST :], command]

    def _add_fingerprint(self, kind: str, value: str) -> None:
        fingerprint = {"kind": kind, "value": value}
        if fingerprint not in self.fingerprints:
            self.fingerprints = [*self.fingerprints[1 - FINGERPRINTS_MOST :], fingerprint]
            if kind == "ssh_client_banner":
                self.banners = [*self.banners[1 - TOOLS_MOST :], value]
            for tool in tools_in(value):
                _remember(self.tools, tool, TOOLS_MOST)

    def attacker_columns(self) -> dict[str, Any]:
        """What goes into `attackers`, but for its uuid and counts of other tables."""
        return {
            "ip": self.ip,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "event_count": self.event_count,
            "service_count": len(self.services),
            "decky_count": len(self.deckies),
            "services": sorted(self.services),
            "deckies": sorted(self.deckies),
            "traversal_path": self.deckies,
            "is_traversal": len(self.deckies) > 1,
            "commands": self.commands,
            "fingerprints": self.fingerprints,
        }

    def behavior_columns(self) -> dict[str, Any]:
        """What goes into `attacker_behavior`, but for its key."""
        kind = classify(self.timing, len(self.services))
        is_beacon = kind == BEACONING
        stats = self.timing.as_json()
        if is_beacon:
            stats["beacon_profile"] = beacon_name(self.timing)
        return {
            "ssh_client_banners": self.banners,
            "behavior_class": kind,
            "beacon_interval_s": round(self.timing.mean, 3) if is_beacon else None,
            "beacon_jitter_pct": round(self.timing.variation * 100, 1) if is_beacon else None,
            "tool_guesses": self.tools,
            "timing_stats": stats,
        }


def is_attributable(attacker_ip: str) -> bool:
    """Whether events of this address make a profile: a decoy's own have none."""
    return attacker_ip not in ("", UNKNOWN)


def _remember(names: list[str], name: str, most: int) -> None:
    if name not in names and len(names) < most:
        names.append(name)
