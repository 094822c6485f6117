"""`zygotectl run`: the command line of a program, as `python` would take it.

Loads neither cyclopts nor rich nor asyncio: it competes with a plain start of python.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from zygote.cli.context import current
from zygote.errors import Exit, ZygoteError

_FLAGS = {
    "-u": "set PYTHONUNBUFFERED=1 in the environment instead",
    "-B": "set PYTHONDONTWRITEBYTECODE=1 in the environment instead",
    "-W": "set PYTHONWARNINGS in the environment instead",
}
"""Options of python whose variable is obeyed after the fork."""

_FIXED = {
    "-X": "it holds from an interpreter's first instruction, and the zygote's has long run",
    "-b": "it holds from an interpreter's first instruction, and the zygote's has long run",
    "-d": "it holds from an interpreter's first instruction, and the zygote's has long run",
    "-O": "the zygote's code was compiled with its assertions",
    "-E": "the zygote has read its PYTHON variables",
    "-I": "the zygote has set sys.path",
    "-P": "the zygote has set sys.path",
    "-s": "the zygote has set sys.path",
    "-S": "the zygote has imported site",
    "-v": "the zygote's imports are done",
    "-i": "there is no interactive mode",
    "-q": "there is no interactive mode",
    "-x": "a file's first line is not skipped",
}
"""Options of python that cannot be had after the fork, each with the reason."""


class Program(NamedTuple):
    """What to run.

    Attributes:
        kind: module, command or file.
    """

    zygote: str | None
    kind: str
    target: str
    args: tuple[str, ...]


def run(*program: str, zygote: str | None = None) -> None:
    """Run any Python program in a copy of a zygote, on this terminal.

    zygotectl run [--zygote Z] -- -m MODULE ARGS…   (or -c CODE, or FILE)

    It has this terminal, environment, folder and umask; Ctrl-C and Ctrl-Z go
    to it; its exit code is given. What the zygote has imported costs it
    neither time nor memory.

    Args:
        program: -m MODULE, -c CODE or FILE, and its arguments.
        zygote: Which one; default: the first in the fleet file.
    """
    # Only for --help: `zygote.cli.app.drive` hands the words to `run_words`.
    raise AssertionError("not reached")


def run_words(words: list[str]) -> int:
    """Run a program to its end; returns its exit code, or ends as it ended, by a signal.

    Raises:
        ZygoteError: it could not be started.
    """
    program = parse(words)
    from zygote.client.program import run_program

    return run_program(
        current.socket(),
        zygote=program.zygote,
        kind=program.kind,
        target=program.target,
        args=program.args,
    )


def parse(words: list[str]) -> Program:
    """Read the words after `run`.

    Raises:
        ZygoteError: code usage.
    """
    rest = list(words)
    zygote = None
    while rest and rest[0].startswith("--") and rest[0] != "--":
        name, equals, value = rest.pop(0).partition("=")
        if name != "--zygote":
            raise _usage(f"run has no option {name}", "options of the program come after its name")
        if not equals:
            if not rest:
                raise _usage("--zygote needs a value", "--zygote NAME")
            value = rest.pop(0)
        zygote = value
    if rest[:1] == ["--"]:
        del rest[0]
    if not rest:
        raise _usage("no program", "run -- -m MODULE, -c CODE or FILE, then its arguments")
    first = rest.pop(0)
    for option, kind in (("-m", "module"), ("-c", "command")):
        if first == option:
            if not rest:
                raise _usage(f"{option} needs a value", f"run -- {option} {kind.upper()} ARGS…")
            return Program(zygote, kind, rest[0], tuple(rest[1:]))
        if first.startswith(option) and not first.startswith("--"):
            return Program(zygote, kind, first[2:], tuple(rest))
    if first == "-":
        return Program(zygote, "command", sys.stdin.read(), tuple(rest))
    if first.startswith("-"):
        raise _refuse(first)
    return Program(zygote, "file", first, tuple(rest))


def _refuse(option: str) -> ZygoteError:
    short = option if option.startswith("--") else option[:2]
    if short in _FLAGS:
        return _usage(f"python's option {short} cannot be given to run", _FLAGS[short])
    if short in _FIXED:
        return _usage(f"python's option {short} cannot be had in a fork: {_FIXED[short]}",
                      f"for this one: {Path(sys.executable).name} {option} …")  # fmt: skip
    return _usage(f"run has no option {option}", "run -- -m MODULE, -c CODE or FILE")


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
