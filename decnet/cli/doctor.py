"""`decnetctl doctor`: what is missing on this machine, for which worker, and the remedy."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Callable, Iterable
from fnmatch import fnmatchcase

from decnet.cli.rest import printable, say
from decnet.doctor import machine, workers
from decnet.doctor.finding import ALL, Finding, missing
from decnet.settings import Settings
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.client.api import Client
from zygote.errors import Exit, ZygoteError

MARKS = {"ok": "ok      ", "note": "note    ", "missing": "MISSING "}


def doctor(*names: str, problems: bool = False, as_json: Json = False) -> int:
    """Tell what is missing on this machine, for which worker, and the remedy.

    Looks only: nothing is started or changed. "note" is what works, but could be better; what is
    "missing" keeps a worker from starting, or lets it wait. The exit code is then 1.

    Args:
        names: only for these workers: names or globs ('decoy@*').
        problems: leave out what is well.
    """
    everything, known = examine()
    for name in names:
        if not any(fnmatchcase(one, name) for one in (ALL, *known)):
            raise ZygoteError(
                f"no worker {name!r} in the fleet file",
                code="no-such-worker",
                hint="`decnetctl check --json` lists them; globs are fine: 'decoy@*'",
                exit_code=Exit.NO_SUCH_WORKER,
            )
    found = [f for f in everything if _concerns(f, names) and not (problems and f.level == "ok")]
    faults = sum(f.level == "missing" for f in found)
    if as_json:
        told = [dataclasses.asdict(finding) for finding in found]
        say(json.dumps({"ok": not faults, "findings": told}))
        return Exit.FAILED if faults else Exit.DONE
    width = max((len(f.worker) for f in found), default=0)
    for finding in found:
        say(f"{MARKS[finding.level]} {finding.worker:<{width}}  {printable(finding.what)}")
        if finding.remedy:
            say(f"{'':9}{'':{width}}    {printable(finding.remedy)}")
    notes = sum(f.level == "note" for f in found)
    say(f"{faults} missing, {notes} notes" + ("" if faults else ": the fleet can start"))
    return Exit.FAILED if faults else Exit.DONE


def examine() -> tuple[list[Finding], list[str]]:
    """Everything, the machine first, and the fleet's workers.

    A check that cannot be made is a finding itself.
    """
    try:
        settings = Settings.from_env()
        fleet = current.fleet_file()
    except ZygoteError as error:
        return [missing(ALL, error.message, error.hint)], []
    file_findings, document = machine.fleet_file(fleet)
    named = document.get("workers", {})
    ready = asyncio.run(_ready())
    checks: list[Callable[[], Iterable[Finding]]] = [
        machine.python,
        lambda: machine.folders(settings),
        lambda: machine.runtime(fleet),
        lambda: file_findings,
        lambda: machine.database(settings),
        machine.room,
        machine.limits,
        machine.walls,
        lambda: workers.secrets(settings),
        lambda: workers.ports(settings, named, ready),
        workers.packets,
        lambda: workers.certificates(settings),
        lambda: workers.data(settings),
    ]
    found: list[Finding] = []
    for check in checks:
        try:
            found += check()
        except ZygoteError as error:  # a setting that cannot be read
            found.append(missing(ALL, error.message, error.hint))
    return [f for f in found if f.worker in (ALL, *named) or not named], list(named)


async def _ready() -> set[str]:
    """Workers that run now; none where no manager answers."""
    try:
        async with await Client.connect(current.socket()) as manager:
            return {worker.name for worker in await manager.workers() if worker.pid}
    except ZygoteError:
        return set()


def _concerns(finding: Finding, names: tuple[str, ...]) -> bool:
    return not names or any(fnmatchcase(finding.worker, name) for name in names)
