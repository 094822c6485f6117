"""End the process as an interpreter does, without taking the interpreter apart.

`Py_FinalizeEx` frees every object, and each one freed is a write to a page shared with all other
workers: the last act of each worker would be to copy the floor (80 MB were measured). So only
what is the program's own is taken apart, in the interpreter's order:

1. wait for threads that are not daemons;
2. run exit callbacks, last registered first;
3. flush sys.stdout and sys.stderr;
4. stop daemon threads where they are;
5. let go of `__main__` and of the modules imported after the fork, collect, and clear those
   that are still alive, last imported first: finalizers run, files are closed;
6. write out what files still hold that something of the floor refers to;
7. leave: status 120 if a flush of 3 failed.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import atexit
import ctypes
import gc
import io
import itertools
import os
import signal
import sys
import threading
import traceback
import types
import weakref
from typing import Any, NoReturn

from zygote.child import finalizing, uncaught

_FLUSH_FAILED = 120
_SIGINT_FAILED = 128 + signal.SIGINT
_LAST_OF_FLOOR = "zygote.child.main"
_STANDARD = ("stdin", "stdout", "stderr")
_LAST_ERROR = ("last_type", "last_value", "last_traceback", "last_exc")

_ourselves = sys.modules[__name__]
_libc = ctypes.CDLL(None)
_fflush = _libc.fflush
_fflush.argtypes = [ctypes.c_void_p]
_c_stdout = ctypes.c_void_p.in_dll(_libc, "stdout")


def mark_floor() -> None:
    """What is imported from now on is the program's own, and so is `__main__`.

    `sys.modules` keeps the order of imports, so that one name as the last of the floor says it.
    A copy of all the names would write to the reference count of each. Called by the zygote when
    its floor is complete, too: a worker then finds the name where it belongs, and writes nothing.
    """
    if next(reversed(sys.modules)) != _LAST_OF_FLOOR:
        # A program with a package `zygote` of its own has had ours taken out.
        sys.modules[_LAST_OF_FLOOR] = sys.modules.pop(_LAST_OF_FLOOR, _ourselves)


def leave(status: int) -> NoReturn:
    """End with a status, or by SIGINT for `uncaught.BY_SIGINT`."""
    try:
        threading._shutdown()  # type: ignore[attr-defined]
    except BaseException as error:
        _ignored(error, f"in: {threading!r}", "on threading shutdown", "on threading shutdown")
    atexit._run_exitfuncs()
    finalizing.begin()
    if not _flush():
        status = _FLUSH_FAILED
    _forget_handlers()
    _let_go()
    _write_out()
    # What C code printed; of all its files only this one, because a thread may hold another's lock.
    _fflush(_c_stdout)
    if status == uncaught.BY_SIGINT:
        _signal.signal(signal.SIGINT, _signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
        status = _SIGINT_FAILED
    os._exit(status)


def _flush() -> bool:
    """Flush sys.stdout, then sys.stderr; False if one failed."""
    sound = True
    for name in ("stdout", "stderr"):
        stream: Any = getattr(sys, name, None)
        if stream is None or getattr(stream, "closed", False):
            continue
        try:
            stream.flush()
        except BaseException as error:
            sound = False
            if name == "stdout":
                error.__traceback__ = error.__context__ = None
                what = "flushing sys.stdout"
                _ignored(error, f"in: {stream!r}", f"on {what}", f"while {what}")
    return sound


def _forget_handlers() -> None:
    """Signals that had a handler get their default action: no Python code runs for them now."""
    for number in range(1, signal.NSIG):
        try:
            if callable(_signal.getsignal(number)):
                _signal.signal(number, _signal.SIG_DFL)
        except (ValueError, OSError):
            continue


def _let_go() -> None:
    """Free what the program made, with the finalizers that belong to it."""
    gc.collect()
    for name in _LAST_ERROR:
        if hasattr(sys, name):
            setattr(sys, name, None)
    for name in _STANDARD:
        setattr(sys, name, getattr(sys, f"__{name}__", None))
    names = list(itertools.takewhile(_LAST_OF_FLOOR.__ne__, reversed(sys.modules)))
    alive = []
    for name in dict.fromkeys(["__main__", "__mp_main__", *reversed(names)]):
        module = sys.modules.pop(name, None)
        if isinstance(module, types.ModuleType):
            alive.append(weakref.ref(module))
        del module
    gc.collect()
    for reference in reversed(alive):
        _clear(reference())
    gc.collect()


def _clear(module: types.ModuleType | None) -> None:
    """Set the names of a module to None, private ones first."""
    names = module.__dict__ if module is not None else {}
    for name in list(names):
        if name.startswith("_") and not name.startswith("__"):
            names[name] = None
    for name in list(names):
        if name != "__builtins__":
            names[name] = None


def _write_out() -> None:
    """Write what is left in the buffers of files that something still refers to."""
    for thing in gc.get_objects():
        # By type: asking an instance for its class may run code of the program.
        if issubclass(type(thing), (io.TextIOWrapper, io.BufferedWriter, io.BufferedRandom)):
            try:
                if not thing.closed:
                    thing.flush()
            except Exception:
                continue


def _ignored(error: BaseException, *where_by_version: str) -> None:
    """Tell of an exception that changes nothing, in the words of 3.11, 3.13, 3.14."""
    where = where_by_version[sum(sys.version_info >= (3, minor) for minor in (13, 14))]
    colon = ":" if sys.version_info >= (3, 13) else ""
    try:
        if sys.unraisablehook is not sys.__unraisablehook__:
            parts: Any = types.SimpleNamespace(
                exc_type=type(error),
                exc_value=error,
                exc_traceback=error.__traceback__,
                err_msg=f"Exception ignored {where}",
                object=None,
            )
            sys.unraisablehook(parts)
            return
        trace = uncaught.without_ours(error.__traceback__)
        lines = traceback.format_exception(type(error), error, trace)
        sys.stderr.write(f"Exception ignored {where}{colon}\n{''.join(lines)}")
        sys.stderr.flush()
    except Exception:
        pass
