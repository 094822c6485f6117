"""Canaries, webhooks, probes, log shipping."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    _collect_tables()


def downgrade() -> None:
    """Back to revision 0005."""
    _drop_collect_tables()


def _collect_tables() -> None:
    op.create_table(
        "observed_attachments",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("first_seen", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.Column("observation_count", sa.Integer(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("first_decky", sa.String(), nullable=False),
        sa.Column("first_attacker_ip", sa.String(), nullable=False),
        sa.Column("extensions", sa.Text(), nullable=False),
        sa.Column("first_subject", sa.Text(), nullable=True),
        sa.Column("mal_hash_match", sa.Boolean(), nullable=True),
        sa.Column("mal_hash_source", sa.String(), nullable=True),
        sa.Column("mal_hash_checked_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_observed_attachments")),
        sa.UniqueConstraint("sha256", name=op.f("uq_observed_attachments_sha256")),
    )
    for column in ("last_seen", "mal_hash_match"):
        op.create_index(
            op.f(f"ix_observed_attachments_{column}"), "observed_attachments", [column]
        )
    op.add_column("bounty", sa.Column("key", sa.String(), nullable=True))
    op.create_index("uq_bounty_key", "bounty", ["key"], unique=True)


def _drop_collect_tables() -> None:
    op.drop_index("uq_bounty_key", table_name="bounty")
    op.drop_column("bounty", "key")
    op.drop_table("observed_attachments")
