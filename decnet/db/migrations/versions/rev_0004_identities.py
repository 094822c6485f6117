"""Identities and campaigns."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "campaigns",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("first_seen_at", UTC, nullable=False),
        sa.Column("last_seen_at", UTC, nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("identity_count", sa.Integer(), nullable=False),
        sa.Column("payload_hashes", sa.Text(), nullable=False),
        sa.Column("c2_endpoints", sa.Text(), nullable=False),
        sa.Column("merged_into_uuid", sa.String(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("review", sa.Boolean(), nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["merged_into_uuid"],
            ["campaigns.uuid"],
            name=op.f("fk_campaigns_merged_into_uuid_campaigns"),
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_campaigns")),
    )
    for column in ("last_seen_at", "merged_into_uuid", "review"):
        op.create_index(op.f(f"ix_campaigns_{column}"), "campaigns", [column])
    op.create_table(
        "attacker_identities",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("campaign_id", sa.String(), nullable=True),
        sa.Column("first_seen_at", UTC, nullable=False),
        sa.Column("last_seen_at", UTC, nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("observation_count", sa.Integer(), nullable=False),
        sa.Column("ja3_hashes", sa.Text(), nullable=False),
        sa.Column("hassh_hashes", sa.Text(), nullable=False),
        sa.Column("ja4_hashes", sa.Text(), nullable=False),
        sa.Column("payload_hashes", sa.Text(), nullable=False),
        sa.Column("c2_endpoints", sa.Text(), nullable=False),
        sa.Column("kd_digraph_simhash", sa.String(), nullable=True),
        sa.Column("merged_into_uuid", sa.String(), nullable=True),
        sa.Column("notes", sa.Text(), nullable=True),
        sa.Column("review", sa.Boolean(), nullable=False),
        sa.Column("campaign_dirty", sa.Boolean(), nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["campaign_id"],
            ["campaigns.uuid"],
            name=op.f("fk_attacker_identities_campaign_id_campaigns"),
        ),
        sa.ForeignKeyConstraint(
            ["merged_into_uuid"],
            ["attacker_identities.uuid"],
            name=op.f("fk_attacker_identities_merged_into_uuid_attacker_identities"),
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_attacker_identities")),
    )
    for column in ("campaign_id", "last_seen_at", "merged_into_uuid", "review", "campaign_dirty"):
        op.create_index(op.f(f"ix_attacker_identities_{column}"), "attacker_identities", [column])
    op.create_table(
        "credential_reuse",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("secret_kind", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=True),
        sa.Column("attacker_uuids", sa.Text(), nullable=False),
        sa.Column("attacker_ips", sa.Text(), nullable=False),
        sa.Column("deckies", sa.Text(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("target_count", sa.Integer(), nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("first_seen", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credential_reuse")),
        sa.UniqueConstraint(
            "secret_sha256",
            "secret_kind",
            name=op.f("uq_credential_reuse_secret_sha256_secret_kind"),
        ),
    )
    op.create_index(op.f("ix_credential_reuse_last_seen"), "credential_reuse", ["last_seen"])
    op.create_table(
        "attribution_state",
        sa.Column("identity_uuid", sa.String(), nullable=False),
        sa.Column("primitive", sa.String(), nullable=False),
        sa.Column("current_value", sa.Text(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("observation_count", sa.Integer(), nullable=False),
        sa.Column("last_change_ts", UTC, nullable=False),
        sa.Column("alarmed", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_uuid"],
            ["attacker_identities.uuid"],
            name=op.f("fk_attribution_state_identity_uuid_attacker_identities"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("identity_uuid", "primitive", name=op.f("pk_attribution_state")),
    )
    op.create_index(op.f("ix_attribution_state_state"), "attribution_state", ["state"])
    _create_working_tables()


def _create_working_tables() -> None:
    op.create_table(
        "cluster_evidence",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("placed", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("key", "attacker_ip", name=op.f("pk_cluster_evidence")),
    )
    op.create_index(
        op.f("ix_cluster_evidence_attacker_ip_kind"), "cluster_evidence", ["attacker_ip", "kind"]
    )
    op.create_index(
        op.f("ix_cluster_evidence_placed_attacker_ip"),
        "cluster_evidence",
        ["placed", "attacker_ip"],
    )
    op.create_table(
        "cluster_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("members", sa.Integer(), nullable=False),
        sa.Column("example_ip", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cluster_keys")),
    )
    op.create_table(
        "campaign_nodes",
        sa.Column("identity_uuid", sa.String(), nullable=False),
        sa.Column("record", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_uuid"],
            ["attacker_identities.uuid"],
            name=op.f("fk_campaign_nodes_identity_uuid_attacker_identities"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("identity_uuid", name=op.f("pk_campaign_nodes")),
    )
    op.create_table(
        "campaign_keys",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("identity_uuid", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(
            ["identity_uuid"],
            ["campaign_nodes.identity_uuid"],
            name=op.f("fk_campaign_keys_identity_uuid_campaign_nodes"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("key", "identity_uuid", name=op.f("pk_campaign_keys")),
    )
    op.create_index(op.f("ix_campaign_keys_identity_uuid"), "campaign_keys", ["identity_uuid"])


def downgrade() -> None:
    """Back to revision 0003."""
    for table in (
        *("campaign_keys", "campaign_nodes", "cluster_keys", "cluster_evidence"),
        *("attribution_state", "credential_reuse", "attacker_identities", "campaigns"),
    ):
        op.drop_table(table)
