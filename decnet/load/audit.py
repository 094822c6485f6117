"""An auditor beside a fleet: what the crowd's deeds come to is seen from outside."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from decnet.db.engine import Database
from decnet.load.crowd import Tally
from decnet.load.outcome import Outcome, Watcher, last_log_id, settled
from decnet.settings import Settings


@dataclass(frozen=True)
class Audit:
    """The fleet's database, read as anybody may, and a follower of its event stream."""

    database: Database
    watcher: Watcher

    async def settled(self, tally: Tally, seconds: float = 90.0) -> Outcome:
        """The counts once everything has arrived, or when `seconds` are over."""
        return await settled(self.database, tally, self.watcher, seconds)


@contextlib.asynccontextmanager
async def audited(settings: Settings) -> AsyncIterator[Audit]:
    """Follow a running fleet, from what it shows next.

    Raises:
        NotMigrated: it has no database yet.
    """
    database = Database(settings.db_url)
    await database.open()
    try:
        watcher = Watcher(settings, await last_log_id(database))
        following = asyncio.create_task(watcher.follow())
        try:
            yield Audit(database, watcher)
        finally:
            following.cancel()
            await asyncio.wait({following})
        if not following.cancelled():
            following.result()  # it broke: nothing of what was shown after that was seen
    finally:
        await database.close()
