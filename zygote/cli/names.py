"""Names for the TAB key: quick, quiet, and never an error."""

from __future__ import annotations

import asyncio
from typing import Any

from zygote.cli.context import current

_PATIENCE = 1.0


def known_workers() -> list[str]:
    """Of the running manager, or else of the fleet file."""
    try:
        return asyncio.run(asyncio.wait_for(_ask("workers"), _PATIENCE))
    except Exception:
        return _from_file("worker")


def known_logs() -> list[str]:
    """Workers, the zygotes' logs, and the manager's."""
    try:
        zygotes = asyncio.run(asyncio.wait_for(_ask("zygotes"), _PATIENCE))
    except Exception:
        zygotes = _from_file("zygote")
    return [*known_workers(), *(f"zygote.{name}" for name in zygotes), "manager"]


async def _ask(what: str) -> list[str]:
    from zygote.client.api import Client

    async with await Client.connect(current.socket()) as manager:
        found: list[Any] = await getattr(manager, what)()
        return [each.name for each in found]


def _from_file(kind: str) -> list[str]:
    import tomllib

    try:
        with current.fleet_file().open("rb") as file:
            return list(tomllib.load(file).get(kind, {}))
    except Exception:
        return []
