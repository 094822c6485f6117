"""Settings of the process that an import may change: signals, timers, tracing, limits.

`Settings.now` is cheap (5 to 15 µs): it is taken around the code of every module, so that a
change has a culprit. What needs a file of /proc is read only twice, by `native`.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import _tracemalloc  # both built in: never half imported, and without conversions to enums
import os
import resource
import signal
import sys
from typing import Any, NamedTuple

_SIGNALS = tuple(int(one) for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
_TIMERS = {"ITIMER_REAL": 0, "ITIMER_VIRTUAL": 1, "ITIMER_PROF": 2}
_LIMITS = {name: getattr(resource, name) for name in dir(resource) if name.startswith("RLIMIT_")}


class Settings(NamedTuple):
    """All of them, for comparison; `changes` says what differs."""

    handlers: tuple[Any, ...]
    blocked: tuple[int, ...]
    timers: tuple[bool, ...]
    tracing: tuple[bool, ...]
    nice: int
    cpus: frozenset[int]
    limits: tuple[tuple[int, int], ...]

    @classmethod
    def now(cls, *, limits: bool = True) -> Settings:
        """As they are; without `limits` it takes half the time."""
        return cls(
            tuple(map(_signal.getsignal, _SIGNALS)),
            tuple(sorted(map(int, _signal.pthread_sigmask(_signal.SIG_BLOCK, ())))),
            tuple(bool(_signal.getitimer(number)[0]) for number in _TIMERS.values()),
            (
                sys.gettrace() is not None,
                sys.getprofile() is not None,
                _tracemalloc.is_tracing(),
            ),
            os.getpriority(os.PRIO_PROCESS, 0),
            frozenset(os.sched_getaffinity(0)),
            tuple(map(resource.getrlimit, _LIMITS.values())) if limits else (),
        )

    def changes(self, since: Settings) -> dict[tuple[str, str], str]:
        """(rule, name of the setting) -> what it is now, of those that differ from `since`."""
        found: dict[tuple[str, str], str] = {}
        for number, now, before in zip(_SIGNALS, self.handlers, since.handlers, strict=True):
            if now is not before and now != before:
                found["signal", _signal_name(number)] = _handler(now)
        if self.blocked != since.blocked:
            names = ", ".join(map(_signal_name, self.blocked)) or "none"
            found["signal", "signal mask"] = f"blocked: {names}"
        for name, now, before in zip(_TIMERS, self.timers, since.timers, strict=True):
            if now and not before:
                found["timer", name] = f"a timer that runs (setitimer {name})"
        kinds = ("sys.settrace", "sys.setprofile", "tracemalloc")
        for name, now, before in zip(kinds, self.tracing, since.tracing, strict=True):
            if now and not before:
                found["tracer", name] = f"{name} is on"
        if self.nice != since.nice:
            found["process-state", "nice"] = f"nice value {self.nice} (was {since.nice})"
        if self.cpus != since.cpus:
            what = f"CPU affinity: {len(self.cpus)} CPUs (was {len(since.cpus)})"
            found["process-state", "affinity"] = what
        # Empty where a cheap look left them out.
        for name, now, before in zip(_LIMITS, self.limits, since.limits, strict=False):
            if now != before:
                found["process-state", name] = f"{name} {now} (was {before})"
        return found


def native() -> dict[str, int]:
    """What only /proc tells: signals caught (a mask of bits), the OOM score, POSIX timers."""
    found = {"oom_score_adj": int(_read("oom_score_adj") or 0)}
    for line in _read("status").splitlines():
        if line.startswith("SigCgt:"):
            found["caught"] = int(line.split()[1], 16)
    # Needs CONFIG_POSIX_TIMERS and CONFIG_CHECKPOINT_RESTORE; four lines a timer.
    found["timers"] = sum(line.startswith("ID:") for line in _read("timers").splitlines())
    return found


def caught_natively(caught: int, since: int) -> list[str]:
    """Names of signals that something other than Python has begun to catch."""
    fresh = [number for number in _SIGNALS if (caught & ~since) >> (number - 1) & 1]
    return [_signal_name(one) for one in fresh if not callable(_signal.getsignal(one))]


def _read(name: str) -> str:
    try:
        with open(f"/proc/self/{name}") as file:
            return file.read()
    except OSError:
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal between the first and the last
        return f"SIGRTMIN+{number - signal.SIGRTMIN}"


def _handler(handler: Any) -> str:
    if callable(handler):
        name = getattr(handler, "__qualname__", type(handler).__name__)
        return f"handler {getattr(handler, '__module__', '?')}.{name}"
    words: dict[Any, str] = {signal.SIG_IGN: "ignored", signal.SIG_DFL: "default action"}
    return words.get(handler, "a handler of native code")
