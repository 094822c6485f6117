"""Rule `imprint`: globals that tell which process, host or moment the floor was imported in.

A pid, the path of a temporary file, a fresh UUID, the time "of the start": computed at import,
they are the zygote's, and the same in all workers.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import PurePath
from types import ModuleType
from typing import Any

from zygote.audit.report import Finding

_HOST_MIN = 4
"""A host called `db` would be found in half of all modules."""
_OURS = ("zygote", "__main__", "__mp_main__", "_virtualenv")
_UUID = "a UUID"
_RANDOM = (1, 4, 6, 7)
"""Versions of UUIDs that no two calls make equal."""


def look(since: float) -> list[Finding]:
    """One finding for each global of a module that is not the standard library's.

    Args:
        since: time.time() before the imports; what lies between it and now was taken from a clock.
    """
    host, folder = socket.gethostname(), _temp_folder()

    def of_time(value: float) -> str:
        return "the time of its import" if since <= value <= time.time() else ""

    tests: tuple[tuple[type, Callable[[Any], str]], ...] = (
        (int, lambda value: "the pid" if value == os.getpid() > 1 else ""),
        (float, of_time),
        (str, lambda value: _of_text(value, host, folder)),
        (PurePath, lambda value: _of_text(str(value), host, folder)),
        (_loaded("uuid", "UUID"), lambda value: _UUID if value.version in _RANDOM else ""),
        (_loaded("datetime", "datetime"), lambda value: of_time(value.timestamp())),
    )
    found = []
    for module, name, value in _globals():
        for of, test in tests:
            try:
                what = test(value) if issubclass(type(value), of) else ""
            except Exception:  # the year 0, a __str__ that raises: nothing that we know
                continue
            if not what:
                continue
            if what != _UUID or not _is_written(module, str(value)):
                found.append(Finding("imprint", f"global {name} is {what}", module=module))
    return found


def _of_text(value: str, host: str, folder: str) -> str:
    if len(host) >= _HOST_MIN and host != "localhost" and value == host:
        return "the host's name"
    if value.startswith(folder) and os.path.lexists(value):
        return f"a path of temporary files ({value})"
    return ""


def _is_written(module: str, text: str) -> bool:
    """Whether a module's source has it in so many words: then it is meant to be the same."""
    try:
        with open(sys.modules[module].__file__ or "", encoding="utf-8", errors="replace") as file:
            return text in file.read().lower()
    except (OSError, AttributeError):
        return False


def _loaded(module: str, name: str) -> type:
    """A type of a module if somebody has imported that, else one that nothing is of."""
    return getattr(sys.modules.get(module), name, type(Ellipsis))


def _temp_folder() -> str:
    chosen = getattr(sys.modules.get("tempfile"), "tempdir", None)
    return str(chosen or os.environ.get("TMPDIR") or "/tmp").rstrip("/") + "/"


def _globals() -> Iterator[tuple[str, str, Any]]:
    """(module, name, value) where it is defined; what others imported of it is not repeated.

    What a module has of the standard library (uuid.NAMESPACE_DNS) is not its own.
    """
    theirs = []
    seen: set[int] = set()
    for module in list(sys.modules.values()):
        if not isinstance(module, ModuleType):
            continue
        name = module.__name__
        if name.partition(".")[0] in sys.stdlib_module_names:
            seen.update(id(value) for value in vars(module).values() if type(value) is not int)
        elif not name.startswith(_OURS):
            theirs.append(module)
    for module in theirs:
        for name, value in list(vars(module).items()):
            if name.startswith("__") or type(value) in (ModuleType, type):
                continue
            if type(value) is not int and id(value) in seen:
                continue
            seen.add(id(value))
            yield module.__name__, name, value
