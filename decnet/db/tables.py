"""Every table, by one import; each domain has its own file beside this one."""

from __future__ import annotations

from decnet.db.accounts import RevokedToken, User
from decnet.db.attackers import Attacker, AttackerBehavior
from decnet.db.base import METADATA, new_uuid, utc_now
from decnet.db.canary import CanaryBlob, CanaryToken, CanaryTrigger
from decnet.db.clustering import CampaignKey, CampaignNode, ClusterEvidence, ClusterKey
from decnet.db.credentials import CREDENTIAL_KEY, Credential
from decnet.db.estate import (
    DeckyLifecycle,
    DeckyMutation,
    FleetDecky,
    OrchestratorEmail,
    OrchestratorEvent,
    RealismConfig,
    SyntheticFile,
)
from decnet.db.events import Bounty, Log, ObservedAttachment
from decnet.db.identities import (
    AttackerIdentity,
    AttributionState,
    Campaign,
    CredentialReuse,
)
from decnet.db.intel import AttackerIntel, AttackerPlace, Observation, SmtpTarget
from decnet.db.probes import AttackerFingerprintState, ProbeRound
from decnet.db.sessions import SessionRecording
from decnet.db.state import State
from decnet.db.ttp import TtpRule, TtpRuleState, TtpTag
from decnet.db.webhook import (
    WebhookDelivery,
    WebhookEvent,
    WebhookMark,
    WebhookOutbox,
    WebhookSubscription,
)

__all__ = [
    "CREDENTIAL_KEY",
    "METADATA",
    "Attacker",
    "AttackerBehavior",
    "AttackerFingerprintState",
    "AttackerIdentity",
    "AttackerIntel",
    "AttackerPlace",
    "AttributionState",
    "Bounty",
    "Campaign",
    "CampaignKey",
    "CampaignNode",
    "CanaryBlob",
    "CanaryToken",
    "CanaryTrigger",
    "ClusterEvidence",
    "ClusterKey",
    "Credential",
    "CredentialReuse",
    "DeckyLifecycle",
    "DeckyMutation",
    "FleetDecky",
    "Log",
    "Observation",
    "ObservedAttachment",
    "OrchestratorEmail",
    "OrchestratorEvent",
    "ProbeRound",
    "RealismConfig",
    "RevokedToken",
    "SessionRecording",
    "SmtpTarget",
    "State",
    "SyntheticFile",
    "TtpRule",
    "TtpRuleState",
    "TtpTag",
    "User",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookMark",
    "WebhookOutbox",
    "WebhookSubscription",
    "new_uuid",
    "utc_now",
]
