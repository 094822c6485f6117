"""The one entry: a clone becomes a worker. Importing this imports all that it will touch."""

from __future__ import annotations

import contextvars
import time
from typing import NoReturn

from zygote import memory
from zygote.child import finish, mold, program, steps
from zygote.child.request import find_report, parse
from zygote.sys import backed


def become_worker(body: bytes, fds: tuple[int, ...], spawn_id: bytes) -> NoReturn:
    """Make this clone the worker that the request describes, run it, and end with it.

    Called once, in a process with one thread, with the collector off.

    Args:
        body: the request, JSON; see `zygote.wire.messages`.
        fds: owned from here on; the roles of all of them are in the body.
        spawn_id: 16 bytes, for a body that does not say it.
    """
    began = time.monotonic()
    try:
        request = parse(body, fds, spawn_id)
    except ValueError as error:
        hint = "manager and zygote are of different versions: restart the manager"
        steps.fail(find_report(body, fds), "request", 0, str(error), hint)
    request.began = began
    if request.mold >= 0:
        mold.remember()
    steps.walk(request)
    if request.mold >= 0:
        mold.take_seat(request.mold)
    # What the interpreter noted during the set-up, which does not run again.
    memory.reshare()
    backed.restore(backed.LOOKUPS)
    # A context of its own: context variables (decimal's among them) as at the start of a program.
    status = contextvars.Context().run(program.run, request)
    finish.leave(status)
