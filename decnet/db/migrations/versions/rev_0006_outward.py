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
    _canary_tables()
    _webhook_tables()
    _collect_tables()
    _probe_tables()


def downgrade() -> None:
    """Back to revision 0005."""
    op.drop_index("ix_attacker_intel_cached_at", "attacker_intel")
    for table in (
        "probe_rounds",
        "attacker_fingerprint_state",
        "webhook_marks",
        "webhook_deliveries",
        "webhook_outbox",
        "webhook_events",
        "webhook_subscriptions",
        "canary_triggers",
        "canary_tokens",
        "canary_blobs",
    ):
        op.drop_table(table)
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
        op.create_index(op.f(f"ix_observed_attachments_{column}"), "observed_attachments", [column])
    op.add_column("bounty", sa.Column("key", sa.String(), nullable=True))
    op.create_index("uq_bounty_key", "bounty", ["key"], unique=True)


def _drop_collect_tables() -> None:
    op.drop_index("uq_bounty_key", table_name="bounty")
    op.drop_column("bounty", "key")
    op.drop_table("observed_attachments")


def _canary_tables() -> None:
    op.create_table(
        "canary_blobs",
        sa.Column("sha256", sa.String(), nullable=False),
        sa.Column("filename", sa.String(), nullable=False),
        sa.Column("content_type", sa.String(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_canary_blobs")),
    )
    op.create_table(
        "canary_tokens",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("decky_name", sa.String(), nullable=True),
        sa.Column("generator", sa.String(), nullable=True),
        sa.Column("instrumenter", sa.String(), nullable=True),
        sa.Column("blob_sha256", sa.String(), nullable=True),
        sa.Column("placement_path", sa.String(), nullable=True),
        sa.Column("callback_token", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("revoked_reason", sa.String(), nullable=True),
        sa.Column("trigger_count", sa.Integer(), nullable=False),
        sa.Column("fingerprint_nonce", sa.String(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.Column("revoked_at", UTC, nullable=True),
        sa.Column("last_triggered_at", UTC, nullable=True),
        sa.ForeignKeyConstraint(
            ["blob_sha256"],
            ["canary_blobs.sha256"],
            name=op.f("fk_canary_tokens_blob_sha256_canary_blobs"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_canary_tokens")),
        sa.UniqueConstraint("callback_token", name=op.f("uq_canary_tokens_callback_token")),
    )
    for column in ("blob_sha256", "created_at", "revoked_at", "state"):
        op.create_index(op.f(f"ix_canary_tokens_{column}"), "canary_tokens", [column])
    op.create_table(
        "canary_triggers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("hit_id", sa.String(), nullable=False),
        sa.Column("token_uuid", sa.String(), nullable=False),
        sa.Column("occurred_at", UTC, nullable=False),
        sa.Column("src_ip", sa.String(), nullable=False),
        sa.Column("user_agent", sa.Text(), nullable=True),
        sa.Column("request_path", sa.Text(), nullable=True),
        sa.Column("dns_qname", sa.String(), nullable=True),
        sa.Column("raw_headers", sa.Text(), nullable=False),
        sa.Column("fingerprint", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["token_uuid"],
            ["canary_tokens.uuid"],
            name=op.f("fk_canary_triggers_token_uuid_canary_tokens"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_canary_triggers")),
        sa.UniqueConstraint("hit_id", name=op.f("uq_canary_triggers_hit_id")),
        sqlite_autoincrement=True,
    )
    for column in ("occurred_at", "src_ip"):
        op.create_index(op.f(f"ix_canary_triggers_{column}"), "canary_triggers", [column])
    op.create_index(
        op.f("ix_canary_triggers_token_uuid_id"), "canary_triggers", ["token_uuid", "id"]
    )


def _webhook_tables() -> None:
    op.create_table(
        "webhook_subscriptions",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("secret", sa.String(), nullable=False),
        sa.Column("topic_patterns", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("concurrency", sa.Integer(), nullable=False),
        sa.Column("consecutive_failures", sa.Integer(), nullable=False),
        sa.Column("delivered_count", sa.Integer(), nullable=False),
        sa.Column("dropped_count", sa.Integer(), nullable=False),
        sa.Column("last_success_at", UTC, nullable=True),
        sa.Column("last_failure_at", UTC, nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("auto_disabled_at", UTC, nullable=True),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_webhook_subscriptions")),
        sa.UniqueConstraint("name", name=op.f("uq_webhook_subscriptions_name")),
    )
    op.create_table(
        "webhook_events",
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("type", sa.String(), nullable=False),
        sa.Column("ts", sa.Float(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.Column("created_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_webhook_events")),
    )
    op.create_index(op.f("ix_webhook_events_created_at"), "webhook_events", ["created_at"])
    op.create_table(
        "webhook_outbox",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subscription_uuid", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["subscription_uuid"],
            ["webhook_subscriptions.uuid"],
            name=op.f("fk_webhook_outbox_subscription_uuid_webhook_subscriptions"),
            ondelete="CASCADE",
        ),
        sa.ForeignKeyConstraint(
            ["event_id"],
            ["webhook_events.event_id"],
            name=op.f("fk_webhook_outbox_event_id_webhook_events"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_outbox")),
        sa.UniqueConstraint("subscription_uuid", "event_id", name="uq_webhook_outbox_key"),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_webhook_outbox_event_id"), "webhook_outbox", ["event_id"])
    op.create_index(
        op.f("ix_webhook_outbox_subscription_uuid_state_id"),
        "webhook_outbox",
        ["subscription_uuid", "state", "id"],
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("subscription_uuid", sa.String(), nullable=False),
        sa.Column("event_id", sa.String(), nullable=False),
        sa.Column("topic", sa.String(), nullable=False),
        sa.Column("at", UTC, nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("status_code", sa.Integer(), nullable=True),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["subscription_uuid"],
            ["webhook_subscriptions.uuid"],
            name=op.f("fk_webhook_deliveries_subscription_uuid_webhook_subscriptions"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_webhook_deliveries_subscription_uuid_id"),
        "webhook_deliveries",
        ["subscription_uuid", "id"],
    )
    op.create_table(
        "webhook_marks",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("merged_into", sa.String(), nullable=True),
        sa.Column("campaign", sa.String(), nullable=True),
        sa.Column("changes", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_webhook_marks")),
    )
    op.create_index(op.f("ix_attacker_intel_cached_at"), "attacker_intel", ["cached_at"])


def _probe_tables() -> None:
    op.create_table(
        "attacker_fingerprint_state",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("port", sa.Integer(), nullable=False),
        sa.Column("probe_type", sa.String(), nullable=False),
        sa.Column("last_hash", sa.String(), nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.Column("rotation_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attacker_uuid"],
            ["attackers.uuid"],
            name=op.f("fk_attacker_fingerprint_state_attacker_uuid_attackers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_attacker_fingerprint_state")),
        sa.UniqueConstraint(
            "attacker_uuid",
            "port",
            "probe_type",
            name=op.f("uq_attacker_fingerprint_state_attacker_uuid_port_probe_type"),
        ),
    )
    op.create_index(
        op.f("ix_attacker_fingerprint_state_last_hash"), "attacker_fingerprint_state", ["last_hash"]
    )
    op.create_table(
        "probe_rounds",
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("due_at", UTC, nullable=True),
        sa.Column("lease_until", UTC, nullable=True),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("started_at", UTC, nullable=True),
        sa.Column("finished_at", UTC, nullable=True),
        sa.Column("done", sa.Text(), nullable=False),
        sa.Column("pending", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attacker_uuid"],
            ["attackers.uuid"],
            name=op.f("fk_probe_rounds_attacker_uuid_attackers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("attacker_uuid", name=op.f("pk_probe_rounds")),
    )
    op.create_index(op.f("ix_probe_rounds_due_at"), "probe_rounds", ["due_at"])
