"""The core: logs, credentials, attackers, recordings, accounts, cursors."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

UTC = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "attackers",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("ip", sa.String(), nullable=False),
        sa.Column("identity_id", sa.String(), nullable=True),
        sa.Column("first_seen", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.Column("event_count", sa.Integer(), nullable=False),
        sa.Column("service_count", sa.Integer(), nullable=False),
        sa.Column("decky_count", sa.Integer(), nullable=False),
        sa.Column("bounty_count", sa.Integer(), nullable=False),
        sa.Column("credential_count", sa.Integer(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("deckies", sa.Text(), nullable=False),
        sa.Column("traversal_path", sa.Text(), nullable=False),
        sa.Column("is_traversal", sa.Boolean(), nullable=False),
        sa.Column("fingerprints", sa.Text(), nullable=False),
        sa.Column("commands", sa.Text(), nullable=False),
        sa.Column("country_code", sa.String(), nullable=True),
        sa.Column("asn", sa.Integer(), nullable=True),
        sa.Column("as_name", sa.String(), nullable=True),
        sa.Column("bgp_prefix", sa.String(), nullable=True),
        sa.Column("rpki_status", sa.String(), nullable=True),
        sa.Column("ptr_record", sa.String(), nullable=True),
        sa.Column("rotation_count", sa.Integer(), nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_attackers")),
        sa.UniqueConstraint("ip", name=op.f("uq_attackers_ip")),
    )
    op.create_index(op.f("ix_attackers_identity_id"), "attackers", ["identity_id"])
    op.create_index(op.f("ix_attackers_last_seen"), "attackers", ["last_seen"])
    op.create_index(op.f("ix_attackers_updated_at"), "attackers", ["updated_at"])
    op.create_table(
        "bounty",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("timestamp", UTC, nullable=False),
        sa.Column("decky", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("bounty_type", sa.String(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_bounty")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_bounty_attacker_ip_id"), "bounty", ["attacker_ip", "id"])
    op.create_index(op.f("ix_bounty_bounty_type_id"), "bounty", ["bounty_type", "id"])
    op.create_table(
        "logs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("timestamp", UTC, nullable=False),
        sa.Column("decky", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("event_type", sa.String(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("raw_line", sa.Text(), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("msg", sa.Text(), nullable=True),
        sa.Column("trace_id", sa.String(), nullable=True),
        sa.Column("span_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_logs")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_logs_attacker_ip_id"), "logs", ["attacker_ip", "id"])
    op.create_index(op.f("ix_logs_decky_id"), "logs", ["decky", "id"])
    op.create_index(op.f("ix_logs_event_type_id"), "logs", ["event_type", "id"])
    op.create_index(op.f("ix_logs_timestamp"), "logs", ["timestamp"])
    op.create_table(
        "session_recordings",
        sa.Column("session_id", sa.String(), nullable=False),
        sa.Column("decky", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("started_at", UTC, nullable=False),
        sa.Column("ended_at", UTC, nullable=False),
        sa.Column("duration_s", sa.Float(), nullable=False),
        sa.Column("commands", sa.Text(), nullable=False),
        sa.Column("size_bytes", sa.Integer(), nullable=False),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("shard_path", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session_recordings")),
    )
    op.create_index(
        op.f("ix_session_recordings_attacker_ip_ended_at"),
        "session_recordings",
        ["attacker_ip", "ended_at"],
    )
    op.create_index(op.f("ix_session_recordings_ended_at"), "session_recordings", ["ended_at"])
    op.create_table(
        "state",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_state")),
    )
    op.create_table(
        "users",
        sa.Column("uuid", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("role", sa.String(), nullable=False),
        sa.Column("must_change_password", sa.Boolean(), nullable=False),
        sa.Column("tokens_valid_from", UTC, nullable=True),
        sa.PrimaryKeyConstraint("uuid", name=op.f("pk_users")),
        sa.UniqueConstraint("username", name=op.f("uq_users_username")),
    )
    op.create_table(
        "attacker_behavior",
        sa.Column("attacker_uuid", sa.String(), nullable=False),
        sa.Column("os_guess", sa.String(), nullable=True),
        sa.Column("hop_distance", sa.Integer(), nullable=True),
        sa.Column("tcp_fingerprint", sa.Text(), nullable=True),
        sa.Column("kex_order_raw", sa.String(), nullable=True),
        sa.Column("ssh_client_banners", sa.Text(), nullable=False),
        sa.Column("retransmit_count", sa.Integer(), nullable=False),
        sa.Column("behavior_class", sa.String(), nullable=True),
        sa.Column("beacon_interval_s", sa.Float(), nullable=True),
        sa.Column("beacon_jitter_pct", sa.Float(), nullable=True),
        sa.Column("tool_guesses", sa.Text(), nullable=False),
        sa.Column("timing_stats", sa.Text(), nullable=False),
        sa.Column("phase_sequence", sa.Text(), nullable=False),
        sa.Column("updated_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["attacker_uuid"],
            ["attackers.uuid"],
            name=op.f("fk_attacker_behavior_attacker_uuid_attackers"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("attacker_uuid", name=op.f("pk_attacker_behavior")),
    )
    op.create_index(
        op.f("ix_attacker_behavior_behavior_class"), "attacker_behavior", ["behavior_class"]
    )
    op.create_table(
        "credentials",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("attacker_ip", sa.String(), nullable=False),
        sa.Column("attacker_uuid", sa.String(), nullable=True),
        sa.Column("decky_name", sa.String(), nullable=False),
        sa.Column("service", sa.String(), nullable=False),
        sa.Column("principal", sa.String(), nullable=False),
        sa.Column("secret_kind", sa.String(), nullable=False),
        sa.Column("secret_sha256", sa.String(), nullable=False),
        sa.Column("secret_b64", sa.Text(), nullable=False),
        sa.Column("secret_printable", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(), nullable=True),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("first_seen", UTC, nullable=False),
        sa.Column("last_seen", UTC, nullable=False),
        sa.Column("attempt_count", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["attacker_uuid"],
            ["attackers.uuid"],
            name=op.f("fk_credentials_attacker_uuid_attackers"),
            ondelete="SET NULL",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credentials")),
        sa.UniqueConstraint(
            "attacker_ip",
            "decky_name",
            "service",
            "principal",
            "secret_kind",
            "secret_sha256",
            name="uq_credentials_key",
        ),
    )
    op.create_index(op.f("ix_credentials_attacker_uuid"), "credentials", ["attacker_uuid"])
    op.create_index(op.f("ix_credentials_last_seen"), "credentials", ["last_seen"])
    op.create_index(
        op.f("ix_credentials_secret_sha256_secret_kind"),
        "credentials",
        ["secret_sha256", "secret_kind"],
    )
    op.create_table(
        "revoked_tokens",
        sa.Column("jti", sa.String(), nullable=False),
        sa.Column("user_uuid", sa.String(), nullable=False),
        sa.Column("expires_at", UTC, nullable=False),
        sa.ForeignKeyConstraint(
            ["user_uuid"],
            ["users.uuid"],
            name=op.f("fk_revoked_tokens_user_uuid_users"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("jti", name=op.f("pk_revoked_tokens")),
    )
    op.create_index(op.f("ix_revoked_tokens_expires_at"), "revoked_tokens", ["expires_at"])
    op.create_index(op.f("ix_revoked_tokens_user_uuid"), "revoked_tokens", ["user_uuid"])


def downgrade() -> None:
    """Back to nothing."""
    for table in (
        "revoked_tokens",
        "credentials",
        "attacker_behavior",
        "users",
        "state",
        "session_recordings",
        "logs",
        "bounty",
        "attackers",
    ):
        op.drop_table(table)
