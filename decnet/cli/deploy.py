"""`decnetctl deploy` and `teardown`: which deckies there are, at once and for the next start."""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from decnet.cli import deploy_live as live
from decnet.cli.local import transact
from decnet.cli.rest import printable, say
from decnet.decoys.catalogue import UnknownDecoy, worker_name
from decnet.estate import wanted
from decnet.estate.settings import EstateSettings
from decnet.settings import Settings
from zygote.cli import report
from zygote.cli.context import current
from zygote.cli.options import Json
from zygote.control.interface import Result
from zygote.errors import Exit, ZygoteError

FILE_MOST = 1 << 20
Flag = Parameter(negative=())
Words = Annotated[tuple[str, ...], Parameter(name="--services", negative=(), consume_multiple=True)]


def deploy(
    file: Path | None = None,
    /,
    *,
    config: Path | None = None,
    deckies: Annotated[int | None, Parameter(name=["--deckies", "-n"])] = None,
    services: Words = (),
    archetype: str = "",
    randomize_services: Annotated[bool, Flag] = False,
    mutate_interval: int | None = None,
    as_shipped: Annotated[bool, Flag] = False,
    dry_run: Annotated[bool, Flag] = False,
    as_json: Json = False,
) -> int:
    """Have exactly these deckies: start what is missing, stop what is too much.

    decnetctl deploy deckies.toml
    decnetctl deploy --deckies 5 --archetype linux-server

    Each service of a decky is a process on a port of this machine; decky-02's ports are 100 above
    decky-01's. It holds for the next start of the fleet, too, and saying it twice changes nothing.
    Where no fleet runs, it is written down for `decnetctl up`.

    Args:
        file: TOML, or an INI as DECNET has it: a section a decky, or kind of decky, with services,
            archetype, amount, mutate_interval (minutes), randomize_services.
        config: the same.
        deckies: without a file: so many, all alike.
        services: without a file: these on each (ssh http …).
        archetype: without a file: this sort of machine; `decnetctl archetypes` lists them.
        randomize_services: without a file: some of the archetype's services on each.
        mutate_interval: minutes between changes of services; 0: never.
        as_shipped: forget all deployments: the fleet file says which decoys there are.
        dry_run: only tell what would be done.
    """
    from decnet.estate import deployment

    settings = Settings.from_env()
    source = file or config
    if as_shipped:
        return _as_shipped(settings, dry_run)
    if (source is None) == (deckies is None):
        raise _usage("what is to be deployed?", "name a file, or say --deckies N --archetype NAME")
    if source is not None:
        made = wanted.read(_text(source), str(source), settings.decky_name, _seed(settings))
    else:
        made = wanted.count(
            deckies or 0,
            settings.decky_name,
            services=tuple(word for text in services for word in text.replace(",", " ").split()),
            archetype=archetype,
            randomize=randomize_services,
            interval=mutate_interval,
            seed=_seed(settings),
        )
    _refuse(made, source, settings, as_json)
    for line in () if as_json else made.notes:
        sys.stderr.write(f"{current.program}: note: {printable(line)}\n")
    name = str(source.absolute()) if source else "the command line"
    minutes = EstateSettings.from_env().mutate_interval_min
    if mutate_interval is not None:
        minutes = mutate_interval
    if not dry_run:
        transact(lambda session: deployment.store(session, made.deckies, name, minutes))
    return _act(settings, made.deckies, dry_run, as_json, made.notes)


def teardown(
    *names: str,
    every: Annotated[bool, Parameter(name="--all", negative=())] = False,
    dry_run: Annotated[bool, Flag] = False,
    as_json: Json = False,
) -> int:
    """Stop deckies and keep them away, now and at the next start of the fleet.

    What they recorded stays. `decnetctl deploy` brings deckies back, with --as-shipped those of
    the fleet file.

    Args:
        names: deckies.
        every: all of them.
        dry_run: only tell what would be done.
    """
    from decnet.estate import deployment

    if bool(names) == every:
        raise _usage("which deckies?", "name some, or say --all")
    settings = Settings.from_env()
    running = asyncio.run(live.running(settings.decky_name))
    rows = live.rows(settings.decky_name)
    unknown = sorted(set(names) - set(rows) - set(running or {}))
    if unknown:
        there = ", ".join(sorted({*rows, *(running or {})})) or "none"
        raise ZygoteError(
            f"no such decky: {', '.join(unknown)}",
            code="no-such-decky",
            hint=f"there are: {there}",
            exit_code=Exit.NO_SUCH_WORKER,
        )
    kept = [] if every else [decky for name, decky in rows.items() if name not in names]
    if not every and running:
        # Found by nobody yet, but there: they are not to be torn down along with the others.
        kept += [
            wanted.Wanted(there.number, name, "", tuple(there.live))
            for name, there in running.items()
            if name not in rows and name not in names and there.live
        ]
    if not dry_run:
        minutes = EstateSettings.from_env().mutate_interval_min
        transact(lambda session: deployment.store(session, kept, "teardown", minutes))
    return _act(settings, kept, dry_run, as_json, [])


def _act(
    settings: Settings,
    deckies: Sequence[wanted.Wanted],
    dry_run: bool,
    as_json: bool,
    notes: Sequence[str],
) -> int:
    """Bring what runs to what is wanted; tell what came of it."""
    from decnet.estate import deployment

    running = asyncio.run(live.running(settings.decky_name))
    steps = deployment.steps(deckies, running or {})
    results: list[Result] = []
    if running is not None and not dry_run:
        results = asyncio.run(live.apply(steps, quiet=as_json))
    failed = [result for result in results if not result.ok]
    if as_json:
        told: dict[str, Any] = {
            "deckies": [_shown(settings, decky) for decky in deckies],
            "start": [worker_name(k, n) for n, kinds in steps.start for k in kinds],
            "stop": [worker_name(k, n) for n, kinds in steps.stop for k in kinds],
            "kept": steps.kept,
            "applied": running is not None and not dry_run,
            "failed": [asdict(result) for result in failed],
            "notes": list(notes),
        }
        say(json.dumps(told))
        return Exit.FAILED if failed else Exit.DONE
    for decky in deckies:
        shown = _shown(settings, decky)
        places = " ".join(f"{kind}:{port}" for kind, port in shown["ports"].items())
        say(f"{decky.name}  {decky.archetype or '-'}  {places}")
    for result in failed:
        sys.stderr.write(f"{current.program}: {printable(result.name)}: {result.error}\n")
        if result.hint:
            sys.stderr.write(f"  hint: {report.own_words(result.hint)}\n")
    counts = (sum(len(kinds) for _, kinds in part) for part in (steps.start, steps.stop))
    parts = "{} decoys kept, {} to start, {} to stop".format(steps.kept, *counts)
    if dry_run:
        say(f"nothing was done: {parts}")
    elif running is None:
        say("no fleet runs: written down for `decnetctl up`")
    else:
        done = parts.replace("to start", "started").replace("to stop", "stopped")
        say(f"{done}{f', {len(failed)} of them failed' if failed else ''}")
    return Exit.FAILED if failed else Exit.DONE


def _as_shipped(settings: Settings, dry_run: bool) -> int:
    from decnet.estate import deployment

    if dry_run:
        say("nothing was done: the deployment would be forgotten, the fleet file would count")
        return Exit.DONE
    transact(deployment.forget)
    running = asyncio.run(live.running(settings.decky_name))
    if running is None:
        say("no fleet runs: the fleet file says which decoys `decnetctl up` starts")
        return Exit.DONE
    results = asyncio.run(live.as_shipped())
    failed = [result for result in results if not result.ok]
    say(f"the fleet file counts again: {len(results) - len(failed)} decoys are as it says")
    for result in failed:
        sys.stderr.write(f"{current.program}: {result.name}: {result.error}\n")
    return Exit.FAILED if failed else Exit.DONE


def _shown(settings: Settings, decky: wanted.Wanted) -> dict[str, Any]:
    ports = {kind: settings.decoy_port(kind, decky.number) for kind in decky.services}
    return {**asdict(decky), "ports": ports}


def _refuse(
    made: wanted.Deployment, source: Path | None, settings: Settings, as_json: bool
) -> None:
    """Raise what is wrong: all faults on stderr, the first as the error."""
    for decky in made.deckies:
        for kind in decky.services:
            try:
                settings.decoy_port(kind, decky.number)
            except UnknownDecoy as error:
                made.faults.append(
                    ZygoteError(
                        str(error), code="deployment", hint="fewer deckies, or a lower port"
                    )
                )
    if not made.faults and not made.deckies:
        made.faults.append(ZygoteError("no decky in it", code="deployment", hint="add [decky-01]"))
    if not made.faults:
        return
    made.faults.sort(key=lambda fault: int(fault.place.rpartition(":")[2] or 0))
    wrong = made.faults[0]
    if len(made.faults) > 1 and not as_json:
        for fault in made.faults:
            sys.stderr.write(report.located(fault))
        what = str(source or "the options")
        wrong = ZygoteError(
            f"{what}: {len(made.faults)} mistakes", code="deployment", hint="nothing was changed"
        )
    wrong.exit_code = Exit.FLEET_FILE if source else Exit.USAGE
    raise wrong


def _text(file: Path) -> str:
    try:
        with file.open("rb") as handle:
            return handle.read(FILE_MOST).decode("utf-8-sig")
    except OSError as error:
        raise _usage(f"cannot read {file}: {error.strerror}", "name another file") from error
    except UnicodeDecodeError as error:
        raise _usage(f"{file} is no text in UTF-8", "TOML or INI") from error


def _seed(settings: Settings) -> int:
    """Chance that falls the same way each time here, and another way elsewhere."""
    return zlib.crc32(settings.jwt_secret.encode())


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
