"""Audit a program that is in no fleet: import its modules here, and say what that left behind.

This runs in an interpreter of its own (`zygote.audit.__main__`), which ends afterwards, so that it
may do what a zygote may not: read libraries as a whole, and fork to see whether a fork works.
"""

from __future__ import annotations

import gc
import os
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from inspect import isawaitable
from typing import Any, NamedTuple

from zygote.audit import atexits, environ, explain, look, mappings, study, twins
from zygote.audit.blame import Ledger
from zygote.audit.report import Finding
from zygote.audit.sites import Sites


class Order(NamedTuple):
    """What to audit.

    Attributes:
        modules: to import, in order.
        warm: functions to call afterwards, as `module:function`.
        cwd: put first on sys.path, as `python -m` does.
        path: folders put right after it.
        channel: the descriptor to answer on; not a finding.
        fork_patience: seconds that a copy may take.
    """

    modules: Sequence[str]
    warm: Sequence[str]
    cwd: str
    path: Sequence[str]
    channel: int
    fork_patience: float = twins.PATIENCE


class ProbeError(Exception):
    """A module or function that cannot be had.

    Attributes:
        trace: the traceback of the program's own code.
    """

    def __init__(self, message: str, hint: str, trace: str = "") -> None:
        super().__init__(message)
        self.hint, self.trace = hint, trace


def run(order: Order, tell: Callable[[str, str], None]) -> dict[str, Any]:
    """Import, warm up, look.

    Args:
        tell: called with (stage, detail) before each step.
    Returns:
        {"python": version, "modules": how many were imported, "seconds": what imports and
        warm-ups took, "rss": bytes that they added, "findings"}.
    Raises:
        ProbeError: something cannot be imported or called.
    """
    sys.path[:0] = [order.cwd, *order.path]
    gc.disable()  # as in a zygote: nothing that an import made is collected unseen
    ledger = Ledger(thorough=True)
    ledger.sites = Sites(ledger.running, order.cwd)
    before, since, resident = len(sys.modules), time.monotonic(), _resident()
    with ledger.imports():
        for name in order.modules:
            tell("import", name)
            with ledger.during(name):
                _import(name)
        for entry in order.warm:
            tell("warm", entry)
            with ledger.during(entry):
                _call(entry)
    seconds = time.monotonic() - since
    count, grown = len(sys.modules) - before, _resident() - resident
    atexits.stop()
    ledger.sites.stop()
    tell("look", f"{count} modules")
    gc.collect()
    return {
        "python": sys.version.partition(" ")[0],
        "modules": count,
        "seconds": round(seconds, 3),
        "rss": grown,
        "findings": [finding.as_dict() for finding in _findings(order, ledger, tell)],
    }


def _findings(order: Order, ledger: Ledger, tell: Callable[[str, str], None]) -> list[Finding]:
    found = [
        *look(order.channel, ledger),
        *study(ledger),
        *environ.read_by_module(ledger.environ),
        *mappings.fork_handlers(),
    ]
    tell("fork", "two copies")
    # What a worker does on its way; late: it must not be among what the program imported.
    import_module("zygote.child.inherited")
    return explain(found) + twins.look(patience=order.fork_patience, stacks=True)


def _resident() -> int:
    """Bytes of this process that are in memory."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _import(name: str) -> None:
    try:
        import_module(name)
    except BaseException as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        if missing and (name == missing or name.startswith(missing + ".")):
            hint = f"correct the name, install it for {sys.executable}, or see --cwd and --python"
            raise ProbeError(f"no module named '{missing}'", hint) from error
        hint = f"importing '{name}' needs '{missing}'" if missing else "see the traceback"
        raise ProbeError(_raised(f"importing '{name}'", error), hint, _trace(error)) from error


def _call(entry: str) -> None:
    module, _, path = entry.partition(":")
    hint = '--warm names a function as "module:function"'
    try:
        found: Any = import_module(module)
        for name in path.split("."):
            found = getattr(found, name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ProbeError(f"no function {entry} to warm up: {error}", hint) from error
    if not callable(found):
        raise ProbeError(f"no function {entry} to warm up: it is not callable", hint)
    try:
        result = found()
        if isawaitable(result):
            import_module("asyncio").run(_wait(result))
    except BaseException as error:
        raise ProbeError(_raised(entry, error), "see the traceback", _trace(error)) from error


async def _wait(result: Any) -> None:
    await result


def _raised(what: str, error: BaseException) -> str:
    return f"{what} raised {type(error).__name__}: {error}".rstrip(": ")


def _trace(error: BaseException) -> str:
    """Without the frames of this package and of the import system."""
    frames = traceback.TracebackException.from_exception(error)
    at: traceback.TracebackException | None = frames
    while at is not None:
        at.stack[:] = [frame for frame in at.stack if not _is_ours(frame.filename)]
        at = at.__cause__ or at.__context__
    return "".join(frames.format())


def _is_ours(path: str) -> bool:
    folder = __file__.rpartition("/")[0]
    return path.startswith((folder, "<frozen importlib")) or path.endswith("importlib/__init__.py")
