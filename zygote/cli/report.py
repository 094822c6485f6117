"""Errors as the user sees them: one line that says what failed, one that says the way out."""

from __future__ import annotations

import json
import os
import sys

from zygote.cli.context import current
from zygote.cli.text import clean
from zygote.errors import ZygoteError


def show(error: ZygoteError) -> int:
    """Report an error; returns the exit code.

    With --json it goes to stdout as {"error": {…}}, else to stderr as text.
    """
    if current.json:
        sys.stdout.write(json.dumps({"error": error.as_dict()}) + "\n")
        sys.stdout.flush()
    else:
        sys.stdout.flush()
        sys.stderr.write(text(error))
    return error.exit_code


def text(error: ZygoteError) -> str:
    """The lines of an error, with their ends.

    PROGRAM: SUBJECT: FAULT
      hint: the way out (FILE:LINE)
    """
    lines = [f"{current.program}: {clean(error.message, keep_lines=True)}"]
    hint = own_words(error.hint)
    known = not error.place or error.place in error.message + error.hint
    place = "" if known else f" ({error.place})"
    if hint:
        lines.append(f"  hint: {clean(hint)}{place}")
    elif place:
        lines[0] += place
    return "\n".join(lines) + "\n"


def own_words(hint: str) -> str:
    """A hint names the command that the user knows: the manager cannot tell which that is."""
    return hint.replace("zygotectl ", f"{current.program} ")


def silence_stdout() -> None:
    """Nobody reads it any more: what is still buffered must not fail at exit."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, sys.stdout.fileno())
    os.close(null)


def located(error: ZygoteError) -> str:
    """An error of a file, its place first, as compilers and editors have it: FILE:LINE: fault."""
    place = f"{error.place}: " if error.place and error.place not in error.message else ""
    hint = f"  hint: {clean(own_words(error.hint))}\n" if error.hint else ""
    return f"{place}{clean(error.message, keep_lines=True)}\n{hint}"


def indented(trace: str) -> str:
    """A traceback of the user's code, set off from our own lines."""
    return "".join(f"  {clean(line)}\n" for line in trace.rstrip().split("\n"))
