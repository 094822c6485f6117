"""`decnetctl migrate`: what `make run` does before the fleet starts."""

from __future__ import annotations


def migrate(*, check: bool = False) -> int:
    """Make the database, or bring it to this program's revision. Run it while the fleet is down.

    Args:
        check: only tell whether that is needed (exit code 1 if so).
    """
    from decnet.db import migrate as program  # late: Alembic

    return program.main(["--check"] if check else [])
