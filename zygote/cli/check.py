"""`zygotectl check`: everything that is wrong with a fleet file, at once."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.cli.ports import faults
from zygote.client.api import Client
from zygote.errors import Exit, ZygoteError
from zygote.fleet.load import check as check_file
from zygote.fleet.model import Fleet
from zygote.fleet.where import control_socket, find_fleet_file
from zygote.sys.room import read_bounds, read_estimates, shortage

WATCHERS = ("watchdog", "watchfiles", "inotify", "inotify_simple", "pyinotify", "asyncinotify")
"""Packages that watch files by inotify."""


def check(
    file: Annotated[Path | None, Parameter(help="Default: the fleet file in use.")] = None,
    /,
    *,
    as_json: Json = False,
) -> int:
    """Check a fleet file as a whole: each mistake with its line, value and remedy.

    Nothing that it names is imported or run.
    """
    path = find_fleet_file(str(file)) if file else current.fleet_file()
    fleet, errors = check_file(path)
    warnings = [*fleet.warnings, *_socket(path), *_room(fleet), *_ports(fleet)] if fleet else []
    if as_json:
        answer = {
            "ok": fleet is not None,
            "file": str(path),
            "fleet": fleet.name if fleet else None,
            "workers": list(fleet.order) if fleet else [],
            "templates": list(fleet.templates) if fleet else [],
            "zygotes": list(fleet.zygotes) if fleet else [],
            "warnings": warnings,
            "errors": [error.as_dict() for error in errors],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        return Exit.DONE if fleet else Exit.FLEET_FILE
    if fleet is None:
        for error in errors:
            sys.stderr.write(report.located(error))
        count = len(errors)
        sys.stderr.write(
            f"{current.program}: {path}: {count} {'mistake' if count == 1 else 'mistakes'}\n"
        )
        return Exit.FLEET_FILE
    for warning in warnings:
        sys.stderr.write(f"{current.program}: warning: {warning}\n")
    counted = (("worker", fleet.workers), ("template", fleet.templates), ("zygote", fleet.zygotes))
    parts = [f"{len(found)} {name}{'s' * (len(found) != 1)}" for name, found in counted if found]
    render.heading(f"{path}: fleet '{fleet.name}' is well: {', '.join(parts)}", "")
    return Exit.DONE


def _socket(path: Path) -> list[str]:
    """Whether the control socket's path, from the command line or the environment, is too long."""
    try:
        control_socket(path, current.runtime)
    except ZygoteError as error:
        return [f"{error.message}; {error.hint}"]
    return []


def _room(fleet: Fleet) -> list[str]:
    """What this machine's limits would say to so many workers."""
    started = [worker for worker in fleet.workers.values() if worker.autostart]
    watchers = {
        name
        for name, zygote in fleet.zygotes.items()
        if any(module.partition(".")[0] in WATCHERS for module in zygote.preload)
    }
    watching = sum(worker.zygote in watchers for worker in started)
    bounds = read_bounds() + read_estimates(watching)
    found = [shortage(len(started), [bound]) for bound in bounds]
    return [f"{short.message}; {short.hint}" for short in found if short]


def _ports(fleet: Fleet) -> list[str]:
    """What the tenant knows of its workers' ports."""
    if current.ports is None:
        return []
    return faults(current.ports(fleet.workers), asyncio.run(_running()))


async def _running() -> set[str]:
    """Workers that run now; none where no manager answers."""
    try:
        async with await Client.connect(current.socket()) as manager:
            return {worker.name for worker in await manager.workers() if worker.pid}
    except ZygoteError:
        return set()
