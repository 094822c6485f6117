"""What is learnt of attackers: intelligence, observations, mail targets."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def attacker_key(table: str) -> sa.ForeignKeyConstraint:
    """Rows of `table` go with their attacker."""
    return sa.ForeignKeyConstraint(
        ["attacker_uuid"],
        ["attackers.uuid"],
        name=op.f(f"fk_{table}_attacker_uuid_attackers"),
        ondelete="CASCADE",
    )


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "attacker_intel",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("greynoise_classification", sa.String(), nullable=True),
        sa.Column("greynoise_noise", sa.Boolean(), nullable=True),
        sa.Column("greynoise_riot", sa.Boolean(), nullable=True),
        sa.Column("greynoise_name", sa.String(), nullable=True),
        sa.Column("abuseipdb_score", sa.Integer(), nullable=True),
        sa.Column("abuseipdb_categories", sa.Text(), nullable=False),
        sa.Column("abuseipdb_reports", sa.Integer(), nullable=True),
        sa.Column("feodo_listed", sa.Boolean(), nullable=True),
        sa.Column("feodo_malware", sa.String(), nullable=True),
        sa.Column("feodo_last_online", sa.String(), nullable=True),
        sa.Column("threatfox_listed", sa.Boolean(), nullable=True),
        sa.Column("threatfox_malware", sa.String(), nullable=True),
        sa.Column("threatfox_threat_type", sa.String(), nullable=True),
        sa.Column("threatfox_confidence", sa.Integer(), nullable=True),
        sa.Column("blocklists", sa.Text(), nullable=False),
        sa.Column("providers", sa.Text(), nullable=False),
        sa.Column("aggregate_verdict", sa.String(), nullable=False),
        sa.Column("cached_at", UTC, nullable=False),
        sa.Column("expires_at", UTC, nullable=False),
        attacker_key("attacker_intel"),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_attacker_intel")),
        sa.UniqueConstraint("attacker_uuid", name=op.f("uq_attacker_intel_attacker_uuid")),
    )
    for column in ("aggregate_verdict", "attacker_ip", "expires_at"):
        op.create_index(op.f(f"ix_attacker_intel_{column}"), "attacker_intel", [column])
    op.create_table(
        "attacker_places",
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        attacker_key("attacker_places"),
        sa.PrimaryKeyConstraint("attacker_uuid", "kind", "name", name=op.f("pk_attacker_places")),
    )
    op.create_table(
        "observations",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("identity_ref", sa.String(), nullable=True),
        sa.Column("primitive", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("confidence", sa.Float(), nullable=False),
        sa.Column("window_start_ts", UTC, nullable=False),
        sa.Column("window_end_ts", UTC, nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("evidence_ref", sa.Text(), nullable=False),
        sa.Column("envelope_v", sa.Integer(), nullable=False),
        sa.Column("ts", UTC, nullable=False),
        attacker_key("observations"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_observations")),
    )
    for who in ("attacker_uuid", "identity_ref"):
        op.create_index(
            op.f(f"ix_observations_{who}_primitive_ts"), "observations", [who, "primitive", "ts"]
        )
    op.create_index(op.f("ix_observations_ts"), "observations", ["ts"])
    op.create_table(
        "smtp_targets",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("domain", sa.String(), nullable=False),
        sa.Column("first_seen", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        attacker_key("smtp_targets"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_smtp_targets")),
        sa.UniqueConstraint("attacker_uuid", "domain", name="uq_smtp_targets_key"),
    )
    op.create_index(op.f("ix_smtp_targets_domain"), "smtp_targets", ["domain"])


def downgrade() -> None:
    """Back to revision 0002."""
    for table in ("smtp_targets", "observations", "attacker_places", "attacker_intel"):
        op.drop_table(table)
