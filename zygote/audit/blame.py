"""Which import made which thread, descriptor and process.

Each module's code is bracketed while the floor is imported: before and after it, the process's
threads, descriptors and children are listed, a few short reads of /proc. Whatever is new belongs
to the module whose code ran since the last look, the innermost one: if `app` imports `lib` and
`lib` starts a thread, then `lib` is named.

The bracket is put on a module's loader object and taken off again: nothing of it stays in
`module.__loader__`, and while no import runs none of this exists.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from zygote.audit.children import child_pids
from zygote.sys.fds import open_fds


class Ledger:
    """Threads, descriptors and child processes, and who made them.

    Attributes:
        threads: thread id -> maker.
        fds: (descriptor, what it is) -> maker.
        children: pid -> maker.
    """

    def __init__(self) -> None:
        self.threads: dict[int, str] = {}
        self.fds: dict[tuple[int, str], str] = {}
        self.children: dict[int, str] = {}
        self._running: list[str] = []
        self._known = _Seen.now()

    @contextmanager
    def during(self, name: str) -> Iterator[None]:
        """Whatever appears inside belongs to `name`, unless something inside claims it."""
        self._look()
        self._running.append(name)
        try:
            yield
        finally:
            self._look()
            self._running.pop()

    @contextmanager
    def imports(self) -> Iterator[None]:
        """Inside, each module that is imported is bracketed by `during(its name)`."""
        finder = _Finder(self)
        sys.meta_path.insert(0, finder)
        try:
            yield
        finally:
            sys.meta_path.remove(finder)

    def _look(self) -> None:
        """Book what is new since the last look to the code that ran meanwhile."""
        seen, known = _Seen.now(), self._known
        self._known = seen
        if self._running and seen != known:
            maker = self._running[-1]
            self.threads.update((number, maker) for number in seen.threads - known.threads)
            self.fds.update((entry, maker) for entry in seen.fds - known.fds)
            self.children.update((pid, maker) for pid in seen.children - known.children)


class _Seen(NamedTuple):
    """What the process has at one moment."""

    threads: set[int]
    fds: set[tuple[int, str]]
    children: set[int]

    @classmethod
    def now(cls) -> _Seen:
        threads = {int(name) for name in os.listdir("/proc/self/task")}  # noqa: PTH208 (often)
        return cls(threads, set(open_fds().items()), set(child_pids()))


class _Finder:
    """Finds what the other finders find, and brackets the code that will run."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        for finder in list(sys.meta_path):
            find = getattr(finder, "find_spec", None)
            if finder is self or find is None:
                continue
            spec: ModuleSpec | None = find(name, path, target)
            if spec is not None:
                self._bracket(spec)
                return spec
        return None

    def _bracket(self, spec: ModuleSpec) -> None:
        loader: Any = spec.loader
        run = getattr(loader, "exec_module", None)
        if run is None or isinstance(loader, type):  # built-in, frozen: they make nothing
            return

        def exec_module(module: ModuleType) -> None:
            with suppress(AttributeError):
                del loader.exec_module
            with self._ledger.during(spec.name):
                run(module)

        with suppress(AttributeError, TypeError):  # a loader without room for it: not bracketed
            loader.exec_module = exec_module
