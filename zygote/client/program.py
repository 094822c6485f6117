"""Run a program in a copy of a zygote and be its stand-in: terminal, signals, end.

The program is a child of the manager, in a process group of its own in the manager's session. It
has our stdin, stdout and stderr themselves, so nothing of what it reads or writes passes through
here. What the shell does to us, we pass on to its group:

- a signal is sent on; Ctrl-C, Ctrl-\\ and a new window size come so;
- Ctrl-Z: SIGTSTP is sent on; once the program is stopped (it may ignore that, or tidy up the
  terminal first) we stop, and the shell sees a stopped job; SIGCONT wakes both. A program that
  stops by itself is noticed, too;
- it ends: we exit with its code; it dies of a signal: we die of the same.

Imports little, because it competes with a plain start of python: see `zygote.client.wire`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

from zygote.client.wire import Wire
from zygote.errors import Exit, ZygoteError

FORWARDED = (
    signal.SIGINT, signal.SIGTERM, signal.SIGQUIT, signal.SIGHUP, signal.SIGWINCH,
    signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT, signal.SIGALRM,
)  # fmt: skip
"""Sent on as they are; SIGTSTP is, too, with what follows from it."""

STOP_PATIENCE = 10.0
"""Seconds after Ctrl-Z in which the program may stop; after that it is taken to ignore it."""

_LOOK_STOPPED = 0.5
"""Seconds between two looks at whether the program has stopped by itself."""


def run_program(
    control: Path, *, zygote: str | None, kind: str, target: str, args: tuple[str, ...]
) -> int:
    """Run a program on our own stdio until it ends; returns its exit code.

    Does not return if the program dies of a signal: neither do we survive it.

    Args:
        control: the manager's control socket.
        zygote: its name; None: the first one.
        kind: module, file or command.
    Raises:
        ZygoteError: it could not be started, or the manager is gone.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    with _stdio(), _Signals() as signals:
        wire = Wire(control)
        wire.send(
            "Run",
            {
                "zygote": zygote, "kind": kind, "target": target, "args": list(args),
                "env": dict(os.environ), "cwd": _cwd(), "umask": umask,
                "stdin": 0, "stdout": 1, "stderr": 2,
            },
            [0, 1, 2],
        )  # fmt: skip
        end = _Program(wire, signals).wait()
    if end.get("signal"):
        _die_of(end["signal"])
    return int(end["code"])


class _Program:
    """The program from the call to its end."""

    def __init__(self, wire: Wire, signals: _Signals) -> None:
        self._wire = wire
        self._signals = signals
        self._pid = 0
        self._early: list[int] = []
        """Signals that came before there was anybody to send them on to."""
        self._stop_until = 0.0
        self._watch_stop = os.isatty(0)

    def wait(self) -> dict[str, Any]:
        """Until it ends; its last report."""
        poll = select.poll()
        poll.register(self._wire.fileno(), select.POLLIN)
        poll.register(self._signals.fileno(), select.POLLIN)
        while True:
            ready = [fd for fd, _ in poll.poll(self._patience())]
            # First the end: a signal that came with it has nobody to go to any more.
            if self._wire.fileno() in ready:
                for report in self._wire.receive():
                    if report.get("code") is not None or report.get("signal"):
                        return report
                    self._begun(report["pid"])
            for number in self._signals.take():
                self._pass_on(number)
            self._look()

    def _begun(self, pid: int) -> None:
        self._pid = pid
        early, self._early = self._early, []
        for number in early:
            self._pass_on(number)

    def _pass_on(self, number: int) -> None:
        if not self._pid:
            self._early.append(number)
            return
        if number == signal.SIGTSTP:
            self._stop_until = time.monotonic() + STOP_PATIENCE
        if number == signal.SIGCONT:
            self._stop_until = 0.0
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._pid, number)

    def _patience(self) -> int | None:
        """Milliseconds until the next look at whether it is stopped."""
        if self._stop_until:
            return 10
        return int(_LOOK_STOPPED * 1000) if self._pid and self._watch_stop else None

    def _look(self) -> None:
        if not self._pid or not (self._stop_until or self._watch_stop):
            return
        if _is_stopped(self._pid):
            self._stop_until = 0.0
            self._signals.stop_ourselves()
        elif self._stop_until and time.monotonic() > self._stop_until:
            self._stop_until = 0.0


class _Signals:
    """The signals to pass on, as numbers to read from a descriptor."""

    def __enter__(self) -> _Signals:
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._before = {}
        for number in (*FORWARDED, signal.SIGTSTP):
            before = signal.getsignal(number)
            # Ignored ones stay so (nohup); the program has its own idea of them.
            if before is not signal.SIG_IGN:
                self._before[number] = before
                signal.signal(number, _noted)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(-1)
        for number, before in self._before.items():
            signal.signal(number, before)
        os.close(self._read)
        os.close(self._write)

    def fileno(self) -> int:
        """Readable when a signal came."""
        return self._read

    def take(self) -> list[int]:
        """The numbers of those that came, in order; others that we do not pass on are left out."""
        try:
            numbers = os.read(self._read, 512)
        except BlockingIOError:
            return []
        return [number for number in numbers if number in self._before]

    def stop_ourselves(self) -> None:
        """Stop as a job does; returns when the shell has us go on, SIGCONT being in the pipe."""
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # Not SIGTSTP: where no shell could wake us (an orphaned process group) that one does
        # nothing, and we would spin beside a stopped program.
        os.kill(os.getpid(), signal.SIGSTOP)
        signal.signal(signal.SIGTSTP, _noted)


def _noted(_number: int, _frame: object) -> None:
    """The wakeup descriptor has it."""


@contextlib.contextmanager
def _stdio() -> Iterator[None]:
    """Put /dev/null where 0, 1 or 2 is closed, before something of ours gets that number."""
    opened = []
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            opened.append(os.open(os.devnull, os.O_RDWR))  # the lowest number that is free
    try:
        yield
    finally:
        for number in opened:
            os.close(number)


def _cwd() -> str:
    try:
        return os.getcwd()  # noqa: PTH109 - a string is wanted
    except FileNotFoundError:
        raise ZygoteError(
            "the current folder is not there any more",
            code="no-cwd",
            hint="cd to one that does",
            errno=errno.ENOENT,
            exit_code=Exit.FAILED,
        ) from None


def _is_stopped(pid: int) -> bool:
    """By a signal, not by a tracer. Every thread stops, so the first one tells."""
    try:
        with open(f"/proc/{pid}/stat", "rb", buffering=0) as file:
            stat = file.read(1024)
    except OSError:
        return False
    return stat[stat.rindex(b")") + 2 :][:1] == b"T"


def _die_of(number: int) -> NoReturn:
    """End as the program did, so that the shell sees the same; its core dump is enough."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [number])
    os.kill(os.getpid(), number)
    os._exit(128 + number)  # one whose default is to be ignored
