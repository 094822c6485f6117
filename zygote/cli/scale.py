"""`zygotectl scale`: so many instances of a template, no more and no fewer."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render, results
from zygote.cli.context import current
from zygote.cli.options import Json, Timeout
from zygote.cli.ports import faults
from zygote.client.api import Client
from zygote.control.interface import Result, WorkerState
from zygote.errors import Exit, ZygoteError
from zygote.units import parse_seconds

MOST = 100_000
_RESTING = ("inactive", "failed")
_TOLD = 5
"""Failures that are told one by one."""


@dataclass(frozen=True, slots=True)
class Step:
    """What is to be done: `start` in their order, `stop` the highest first."""

    start: tuple[str, ...]
    stop: tuple[str, ...]
    kept: int


def plan(prefix: str, count: int, workers: Iterable[WorkerState]) -> Step:
    """From what there is to `count` instances: PREFIX-01, PREFIX-02, …

    Where the fleet has a worker called PREFIX itself, that is the first one in place of PREFIX-01.
    """
    states = {worker.name: worker.state for worker in workers}
    pattern = re.compile(rf"{re.escape(prefix)}-?(\d{{2,}})")
    first = prefix if prefix in states else _name(prefix, 1)
    wanted = [first, *(_name(prefix, number) for number in range(2, count + 1))][:count]
    live = {name for name, state in states.items() if state not in _RESTING}
    numbers = {name: int(match[1]) for name in live if (match := pattern.fullmatch(name))}
    if prefix in live:
        numbers[prefix] = 1
    surplus = set(numbers) - set(wanted)
    return Step(
        start=tuple(name for name in wanted if name not in live),
        stop=tuple(sorted(surplus, key=lambda name: (-numbers[name], name))),
        kept=len(live & set(wanted)),
    )


def _name(prefix: str, number: int) -> str:
    return f"{prefix}{'' if prefix.endswith('@') else '-'}{number:02}"


def scale(
    prefix: Annotated[str, Parameter(help="TEMPLATE@PREFIX, as in decoy@ssh.")],
    count: Annotated[int, Parameter(help="How many shall run.")],
    /,
    *,
    timeout: Timeout = None,
    as_json: Json = False,
) -> int:
    """Have so many instances of a template run: PREFIX-01, PREFIX-02, …

    What is missing is started and waited for, what is too much is stopped, the highest
    numbers first; the others are left alone, so that saying it twice changes nothing.
    A worker called PREFIX counts as the first. The instances live as long as the fleet:
    a manager that is killed finds them again, `down` ends them for good. For ever, write
    them into the fleet file.
    """
    if "@" not in prefix or not 0 <= count <= MOST:
        raise ZygoteError(
            f"cannot scale '{prefix}' to {count}",
            code="usage",
            hint=f"a template with a prefix, and a number up to {MOST:,}: "
            f"{current.program} scale decoy@ssh 40",
            exit_code=Exit.USAGE,
        )
    seconds = parse_seconds(timeout) if timeout is not None else None
    step, warnings, found = asyncio.run(_scale(prefix, count, seconds))
    failed = [result for result in found if not result.ok]
    if as_json:
        answer = {
            "prefix": prefix,
            "count": count,
            "kept": step.kept,
            "started": [r.name for r in found if r.ok and r.name in step.start],
            "stopped": [r.name for r in found if r.ok and r.name in step.stop],
            "failed": [asdict(result) for result in failed],
            "warnings": warnings,
        }
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        _tell(prefix, step, found)
    return results.exit_code(found)


def _tell(prefix: str, step: Step, found: Sequence[Result]) -> None:
    done = {result.name for result in found if result.ok}
    parts = [f"{step.kept} kept", f"{len(done & set(step.start))} started",
             f"{len(done & set(step.stop))} stopped"]  # fmt: skip
    running = step.kept + len(done & set(step.start))
    render.heading(f"{prefix}: {running} running ({', '.join(parts)})", "")
    failed = [result for result in found if not result.ok]
    for result in failed[:_TOLD]:
        results.tell(result, lambda each: each.name)
    if len(failed) > _TOLD:
        sys.stderr.write(f"  and {len(failed) - _TOLD:,} more, see {current.program} ps\n")


async def _scale(
    prefix: str, count: int, seconds: float | None
) -> tuple[Step, list[str], list[Result]]:
    async with await Client.connect(current.socket()) as manager:
        step = plan(prefix, count, await manager.workers())
        warnings = faults(current.ports(step.start)) if current.ports and step.start else []
        for warning in () if current.json else warnings:
            sys.stderr.write(f"{current.program}: warning: {warning}\n")
        found: list[Result] = []
        if step.stop:
            work = asyncio.ensure_future(manager.stop(step.stop, seconds))
            found += await _shown(work, f"stopping {len(step.stop)}", prefix, 0)
        if step.start:
            # One alone first: where it is no template, one error says it.
            one, rest = step.start[:1], step.start[1:]
            found += await manager.spawn(one, "up", seconds)
            if found[-1].code in ("no-such-worker", "template", "no-room"):
                raise results.as_error(found[-1])
            found.pop()
            work = asyncio.ensure_future(manager.spawn([*one, *rest], "ready", seconds))
            found += await _shown(work, "waiting", prefix, step.kept + len(step.start))
        return step, warnings, found


async def _shown(
    work: asyncio.Future[list[Result]], what: str, prefix: str, goal: int
) -> list[Result]:
    """Wait for it, with a line on a terminal that says how far it is."""
    await asyncio.wait({work}, timeout=1.0)
    if work.done() or not sys.stderr.isatty() or current.json:
        return await work
    with render.console(stderr=True).status(what) as line:
        async with await Client.connect(current.socket()) as manager:
            while not work.done():
                if goal:
                    names = [f"{prefix}*"]
                    ready = sum(worker.ready for worker in await manager.workers(names))
                    line.update(f"{ready:,} of {goal:,} ready")
                await asyncio.wait({work}, timeout=1.0)
        return await work
