"""Every table, by one import; each domain has its own file beside this one."""

from __future__ import annotations

from decnet.db.accounts import RevokedToken, User
from decnet.db.attackers import Attacker, AttackerBehavior
from decnet.db.base import METADATA, new_uuid, utc_now
from decnet.db.canary import CanaryBlob, CanaryToken, CanaryTrigger
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
from decnet.db.sessions import SessionRecording
from decnet.db.state import State
from decnet.db.ttp import TtpRule, TtpRuleState, TtpTag
from decnet.db.webhook import (
    WebhookDelivery,
    WebhookEvent,
    WebhookOutbox,
    WebhookSubscription,
)

__all__ = [
    "CREDENTIAL_KEY",
    "METADATA",
    "Attacker",
    "AttackerBehavior",
    "Bounty",
    "CanaryBlob",
    "CanaryToken",
    "CanaryTrigger",
    "Credential",
    "DeckyLifecycle",
    "DeckyMutation",
    "FleetDecky",
    "Log",
    "ObservedAttachment",
    "OrchestratorEmail",
    "OrchestratorEvent",
    "RealismConfig",
    "RevokedToken",
    "SessionRecording",
    "State",
    "SyntheticFile",
    "TtpRule",
    "TtpRuleState",
    "TtpTag",
    "User",
    "WebhookDelivery",
    "WebhookEvent",
    "WebhookOutbox",
    "WebhookSubscription",
    "new_uuid",
    "utc_now",
]
