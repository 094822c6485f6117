"""`zygotectl reexec`: the manager becomes the code that is on disk now."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.client.blocking import BlockingClient
from zygote.control.interface import ReexecReport
from zygote.units import parse_seconds


def reexec(
    *,
    timeout: Annotated[
        str, Parameter(help="How long calls in progress may take to be answered.")
    ] = "30s",
    as_json: Json = False,
) -> int:
    """Upgrade the manager in place: same pid, same workers, new code.

    The new code is asked first. If it cannot be imported, or reads another
    state, nothing changes. Workers and zygotes run on as they are; reload
    brings new code to them. "help reexec" tells more.
    """
    seconds = parse_seconds(timeout)
    with BlockingClient(current.socket()) as manager:
        report = manager.reexec(seconds)
    if as_json:
        sys.stdout.write(json.dumps(asdict(report)) + "\n")
    else:
        render.heading(told(report), "")
    return 0


def told(report: ReexecReport) -> str:
    """What came of it, in a line."""
    was = f" (was {report.before})" if report.before != report.version else ""
    kept = f"{report.workers} workers, {report.zygotes} zygotes, {report.connections} connections"
    return (
        f"the manager (pid {report.pid}) is version {report.version}{was} on Python "
        f"{report.python} after {report.seconds:.2f}s; kept {kept}"
    )
