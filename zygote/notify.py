"""What a worker tells its manager, and a manager its systemd: the client half of sd_notify(3).

    from zygote import notify

    notify.ready("listening on port 8000")
    notify.status("12 clients")
    notify.watchdog()

All are no-ops that return False where nobody listens (NOTIFY_SOCKET unset), so the same program
runs under the manager, under systemd, and alone. A call sends one datagram. The kernel queues
ten of them for a listener (net.unix.max_dgram_qlen), so when a whole fleet starts at once the
queue is full for some milliseconds, and while a killed manager is started again nobody listens at
all: what must not be lost waits for that to pass, the rest only a moment.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Sequence

__all__ = [
    "forget", "idle", "notify", "ready", "status", "stopping", "store", "watchdog",
    "watchdog_interval",
]  # fmt: skip


_PATIENCE = 5.0
"""Seconds to wait for a listener, for what is said once."""
_ROOM = 30.0
"""Seconds to wait for room, for what is said once: a listener that is there will read it, and one
that was held up for long has a full queue."""
_MOMENT = 0.2
"""Seconds to wait for either, for what is said again and again."""
_AGAIN = 0.05


def notify(state: str, timeout: float | None = None, fds: Sequence[int] = ()) -> bool:
    """Send one message: assignments, one a line, such as "READY=1" or "STATUS=warming up".

    Args:
        fds: descriptors to send along, which stay the caller's.
        timeout: seconds to wait for room in the listener's queue, and for a listener where the
            last one left its socket or its folder; 0 does not wait. Default: 30 and 5.
    Returns:
        True if it was handed over; False if NOTIFY_SOCKET is unset or nobody takes it.
    See: sd_notify(3).
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    began = time.monotonic()
    patience, room = (_PATIENCE, _ROOM) if timeout is None else (timeout, timeout)
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.settimeout(max(0.0, began + room - time.monotonic()))
                channel.connect(address)
                if fds:
                    socket.send_fds(channel, [state.encode()], list(fds))
                else:
                    channel.send(state.encode())
            return True
        except (ConnectionError, FileNotFoundError):
            if time.monotonic() + _AGAIN >= began + patience:
                return False
            time.sleep(_AGAIN)
        except OSError:
            return False


def ready(status: str = "", timeout: float | None = None) -> bool:
    """Say that the service is up: workers with this one in `after` may start now.

    Args:
        timeout: as in `notify`. A program with an event loop says 0 and tries again by itself.
    """
    return notify("READY=1" + _status_line(status), timeout)


def status(text: str) -> bool:
    """Say in a few words what the service is doing; `zygotectl status` shows it."""
    return notify(_status_line(text).lstrip("\n"), _MOMENT)


def watchdog() -> bool:
    """Say that the service is alive; due at least every `watchdog_interval()` seconds."""
    return notify("WATCHDOG=1", _MOMENT)


def idle(now: bool = True) -> bool:
    """Say that nothing is under way, so that this is a good moment to be recycled; False: busy.

    Only of use with `max_private` in the fleet file: one that is beyond its budget is then stopped
    at once, and not in the middle of its work.
    """
    return notify(f"X_ZYGOTE_IDLE={int(now)}", _MOMENT)


def store(descriptor: int, name: str) -> bool:
    """Give the manager a copy of a socket, for the next process of this worker.

    It arrives there as one of LISTEN_FDS, under this name; see `zygote.sockets`, which does both.
    One of the same name takes the place of the one before. It is kept until the worker is stopped.
    """
    return notify(f"FDSTORE=1\nFDNAME={name}", fds=[descriptor])


def forget(name: str) -> bool:
    """Have the manager close its copy of a socket."""
    return notify(f"FDSTOREREMOVE=1\nFDNAME={name}")


def reloading() -> bool:
    """Say that the service is not as usual for a moment; `ready` says that it is over."""
    now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    return notify(f"RELOADING=1\nMONOTONIC_USEC={now}", _MOMENT)


def stopping(status: str = "") -> bool:
    """Say that the service is on its way out."""
    return notify("STOPPING=1" + _status_line(status), _PATIENCE)


def watchdog_interval() -> float | None:
    """How often to call `watchdog`, in seconds: half of what the manager allows.

    None: no watchdog is set, or it is meant for another process (WATCHDOG_PID).
    """
    if os.environ.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    allowed = os.environ.get("WATCHDOG_USEC", "")
    return int(allowed) / 2e6 if allowed.isdecimal() and int(allowed) else None


def _status_line(text: str) -> str:
    return "\nSTATUS=" + " ".join(text.splitlines()) if text else ""
