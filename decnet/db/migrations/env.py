"""Alembic's entry; `decnet.db.migrate` hands it an open connection."""

from __future__ import annotations

from alembic import context

from decnet.db.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    # SQLite cannot alter a table: later revisions copy it.
    render_as_batch=True,
    # The caller's transaction spans all revisions: a migration happens as a whole or not.
    transactional_ddl=True,
    transaction_per_migration=False,
)
context.run_migrations()
