"""What the clusterers work with: evidence by address, and its buckets. Nobody else needs these."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Index
from sqlmodel import Field, SQLModel

from decnet.db.base import JsonText


class ClusterEvidence(SQLModel, table=True):
    """An address showed this ("ja3:…", "hassh:…", "payload:…", "c2:…"). Only ever added to."""

    __tablename__ = "cluster_evidence"
    __table_args__ = (Index(None, "attacker_ip", "kind"), Index(None, "placed", "attacker_ip"))

    key: str = Field(primary_key=True)
    attacker_ip: str = Field(primary_key=True)
    kind: str
    placed: bool = False
    """Whether the identities already take it into account."""


class ClusterKey(SQLModel, table=True):
    """How many placed addresses show a key, so that nobody counts a bucket."""

    __tablename__ = "cluster_keys"

    key: str = Field(primary_key=True)
    members: int = 0
    example_ip: str
    """Any of them."""


class CampaignNode(SQLModel, table=True):
    """What campaigns see of an identity; only for identities that could be linked at all."""

    __tablename__ = "campaign_nodes"

    identity_uuid: str = Field(
        primary_key=True, foreign_key="attacker_identities.uuid", ondelete="CASCADE"
    )
    record: dict[str, Any] = Field(default_factory=dict, sa_type=JsonText)


class CampaignKey(SQLModel, table=True):
    """Inverted index over `campaign_nodes`: whom to compare an identity with."""

    __tablename__ = "campaign_keys"

    key: str = Field(primary_key=True)
    identity_uuid: str = Field(
        primary_key=True,
        foreign_key="campaign_nodes.identity_uuid",
        ondelete="CASCADE",
        index=True,
    )
