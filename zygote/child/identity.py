"""Who this process is to Python: environment, locale, module path, arguments, `__main__`, title."""

# ruff: noqa: PTH100, PTH109, PTH110, PTH118, PTH119, PTH120, PTH208
# Names are strings here, as `python` has them; path objects would be paid by each worker.

from __future__ import annotations

import builtins
import locale
import os
import sys
import time
import types
from collections.abc import Iterable, Mapping
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pkgutil import get_importer
from typing import Any

import setproctitle

from zygote.child import finish
from zygote.child.request import Request
from zygote.sys import prctl

_LOCALE_KEYS = ("LC_ALL", "LC_CTYPE", "LANG", "PYTHONCOERCECLOCALE")
_C_LOCALE, _COERCED_LOCALE = "C", "C.UTF-8"
_ENCODING = (sys.getfilesystemencoding(), sys.getfilesystemencodeerrors())
_STARTUP = frozenset(
    (
        "_collections_abc", "_frozen_importlib", "_frozen_importlib_external", "_sitebuiltins",
        "abc", "builtins", "codecs", "encodings", "genericpath", "importlib", "io", "marshal",
        "ntpath", "os", "posix", "posixpath", "site", "stat", "sys", "time", "zipimport",
    )
)  # fmt: skip
"""Imported before any program's folder is on the path, so nothing there replaces them."""

# The zygote's own, as they are before its floor is imported. setproctitle must find the process's
# argument area while the environment still lies behind it.
_zygote_locale = locale.setlocale(locale.LC_ALL)
_zygote_env = {key: os.environ.get(key) for key in (*_LOCALE_KEYS, "PYTHONPATH")}
_zygote_cwd = sys.path[0] if sys.path[0] in ("", os.getcwd()) else None
setproctitle.getproctitle()

_kept: list[Any] = []


def set_env(request: Request) -> None:
    """Replace the environment as a whole, with what follows from it: time zone and locale.

    Raises:
        ValueError: a name or value that an environment cannot hold.
    """
    env = request.env
    if request.listen:
        env["LISTEN_PID"] = str(os.getpid())
        env["LISTEN_FDS"] = str(len(request.listen))
        env["LISTEN_FDNAMES"] = ":".join(name for name, _ in request.listen)
    zone = os.environ.get("TZ")
    # Most of it is the zygote's own already, and what is not touched stays shared. Compared as the
    # bytes that they are: to decode the whole environment would cost more than all else here.
    has: Mapping[bytes, bytes] = os.environ._data  # type: ignore[attr-defined]
    wants = {name.encode(*_ENCODING): value.encode(*_ENCODING) for name, value in env.items()}
    for key in has.keys() - wants.keys():
        del os.environb[key]
    for key, held in wants.items():
        if has.get(key) != held:
            os.environb[key] = held
    if env.get("TZ") != zone:
        time.tzset()
    _set_locale(env)


def _set_locale(env: dict[str, str]) -> None:
    """LC_CTYPE from the environment, all else "C"; and PEP 538, as an interpreter starts."""
    same = all(env.get(key) == _zygote_env[key] for key in _LOCALE_KEYS)
    if same and locale.setlocale(locale.LC_ALL) == _zygote_locale:
        return
    locale.setlocale(locale.LC_ALL, _C_LOCALE)
    _try_ctype("")
    coerces = env.get("PYTHONCOERCECLOCALE") != "0" and not env.get("LC_ALL")
    if coerces and locale.setlocale(locale.LC_CTYPE) == _C_LOCALE and _try_ctype(_COERCED_LOCALE):
        os.environ["LC_CTYPE"] = env["LC_CTYPE"] = _COERCED_LOCALE


def _try_ctype(name: str) -> bool:
    try:
        locale.setlocale(locale.LC_CTYPE, name)
    except locale.Error:  # not installed: it stays as it is
        return False
    return True


def set_argv(request: Request) -> None:
    """sys.argv, sys.orig_argv and sys.path."""
    sys.argv = [request.argv0, *request.args]
    sys.orig_argv = request.command_line
    old = set(sys.path)
    front = [*_first_folder(request), *_listed(request.env.get("PYTHONPATH", ""))]
    listed_before = _listed(_zygote_env["PYTHONPATH"] or "")
    rest = [folder for folder in sys.path if folder not in listed_before]
    if _zygote_cwd is not None and rest and rest[0] == _zygote_cwd:
        rest.pop(0)
        if request.session == "new" and _zygote_cwd not in front:
            # A worker may run elsewhere than its floor, whose code may still import its own.
            rest.append(_zygote_cwd)
    path = front + [folder for folder in rest if folder not in front[1:]]
    if path != sys.path:
        sys.path[:] = path
    _forget_shadowed(folder or request.cwd for folder in front if folder not in old)


def _first_folder(request: Request) -> list[str]:
    """sys.path[0] by the rules of `python`, or as asked for."""
    if request.script and get_importer(request.script) is not None:
        request.folder = True
        return [request.script]
    if request.path0 is not None:
        return [request.path0]
    if request.env.get("PYTHONSAFEPATH"):
        return []
    if request.kind == "file":
        return [os.path.dirname(os.path.realpath(request.script))]
    return [""] if request.kind == "command" else [os.getcwd()]


def _listed(path: str) -> list[str]:
    """The folders of a PYTHONPATH, absolute and once each, as `site` makes them."""
    parts = path.split(os.pathsep) if path else []
    return list(dict.fromkeys(os.path.abspath(part) for part in parts))


def _forget_shadowed(folders: Iterable[str]) -> None:
    """Forget modules of the floor that a folder in front of the path replaces.

    The floor may have imported `models` of its own, or the standard library's `queue`: a program
    with a file `models.py` or `queue.py` beside it means that one.
    """
    for folder in folders:
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for entry in names:
            name = entry.partition(".")[0]
            if name not in sys.modules or name in _STARTUP or name.startswith("__"):
                continue
            place = os.path.join(folder, entry)
            if _is_module(place) and not _comes_from(sys.modules[name], folder):
                for loaded in list(sys.modules):
                    if loaded == name or loaded.startswith(name + "."):
                        _kept.append(sys.modules.pop(loaded))


def _is_module(place: str) -> bool:
    return place.endswith((".py", ".so")) or os.path.exists(os.path.join(place, "__init__.py"))


def _comes_from(module: Any, folder: str) -> bool:
    origin = getattr(getattr(module, "__spec__", None), "origin", None) or ""
    if origin in ("built-in", "frozen"):
        return True
    return os.path.realpath(origin).startswith(os.path.join(os.path.realpath(folder), ""))


def set_main(request: Request) -> None:
    """A fresh `__main__`, and a target that `-m` finds not imported.

    The zygote's `__main__` is kept: freeing it would run the finalizers of what it holds.
    """
    main = types.ModuleType("__main__")
    main.__loader__ = BuiltinImporter
    if sys.version_info < (3, 14):
        main.__annotations__ = {}
    main.__dict__["__builtins__"] = builtins
    if request.kind == "file" and not request.folder:
        main.__loader__ = SourceFileLoader("__main__", request.script)
        main.__file__ = request.script
        main.__cached__ = None  # type: ignore[attr-defined]
    request.kept.append(sys.modules.get("__main__"))
    finish.mark_floor()
    # In its place, where an interpreter has it: an entry that moves copies more pages.
    sys.modules["__main__"] = main
    if sys.modules.get("__mp_main__"):
        sys.modules["__mp_main__"] = main  # multiprocessing's second name for it
    if request.kind == "module":
        # runpy warns of a target that is imported already, because it then exists twice.
        target = request.target
        if not hasattr(sys.modules.get(target), "__path__"):
            request.kept.append(sys.modules.pop(target, None))
        request.kept.append(sys.modules.pop(f"{target}.__main__", None))


def set_title(request: Request) -> None:
    """What `ps` shows: the title, or the command line that this program has under `python`."""
    setproctitle.setproctitle(request.title or " ".join(request.command_line))
    prctl.set_name(request.worker if request.title else os.path.basename(sys.executable))
