"""Who beats: the last heartbeat of each worker, as the bus tells."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.bus.subscription import Event
from decnet.models import Health

STALE_SECONDS = 90.0
NAMES_MOST = 256
FIELDS_MOST, TEXT_MOST = 32, 200


@dataclass(frozen=True, slots=True)
class Beat:
    """A heartbeat; `heard` is monotonic."""

    heard: float
    pid: int
    uptime_s: float
    private_kib: int
    dropped: int
    fields: dict[str, Any]

    def age(self, now: float | None = None) -> float:
        """Seconds since it came."""
        return (time.monotonic() if now is None else now) - self.heard


class Registry:
    """Bus name -> last beat; at most `NAMES_MOST` names, the longest silent is forgotten first."""

    def __init__(self, bus: BusClient) -> None:
        self.beats: OrderedDict[str, Beat] = OrderedDict()
        self.bad = 0
        self._began = time.monotonic()
        bus.listen(topics.EVERY_HEALTH, self.hear)

    def hear(self, event: Event) -> None:
        """A heartbeat came, or what claims to be one."""
        try:
            health = Health.model_validate(event.payload)
        except ValidationError:
            self.bad += 1
            return
        extra = list((health.model_extra or {}).items())[:FIELDS_MOST]
        # The topic says who beats, not the payload: the broker has seen the topic.
        name = event.topic.split(".")[1]
        self.beats[name] = Beat(
            time.monotonic(),
            health.pid,
            health.uptime_sec,
            health.private_kib,
            health.dropped,
            {str(key)[:64]: plain(value) for key, value in extra},
        )
        self.beats.move_to_end(name)
        while len(self.beats) > NAMES_MOST:
            self.beats.popitem(last=False)

    def get(self, worker: str) -> Beat | None:
        """The last beat of a worker, by its fleet name ("collect")."""
        return self.beats.get(topics.bus_name(worker))

    def is_stale(self, beat: Beat | None, running_s: float) -> bool:
        """Whether a worker that has run for so long should have been heard by now."""
        if beat is not None:
            return beat.age() > STALE_SECONDS
        return min(running_s, time.monotonic() - self._began) > STALE_SECONDS


def plain(value: Any) -> Any:
    """A heartbeat's field, bounded."""
    if isinstance(value, bool | int | float) or value is None:
        return value
    return str(value)[:TEXT_MOST]
