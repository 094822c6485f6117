"""Identities in a real database: the same partition whatever came first, split and joined again."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import signal
import sqlite3
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from decnet.bus import topics
from decnet.cluster.graph import partition
from decnet.cluster.merged import HOPS_MOST, home_of, resolve
from decnet.collect.rfc5424 import INFO
from decnet.context import Context
from decnet.db.tables import AttackerIdentity
from decnet.decoys.journal import make_line
from decnet.workers import clusterer
from tests.support.bus import DEADLINE, broker_process, bus_client, until
from tests.support.cluster import (
    add_attackers,
    add_events,
    address,
    cluster_context,
    groups,
    key_fields,
    settle,
    uuid_of,
)
from tests.support.decnet_env import migrated, query, worker

WORKER = "decnet.workers.clusterer"


def crowd(seed: int, people: int, keys: int) -> list[tuple[int, str]]:
    """Who shows what, in random order; enough for chains, vetoes and common keys."""
    chance = random.Random(seed)
    kinds = ("ja3", "hassh", "payload", "payload", "c2", "ja4")
    return [
        (chance.randrange(people), f"{chance.choice(kinds)}:{chance.randrange(keys)}")
        for _ in range(int(people * 1.3))
    ]


def expected(people: int, shown: list[tuple[int, str]], most: int) -> dict[str, set[str]]:
    """The kernel's answer on all of it at once; a group is named by its smallest home."""
    held: dict[str, set[str]] = {address(n): set() for n in range(people)}
    for number, key in shown:
        held[address(number)].add(key)
    sizes: dict[str, int] = {}
    for keys in held.values():
        for key in keys:
            sizes[key] = sizes.get(key, 0) + 1
    common = {key for key, size in sizes.items() if size > most}
    homes = {address(n): home_of(uuid_of(n)) for n in range(people)}
    return {min(homes[ip] for ip in part): set(part) for part in partition(held, common)}


def check_rows(folder: Path) -> None:
    """What identities' rows say agrees with the addresses that they have."""
    file = folder / "decnet.db"
    rows = query(
        file, "SELECT uuid, merged_into_uuid, observation_count, review FROM attacker_identities"
    )
    living = {uuid: count for uuid, into, count, _ in rows if into is None}
    assert living == {uuid: len(ips) for uuid, ips in groups(folder).items()}
    assert not any(review for *_, review in rows)
    by_home = {
        home_of(uuid): identity
        for uuid, identity in query(file, "SELECT uuid, identity_id FROM attackers")
    }
    for uuid, into, _, _ in rows:
        assert into in (None, by_home[uuid]), "a loser points at where its own address is"
        assert (into is None) == (by_home[uuid] == uuid)


@pytest.mark.parametrize("seed", range(2))
async def test_clusterer_partition_is_the_kernels_whatever_the_order(
    tmp_path: Path, seed: int
) -> None:
    people, most = 120, 6
    shown = crowd(seed, people, 25)
    for turn in range(2):
        folder = tmp_path / str(turn)
        chance = random.Random(seed * 10 + turn)
        order = list(shown)
        chance.shuffle(order)
        newcomers = list(range(people))
        chance.shuffle(newcomers)
        async with cluster_context(folder) as ctx:
            cuts = sorted(chance.sample(range(len(order)), 5))
            for start, end in pairwise([0, *cuts, len(order)]):
                # Evidence may come before its address has a row, and after.
                some = [newcomers.pop() for _ in range(people // 6) if newcomers]
                await add_attackers(ctx, some)
                await add_events(ctx, [(n, key_fields(k)) for n, k in order[start:end]])
                await settle(ctx, most)
            await add_attackers(ctx, newcomers)
            await settle(ctx, most)
        assert groups(folder) == expected(people, shown, most)
        check_rows(folder)
    names = [set(groups(tmp_path / str(turn))) for turn in range(2)]
    assert names[0] == names[1]
    assert len(names[0]) < people, "nothing was linked at all"


async def test_clusterer_merges_and_takes_the_merge_back(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(3))
        told = await settle(ctx)
        assert [topic for topic, _ in told] == [topics.IDENTITY_FORMED] * 3
        homes = {n: home_of(uuid_of(n)) for n in range(3)}
        # All three have one payload: nothing speaks against it yet.
        await add_events(ctx, [(n, key_fields("payload:1")) for n in range(3)])
        told = await settle(ctx)
        winner = min(homes.values())
        assert {(t, p["winner_uuid"]) for t, p in told} == {(topics.IDENTITY_MERGED, winner)}
        assert groups(tmp_path) == {winner: {address(n) for n in range(3)}}
        check_rows(tmp_path)
        # Fingerprints that all disagree: the payload was sold, not shared.
        await add_events(ctx, [(n, key_fields(f"ja3:{n}")) for n in range(3)])
        told = await settle(ctx)
        assert {t for t, _ in told} == {topics.IDENTITY_UNMERGED}
        assert {p["former_winner_uuid"] for _, p in told} == {winner}
        assert {p["resurrected_uuid"] for _, p in told} == set(homes.values()) - {winner}
        assert groups(tmp_path) == {homes[n]: {address(n)} for n in range(3)}
        check_rows(tmp_path)
        # And one hand after all.
        await add_events(ctx, [(n, key_fields("hassh:9")) for n in range(3)])
        await settle(ctx)
        assert set(groups(tmp_path)) == {winner}
        check_rows(tmp_path)
        async with ctx.db.session() as session:
            for home in homes.values():
                assert await resolve(session, AttackerIdentity, home) == winner
            assert await resolve(session, AttackerIdentity, "nobody") is None


async def test_clusterer_key_of_everybody_links_nobody(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(6))
        await add_events(ctx, [(n, key_fields("hassh:1")) for n in range(4)])
        await settle(ctx, 4)
        assert len(groups(tmp_path)) == 3
        await add_events(ctx, [(4, key_fields("hassh:1"))])
        await settle(ctx, 4)
        assert len(groups(tmp_path)) == 6, "five show it, four may"
        check_rows(tmp_path)
        # Another limit than last time: all is placed anew.
        await settle(ctx, 5)
        assert len(groups(tmp_path)) == 2
        check_rows(tmp_path)
        await settle(ctx, 2)
        assert len(groups(tmp_path)) == 6
        check_rows(tmp_path)


async def test_clusterer_lets_go_of_many_in_several_transactions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusterer.review, "PARTS_MOST", 7)
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(31))
        await add_events(ctx, [(n, key_fields("hassh:1")) for n in range(30)])
        await settle(ctx, 30)
        assert sorted(map(len, groups(tmp_path).values())) == [1, 30]
        await add_events(ctx, [(30, key_fields("hassh:1"))])
        told = await settle(ctx, 30)
        assert len([t for t, _ in told if t == topics.IDENTITY_UNMERGED]) == 29
    assert len(groups(tmp_path)) == 31
    check_rows(tmp_path)


async def test_clusterer_namesake_that_is_gone_leaves_a_pointer(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(3))
        await add_events(ctx, [(n, key_fields("hassh:1")) for n in range(3)])
        await settle(ctx)
        (name,) = groups(tmp_path)
        namesake = next(n for n in range(3) if home_of(uuid_of(n)) == name)
        with sqlite3.connect(tmp_path / "decnet.db", timeout=DEADLINE) as connection:
            connection.execute("DELETE FROM attackers WHERE uuid = ?", (uuid_of(namesake),))
            connection.execute("UPDATE attacker_identities SET review = 1")
        connection.close()
        await settle(ctx)
        (heir,) = groups(tmp_path)
        assert heir != name
        # Newcomers find the bucket though its example is gone.
        with sqlite3.connect(tmp_path / "decnet.db", timeout=DEADLINE) as connection:
            connection.execute("UPDATE cluster_keys SET example_ip = ?", (address(namesake),))
        connection.close()
        await add_attackers(ctx, [5])
        await add_events(ctx, [(5, key_fields("hassh:1"))])
        await settle(ctx)
        assert sorted(len(ips) for ips in groups(tmp_path).values()) == [3]
        heir = min(groups(tmp_path))
        async with ctx.db.session() as session:
            assert await resolve(session, AttackerIdentity, name) == heir


async def test_clusterer_resolves_chains_of_a_few_hops_and_no_circles(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(HOPS_MOST + 2))
        await settle(ctx)
        uuids = sorted(groups(tmp_path))
        with sqlite3.connect(tmp_path / "decnet.db", timeout=DEADLINE) as connection:
            for one, into in pairwise(uuids):
                connection.execute(
                    "UPDATE attacker_identities SET merged_into_uuid = ? WHERE uuid = ?",
                    (into, one),
                )
        connection.close()
        async with ctx.db.session() as session:
            assert await resolve(session, AttackerIdentity, uuids[1]) == uuids[-1]
            assert await resolve(session, AttackerIdentity, uuids[0]) is None, "one hop too far"


async def test_clusterer_sets_a_poison_event_aside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = clusterer.gather.keys_of

    def poisoned(service: str, kind: str, fields: dict[str, Any]) -> set[str]:
        if "poison" in fields:
            raise ValueError("poison")
        return real(service, kind, fields)

    monkeypatch.setattr(clusterer.gather, "keys_of", poisoned)
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(2))
        await add_events(
            ctx, [(0, key_fields("ja3:1")), (0, {"poison": "x"}), (1, key_fields("ja3:1"))]
        )
        made = clusterer.Clusterer(ctx, clusterer.ClusterSettings())
        for _ in range(12):
            await made.tick()
        assert made.health()["set_aside"] == 1
        assert made.health()["lag"] == 0
        assert "failing" not in made.health()
    assert len(groups(tmp_path)) == 1


def shown_by(people: int) -> list[tuple[int, str]]:
    """Of so many addresses in groups of about five, by three kinds of keys."""
    shown = [(n, f"ja3:{n // 5}") for n in range(people)]
    shown += [(n, f"payload:{n // 10}") for n in range(0, people, 5)]
    shown += [(n, f"c2:{n % 200}") for n in range(0, people, 50)]
    random.Random(1).shuffle(shown)
    return shown


async def fill(ctx: Context, people: int) -> list[tuple[int, str]]:
    """So many addresses with what they show, which it gives."""
    shown = shown_by(people)
    await add_attackers(ctx, range(people))
    await add_events(ctx, [(n, key_fields(k)) for n, k in shown])
    return shown


@pytest.mark.timeout(300)
async def test_clusterer_four_times_as_many_cost_four_times_as_much(
    tmp_path: Path,
) -> None:
    took = {}
    for people in (800, 3200):
        folder = tmp_path / str(people)
        async with cluster_context(folder) as ctx:
            shown = await fill(ctx, people)
            started = time.process_time()
            await settle(ctx)
            took[people] = time.process_time() - started
        assert groups(folder) == expected(people, shown, 1000)
    assert took[3200] < 9 * took[800], f"{took}: n² would be 16 times"


@pytest.mark.timeout(300)
async def test_clusterer_killed_again_and_again_ends_where_it_would_have(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    people, parts, kills = 500, 3, 0
    shown = shown_by(people)
    want = expected(people, shown, 1000)
    done = "SELECT count(*) FROM attackers WHERE identity_id IS NOT NULL"
    async with asyncio.timeout(8 * DEADLINE):
        while parts or groups(tmp_path) != want:
            if parts:  # after each of the first kills: so it is killed that often at least
                parts -= 1
                some = range(parts, people, 3)
                async with cluster_context(tmp_path) as ctx:
                    await add_attackers(ctx, some)
                    await add_events(ctx, [(n, key_fields(k)) for n, k in shown if n in some])
            before = query(tmp_path / "decnet.db", "SELECT max(id) FROM logs")
            start = query(tmp_path / "decnet.db", done)[0][0]
            async with worker(tmp_path, WORKER, DECNET_BUS_ENABLED="false") as running:
                while running.process.returncode is None:
                    now = query(tmp_path / "decnet.db", done)[0][0]
                    if not parts and now == people and groups(tmp_path) == want:
                        break
                    if (parts or kills < 4) and now > start:
                        running.signal(signal.SIGKILL)
                        kills += 1
                        await running.ended()
                    await asyncio.sleep(0.01)
            assert before == query(tmp_path / "decnet.db", "SELECT max(id) FROM logs")
    assert kills >= 2
    check_rows(tmp_path)


async def test_clusterer_process_tells_the_bus_after_the_commit(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as client,
        cluster_context(tmp_path) as ctx,
    ):
        heard = client.subscribe(topics.EVERY_IDENTITY)
        beats = client.subscribe(topics.health("clusterer"))
        await client.flush()
        async with worker(tmp_path, WORKER) as running:
            beat = await asyncio.wait_for(anext(beats), DEADLINE)
            while "lag" not in beat.payload:
                beat = await asyncio.wait_for(anext(beats), DEADLINE)
            await add_events(ctx, [(n, key_fields("hassh:1")) for n in range(2)])
            gathered = "SELECT count(*) FROM cluster_evidence"
            client.publish(topics.SYSTEM_LOG, {})
            await until(lambda: query(tmp_path / "decnet.db", gathered) == [(2,)])
            await add_attackers(ctx, range(2))
            client.publish(topics.ATTACKER_OBSERVED, {"attacker_ip": address(0)})
            event = await asyncio.wait_for(anext(heard), DEADLINE)
            assert event.topic == topics.IDENTITY_FORMED
            assert sorted(event.payload["observation_uuids"]) == sorted([uuid_of(0), uuid_of(1)])
            assert set(groups(tmp_path)) == {event.payload["identity_uuid"]}
            running.signal(signal.SIGTERM)
            assert await running.ended() == 0
    row = query(tmp_path / "decnet.db", "SELECT hassh_hashes FROM attacker_identities")
    assert json.loads(row[0][0]) == [f"{1:032x}"]


async def test_clusterer_from_the_spool_to_an_identity(tmp_path: Path) -> None:
    """Through the real collect and profiler."""
    await asyncio.to_thread(migrated, tmp_path)
    spool = tmp_path / "spool"
    spool.mkdir(exist_ok=True)
    now = dt.datetime.now(dt.UTC)
    with (spool / "sniffer.log").open("ab") as file:
        for number, hassh in enumerate(("a" * 32, "a" * 32, "b" * 32)):
            told = {"src_ip": f"192.0.2.{number}", "hassh": hassh}
            line = make_line("decky-01", "sniffer", "ssh_client_banner", told, None, INFO, now)
            file.write(line + b"\n")
    async with (
        broker_process(tmp_path),
        worker(tmp_path, "decnet.workers.profiler"),
        worker(tmp_path, WORKER),
        worker(tmp_path, "decnet.workers.collect"),
    ):
        want = [{"192.0.2.0", "192.0.2.1"}, {"192.0.2.2"}]

        def is_there() -> bool:
            found = {k: v for k, v in groups(tmp_path).items() if k}
            return sorted(map(sorted, found.values())) == list(map(sorted, want))

        await until(is_there)


async def test_clusterer_setting_that_cannot_be_ends_with_its_name(tmp_path: Path) -> None:
    await asyncio.to_thread(migrated, tmp_path)
    async with worker(tmp_path, WORKER, cold=True, DECNET_CLUSTER_BUCKET_MOST="1") as running:
        assert await running.ended() == 78
        assert "DECNET_CLUSTER_BUCKET_MOST" in running.log.read_text()
