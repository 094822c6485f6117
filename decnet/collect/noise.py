"""The noise limit of `decnet.json`: what fills a disk and says nothing.

Rows in the database are complete; only the file that others follow is thinned out: an event of
a noisy type is written once a second for each (address, decky, service, type), and daemons' own
chatter is not written at all.
"""

from __future__ import annotations

import datetime as dt
from collections import OrderedDict

NOISY = frozenset({"connect", "disconnect", "connection", "accept", "close"})
CHATTER = frozenset(
    {"sshd", "pam_unix", "sudo", "su", "cron", "systemd", "kernel", "rsyslogd", "dbus-daemon"}
)
"""Services that are native daemons and no decoys."""
WINDOW = dt.timedelta(seconds=1)
KEYS_MOST = 10_000


class NoiseLimit:
    """Remembers when each noisy kind was last let through; at most `most` kinds, oldest out."""

    def __init__(self, most: int = KEYS_MOST) -> None:
        self._most = most
        self._last: OrderedDict[tuple[str, str, str, str], dt.datetime] = OrderedDict()
        self.suppressed = 0

    def passes(
        self, address: str, decky: str, service: str, event_type: str, time: dt.datetime
    ) -> bool:
        """Whether the event goes into the file. Time is the event's own, so a replay agrees."""
        # "CRON" in Debian's logs, "sshd-session" since OpenSSH 9.8.
        if service.lower().removesuffix("-session") in CHATTER:
            self.suppressed += 1
            return False
        if event_type not in NOISY:
            return True
        key = (address, decky, service, event_type)
        last = self._last.get(key)
        if last is not None and abs(time - last) < WINDOW:
            self.suppressed += 1
            return False
        self._last[key] = time
        self._last.move_to_end(key)
        if len(self._last) > self._most:
            self._last.popitem(last=False)
        return True
