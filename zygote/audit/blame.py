"""Which import made which thread, descriptor and process, and changed which setting.

Each module's code is bracketed while the floor is imported: before and after it, the process's
threads, descriptors, children and settings are listed, a few short system calls. Whatever is new
belongs to the module whose code ran since the last look, the innermost one: if `app` imports `lib`
and `lib` starts a thread, then `lib` is named. The initialisation of an extension module counts as
its code: libraries start their pools of threads when they are loaded.

The bracket is put on a module's loader object and taken off again: nothing of it stays in
`module.__loader__`, and while no import runs none of this exists.
"""

# ruff: noqa: PTH116, PTH208
# Names are strings here: path objects would double the time of a look.

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ExtensionFileLoader, ModuleSpec
from types import ModuleType
from typing import Any, NamedTuple

from zygote.audit import atexits, state
from zygote.audit.children import child_pids, has_children
from zygote.audit.environ import Watch
from zygote.audit.sites import Sites, of_files, pair
from zygote.sys.fds import open_fds


class Ledger:
    """Threads, descriptors, child processes and settings, and who made them.

    Args:
        thorough: look also at what takes long to look at, and imports hardly ever change: limits
            of resources. A look takes some 20 µs without; there are two for each module.

    Attributes:
        threads: thread id -> maker.
        fds: (descriptor, what it is) -> maker.
        children: pid -> maker.
        settings: (rule, name) of a setting -> who changed it last.
        loop_set: who set an event loop for the thread.
        environ: who read and who set which variable.
        first: the settings at the beginning.
        native: those that only /proc tells, at the beginning.
        places: ("thread" | "fd" | "child", number) -> the line that made it, where that is heard.
        sites: hears of lines, if somebody put it there.
        began: time.time() of the beginning.
    """

    def __init__(self, *, thorough: bool = False) -> None:
        self.began = time.time()
        self._thorough = thorough
        self.threads: dict[int, str] = {}
        self.fds: dict[tuple[int, str], str] = {}
        self.children: dict[int, str] = {}
        self.settings: dict[tuple[str, str], str] = {}
        self.loop_set = ""
        self.places: dict[tuple[str, int], str] = {}
        self.sites: Sites | None = None
        self.environ = Watch(self.running)
        self._running: list[str] = []
        self._known = _Seen.now(thorough)
        self.first, self.native = state.Settings.now(), state.native()

    def running(self) -> str:
        """The module whose code runs; "" if none does."""
        return self._running[-1] if self._running else ""

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
            atexits.record(self.running)
            with self.environ.on():
                yield
        finally:
            sys.meta_path.remove(finder)

    def _look(self) -> None:
        """Book what is new since the last look to the code that ran meanwhile."""
        seen, known = _Seen.now(self._thorough), self._known
        self._known = seen
        heard = self.sites.take() if self.sites else []
        if self._running and seen != known:
            maker = self._running[-1]
            self.threads.update((number, maker) for number in seen.threads - known.threads)
            if seen.fds != known.fds:
                new = {number for number, *_ in seen.fds - known.fds}
                made = [entry for entry in open_fds().items() if entry[0] in new]
                self.fds.update(dict.fromkeys(made, maker))
                sockets = [number for number, target in made if target.startswith("socket:")]
                self._put("fd", {**of_files(heard, made), **pair(heard, "socket", sockets)})
            self.children.update((pid, maker) for pid in seen.children - known.children)
            self._put("thread", pair(heard, "thread", list(seen.threads - known.threads)))
            self._put("child", pair(heard, "child", list(seen.children - known.children)))
            if seen.settings != known.settings:
                changes = seen.settings.changes(known.settings)
                self.settings.update(dict.fromkeys(changes, maker))
            if seen.loop not in (known.loop, 0):
                self.loop_set = maker

    def _put(self, kind: str, lines: dict[int, str]) -> None:
        self.places.update({(kind, number): line for number, line in lines.items()})


class _Seen(NamedTuple):
    """What the process has at one moment.

    Attributes:
        fds: (number, device, inode), which is quicker to know than what it is called.
    """

    threads: set[int]
    fds: set[tuple[int, int, int]]
    children: set[int]
    loop: int
    settings: state.Settings

    @classmethod
    def now(cls, thorough: bool) -> _Seen:
        loop = set_loop()
        return cls(
            _threads(),
            _fds(),
            set(child_pids()) if has_children() else set(),
            0 if loop is None else id(loop),
            state.Settings.now(limits=thorough),
        )


def _threads() -> set[int]:
    """Ids; a folder of /proc has as many links as entries, and two: one call, if there is one."""
    if os.stat("/proc/self/task").st_nlink == 3:
        return {os.getpid()}
    return {int(name) for name in os.listdir("/proc/self/task")}


def _fds() -> set[tuple[int, int, int]]:
    found = set()
    for name in os.listdir("/proc/self/fd"):
        number = int(name)
        try:
            stat = os.fstat(number)
        except OSError:  # the descriptor of the listing itself
            continue
        found.add((number, stat.st_dev, stat.st_ino))
    return found


def set_loop() -> Any:
    """The event loop that is set for this thread, or None. Looks without making one."""
    events = sys.modules.get("asyncio.events")
    policy = getattr(events, "_event_loop_policy", None)
    return getattr(getattr(policy, "_local", None), "_loop", None)


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
        if isinstance(loader, type):  # built-in, frozen: they make nothing
            return
        steps = ["exec_module"]
        if isinstance(loader, ExtensionFileLoader):
            steps.append("create_module")
        for step in steps:
            run = getattr(loader, step, None)
            if run is not None:
                with suppress(AttributeError, TypeError):  # a loader without room: not bracketed
                    setattr(loader, step, self._bracketed(loader, step, run, spec.name))

    def _bracketed(
        self, loader: Any, step: str, run: Callable[[Any], Any], name: str
    ) -> Callable[[Any], Any]:
        def bracketed(argument: Any) -> Any:
            with suppress(AttributeError):
                delattr(loader, step)
            with self._ledger.during(name):
                return run(argument)

        return bracketed
