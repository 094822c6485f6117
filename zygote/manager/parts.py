"""The mechanisms that all workers share, as one thing to hand over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zygote.manager import request
from zygote.manager.children import Children
from zygote.manager.events import EventLog
from zygote.manager.freshness import Freshness
from zygote.manager.leaves import Leaves
from zygote.manager.logs import LogFiles
from zygote.manager.spawn import Spawner
from zygote.manager.state import StateFiles
from zygote.manager.storm import Groups, Pace
from zygote.manager.unit import Clock
from zygote.manager.zygotes import Zygotes

if TYPE_CHECKING:
    from zygote.manager.worker import Worker


@dataclass(slots=True)
class Parts:
    """The mechanisms that workers share."""

    loop: asyncio.AbstractEventLoop
    clock: Clock
    chance: Callable[[], float]
    events: EventLog
    children: Children
    spawner: Spawner
    zygotes: Zygotes
    state: StateFiles
    leaves: Leaves
    logs: LogFiles
    house: request.House
    find: Callable[[str], Worker | None]
    is_needed: Callable[[str], bool]
    retry_notify: Callable[[], None]
    pace: Pace
    groups: Groups
    freshness: Freshness
