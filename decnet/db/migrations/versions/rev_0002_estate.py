"""The estate: deckies and what is done to them."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)
TABLES = (
    "fleet_deckies",
    "decky_mutations",
    "decky_lifecycle",
    "orchestrator_events",
    "orchestrator_emails",
    "synthetic_files",
    "realism_config",
)


def upgrade() -> None:
    """Make the tables."""
    _deckies()
    _life()


def _deckies() -> None:
    op.create_table(
        "fleet_deckies",
        sa.Column("host_uuid", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("archetype", sa.String(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("decky_config", sa.Text(), nullable=False),
        sa.Column("decky_ip", sa.String(), nullable=True),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("last_error", sa.String(), nullable=True),
        sa.Column("mutate_interval_min", sa.Integer(), nullable=False),
        sa.Column("mutated_at", UTC, nullable=True),
        sa.Column("last_seen", UTC, nullable=True),
        sa.Column("updated_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("host_uuid", "name", name=op.f("pk_fleet_deckies")),
    )
    op.create_table(
        "decky_mutations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("host_uuid", sa.String(), nullable=False),
        sa.Column("decky_name", sa.String(), nullable=False),
        sa.Column("trigger", sa.String(), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("old_services", sa.Text(), nullable=False),
        sa.Column("new_services", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("requested_at", UTC, nullable=False),
        sa.Column("applied_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decky_mutations")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_decky_mutations_state_id"), "decky_mutations", ["state", "id"])
    op.create_table(
        "decky_lifecycle",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("decky_name", sa.String(), nullable=False),
        sa.Column("host_uuid", sa.String(), nullable=False),
        sa.Column("operation", sa.String(), nullable=False),
        sa.Column("status", sa.String(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("started_at", UTC, nullable=False),
        sa.Column("completed_at", UTC, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_decky_lifecycle")),
    )
    op.create_index(op.f("ix_decky_lifecycle_started_at"), "decky_lifecycle", ["started_at"])


def _life() -> None:
    op.create_table(
        "orchestrator_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ts", UTC, nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("action", sa.String(), nullable=False),
        sa.Column("src", sa.String(), nullable=True),
        sa.Column("dst", sa.String(), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orchestrator_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_orchestrator_events_dst_id"), "orchestrator_events", ["dst", "id"])
    op.create_table(
        "orchestrator_emails",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ts", UTC, nullable=False),
        sa.Column("decky", sa.String(), nullable=False),
        sa.Column("thread_id", sa.String(), nullable=False),
        sa.Column("message_id", sa.String(), nullable=False),
        sa.Column("in_reply_to", sa.String(), nullable=True),
        sa.Column("mail_from", sa.String(), nullable=False),
        sa.Column("mail_to", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("success", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_orchestrator_emails")),
        sa.UniqueConstraint("message_id", name=op.f("uq_orchestrator_emails_message_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_orchestrator_emails_decky_id"), "orchestrator_emails", ["decky", "id"])
    op.create_index(op.f("ix_orchestrator_emails_thread_id"), "orchestrator_emails", ["thread_id"])
    op.create_table(
        "synthetic_files",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("decky", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("persona", sa.String(), nullable=False),
        sa.Column("content_class", sa.String(), nullable=False),
        sa.Column("edit_count", sa.Integer(), nullable=False),
        sa.Column("content_hash", sa.String(), nullable=False),
        sa.Column("last_body", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("modified_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_synthetic_files")),
    )
    op.create_index(
        op.f("ix_synthetic_files_decky_path"), "synthetic_files", ["decky", "path"], unique=True
    )
    op.create_table(
        "realism_config",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.Column("updated_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_realism_config")),
    )


def downgrade() -> None:
    """Back to revision 0001."""
    for table in reversed(TABLES):
        op.drop_table(table)
