"""Listening sockets that outlive a worker: kept by its manager, handed to its next process.

    from zygote import sockets

    server = sockets.listener("web", lambda: socket.create_server(("0.0.0.0", 8000)))

The first process makes the socket and gives the manager a copy. Each later one, after a restart, a
crash or a `reload`, is handed that copy: the port is never closed, so nobody is refused. Clients
that come while no process accepts wait in the socket's queue. Where there is no manager, or one
that keeps nothing (a plain start), it is simply made.

The words are systemd's (FDSTORE=1, LISTEN_FDS), so the same program may hand over its sockets
under a service with FileDescriptorStoreMax=, too. See: sd_pid_notify_with_fds(3), sd_listen_fds(3).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Protocol

from zygote import notify

__all__ = ["close_unused", "handed", "listener", "stop_accepting"]

_FIRST = 3
_TURNS = 10
"""Of the loop: asyncio takes four from an accept to the first line that serves it."""
_handed: dict[str, socket.socket] | None = None
_owner = 0


def listener(name: str, make: Callable[[], socket.socket]) -> socket.socket:
    """The socket of this name: handed over by the process before this one, or made.

    Close it like any other when the worker is done: what the manager has is a copy.

    Args:
        name: of letters, digits and `-_.@`. One that tells the address makes sure that a changed
            address is not ignored: another name is another socket.
        make: gives a bound, listening socket; called only if none was handed over.
    """
    sock = handed(name)
    if sock is None:
        sock = make()
        notify.store(sock.fileno(), name)
    return sock


def handed(name: str) -> socket.socket | None:
    """The socket that was handed over under this name, once; None: there is none."""
    return _all().pop(name, None)


class HasFileno(Protocol):
    """A socket, or what asyncio shows of one."""

    def fileno(self) -> int: ...


async def stop_accepting(*socks: HasFileno) -> None:
    """Accept no more on these sockets, and let asyncio begin with whom it has accepted.

    Call it before `server.close()`, as `await stop_accepting(*server.sockets)`. Between the accept
    and the transport of a connection asyncio needs some turns of its loop, and a server that is
    closed amid them drops the connection (CPython's issue 109564): the client sees it reset
    although the next process would have served it. Who waits in the socket's queue stays there.

    Turns are counted, not time: on a busy machine a time may pass without a turn. On a loop that
    has no such readers (uvloop) it only waits.
    """
    import asyncio  # late: who calls this has it, who listens without asyncio need not

    loop = asyncio.get_running_loop()
    for sock in socks:
        try:
            loop.remove_reader(sock.fileno())
        except (NotImplementedError, RuntimeError):
            continue
    for _ in range(_TURNS):
        await asyncio.sleep(0)


def close_unused() -> list[str]:
    """Close what was handed over and nobody asked for, and have the manager forget it.

    Of use where a program listens on other addresses than its last version did: clients would
    wait for ever in the queue of a socket on which nobody accepts. Returns the names.
    """
    names = []
    while _all():
        name, sock = _all().popitem()
        sock.close()
        notify.forget(name)
        names.append(name)
    return names


def _all() -> dict[str, socket.socket]:
    """What was handed over and not taken yet. Of this process: a clone starts afresh."""
    global _handed, _owner
    if _handed is None or _owner != os.getpid():
        _handed, _owner = _read(), os.getpid()
    return _handed


def _read() -> dict[str, socket.socket]:
    if os.environ.get("LISTEN_PID") != str(os.getpid()):
        return {}
    count = os.environ.get("LISTEN_FDS", "")
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    found = {}
    for number in range(int(count) if count.isdecimal() else 0):
        descriptor = _FIRST + number
        name = names[number] if number < len(names) else ""
        try:
            os.set_inheritable(descriptor, False)
            found[name or f"listen-{number}"] = socket.socket(fileno=descriptor)
        except OSError:
            continue  # no socket, or closed by somebody already
    return found
