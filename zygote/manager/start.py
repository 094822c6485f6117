"""Starts a fresh program: a zygote, a worker that is no copy of one, a checker."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Program:
    """What to exec: `fds` are kept open in it under the same numbers."""

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: str = ""
    stdout: int = 1
    stderr: int = 2
    fds: Sequence[int] = field(default=())
    session: bool = False
    """It leads a session of its own; else a process group."""


def start_program(program: Program) -> int:
    """Start a fresh program in a group or session of its own, stdin /dev/null; returns its pid.

    Raises:
        OSError: cwd missing, interpreter missing, out of processes or memory.
    See: posix_spawn(3).
    """
    null = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    back = -1
    try:
        if program.cwd:
            back = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for descriptor in program.fds:
            os.set_inheritable(descriptor, True)
        if program.cwd:
            # posix_spawn has no portable "change folder". We are one thread, and back at once.
            os.chdir(program.cwd)
        return os.posix_spawn(
            program.argv[0],
            list(program.argv),
            dict(program.env),
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                # The second first: a target must not be overwritten before it was copied.
                *_stdio(program.stdout, program.stderr),
            ],
            **({"setsid": True} if program.session else {"setpgroup": 0}),
            setsigmask=[],
            setsigdef=[signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP,
                       signal.SIGCHLD, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2],
        )  # fmt: skip
    finally:
        for descriptor in program.fds:
            os.set_inheritable(descriptor, False)
        os.close(null)
        if back >= 0:
            os.fchdir(back)
            os.close(back)


def _stdio(stdout: int, stderr: int) -> list[tuple[int, int, int]]:
    """Copies onto 1 and 2. Both sources are above 2, or are 1 and 2 themselves."""
    return [(os.POSIX_SPAWN_DUP2, source, to) for source, to in ((stdout, 1), (stderr, 2))]
