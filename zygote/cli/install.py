"""`zygotectl install --systemd` and `uninstall`: the fleet as a service of the machine."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.errors import Exit, ZygoteError
from zygote.fleet import where
from zygote.fleet.load import check
from zygote.install import perworker, place, plan, reach
from zygote.install import units as oneservice

Systemd = Annotated[
    bool, Parameter(show_default=False, help="As systemd units; the only way there is.")
]
Name = Annotated[
    str, Parameter(show_default=False, help="Of the units. Default: the fleet's name.")
]
Root = Annotated[
    Path | None,
    Parameter(show_default=False, help="Write below this folder, and enable or start nothing."),
]


def install(
    *,
    systemd: Systemd = False,
    name: Name = "",
    root: Root = None,
    writable: Annotated[
        list[Path],
        Parameter(
            show_default=False,
            help="A folder that workers write to, besides the state folder (/var/lib/NAME); "
            "may be given more than once.",
        ),
    ] = [],  # noqa: B006
    units: Annotated[
        bool,
        Parameter(
            show_default=False,
            help="A unit for each worker (NAME-worker@WORKER) and no manager: systemd itself "
            "starts, limits, watches and restarts each, over shared pages.",
        ),
    ] = False,
    no_start: Annotated[
        bool, Parameter(show_default=False, help="Enable it for the next boot, but do not start.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Make the fleet a service: NAME.service, NAME.socket, NAME.slice.

    Files are written, users and groups of the fleet file made, the units
    checked, enabled and started. Done again, it brings them up to date.
    """
    _want(systemd, "install")
    file = current.fleet_file()
    tenant = plan.Tenant(**current.tenant(name or where.read_head(file)["name"]))
    # As the service will read it, and not as this shell would.
    fleet, errors = check(file, os.environ if tenant.environ is None else tenant.environ)
    if fleet is None:
        for error in errors:
            sys.stderr.write(report.located(error))
        return Exit.FLEET_FILE
    folders = [str(path.absolute()) for path in writable]
    chosen = plan.make(fleet, name=name, writable=folders, tenant=tenant)
    if root is None:
        place.check_root()
        reach.check(fleet, chosen.python)
    log = _Log(as_json)
    files = perworker.files(chosen) if units else oneservice.files(chosen)
    if chosen.shares_tmp:
        log("note: the fleet file, this python or a folder is in /tmp: the service shares that")
    for line in perworker.left_out(chosen) if units else ():
        log(f"note: {line}")
    if tenant.settings:
        log(f"note: settings of your own: {tenant.settings}, then systemctl restart")
    written = place.write(files, root or Path("/"), log)
    service = f"{chosen.name}.{'target' if units else 'service'}"
    state = "written"
    if root is None:
        faults = place.verify([path for path in written if path.suffix != ".conf"])
        if faults:
            place.remove(written, log)
            raise ZygoteError(
                f"systemd-analyze verify: {faults[0]}",
                code="unit-fault",
                hint="nothing was installed; this is a fault of ours, or of another unit",
            )
        log("checked: systemd-analyze verify finds nothing")
        state = _enable(chosen.name, service, start=not no_start, log=log)
    if as_json:
        answer = {"ok": True, "unit": service, "state": state, "files": [str(p) for p in written]}
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        render.heading(f"{service}: {state}", "")
    return 0


def uninstall(
    *, systemd: Systemd = False, name: Name = "", root: Root = None, as_json: Json = False
) -> int:
    """Stop the fleet's service, disable it, and remove its units.

    Users, groups and what the fleet stored (/var/lib/NAME) stay.
    """
    _want(systemd, "uninstall")
    unit = name or where.read_head(current.fleet_file())["name"]
    log = _Log(as_json)
    if root is None:
        place.check_root()
        paths = _paths(unit, Path("/"))
        if not any(place.is_ours(path) for path in paths):
            raise ZygoteError(
                f"no units called '{unit}' were installed by us",
                code="not-installed",
                hint="--name tells what they are called, if not as the fleet",
                exit_code=Exit.NOT_RUNNING,
            )
        log(f"stopped and disabled {', '.join(_stop(unit))}")
    gone = place.remove(_paths(unit, root or Path("/")), log)
    if root is None:
        place.systemctl("daemon-reload")
    if as_json:
        sys.stdout.write(json.dumps({"ok": True, "files": [str(path) for path in gone]}) + "\n")
    else:
        render.heading(f"{unit}: removed; /var/lib/{unit} was left as it is", "")
    return 0


def _enable(name: str, unit: str, *, start: bool, log: _Log) -> str:
    place.run(["systemd-sysusers", f"{name}.conf"])
    place.run(["systemd-tmpfiles", "--create", f"{name}.conf"])
    place.systemctl("daemon-reload")
    place.systemctl("enable", unit)
    log(f"enabled {unit}")
    if not start:
        return "enabled, not started"
    log(f"starting {unit}: its floors are baked first")
    # A service that runs keeps running as it was started: new settings need a new start.
    place.systemctl("restart", unit)
    status = place.systemctl("show", "-P", "StatusText", unit) if unit.endswith(".service") else ""
    return status or "active"


def _paths(name: str, root: Path) -> list[Path]:
    """Every file that an install can have written."""
    units = place.under(root, Path("/etc/systemd/system"))
    found = [units / f"{name}.{kind}" for kind in ("service", "socket", "slice", "target")]
    found += sorted(units.glob(f"{name}-zygote@.*")) + sorted(units.glob(f"{name}-worker@.*"))
    found += sorted(units.glob(f"{name}-worker@*.service.d/10-fleet.conf"))
    for folder in ("/etc/sysusers.d", "/etc/tmpfiles.d"):
        found.append(place.under(root, Path(folder)) / f"{name}.conf")
    return found


def _stop(name: str) -> list[str]:
    """Stop and disable what is there of a fleet; what it was."""
    folder = Path("/etc/systemd/system")
    there = [f"{name}.{kind}" for kind in ("service", "socket", "target")
             if (folder / f"{name}.{kind}").exists()]  # fmt: skip
    for unit in there:
        place.systemctl("disable", "--now", unit)
    if f"{name}.target" in there:
        patterns = (
            f"{name}-worker@*.service",
            f"{name}-zygote@*.socket",
            f"{name}-zygote@*.service",
        )
        place.systemctl("stop", *patterns)
    return there


def _want(systemd: bool, verb: str) -> None:
    if not systemd:
        raise ZygoteError(
            f"{verb} what, and how?",
            code="usage",
            hint=f"{current.program} {verb} --systemd",
            exit_code=Exit.USAGE,
        )


class _Log:
    """Lines of progress: on stderr where the answer is JSON."""

    def __init__(self, as_json: bool) -> None:
        self._stream = sys.stderr if as_json else sys.stdout

    def __call__(self, line: str) -> None:
        self._stream.write(f"{line}\n")
        self._stream.flush()
