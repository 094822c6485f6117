"""Topic names, and what a pattern matches.

A topic is dot-separated tokens ("system.collector.health"). In a pattern `*` stands for one
token and a last `>` for one or more. A name that goes into a topic is one token: see `token`.
The names are DECNET's, so that an operator's subscriptions keep working.
"""

from __future__ import annotations

import re

MAX_TOPIC = 512
"""Characters in a topic or pattern. The frame header (4096 bytes) bounds it anyway."""

SYSTEM_LOG = "system.log"
SYSTEM_SPOOL = "system.spool"
"""A decoy appended to its spool file. Ours: upstream's decoys speak through Docker's logs."""
BUS_HEALTH = "system.bus.health"
EVERY_HEALTH = "system.*.health"
EVERY_CONTROL = "system.*.control"
WEBHOOKS_CHANGED = "system.webhook.subscriptions_changed"
ATTACKER_OBSERVED = "attacker.observed"
ATTACKER_SCORED = "attacker.scored"
ATTACKER_FINGERPRINTED = "attacker.fingerprinted"
ATTACKER_FINGERPRINT_ROTATED = "attacker.fingerprint_rotated"
ATTACKER_SESSION_ENDED = "attacker.session.ended"
ATTACKER_INTEL_ENRICHED = "attacker.intel.enriched"
CREDENTIAL_CAPTURED = "credential.captured"
EMAIL_RECEIVED = "email.received"
SMTP_PROBE_PENDING = "smtp.probe.pending"
"""Somebody tried whether the smtp decoy relays; the mail lies at `stored_as`."""
IDENTITY_FORMED = "identity.formed"
IDENTITY_LINKED = "identity.observation.linked"
IDENTITY_MERGED = "identity.merged"
IDENTITY_UNMERGED = "identity.unmerged"
IDENTITY_CAMPAIGN = "identity.campaign.assigned"
EVERY_IDENTITY = "identity.>"
CAMPAIGN_FORMED = "campaign.formed"
CAMPAIGN_IDENTITY = "campaign.identity.assigned"
CAMPAIGN_MERGED = "campaign.merged"
CAMPAIGN_UNMERGED = "campaign.unmerged"
CREDENTIAL_REUSED = "credential.reuse.detected"
ATTRIBUTION_CHANGED = "attribution.profile.state_changed"
ATTRIBUTION_SUSPECTED = "attribution.profile.multi_actor_suspected"
TTP_TAGGED = "ttp.tagged"
TTP_RULE_SUPPRESSED = "ttp.rule.suppressed"
EVERY_MUTATE_REQUEST = "decky.*.mutate_request"
EVERY_MUTATION = "decky.*.mutation"

BUS_NAMES = {
    "collect": "collector",
    "probe": "prober",
    "mutate": "mutator",
    "orchestrate": "orchestrator",
    "reconcile": "reconciler",
    "reuse-correlate": "reuse-correlator",
}
"""Worker's name -> its name on the bus, where they differ."""

_TOKEN = re.compile(r"[^\s.*>\x00-\x1f\x7f]+", re.ASCII)


def bus_name(worker: str) -> str:
    """The token that stands for a worker in `system.<token>.health`."""
    return token(BUS_NAMES.get(worker, worker))


def health(worker: str) -> str:
    """Where the worker's heartbeats go; `worker` as on the command line ("collect")."""
    return f"system.{bus_name(worker)}.health"


def control(worker: str) -> str:
    """Where the worker listens for `{"action": "stop"}`."""
    return f"system.{bus_name(worker)}.control"


def is_control(topic: str) -> bool:
    """Whether publishing on the topic commands a worker, and thus needs a right."""
    parts = topic.split(".")
    return len(parts) == 3 and parts[0] == "system" and parts[2] == "control"


def canary(token_id: str, what: str) -> str:
    """What befell a canary token: placed, triggered, revoked."""
    return f"canary.{token(token_id)}.{what}"


def observation(primitive: str) -> str:
    """A trait of a session was found; `primitive` as "motor.input_modality"."""
    return f"attacker.observation.{'.'.join(token(part) for part in primitive.split('.'))}"


def decky_traffic(decky: str) -> str:
    """Summary of what a decky sees on the wire."""
    return f"decky.{token(decky)}.traffic"


def decky_state(host_uuid: str, decky: str) -> str:
    """The reconciler's word on a decky: running, degraded, stopped, failed, unknown."""
    return f"decky.{token(f'{host_uuid}:{decky}')}.state"


def decky_mutation(decky: str) -> str:
    """A decky has other services now."""
    return f"decky.{token(decky)}.mutation"


def mutate_request(decky: str) -> str:
    """Somebody asked for another set of services; the request itself is in the database."""
    return f"decky.{token(decky)}.mutate_request"


def orchestrator(kind: str, decky: str) -> str:
    """A piece of life: kind is traffic, file or email."""
    return f"orchestrator.{token(kind)}.{token(decky)}"


def ttp_rule_fired(technique: str) -> str:
    """A rule found the technique ("T1110"), where it was not known before."""
    return f"ttp.rule.fired.{token(technique)}"


def ttp_rule_reloaded(rule: str) -> str:
    """A rule was loaded, changed or taken away while the worker runs."""
    return f"ttp.rule.reloaded.{token(rule)}"


def ttp_rule_state(rule: str) -> str:
    """A rule was enabled, disabled or clipped, or such a decision expired."""
    return f"ttp.rule.state.{token(rule)}"


def token(name: str) -> str:
    """The name as one token: each character that a token may not hold becomes "_"."""
    safe = "".join(c if c.isascii() and _TOKEN.fullmatch(c) else "_" for c in name)
    return safe[:128] or "_"


def is_topic(text: str) -> bool:
    """Whether the text is a topic: non-empty plain tokens, ASCII, at most `MAX_TOPIC` long."""
    return (
        0 < len(text) <= MAX_TOPIC
        and text.isascii()
        and all(_TOKEN.fullmatch(part) for part in text.split("."))
    )


def is_pattern(text: str) -> bool:
    """Whether the text is a topic in which tokens may be `*` and the last one `>`."""
    if not 0 < len(text) <= MAX_TOPIC or not text.isascii():
        return False
    parts = text.split(".")
    last = len(parts) - 1
    return all(
        part == "*" or (part == ">" and at == last) or _TOKEN.fullmatch(part) is not None
        for at, part in enumerate(parts)
    )


def is_wild(pattern: str) -> bool:
    """Whether the pattern can match more than the topic of the same spelling."""
    return "*" in pattern or ">" in pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether the pattern matches the topic. Both are taken to be well-formed."""
    return match_tokens(pattern.split("."), topic.split("."))


def match_tokens(pattern: list[str], topic: list[str]) -> bool:
    """`matches` on split text, for a broker that splits each pattern once."""
    if pattern[-1] == ">":
        head = len(pattern) - 1
        if len(topic) <= head:
            return False
    elif len(pattern) != len(topic):
        return False
    else:
        head = len(pattern)
    return all(pattern[at] in ("*", topic[at]) for at in range(head))
