"""Rules `environ-read`, `environ-set` and `secret`: what imports do with the environment.

A worker gets an environment of its own. A value that was read while the floor was imported is
the zygote's for ever, whatever the worker's variable says; a variable that an import set is gone
in the worker. And what is secret in the environment of a zygote is in the memory of every worker,
of whatever user.

`os.environ` is watched by giving it another class, and that is taken back: nothing stays.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType

from zygote.audit.report import Finding

_SECRET = re.compile(
    r"PASSW(OR)?D|PASSPHRASE|SECRET|TOKEN|CREDENTIAL|API_?KEY|ACCESS_?KEY|PRIVATE_?KEY|_DSN$",
    re.IGNORECASE,
)
_PLACE = re.compile(r"(_FILE|_PATH|_DIR|_URL|_ENABLED|_TYPE|_ID|_NAME|_TTL|_TIMEOUT)$", re.I)
_BETWEEN = (__name__, "os", "collections.abc", "posixpath", "pathlib", "pathlib._local")
"""os.getenv, os.environ.get, os.path.expanduser, Path.home: what a module asks through."""
_MANY = 2
"""Modules that one library reads a variable for: it is then the library that is named."""
_LOCALE = ("LC_CTYPE",)
"""Set by Python itself at its start, and again by each worker (PEP 538)."""


class Watch:
    """What was read and set, and by whom.

    Args:
        who: gives the module whose code runs; "" outside of imports.

    Attributes:
        reads: variable -> (module that was imported, module whose code read it), in order. Reads
            by the standard library are not booked: what a worker needs of them is done anew by
            its set-up. Nor are those of a warm-up: they make no constants.
        writes: variable -> the module that set or removed it last.
    """

    def __init__(self, who: Callable[[], str]) -> None:
        self._who = who
        self._before = dict(os.environ)
        self._listed: tuple[str, set[str]] = ("", set())
        self.reads: dict[str, dict[tuple[str, str], None]] = {}
        self.writes: dict[str, str] = {}

    @contextmanager
    def on(self) -> Iterator[None]:
        """Watch while inside."""
        watch, plain = self, type(os.environ)

        class Watched(plain):  # type: ignore[misc, valid-type]
            def __getitem__(self, key: str) -> str:
                watch._read(key)
                return str(super().__getitem__(key))

            def __setitem__(self, key: str, value: str) -> None:
                super().__setitem__(key, value)
                watch.writes[key] = watch._who()

            def __delitem__(self, key: str) -> None:
                super().__delitem__(key)
                watch.writes[key] = watch._who()

            def __iter__(self) -> Iterator[str]:
                keys = list(super().__iter__())
                watch._listed = (watch._who(), set(keys))  # to be read: nobody means one of them
                return iter(keys)

        os.environ.__class__ = Watched
        try:
            yield
        finally:
            os.environ.__class__ = plain

    def _read(self, key: str) -> None:
        who = self._who()
        if self._listed[0] == who and key in self._listed[1]:
            self._listed[1].discard(key)
            return
        if not who or ":" in who or _is_standard(who):
            return
        reader = _reader()
        if not _is_standard(reader):
            self.reads.setdefault(key, {})[who, reader] = None

    def readers(self) -> dict[str, list[str]]:
        """Variable -> modules whose import read it; or, where those are many, whose code did."""
        found = {}
        for key, pairs in self.reads.items():
            importing = dict.fromkeys(module for module, _ in pairs)
            reading = dict.fromkeys(reader for _, reader in pairs)
            found[key] = list(importing if len(importing) <= _MANY else reading)
        return found

    def changed(self) -> dict[str, str | None]:
        """Variables that are not as they were at first, with their values."""
        now = dict(os.environ)
        return {
            key: now.get(key)
            for key in {**self._before, **now}
            if key not in _LOCALE and self._before.get(key) != now.get(key)
        }


def look(watch: Watch) -> list[Finding]:
    """What was set, a finding for each module, and secrets in one finding. No value is told."""
    found = []
    by_module: dict[str, list[str]] = {}
    for key, value in watch.changed().items():
        word = key if value is not None else f"{key} (removed)"
        by_module.setdefault(watch.writes.get(key, ""), []).append(word)
    for module, keys in by_module.items():
        found.append(Finding("environ-set", f"sets {', '.join(sorted(keys))}", module=module))
    secrets = sorted(filter(is_secret, (key for key, value in os.environ.items() if value)))
    if secrets:
        found.append(Finding("secret", f"secrets in the environment: {', '.join(secrets)}"))
    return found


def read_by_module(watch: Watch) -> list[Finding]:
    """What was read, a finding for each module."""
    by_module: dict[str, list[str]] = {}
    for key, modules in watch.readers().items():
        for module in modules:
            by_module.setdefault(module, []).append(key)
    return [
        Finding("environ-read", f"reads {_listing(sorted(keys))}", module=module)
        for module, keys in by_module.items()
    ]


def _reader() -> str:
    """The module that asks, behind the functions that everybody asks through."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_globals.get("__name__") in _BETWEEN:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__", "")) if frame is not None else ""


def _is_standard(module: str) -> bool:
    """Of Python, or ours."""
    top = module.partition(".")[0]
    return top == "zygote" or top in sys.stdlib_module_names


def is_secret(name: str) -> bool:
    """Whether a variable is a secret by its name, and not the place or the kind of one."""
    return bool(_SECRET.search(name)) and not _PLACE.search(name)


def _listing(names: Iterable[str], most: int = 8) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
