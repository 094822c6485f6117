"""mutate, reconciler and orchestrator on a real manager with real decoys."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from decnet.estate.files import placed
from tests.support.bus import DEADLINE
from tests.support.decnet_env import worker
from tests.support.estate import BOTH, STATES, ask, rows, running_estate, until_rows
from tests.support.managers import Manager
from tests.support.visitors import spooled


@pytest.fixture
async def estate(tmp_path: Path) -> AsyncIterator[Manager]:
    async with running_estate(tmp_path) as manager:
        yield manager


async def test_reconciler_writes_down_what_runs_and_starts_what_failed(estate: Manager) -> None:
    await until_rows(estate, STATES, BOTH)
    # Gone for good: the manager gives up on it, the reconciler does not.

    async def given_up() -> bool:
        told = [(event.subject, event.event) for event in await estate.events()]
        return ("decoy@tcp", "failed") in told

    while not await given_up():
        decoy = await estate.until("decoy@tcp", lambda w: w.state in ("ready", "failed"))
        with contextlib.suppress(Exception):
            await estate.send("decoy@tcp", "SIGKILL")
        await estate.until("decoy@tcp", lambda w, was=decoy: w.pid != was.pid or not w.pid)
    await estate.until("decoy@tcp", lambda w: w.state == "ready")
    await until_rows(estate, STATES, BOTH)
    # What somebody stopped by hand stays stopped, and is told.
    await estate.stop("decoy@http-02", "decoy@smtp-02")
    stopped = [BOTH[0], ("decky-02", "stopped", '["http","smtp"]')]
    await until_rows(estate, STATES, stopped)
    await asyncio.sleep(1.5)
    assert (await estate.worker("decoy@http-02")).state == "inactive"
    await estate.spawn("decoy@http-02", "decoy@smtp-02")
    await until_rows(estate, STATES, BOTH)


async def test_without_a_manager_all_is_unknown_and_nothing_is_gone(estate: Manager) -> None:
    await until_rows(estate, STATES, BOTH)
    await estate.end()
    folder = Path(estate.env["DECNET_STATE_DIR"])
    async with worker(
        folder, "decnet.workers.reconciler", "--once", cold=True, **estate.env
    ) as once:
        outcome = json.loads(await once.line())
        assert await once.ended() == 0
    assert outcome["deckies"] == 2 and outcome["repaired"] == []
    assert {(name, state) for name, _, state in outcome["changes"]} == {
        ("decky-01", "unknown"),
        ("decky-02", "unknown"),
    }
    assert [(n, s) for n, _, s in rows(estate, STATES)] == [(n, s) for n, _, s in BOTH]


async def test_a_mutation_changes_the_services_once_though_the_mutator_is_killed(
    estate: Manager,
) -> None:
    await until_rows(estate, STATES, BOTH)
    await ask(estate, "mutate", "decky-02", "--service", "ftp", "--service", "tcp")
    assert "waiting already" in await ask(estate, "mutate", "decky-02")
    await estate.spawn("mutate")
    # Killed while it works: again and again, until the request is done.
    sql = "SELECT state, new_services FROM decky_mutations"
    life = 0.15
    async with asyncio.timeout(2 * DEADLINE):
        while rows(estate, sql)[0][0] != "applied":
            if (await estate.worker("mutate")).state in ("up", "ready"):
                with contextlib.suppress(Exception):
                    await estate.send("mutate", "SIGKILL")
            await asyncio.sleep(life)
            life *= 1.2  # on a busy machine a short one is over before anything was done
            if (await estate.worker("mutate")).state in ("failed", "backoff"):
                await estate.spawn("mutate")
                await asyncio.sleep(0.5)
    changed = [BOTH[0], ("decky-02", "running", '["ftp","tcp"]')]
    await until_rows(estate, STATES, changed)
    states = {w.name: w.state for w in await estate.workers()}
    assert states["decoy@ftp-02"] == states["decoy@tcp-02"] == "ready"
    assert states["decoy@http-02"] == states["decoy@smtp-02"] == "inactive"
    assert rows(estate, "SELECT decky, event_type, fields ->> '$.new_services' FROM logs") == [
        ("decky-02", "decky_mutated", "ftp,tcp")
    ]
    history = rows(
        estate,
        "SELECT operation FROM decky_lifecycle WHERE operation LIKE 'service%' ORDER BY operation",
    )
    assert history == [
        ("service_added:ftp",),
        ("service_added:tcp",),
        ("service_removed:http",),
        ("service_removed:smtp",),
    ]
    listed = json.loads(await ask(estate, "deckies", "--json"))
    assert [d["services"] for d in listed] == [["http", "tcp"], ["ftp", "tcp"]]


async def test_a_mutation_that_cannot_be_is_given_up_and_costs_no_service(estate: Manager) -> None:
    await until_rows(estate, STATES, BOTH)
    taken = int(estate.env["DECNET_DECOY_TELNET_PORT"])
    with socket.create_server(("127.0.0.1", taken)):
        await ask(estate, "mutate", "decky-01", "--service", "telnet")
        await estate.spawn("mutate")
        sql = "SELECT state, tries FROM decky_mutations"
        await until_rows(estate, sql, [("failed", 3)])
    reason = rows(estate, "SELECT reason FROM decky_mutations")[0][0]
    assert "decoy@telnet" in reason
    states = {w.name: w.state for w in await estate.workers()}
    assert states["decoy@http"] == states["decoy@tcp"] == "ready"
    await until_rows(estate, STATES, BOTH)


async def test_life_is_put_into_the_deckies(estate: Manager) -> None:
    await until_rows(estate, STATES, BOTH)
    await estate.spawn("orchestrator")
    kinds = "SELECT DISTINCT kind FROM orchestrator_events WHERE success ORDER BY kind"
    await until_rows(estate, kinds, [("file",), ("traffic",)])
    mails = "SELECT count(*) > 0 FROM orchestrator_emails WHERE success"
    sql = (
        "INSERT INTO realism_config VALUES ('weights', '{\"traffic\":0,\"file\":0}', '2026-01-01')"
    )
    folder = Path(estate.env["DECNET_STATE_DIR"])
    with contextlib.closing(sqlite3.connect(folder / "decnet.db", timeout=DEADLINE)) as database:
        with database:
            database.execute(sql)
    await until_rows(estate, mails, [(1,)])
    failed = rows(estate, "SELECT kind, dst, payload FROM orchestrator_events WHERE NOT success")
    assert failed == []
    accepted = [e for e in spooled(folder, "decoy@smtp-02") if e.type == "message_accepted"]
    assert accepted and all(e.fields["src_ip"].startswith("127.77.") for e in accepted)
    await estate.stop("orchestrator")  # a file is written before its row is
    described = rows(estate, "SELECT decky, path, last_body FROM synthetic_files")
    assert described
    for decky, path, body in described:
        assert placed(folder, decky)[path] == body.encode()
