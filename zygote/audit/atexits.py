"""What imports registered with `atexit`, so that a worker can keep only what is its own.

A clone inherits every registration. Those of the standard library belong to each process (flushing
logs, joining executors, ending multiprocessing's helpers); those of the floor's libraries belong
to the zygote: closing a client that the worker never opened, deleting a temporary folder that all
workers share. `atexit` itself cannot list them.

For the child set-up (`zygote.child`): `RECORDED` holds all of them, oldest first, `KEPT` those
that are `standard` and were there when the floor was done. Call `atexit._clear()`, then register
again what is in `KEPT`, in that order.

`record()` puts a recorder in the place of `atexit.register` and `atexit.unregister`; `stop()` puts
the originals back. Modules that did `from atexit import register` keep the recorder, which after
`stop()` only passes on.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple


class Registration(NamedTuple):
    """One call of `atexit.register`.

    Attributes:
        module: the module whose code called it.
        importer: the module whose import made it so; "" outside of imports.
    """

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    module: str
    importer: str = ""

    @property
    def standard(self) -> bool:
        """Made by the standard library for itself, not by a module that is built on it."""
        owner = getattr(self.function, "__module__", None) or self.module
        return all(
            name.partition(".")[0] in sys.stdlib_module_names for name in (owner, self.module)
        )


RECORDED: list[Registration] = []
KEPT: list[Registration] = []

_register = atexit.register
_unregister = atexit.unregister
_recording = False
_importer: Callable[[], str] = str


def record(importer: Callable[[], str] | None = None) -> None:
    """Record from now on. Idempotent.

    Args:
        importer: gives the module that is being imported; from now on.
    """
    global _importer, _recording
    _recording = True
    _importer = importer or _importer
    atexit.register = _recorder
    atexit.unregister = _forgetter


def disown() -> None:
    """Decide what of the floor runs when a process of ours ends. Called once, when it is done.

    Of the exit callbacks those in `KEPT`. Of the finalizers (`weakref.finalize`) none: they delete
    folders and close what all workers share. Switched off here, it costs no worker a write to each
    of them; the zygote itself ends without running any.
    """
    for info in getattr(weakref.finalize, "_registry", {}).values():
        info.atexit = False
    KEPT[:] = [entry for entry in RECORDED if entry.standard]


def stop() -> None:
    """Record no more. Idempotent."""
    global _importer, _recording
    _recording = False
    _importer = str
    atexit.register = _register
    atexit.unregister = _unregister


def _recorder(function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Callable[..., Any]:
    _register(function, *args, **kwargs)
    if _recording:
        module = sys._getframe(1).f_globals.get("__name__", "")
        RECORDED.append(Registration(function, args, kwargs, str(module), _importer()))
    return function


def _forgetter(function: Callable[..., Any], /) -> None:
    _unregister(function)
    if _recording:
        RECORDED[:] = [entry for entry in RECORDED if entry.function != function]
