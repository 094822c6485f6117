"""What spawn, stop, restart and kill answer: one line a worker, and the exit code."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict

from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.logs import last_words
from zygote.cli.text import clean
from zygote.client.api import Client
from zygote.control.interface import Result
from zygote.errors import Exit, ZygoteError

_CODES = {
    "no-such-worker": Exit.NO_SUCH_WORKER,
    "not-running": Exit.NOT_RUNNING,
    "not-allowed": Exit.NOT_ALLOWED,
    "template": Exit.USAGE,
}


def act(
    names: Sequence[str],
    call: Callable[[Client], Awaitable[list[Result]]],
    done: Callable[[Result], str],
    *,
    as_json: bool,
    waiting: str,
) -> int:
    """Ask the manager for something and tell what came of it.

    Args:
        names: none is an error: nothing is done to all workers by accident.
        done: the line for a result that is well.
        waiting: shown on a terminal while it takes more than a moment.
    """
    if not names:
        raise ZygoteError(
            "no worker named",
            code="usage",
            hint="name workers, or '*' for all of them",
            exit_code=Exit.USAGE,
        )
    results = asyncio.run(_ask(call, waiting))
    if as_json:
        answer = {"results": [asdict(result) for result in results]}
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        for result in results:
            tell(result, done)
        if not results:
            sys.stdout.write("nothing to do: no worker of that name runs\n")
    return exit_code(results)


def tell(result: Result, done: Callable[[Result], str]) -> None:
    """One result: what was done on stdout, or the error on stderr."""
    if result.ok:
        render.heading(done(result), "")
        return
    sys.stdout.flush()
    sys.stderr.write(report.text(as_error(result)))
    if "its last words" in result.hint and (line := last_words(result.name)):
        sys.stderr.write(f"  it wrote: {clean(line)}\n")


def as_error(result: Result) -> ZygoteError:
    """A failed result in the shape of every other error."""
    message = result.error or f"'{result.name}' is {result.state or 'not as asked'}"
    if result.name and not re.search(rf"(?<![\w@.-]){re.escape(result.name)}(?![\w@-])", message):
        message = f"{result.name}: {message}"
    return ZygoteError(
        message,
        code=result.code or "failed",
        hint=result.hint,
        step=result.step,
        errno=result.errno,
        exit_code=_CODES.get(result.code, Exit.FAILED),
    )


def exit_code(results: Sequence[Result]) -> int:
    """0 if all is well; else the code of the failures, or 1 where they differ."""
    codes = {_CODES.get(result.code, Exit.FAILED) for result in results if not result.ok}
    if not codes:
        return Exit.DONE
    return codes.pop() if len(codes) == 1 else Exit.FAILED


async def _ask(call: Callable[[Client], Awaitable[list[Result]]], waiting: str) -> list[Result]:
    async with await Client.connect(current.socket()) as manager:
        work = asyncio.ensure_future(call(manager))
        await asyncio.wait({work}, timeout=1.0)
        if not work.done() and sys.stderr.isatty() and not current.json:
            with render.console(stderr=True).status(waiting):
                return await work
        return await work
