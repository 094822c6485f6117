"""`zygotectl reload --watch`: a reload whenever what is on disk has changed.

The manager is asked, which compares the files of each generation with the disk: there is nothing to
set up, and what is watched is what would be reloaded. A change counts once it has stopped going on;
one that could not be reloaded is not tried again before it has changed once more.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.text import clean
from zygote.client.blocking import BlockingClient
from zygote.errors import Exit, ZygoteError

LOOK = 0.6
"""Seconds between two looks: the manager's answer holds for less."""

State = frozenset[tuple[str, str, int]]
"""Whose code is older than the disk, than which file, and that file's time of change in ns."""


def watch(manager: BlockingClient, reload: Callable[[], int], quiet: bool) -> int:
    """Reload on each change; for ever, until Ctrl-C.

    Args:
        reload: does it, and tells of it; may raise ZygoteError.
        quiet: say nothing but what `reload` says.
    """
    tried: State = frozenset()
    try:
        _say(f"watching what fleet '{manager.status().fleet}' runs; Ctrl-C ends it", quiet)
        while True:
            state = _settled(manager, tried)
            tried = state
            files = sorted({file for _, file, _ in state})
            _say(f"changed: {clean(', '.join(files))}", quiet)
            try:
                reload()
            except ZygoteError as error:
                if error.exit_code == Exit.NO_MANAGER:
                    raise
                from zygote.cli import report

                report.show(error)
            _say("watching", quiet)
    except KeyboardInterrupt:
        return Exit.DONE


def _settled(manager: BlockingClient, tried: State) -> State:
    """What has changed, as soon as that is something else than `tried`, and stays as it is."""
    before: State = frozenset()
    while True:
        now = look(manager)
        if now and now == before and now != tried:
            return now
        before = now
        time.sleep(LOOK)


def look(manager: BlockingClient) -> State:
    """What runs that is older than what is on disk."""
    found = [(f"zygote {zygote.name}", zygote.outdated) for zygote in manager.zygotes()]
    found += [(worker.name, worker.outdated) for worker in manager.workers()]
    status = manager.status()
    if status.fleet_changed:
        found.append(("fleet", status.file))
    return frozenset((name, file, _changed_at(file)) for name, file in found if file)


def _changed_at(file: str) -> int:
    """Of the newest file, which is named first: it changes with each further change."""
    path = file.partition(" and ")[0]
    try:
        return os.stat(path).st_mtime_ns  # noqa: PTH116
    except OSError:
        return 0


def _say(line: str, quiet: bool) -> None:
    if not quiet:
        render.heading(f"{current.program}: {line}", "dim")
        sys.stdout.flush()
