"""What a clone has of its zygote and a fresh process has not: given up, or made its own.

Python's own at-fork hooks have run already: locks are new, there is one thread, the global
`random` generator is seeded anew. `secrets`, `uuid` and OpenSSL ask the kernel or notice the new
pid by themselves.
"""

# ruff: noqa: PTH109
# Names are strings here, as `python` has them; path objects would be paid by each worker.

from __future__ import annotations

import asyncio
import atexit
import itertools
import logging
import os
import sys
import tempfile
import threading
import weakref
from typing import Any

from zygote.audit import atexits


def release() -> None:
    """All of it. The environment, the cwd and the new standard streams are in place already."""
    _exit_callbacks()
    _event_loop()
    _multiprocessing()
    threading.main_thread()._set_native_id()  # type: ignore[attr-defined]
    if tempfile.tempdir is not None:
        tempfile.tempdir = None  # asked of the environment again
    for stream in ("stdout", "stderr"):
        _redirect_logging(stream)


def reseed() -> None:
    """Seed what was seeded in the zygote, so that no two workers draw the same numbers.

    Generators that a floor holds itself are its own affair: nobody can tell which of them are
    meant to be equal.
    """
    numpy_random = sys.modules.get("numpy.random")
    if numpy_random is not None:
        numpy_random.seed()  # the global RandomState, from the kernel's entropy
    torch: Any = sys.modules.get("torch")
    if torch is not None:
        torch.seed()  # the generators of all devices, from the kernel's entropy
    process = sys.modules.get("multiprocessing.process")
    if process is not None:
        # One key for all workers would let each talk to the managers of all others.
        process.current_process().authkey = os.urandom(32)


def _exit_callbacks() -> None:
    """Keep the standard library's for its own modules; the rest belongs to the zygote."""
    atexit._clear()
    own = atexits.KEPT
    if all(entry.function is not logging.shutdown for entry in own):
        atexit.register(logging.shutdown)  # made before anybody recorded
    for entry in own:
        atexit.register(entry.function, *entry.args, **entry.kwargs)
    finalize: Any = weakref.finalize
    if all(entry.function != finalize._exitfunc for entry in own):
        finalize._registered_with_atexit = False
    waits: list[Any] = threading._threading_atexits  # type: ignore[attr-defined]
    if not all(map(_is_standard, waits)):
        waits[:] = filter(_is_standard, waits)


def _is_standard(call: Any) -> bool:
    function = getattr(call, "func", call)  # a functools.partial in most versions
    module = getattr(function, "__module__", None) or ""
    return module.partition(".")[0] in sys.stdlib_module_names


def _event_loop() -> None:
    """No loop runs and none is set. From 3.12 Python does the first by itself."""
    asyncio._set_running_loop(None)
    policy: Any = getattr(asyncio.events, "_event_loop_policy", None)
    if getattr(getattr(policy, "_local", None), "_loop", None) is not None:
        policy._local = type(policy._local)()
    if getattr(policy, "_watcher", None) is not None:
        policy._watcher = None


def _multiprocessing() -> None:
    process: Any = sys.modules.get("multiprocessing.process")
    if process is None:
        return
    # What is right already is not written: it would copy a page.
    folder = os.getcwd()
    if folder != process.ORIGINAL_DIR:
        process.ORIGINAL_DIR = folder  # where children by "spawn" go back to
    if process._children:
        process._children = set()
    if repr(process._process_counter) != "count(1)":
        process._process_counter = itertools.count(1)


def _redirect_logging(stream: str) -> None:
    """Handlers that the floor set up on the zygote's streams write to this process's."""
    new = getattr(sys, stream)
    for reference in logging._handlerList:  # type: ignore[attr-defined]
        handler: Any = reference()
        old = getattr(handler, "stream", None)
        if old is not None and old is not new and getattr(old, "name", "") == f"<{stream}>":
            handler.stream = new
