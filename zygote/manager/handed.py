"""What systemd hands to the manager, and keeps for the next one.

- The control socket, from a socket unit (systemd.socket(5)): clients that call while no manager
  lives wait in its queue in place of being refused. It is the unit's: never bound, never removed
  by us.
- The notify socket, which we put into the unit's descriptor store (FDSTORE=1, sd_notify(3)) as
  soon as it exists. What workers say while a crashed manager is replaced (READY=1, WATCHDOG=1)
  waits in it, and the next manager hears it.

Descriptors arrive as 3, 4, …, named by LISTEN_FDNAMES, and are ours only if LISTEN_PID is our pid
(sd_listen_fds(3)). systemd drops a stored descriptor when the unit is stopped.
"""

from __future__ import annotations

import array
import os
import socket
from collections.abc import Mapping
from pathlib import Path

from zygote.errors import ZygoteError

CONTROL, NOTIFY = "control", "notify"
FIRST = 3
_KINDS = {CONTROL: socket.SOCK_STREAM, NOTIFY: socket.SOCK_DGRAM}


class Handed:
    """The sockets that were passed to us, by what they are for; each is taken once."""

    def __init__(self, sockets: dict[str, socket.socket]) -> None:
        self._sockets = sockets

    @classmethod
    def take(cls, environ: Mapping[str, str]) -> Handed:
        """Those of this process; any other descriptor that came along is closed.

        Raises:
            ZygoteError: code listen-fds; what is called `control` is no listening UNIX socket.
        """
        if environ.get("LISTEN_PID") != str(os.getpid()):
            return cls({})
        count = environ.get("LISTEN_FDS", "")
        names = environ.get("LISTEN_FDNAMES", "").split(":")
        found: dict[str, socket.socket] = {}
        for number in range(int(count) if count.isdecimal() else 0):
            descriptor = FIRST + number
            os.set_inheritable(descriptor, False)
            name = names[number] if number < len(names) else ""
            # Without FileDescriptorName= a socket is called as its unit.
            name = CONTROL if name.endswith(".socket") else name
            if name in found or name not in _KINDS:
                os.close(descriptor)
            else:
                found[name] = _checked(name, descriptor)
        return cls(found)

    def names(self) -> frozenset[str]:
        """What is still here."""
        return frozenset(self._sockets)

    def check(self, folder: Path) -> None:
        """Keep what belongs to this runtime folder.

        Raises:
            ZygoteError: code listen-fds; the control socket is another one's, and no client of
                this fleet would find it.
        """
        for name, sock in list(self._sockets.items()):
            wanted = folder / f"{name}.sock"
            if sock.getsockname() == str(wanted) and wanted.is_socket():
                continue
            if name == CONTROL:
                raise ZygoteError(
                    f"the socket unit listens on {sock.getsockname()}, this fleet's control socket "
                    f"is {wanted}",
                    code="listen-fds",
                    hint=f"ListenStream={wanted} in the socket unit, or another --runtime-dir",
                )
            sock.close()  # of a manager that ended in good order, or on another folder
            del self._sockets[name]

    def pop(self, name: str) -> socket.socket | None:
        """That socket, the caller's from now on; None: it was not handed to us."""
        return self._sockets.pop(name, None)


def keep(name: str, sock: socket.socket) -> bool:
    """Have systemd keep a copy for the next manager; False where nobody does that."""
    return _tell(f"FDSTORE=1\nFDNAME={name}", sock.fileno())


def drop(name: str) -> bool:
    """Have systemd forget the copy."""
    return _tell(f"FDSTOREREMOVE=1\nFDNAME={name}")


def _checked(name: str, descriptor: int) -> socket.socket:
    try:
        sock = socket.socket(fileno=descriptor)
    except OSError:
        sock = None
    if sock and sock.family == socket.AF_UNIX and sock.type == _KINDS[name]:
        sock.setblocking(False)
        return sock
    raise ZygoteError(
        f"descriptor {descriptor}, which was handed to us as '{name}', is not such a socket",
        code="listen-fds",
        hint="a socket unit for the manager has ListenStream= with a path, and "
        "FileDescriptorName=control",
    )


def _tell(state: str, *fds: int) -> bool:
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")):
        return False
    if address[0] == "@":
        address = "\0" + address[1:]
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect(address)
            channel.sendmsg([state.encode()], rights)
    except OSError:
        return False
    return True
