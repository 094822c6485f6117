"""Events in, tags out. Pure but for counters: what a rule says depends on the events alone."""

from __future__ import annotations

import datetime as dt
import uuid
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from decnet.ttp.attack import Attack
from decnet.ttp.event import Event
from decnet.ttp.lifters import Past
from decnet.ttp.patterns import PatternTimeout
from decnet.ttp.rules import Rule

NAMESPACE = uuid.UUID("6f1c2f0e-5d0c-5c57-9a4e-2f4d1b0e7a11")
TIMEOUTS_MOST = 3
"""So often may a rule take too long before it is suppressed."""
WINDOWS_MOST = 50_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an operator decided of a rule."""

    state: str
    confidence_max: float | None = None
    expires_at: dt.datetime | None = None
    reason: str = ""
    set_by: str = ""

    def holds(self, now: dt.datetime) -> bool:
        """Whether it counts still."""
        return self.expires_at is None or now < self.expires_at


@dataclass(slots=True)
class Tag:
    """A row of `ttp_tag` to be, and whose it is as far as the event knows."""

    row: dict[str, Any]
    attacker_ip: str
    may_add_attacker: bool


@dataclass
class Meter:
    """Counters for the heartbeat."""

    events: int = 0
    texts_cut: int = 0
    timeouts: Counter[str] = field(default_factory=Counter)
    poison: int = 0
    unattributed: int = 0

    def too_slow(self) -> list[str]:
        """Rules that took too long too often."""
        return [rule for rule, count in self.timeouts.items() if count >= TIMEOUTS_MOST]


class Judge:
    """Applies the rules in force to one event after the other.

    Args:
        attack: for releases and addresses of pages.
        kinds: rules by kind.
        verdicts: rule -> what was decided of it, those that count now.
        meter: counts.
    """

    def __init__(
        self,
        attack: Attack,
        kinds: Mapping[str, tuple[Rule, ...]],
        verdicts: Mapping[str, Verdict],
        meter: Meter,
    ) -> None:
        self._attack = attack
        self._meter = meter
        self._limits = {
            id: v.confidence_max for id, v in verdicts.items() if v.confidence_max is not None
        }
        off = {id for id, verdict in verdicts.items() if verdict.state == "disabled"}
        self._kinds = {
            kind: [rule for rule in rules if rule.id not in off] for kind, rules in kinds.items()
        }
        self._windows: set[tuple[str, str]] = set()

    def looks_back(self, kind: str) -> bool:
        """Whether a rule wants to know what came before an event of this kind."""
        rules = self._kinds.get(kind, ())
        return any(rule.lifter is not None and rule.lifter.counts for rule in rules)

    def judge(self, event: Event, past: Past) -> list[Tag]:
        """All tags of an event. Never raises."""
        self._meter.events += 1
        tags: list[Tag] = []
        for rule in self._kinds.get(event.kind, ()):
            if self._meter.timeouts[rule.id] >= TIMEOUTS_MOST:
                continue
            try:
                tags += self._try(rule, event, past)
            except PatternTimeout:
                self._meter.timeouts[rule.id] += 1
            except Exception:  # one event that a rule cannot bear must not stop all others
                self._meter.poison += 1
        self._meter.texts_cut += event.was_cut
        return tags

    def _try(self, rule: Rule, event: Event, past: Past) -> Iterable[Tag]:
        window = rule.lifter.source_of(event) if rule.lifter is not None else ""
        if window and (rule.id, window) in self._windows:
            return ()  # this window has its tag
        finding = rule.find(event, past)
        if finding is None:
            return ()
        if window:
            if len(self._windows) >= WINDOWS_MOST:
                self._windows.clear()  # only costs that some are found again
            self._windows.add((rule.id, window))
        evidence = event.evidence(rule.evidence_fields) | finding.evidence
        source_id = finding.source_id or event.id
        return [
            Tag(
                {
                    "uuid": tag_uuid(event.kind, source_id, rule.id, rule.version, emit.leaf),
                    "source_kind": event.kind,
                    "source_id": source_id,
                    "attacker_uuid": event.attacker_uuid,
                    "identity_uuid": event.identity_uuid,
                    "session_id": event.session_id,
                    "decky_id": event.decky,
                    "tactic": emit.tactic,
                    "technique_id": emit.technique_id,
                    "sub_technique_id": emit.sub_technique_id,
                    "confidence": min(emit.confidence, self._limits.get(rule.id, 1.0)),
                    "rule_id": rule.id,
                    "rule_version": rule.version,
                    "evidence": evidence,
                    "attack_release": self._attack.release,
                    "mitre_url": self._attack.url(emit.leaf),
                    "observed_at": event.time,
                },
                event.attacker_ip,
                event.may_add_attacker,
            )
            for emit in rule.emits
        ]


def tag_uuid(kind: str, source: str, rule: str, version: int, technique: str) -> str:
    """The same finding has the same id, however often it is found."""
    return str(uuid.uuid5(NAMESPACE, f"{kind}:{source}|{rule}|{version}|{technique}"))
