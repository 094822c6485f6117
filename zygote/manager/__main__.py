"""`python -m zygote.manager --fleet FILE`: the manager, in the foreground.

--runtime-dir DIR     default: $ZYGOTE_RUNTIME_DIR, the fleet file's, else by user and fleet
--spawn-path PATH     auto (default), clone3, clone or fork
--log WHERE           workers' output: file (default), or journal: each a stream of its own to
                      systemd-journald, with the identifier FLEET/WORKER
--ready-fd N          write one line of JSON to it when the start-up is decided:
                      {"ok": true, "pid", "runtime_dir", "control", "failed": [Result…]}
                      or {"errors": [ZygoteError…]}

and for `zygotectl reexec`, see `zygote.manager.handover`:
--check-state FD      say in a line of JSON whether this code could go on from that state
--resume FD           go on from it
"""

from __future__ import annotations

import sys

if "ssl" not in sys.modules:
    # asyncio imports ssl where it can: 4 MB for a manager that speaks UNIX sockets only. A None
    # here makes that import fail, for which asyncio is prepared.
    sys.modules["ssl"] = None  # type: ignore[assignment]

import asyncio
import os
from pathlib import Path

from zygote.errors import Exit
from zygote.manager import handover
from zygote.manager.app import App
from zygote.manager.options import Options

_SPAWN_PATHS = ("auto", "clone3", "clone", "fork")
_LOGS = ("file", "journal")
_OPTIONS = ("--fleet", "--runtime-dir", "--spawn-path", "--log", "--ready-fd", "--resume")


def main(arguments: list[str]) -> int:
    """Run a manager; returns its exit code."""
    # By hand: argparse costs 1.4 MB, and people use zygotectl.
    if len(arguments) == 2 and arguments[0] == "--check-state" and arguments[1].isdecimal():
        return handover.check(int(arguments[1]))
    options = _parse(arguments)
    if isinstance(options, str):
        sys.stderr.write(f"zygote-manager: {options}\n{__doc__}")
        return Exit.USAGE
    if options.ready_fd >= 0:
        os.set_inheritable(options.ready_fd, False)
    return asyncio.run(_serve(options))


async def _serve(options: Options) -> int:
    return await App(options).run()


def _parse(arguments: list[str]) -> Options | str:
    """The options, or what is wrong with them."""
    given: dict[str, str] = {}
    rest = list(arguments)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if name not in _OPTIONS:
            return f"unknown argument {name!r}"
        if not equals:
            if not rest:
                return f"{name} needs a value"
            value = rest.pop(0)
        given[name] = value
    if not given.get("--fleet"):
        return "--fleet FILE is needed"
    path = given.get("--spawn-path", "auto")
    if path not in _SPAWN_PATHS:
        return f"--spawn-path is one of {', '.join(_SPAWN_PATHS)}, not {path!r}"
    log = given.get("--log", "file")
    if log not in _LOGS:
        return f"--log is one of {', '.join(_LOGS)}, not {log!r}"
    ready = given.get("--ready-fd", "-1")
    resume = given.get("--resume", "-1")
    for name, number in (("--ready-fd", ready), ("--resume", resume)):
        if not number.removeprefix("-").isdecimal():
            return f"{name} is a number, not {number!r}"
    return Options(
        fleet=str(Path(given["--fleet"]).absolute()),
        runtime_dir=given.get("--runtime-dir", ""),
        spawn_path=path,
        ready_fd=int(ready),
        log=log,
        resume=int(resume),
    )


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
