"""An attacker's profile, kept up to date event by event. Pure: rows in, columns out.

Every list has a limit: a profile is of bounded size however long its attacker goes on. What does
not fit is handed to the caller (`spilled`), who counts it elsewhere, so that counts stay true.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from decnet.analysis import system
from decnet.analysis.phases import Phases
from decnet.analysis.timing import BEACONING, Timing, beacon_name, classify
from decnet.analysis.tools import tools_in, tools_of_headers
from decnet.collect.address import UNKNOWN
from decnet.collect.noise import NOISY
from decnet.estate.traffic import is_ours

PLACES_MOST = 256
"""Services, deckies, steps of the path."""
COMMANDS_MOST = 100
COMMAND_MOST = 512
NAME_MOST = 128
FINGERPRINTS_MOST = 32
TOOLS_MOST = 16
DOMAINS_MOST = 64
"""Domains of mail that are taken from one batch."""
SNIFFER, PROBER = "sniffer", "prober"
"""Observers: what they report is not itself something that the attacker did at a decoy."""
_FINGERPRINTS = {
    "client_version": "ssh_client_banner",
    "user_agent": "http_user_agent",
    "key_fingerprint": "ssh_public_key",
    "hassh": "hassh",
    "ja3": "ja3",
    "ja4": "ja4",
    "header_print": "http_headers",
    "tcp_hash": "tcp",
}
_SPEAKING = ("ssh_client_banner", "http_user_agent")
"""Kinds that may name a tool."""
_RECIPIENTS = ("rcpt_to", "recipients", "recipient", "rcpt", "to", "address", "argument")
_DOMAIN = re.compile(r"@([a-z0-9][a-z0-9.-]{0,251}[a-z0-9])", re.ASCII | re.IGNORECASE)


@dataclass
class Target:
    """A domain that mail was to go to."""

    first_seen: dt.datetime
    last_seen: dt.datetime
    count: int = 1


@dataclass
class Profile:
    """One address. `services`, `deckies` in the order of their first touch."""

    ip: str
    first_seen: dt.datetime
    last_seen: dt.datetime
    event_count: int = 0
    service_count: int = 0
    decky_count: int = 0
    services: list[str] = field(default_factory=list)
    deckies: list[str] = field(default_factory=list)
    commands: list[dict[str, Any]] = field(default_factory=list)
    fingerprints: list[dict[str, Any]] = field(default_factory=list)
    banners: list[str] = field(default_factory=list)
    tools: list[str] = field(default_factory=list)
    timing: Timing = field(default_factory=Timing)
    phases: Phases = field(default_factory=Phases)
    os_guess: str | None = None
    hop_distance: int | None = None
    tcp_fingerprint: dict[str, Any] | None = None
    kex_order: str | None = None
    retransmits: int = 0
    spilled: set[tuple[str, str]] = field(default_factory=set)
    """(kind, name) of places that found no room now; whether they are new, the caller knows."""
    targets: dict[str, Target] = field(default_factory=dict)
    """Domains of mail in the events that were added now."""
    has_secrets: bool = False
    """Whether credentials came with the events that were added now."""

    @classmethod
    def of_rows(cls, attacker: Any, behavior: Any | None) -> Profile:
        """From the stored rows."""
        profile = cls(
            ip=attacker.ip,
            first_seen=attacker.first_seen,
            last_seen=attacker.last_seen,
            event_count=attacker.event_count,
            service_count=attacker.service_count,
            decky_count=attacker.decky_count,
            services=list(attacker.services),
            deckies=list(attacker.traversal_path),
            commands=list(attacker.commands),
            fingerprints=list(attacker.fingerprints),
        )
        if behavior is not None:
            profile.banners = list(behavior.ssh_client_banners)
            profile.tools = list(behavior.tool_guesses)
            profile.timing = Timing.from_json(behavior.timing_stats)
            profile.phases = Phases.from_json(behavior.phase_sequence)
            profile.os_guess = behavior.os_guess
            profile.hop_distance = behavior.hop_distance
            profile.tcp_fingerprint = behavior.tcp_fingerprint
            profile.kex_order = behavior.kex_order_raw
            profile.retransmits = behavior.retransmit_count
        return profile

    def add(self, event: Any) -> None:
        """One more event: a row of `logs`, in the order of its id."""
        fields: Mapping[str, str] = event.fields or {}
        self.event_count += 1
        if event.service == PROBER:
            return  # our visit to the attacker's machine, not one of its own
        self.first_seen = min(self.first_seen, event.timestamp)
        self.last_seen = max(self.last_seen, event.timestamp)
        sniffed = event.service == SNIFFER
        service = fields.get("service", "") if sniffed else event.service
        if service:
            self._add_place("service", self.services, service)
        self._add_place("decky", self.deckies, event.decky)
        if sniffed:
            self._add_packet(event.event_type, fields)
        else:
            self._add_deed(event, fields)
        for name, kind in _FINGERPRINTS.items():
            if fields.get(name):
                self._add_fingerprint(kind, fields[name][:COMMAND_MOST])
        for tool in tools_of_headers(fields.get("header_order", "")):
            _remember(self.tools, tool, TOOLS_MOST)

    def _add_deed(self, event: Any, fields: Mapping[str, str]) -> None:
        if event.event_type not in NOISY:
            # The coming and going of connections would hide the rhythm of what is done on them.
            self.timing = self.timing.add(event.timestamp)
        self.phases.add(event.timestamp, event.event_type, fields)
        if event.event_type == "command":
            self._add_command(event, fields)
        elif event.event_type.startswith("rcpt_"):
            self._add_targets(event.timestamp, fields)
        self.has_secrets = self.has_secrets or "secret_b64" in fields

    def _add_packet(self, event_type: str, fields: Mapping[str, str]) -> None:
        if event_type == "tcp_syn_fingerprint":
            os, scanner = system.os_of(fields)
            if scanner:
                _remember(self.tools, scanner, TOOLS_MOST)
                return
            self.os_guess = os or self.os_guess
            hops = system.hops_of(fields)
            self.hop_distance = self.hop_distance if hops is None else hops
            self.tcp_fingerprint = system.fingerprint_of(fields) or self.tcp_fingerprint
        elif event_type == "tcp_flow_timing":
            self.retransmits += system.number(fields.get("retransmits"), 1 << 20) or 0
        if fields.get("kex_order"):
            self.kex_order = fields["kex_order"][:COMMAND_MOST]

    def _add_place(self, kind: str, names: list[str], name: str) -> None:
        name = name[:NAME_MOST]
        if name in names:
            return
        if len(names) >= PLACES_MOST:
            self.spilled.add((kind, name))
            return
        names.append(name)
        if kind == "service":
            self.service_count += 1
        else:
            self.decky_count += 1

    def _add_command(self, event: Any, fields: Mapping[str, str]) -> None:
        command = {
            "command_text": fields.get("command", fields.get("cmd", ""))[:COMMAND_MOST],
            "ts": event.timestamp.isoformat(),
            "decky": event.decky[:NAME_MOST],
            "service": event.service[:NAME_MOST],
            "user": fields.get("user", "")[:NAME_MOST],
        }
        self.commands = [*self.commands[1 - COMMANDS_MOST :], command]

    def _add_targets(self, time: dt.datetime, fields: Mapping[str, str]) -> None:
        text = next((fields[name] for name in _RECIPIENTS if "@" in fields.get(name, "")), "")
        for domain in {found.lower() for found in _DOMAIN.findall(text[:COMMAND_MOST])}:
            known = self.targets.get(domain)
            if known is not None:
                known.last_seen = max(known.last_seen, time)
                known.count += 1
            elif len(self.targets) < DOMAINS_MOST:
                self.targets[domain] = Target(time, time)

    def _add_fingerprint(self, kind: str, value: str) -> None:
        fingerprint = {"kind": kind, "value": value}
        if fingerprint not in self.fingerprints:
            self.fingerprints = [*self.fingerprints[1 - FINGERPRINTS_MOST :], fingerprint]
            if kind == "ssh_client_banner":
                self.banners = [*self.banners[1 - TOOLS_MOST :], value]
            for tool in tools_in(value) if kind in _SPEAKING else ():
                _remember(self.tools, tool, TOOLS_MOST)

    def attacker_columns(self) -> dict[str, Any]:
        """What goes into `attackers`, but for its uuid, counts of other tables, and the place."""
        return {
            "ip": self.ip,
            "first_seen": self.first_seen,
            "last_seen": self.last_seen,
            "event_count": self.event_count,
            "service_count": self.service_count,
            "decky_count": self.decky_count,
            "services": sorted(self.services),
            "deckies": sorted(self.deckies),
            "traversal_path": self.deckies,
            "is_traversal": self.decky_count > 1,
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
            "os_guess": self.os_guess,
            "hop_distance": self.hop_distance,
            "tcp_fingerprint": self.tcp_fingerprint,
            "kex_order_raw": self.kex_order,
            "retransmit_count": self.retransmits,
            "ssh_client_banners": self.banners,
            "behavior_class": kind,
            "beacon_interval_s": round(self.timing.mean, 3) if is_beacon else None,
            "beacon_jitter_pct": round(self.timing.variation * 100, 1) if is_beacon else None,
            "tool_guesses": self.tools,
            "timing_stats": stats,
            "phase_sequence": self.phases.as_json(),
        }


def is_attributable(attacker_ip: str) -> bool:
    """Whether events of this address make a profile: a decoy's own have none, nor our deckies."""
    return attacker_ip not in ("", UNKNOWN) and not is_ours(attacker_ip)


def _remember(names: list[str], name: str, most: int) -> None:
    if name not in names and len(names) < most:
        names.append(name)
