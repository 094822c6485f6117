"""A mold: a clone of a worker that becomes a zygote.

It was made in the middle of the worker's life, somewhere inside its event loop. None of that is
ever returned to: the frames stay where they are, and what they hold with them. What the clone has
of the kernel it gives up first, through the objects that know of it: the event loop's epoll is
closed and never spoken to (it is the worker's as well), sockets and files are closed here and so
only here. A descriptor that no such object knows of is left for the audit to find, and to refuse.

No object of the worker's is freed, here or in any clone: a finaliser would delete the folder, or
send the farewell, that is the live worker's to delete or send. So the stages `warm` and `collect`
are left out, and immortal counts are a condition.
"""

from __future__ import annotations

import asyncio
import gc
import io
import os
import selectors
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NoReturn

from zygote.bake.stage import Bake
from zygote.bake.usercode import UserCodeError, text_of
from zygote.child import inherited, signals
from zygote.child.mold import Past

_FAULT = 70
_TELLING = 3
"""Characters; shorter values of the environment are found anywhere."""
_NAMED = 5


def become(fds: tuple[int, ...], past: Past, forget: Callable[[], object]) -> NoReturn:
    """Be a zygote, for ever.

    Args:
        fds: a link and a log; owned.
        past: what the zygote was that the worker was cloned from.
        forget: the worker's own; called when all else is put away.
    """
    try:
        link, log = fds
        gc.disable()
        _put_away(link, log)
        signals.reset({})
        os.setsid()
        own = _own_values(past)
        _go_back(past)
        inherited.release()
        zygote: Any = sys.modules["zygote.forkserver.__main__"]
        zygote.mold(link, past, lambda bake: _forget(bake, forget, own))
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(_FAULT)


def _put_away(link: int, log: int) -> None:
    """The event loops, then the descriptors that objects know of."""
    signal.set_wakeup_fd(-1)
    asyncio._set_running_loop(None)
    sys.set_asyncgen_hooks(None, None)
    listening = range(3, 3 + int(os.environ.get("LISTEN_FDS", "0")))
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    for thing in gc.get_objects():
        of = type(thing)
        with suppress(Exception):  # of one that is half made; its descriptor is found later
            if issubclass(of, asyncio.BaseEventLoop):
                thing._closed, thing._thread_id = True, None
            elif issubclass(of, selectors.BaseSelector):
                # Not through the selector, which would take what it watches out of the epoll.
                thing._selector.close()
            elif issubclass(of, socket.socket):
                _close(thing.detach(), link)
            elif of is io.FileIO and thing.fileno() > 2:
                thing.close()
    for number in listening:
        with suppress(OSError):
            _close(number, link)


def _close(number: int, link: int) -> None:
    if number >= 0 and number != link:
        os.close(number)


def _go_back(past: Past) -> None:
    """Module path and environment as they were before the worker's set-up."""
    sys.path[:] = past.path
    for name in os.environ.keys() - past.env.keys():
        del os.environ[name]
    for name, value in past.env.items():
        if os.environ.get(name) != value:
            os.environ[name] = value


def _own_values(past: Past) -> dict[object, str]:
    """What the environment gave to the worker alone, and its pid: value -> what it is."""
    found: dict[object, str] = {
        value: f"${name}"
        for name, value in os.environ.items()
        if past.env.get(name) != value and len(value) >= _TELLING
    }
    return found | {past.pid: "the pid"}


def _left_in_globals(own: dict[object, str]) -> list[str]:
    """Globals of modules that hold such a value: in all clones it will be the worker's."""
    found = []
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in (*sys.stdlib_module_names, "zygote"):
            continue
        for key, value in list(getattr(module, "__dict__", {}).items()):
            if type(value) in (str, int) and value in own and not key.startswith("__"):
                found.append(f"{name}.{key} ({own[value]})")
    return found


def _forget(bake: Bake, forget: Callable[[], object], own: dict[object, str]) -> str:
    """A stage of the bake: let the worker's program drop what is its own.

    Raises:
        UserCodeError: "forget-raised".
    """
    try:
        forget()
    except BaseException as error:
        raise UserCodeError(
            f"the worker cannot be a mold: its forget function raised {type(error).__name__}: "
            f"{error}".rstrip(": "),
            text_of(error, __file__),
            code="forget-raised",
            step="forget",
            place=bake.spec.place,
            hint="it runs in a clone that has no event loop, no sockets and no open files",
        ) from error
    left = _left_in_globals(own)
    more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
    named = ", ".join(left[:_NAMED]) + more
    return f"done; the worker's own in all that follow: {named}" if left else "done"
