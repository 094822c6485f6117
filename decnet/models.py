"""What crosses the bus: one model a payload, checked by whoever acts on it.

Unknown fields are kept out but no error: a newer publisher may say more. The bus only wakes, so
a payload is a summary; the truth is in the database.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

Name = Annotated[str, Field(max_length=255)]
Address = Annotated[str, Field(max_length=255)]
"""An IP address as text, or "Unknown"."""


class Payload(BaseModel):
    """Base of all payloads."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Health(BaseModel):
    """`system.<worker>.health`, every 10 s. Further fields are the worker's own."""

    model_config = ConfigDict(extra="allow", frozen=True)

    worker: Name
    ts: float
    pid: Annotated[int, Field(gt=0)]
    uptime_sec: Annotated[float, Field(ge=0)]
    dropped: Annotated[int, Field(ge=0)] = 0
    private_kib: Annotated[int, Field(ge=0)] = 0


class Control(Payload):
    """`system.<worker>.control`. `start` is nobody's: a stopped worker does not listen."""

    action: Literal["stop"]
    requested_by: Name = ""
    ts: float = Field(default_factory=lambda: dt.datetime.now(dt.UTC).timestamp())


class SpoolHint(Payload):
    """`system.spool`: a decoy appended to its spool file."""

    decoy: Name


class LogStored(Payload):
    """`system.log`: lines were stored; `position` is the last id of `logs`."""

    component: Name
    flushed: Annotated[int, Field(ge=0)]
    position: Annotated[int, Field(ge=0)]


class Command(Payload):
    """One command typed in a session."""

    command_text: str
    ts: AwareDatetime | None = None
    id: str = ""
    decky: Name = ""
    service: Name = ""
    uid: str = ""
    user: str = ""
    src: str = ""
    pwd: str = ""


class SessionEnded(Payload):
    """`attacker.session.ended`."""

    session_id: Name
    attacker_ip: Address
    attacker_uuid: str | None = None
    decky_id: Name
    service: Name
    ended_at: AwareDatetime
    duration_s: Annotated[float, Field(ge=0)]
    commands: list[Command] = []
    shard_path: str = ""


class AttackerObserved(Payload):
    """`attacker.observed`: an address seen for the first time."""

    attacker_ip: Address
    decky: Name
    service: Name
    event_type: Name
    first_seen: AwareDatetime


class AttackerScored(Payload):
    """`attacker.scored`: an attacker's row was renewed."""

    attacker_ip: Address
    event_count: Annotated[int, Field(ge=0)]
    service_count: Annotated[int, Field(ge=0)]
    decky_count: Annotated[int, Field(ge=0)]
    bounty_count: Annotated[int, Field(ge=0)] = 0
    credential_count: Annotated[int, Field(ge=0)] = 0
    is_traversal: bool = False


class CredentialCaptured(Payload):
    """`credential.captured`: never the secret itself."""

    secret_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    secret_kind: Name
    attacker_ip: Address
    decky: Name
    service: Name


class TtpTagged(Payload):
    """`ttp.tagged`: new tags of one attacker or identity."""

    attacker_uuid: str | None = None
    identity_uuid: str | None = None
    session_id: str | None = None
    tag_uuids: list[str] = []
    techniques_added: list[str] = []


class TtpRuleFired(Payload):
    """`ttp.rule.fired.<T####>`: a new tag of this technique; `count` of them in this batch."""

    technique_id: Name
    sub_technique_ids: list[str] = []
    rule_ids: list[str] = []
    count: Annotated[int, Field(ge=1)] = 1


class TtpRuleNews(Payload):
    """`ttp.rule.reloaded.<R####>`, `ttp.rule.state.<R####>`, `ttp.rule.suppressed`."""

    rule_id: Name
    rule_version: int | None = None
    state: Literal["enabled", "disabled", "clipped", "removed"] = "enabled"
    confidence_max: float | None = None
    expires_at: AwareDatetime | None = None
    reason: str = ""


class Window(Payload):
    """From when to when something was observed."""

    start_ts: AwareDatetime
    end_ts: AwareDatetime


class ObservationMade(Payload):
    """`attacker.observation.<primitive>`: a trait of a session, as stored in `observations`."""

    id: Name
    ts: AwareDatetime
    v: Annotated[int, Field(ge=1)] = 1
    primitive: Name
    value: str | int | float | bool | None
    confidence: Annotated[float, Field(ge=0, le=1)]
    window: Window
    evidence_ref: str
    attacker_uuid: Name


class IntelEnriched(Payload):
    """`attacker.intel.enriched`: lists and services were asked, whatever they answered.

    `providers` is name -> verdict, or "failed". The columns of each are in `attacker_intel`.
    """

    attacker_uuid: Name
    attacker_ip: Address
    aggregate_verdict: Literal["malicious", "suspicious", "benign", "unknown"]
    providers: dict[str, str] = {}
    greynoise_classification: str | None = None
    abuseipdb_score: int | None = None
    abuseipdb_categories: list[int] = []
    feodo_listed: bool | None = None
    feodo_malware: str | None = None
    threatfox_listed: bool | None = None
    threatfox_malware: str | None = None
    threatfox_threat_type: str | None = None
    threatfox_confidence: int | None = None
    blocklists: list[str] = []


class DeckyTraffic(Payload):
    """`decky.<name>.traffic`: a fingerprint event of the sniffer; its type is the event's."""

    model_config = ConfigDict(extra="allow", frozen=True)

    src_ip: Address
    dst_port: Annotated[int, Field(ge=1, le=65_535)]
    service: Name


class AttackerFingerprinted(Payload):
    """`attacker.fingerprinted`: a probe of an attacker's machine had a result; type = probe."""

    attacker_ip: Address
    attacker_uuid: str
    port: Annotated[int, Field(ge=0, le=65_535)]
    probe_type: Name
    hash: Name
    result: dict[str, str] = {}


class FingerprintRotated(Payload):
    """`attacker.fingerprint_rotated`: the same port of the same attacker shows another face."""

    attacker_ip: Address
    attacker_uuid: str
    port: Annotated[int, Field(ge=0, le=65_535)]
    probe_type: Name
    old_hash: Name
    new_hash: Name
    rotation_count: Annotated[int, Field(ge=1)]


class CanaryPlaced(Payload):
    """`canary.<id>.placed`: a token was made."""

    token_id: Name
    kind: Name = ""
    decky_name: Name | None = None
    placement_path: str | None = None


class CanaryTriggered(Payload):
    """`canary.<id>.triggered`: bait called home, by HTTP or by DNS."""

    token_id: Name
    trigger_id: Annotated[int, Field(ge=0)]
    decky_name: Name | None = None
    src_ip: Address
    user_agent: str | None = None
    request_path: str | None = None
    dns_qname: Name | None = None


class CanaryRevoked(Payload):
    """`canary.<id>.revoked`: its hits count no more."""

    token_id: Name
    reason: str | None = None


class MailAttachment(Payload):
    """A file in a mail, by its content."""

    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(ge=0)] = 0
    extension: Annotated[str, Field(max_length=16)] = ""
    observation_count: Annotated[int, Field(ge=1)] = 1


class EmailReceived(Payload):
    """`email.received`: hashes, counts, header names and domains; never addresses or texts."""

    decky: Name
    service: Name
    attacker_ip: Address
    received_at: AwareDatetime
    sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    body_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    size_bytes: Annotated[int, Field(ge=0)] = 0
    rcpt_count: Annotated[int, Field(ge=0)] = 0
    rcpt_domains: Annotated[list[Name], Field(max_length=100)] = []
    from_domain: Name = ""
    header_names: Annotated[list[Name], Field(max_length=100)] = []
    attachment_count: Annotated[int, Field(ge=0)] = 0
    attachments: Annotated[list[MailAttachment], Field(max_length=64)] = []


class SmtpProbePending(Payload):
    """`smtp.probe.pending`: a mail that asks whether we relay. Its text is at `stored_as`."""

    decky: Name
    attacker_ip: Address
    stored_as: Annotated[str, Field(max_length=4096)] = ""
    mail_from: Annotated[str, Field(max_length=4096)] = ""
    rcpt_to: Annotated[str, Field(max_length=4096)] = ""


class IdentityObserved(Payload):
    """`identity.formed`, `identity.observation.linked`: these addresses are this identity's."""

    identity_uuid: Name
    observation_uuids: Annotated[list[Name], Field(max_length=1000)]


class IdentityAssigned(Payload):
    """`identity.campaign.assigned`."""

    identity_uuid: Name
    campaign_uuid: Name


class CampaignJoined(Payload):
    """`campaign.formed`, `campaign.identity.assigned`: these identities are in this campaign."""

    campaign_uuid: Name
    identity_uuids: Annotated[list[Name], Field(max_length=1000)]


class Merged(Payload):
    """`identity.merged`, `campaign.merged`: the loser is a part of the winner now."""

    winner_uuid: Name
    loser_uuid: Name


class Unmerged(Payload):
    """`identity.unmerged`, `campaign.unmerged`: what was a part stands for itself again."""

    resurrected_uuid: Name
    former_winner_uuid: Name


class CredentialReused(Payload):
    """`credential.reuse.detected`: a row of `credential_reuse`; never the secret itself."""

    secret_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    secret_kind: Name
    principal: str | None = None
    attacker_uuids: list[Name] = []
    attacker_ips: list[Address] = []
    deckies: list[Name] = []
    services: list[Name] = []
    target_count: Annotated[int, Field(ge=2)]
    attempt_count: Annotated[int, Field(ge=1)]
    confidence: Annotated[float, Field(ge=0, le=1)]
    first_seen: AwareDatetime
    last_seen: AwareDatetime


class AttributionChanged(Payload):
    """`attribution.profile.state_changed`: a habit of an identity is of another steadiness."""

    identity_uuid: Name
    primitive: Name
    old_state: Name
    new_state: Name
    confidence: Annotated[float, Field(ge=0, le=1)]
    ts: AwareDatetime


class AttributionSuspected(Payload):
    """`attribution.profile.multi_actor_suspected`: several habits look like several actors."""

    identity_uuid: Name
    primitives: Annotated[list[Name], Field(min_length=2)]
    confidence: Annotated[float, Field(ge=0, le=1)]
    ts: AwareDatetime
