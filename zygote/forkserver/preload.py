"""Import the floor: first what every worker needs for its own set-up, then the fleet's modules.

What is not imported here is imported by each worker again, with the time and the pages that it
costs: so all that the way from the clone to the user's first line can touch is on the list.
asyncio is only imported: no loop is made.
"""

from __future__ import annotations

import sys
import time

from zygote.audit import blame, environ
from zygote.bake.stage import Bake
from zygote.bake.usercode import UserCodeError, text_of

OWN = (
    "asyncio",
    "inspect",
    "json",
    "linecache",
    "random",
    "runpy",
    "signal",
    "threading",
    "traceback",
    "zygote.child.main",
    "zygote.forkserver.mold",
)
"""Imported in every zygote. Lazily imported in the standard library, and so paid by children."""


def run(bake: Bake) -> str:
    """Import all of it.

    Raises:
        UserCodeError: "preload-missing" (no such module), "preload-raised".
    """
    _set_path(bake)
    before = len(sys.modules)
    slowest, slowest_seconds = "", 0.0
    with bake.ledger.imports():
        for name in (*OWN, *bake.spec.preload):
            bake.tell("import", name)
            since = time.monotonic()
            with bake.ledger.during(name):
                _import(bake, name)
            seconds = time.monotonic() - since
            if seconds > slowest_seconds:
                slowest, slowest_seconds = name, seconds
    return f"{len(sys.modules) - before} modules, longest {slowest} ({slowest_seconds:.2f} s)"


def _set_path(bake: Bake) -> None:
    """sys.path[0] is the zygote's folder, as under `python -m`; the fleet's `path` comes next."""
    folder = bake.spec.cwd
    if folder and sys.path[:1] != [folder]:
        sys.path.insert(0, folder)
    sys.path[1:1] = [extra for extra in bake.spec.path if extra not in sys.path]


def _import(bake: Bake, name: str) -> None:
    try:
        __import__(name)
    except BaseException as error:
        key = f"`preload` of [zygote.{bake.spec.name}]"
        missing = error.name if isinstance(error, ModuleNotFoundError) else ""
        if missing and (name == missing or name.startswith(missing + ".")):
            raise UserCodeError(
                f"cannot bake zygote '{bake.spec.name}': no module named '{missing}'",
                "",
                code="preload-missing",
                step="import",
                place=bake.spec.place,
                hint=f"{key} names '{name}': correct the name, install it for {sys.executable}, "
                f"or add its folder to `path` (sys.path[0] is {sys.path[0]})",
            ) from error
        hint = f"{key} imports '{name}': see the traceback"
        if missing:
            hint = (
                f"{key} imports '{name}', which needs '{missing}': install it for {sys.executable}"
            )
        raise UserCodeError(
            f"cannot bake zygote '{bake.spec.name}': importing '{name}' raised "
            f"{type(error).__name__}: {error}".rstrip(": "),
            text_of(error, __file__, blame.__file__, environ.__file__),
            code="preload-raised",
            step="import",
            place=bake.spec.place,
            hint=hint,
        ) from error
