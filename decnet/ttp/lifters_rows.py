"""Lifters on what other workers learnt: intelligence, canaries, reuse of secrets, identities."""

from __future__ import annotations

from typing import Any

from decnet.ttp.event import Event, shown
from decnet.ttp.lifters import (
    Beacon,
    Behaviour,
    Burst,
    Finding,
    KnownPairs,
    Lifter,
    Past,
    SuccessAfter,
)


class Intel(Lifter):
    """What providers say of an address: a verdict, a category (part of its name), a score."""

    verdicts: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    least_score: float | None = None

    def find(self, event: Event, past: Past) -> Finding | None:
        if self.verdicts and event.data.get("verdict") not in self.verdicts:
            return None
        said = [str(c).lower() for c in event.data.get("categories") or ()]
        hits = sorted({shown(c) for c in said if any(w.lower() in c for w in self.categories)})
        if self.categories and not hits:
            return None
        score = event.data.get("score")
        if self.least_score is not None and (score is None or score < self.least_score):
            return None
        return Finding("", _there(verdict=event.data.get("verdict"), categories=hits, score=score))


class Canary(Lifter):
    """A bait that rang: kinds of token (http, dns, aws_passive), generators of the file."""

    token_kinds: tuple[str, ...] = ()
    generators: tuple[str, ...] = ()

    def find(self, event: Event, past: Past) -> Finding | None:
        kind, generator = event.fields.get("token_kind"), event.fields.get("generator")
        if self.token_kinds and kind not in self.token_kinds:
            return None
        if self.generators and generator not in self.generators:
            return None
        return Finding("", _there(token_kind=kind, generator=generator))


class Reuse(Lifter):
    """One secret in several places: targets, addresses that brought it, services."""

    least_targets: int = 2
    least_addresses: int = 1
    least_services: int = 1

    def find(self, event: Event, past: Past) -> Finding | None:
        targets = event.data.get("targets", 0)
        addresses, services = event.data.get("addresses", 0), event.data.get("services", 0)
        if targets < self.least_targets or addresses < self.least_addresses:
            return None
        if services < self.least_services:
            return None
        return Finding("", {"targets": targets, "addresses": addresses, "services": services})


class Identity(Lifter):
    """One actor behind several addresses: how many, and what its fingerprints have in common."""

    least_addresses: int = 2
    has: tuple[str, ...] = ()

    def find(self, event: Event, past: Past) -> Finding | None:
        addresses = event.data.get("addresses", 0)
        if addresses < self.least_addresses:
            return None
        if any(not event.data.get(name) for name in self.has):
            return None
        return Finding("", {"addresses": addresses})


LIFTERS: dict[str, type[Lifter]] = {
    "burst": Burst,
    "success_after": SuccessAfter,
    "known_pairs": KnownPairs,
    "beacon": Beacon,
    "behaviour": Behaviour,
    "intel": Intel,
    "canary": Canary,
    "reuse": Reuse,
    "identity": Identity,
}
"""By the name that rules use."""


def _there(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value not in (None, "", [])}
