"""Rules `socket` and `fd`: a worker has copies of all descriptors, for the same open files.

A connection would be talked on by two processes at once; a file's offset and locks would be
shared; an epoll or inotify would report to whoever reads first. (A worker closes what it does not
need, but the floor's objects would go on believing in their numbers, which by then may name
something else.)
"""

from __future__ import annotations

import os
import socket
import sys
from typing import Any

from zygote.audit import known
from zygote.audit.blame import Ledger
from zygote.audit.report import Finding
from zygote.sys import ffi
from zygote.sys.fds import open_fds


def look(link_fd: int, ledger: Ledger) -> list[Finding]:
    """One finding for each descriptor besides stdio and the link."""
    return [
        _finding(number, target, ledger)
        for number, target in sorted(open_fds().items())
        if number > 2 and number != link_fd and not ffi.is_its_own(target)  # a zygote keeps it
    ]


def _finding(number: int, target: str, ledger: Ledger) -> Finding:
    module = ledger.fds.get((number, target), "")
    place = ledger.places.get(("fd", number), "") if module else ""
    if target.startswith("socket:"):
        what = f"socket (fd {number}){_peer(number)}"
        remedy = known.remedy(module)
        return Finding("socket", what, remedy=remedy, module=module, place=place)
    what, remedy = f"{target} (fd {number})", ""
    if handler := _log_handler(number):
        what += f", of a {handler}"
        remedy = "give the handler delay=True, or configure logging in the worker"
    remedy = remedy or known.remedy(f"path:{target}", module)
    return Finding("fd", what, remedy=remedy, module=module, place=place)


def _peer(number: int) -> str:
    """Whom a socket talks to, as far as it says."""
    try:
        with socket.socket(fileno=os.dup(number)) as copy:
            listens = copy.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
            if listens:
                return f", listening at {_address(copy.getsockname())}"
            return f", connected to {_address(copy.getpeername())}"
    except OSError:
        return ""


def _address(address: Any) -> str:
    if isinstance(address, tuple):
        return f"{address[0]}:{address[1]}"
    return os.fsdecode(address) or "a process" if isinstance(address, str | bytes) else "a process"


def _log_handler(number: int) -> str:
    """The logging handler that writes to a descriptor."""
    for reference in getattr(sys.modules.get("logging"), "_handlerList", ()):
        handler: Any = reference()
        try:
            if handler.stream.fileno() == number:
                return f"logging.{type(handler).__name__}"
        except (AttributeError, OSError, ValueError):  # none, closed, or not opened yet
            continue
    return ""
