"""Techniques: rules and tags."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ttp_rule",
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("source_path", sa.Text(), nullable=False),
        sa.Column("yaml_content", sa.Text(), nullable=False),
        sa.Column("techniques", sa.Text(), nullable=False),
        sa.Column("loaded_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_ttp_rule")),
    )
    op.create_table(
        "ttp_rule_state",
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("confidence_max", sa.Float(), nullable=True),
        sa.Column("expires_at", UTC, nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("set_by", sa.String(), nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("rule_id", name=op.f("pk_ttp_rule_state")),
    )
    op.create_table(
        "ttp_tag",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("source_kind", sa.String(), nullable=False),
        sa.Column("source_id", sa.String(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=True),
        sa.Column("identity_uuid", sa.String(), nullable=True),
        sa.Column("session_id", sa.String(), nullable=True),
        sa.Column("decky_id", sa.String(), nullable=True),
        sa.Column("tactic", sa.String(), nullable=False),
        sa.Column("technique_id", sa.String(), nullable=False),
        sa.Column("sub_technique_id", sa.String(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("rule_id", sa.String(), nullable=False),
        sa.Column("rule_version", sa.Integer(), nullable=False),
        sa.Column("evidence", sa.Text(), nullable=False),
        sa.Column("attack_release", sa.String(), nullable=False),
        sa.Column("mitre_url", sa.Text(), nullable=False),
        sa.Column("observed_at", UTC, nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.CheckConstraint(
            "attacker_uuid IS NOT NULL OR identity_uuid IS NOT NULL", name=op.f("ck_ttp_tag_whose")
        ),
        sa.CheckConstraint(
            "confidence >= 0 AND confidence <= 1", name=op.f("ck_ttp_tag_confidence")
        ),
        sa.ForeignKeyConstraint(
            ["attacker_uuid"],
            ["attackers.uuid"],
            name=op.f("fk_ttp_tag_attacker_uuid_attackers"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["identity_uuid"],
            ["attacker_identities.uuid"],
            name=op.f("fk_ttp_tag_identity_uuid_attacker_identities"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_ttp_tag")),
    )
    op.create_index(
        op.f("ix_ttp_tag_attacker_uuid_technique_id"), "ttp_tag", ["attacker_uuid", "technique_id"]
    )
    op.create_index(
        op.f("ix_ttp_tag_technique_id_created_at"), "ttp_tag", ["technique_id", "created_at"]
    )
    for column in ("identity_uuid", "session_id", "rule_id", "observed_at", "created_at"):
        op.create_index(op.f(f"ix_ttp_tag_{column}"), "ttp_tag", [column])


def downgrade() -> None:
    """Back to revision 0004."""
    for table in ("ttp_tag", "ttp_rule_state", "ttp_rule"):
        op.drop_table(table)
