"""Campaigns in a real database: independent of order, split and joined, killed on the way."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import random
import signal
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.cluster.campaigns import Node, keys_of, partition
from decnet.cluster.merged import campaign_home_of, home_of, resolve
from decnet.context import Context
from decnet.db.tables import Campaign, TtpTag
from decnet.workers.campaign_clusterer import CampaignClusterer
from tests.support.bus import DEADLINE, broker_process, bus_client
from tests.support.cluster import (
    START,
    add_attackers,
    add_events,
    cluster_context,
    key_fields,
    settle,
    uuid_of,
)
from tests.support.decnet_env import migrated, query, worker

HOUR = dt.timedelta(hours=1)


async def add_tags(ctx: Context, tags: list[tuple[int, str, str, float]]) -> None:
    """Tags of `ttp`: (attacker's number, decky, tactic, hours after the start)."""

    async def work(session: AsyncSession) -> None:
        for number, decky, tactic, hours in tags:
            session.add(
                TtpTag(
                    uuid=f"{number}-{decky}-{tactic}-{hours}",
                    source_kind="command",
                    source_id="x",
                    attacker_uuid=uuid_of(number),
                    decky_id=decky,
                    tactic=tactic,
                    technique_id="T1082",
                    confidence=0.5,
                    rule_id="R0001",
                    rule_version=1,
                    attack_release="18.1",
                    mitre_url="-",
                    observed_at=START + hours * HOUR,
                )
            )

    await ctx.write(work)


async def settle_campaigns(ctx: Context, block_most: int = 256) -> list[tuple[str, dict[str, Any]]]:
    """Tick until there is nothing to do; what was published."""
    clusterer = CampaignClusterer(ctx, block_most)
    told: list[tuple[str, dict[str, Any]]] = []
    ctx.bus.publish = lambda topic, payload, type=None: bool(  # type: ignore[method-assign]
        told.append((topic, dict(payload))) or True
    )
    while await clusterer.tick():
        pass
    assert "failing" not in clusterer.health(), clusterer.health()
    return told


def campaigns(folder: Path) -> dict[str, set[str]]:
    """campaign -> its identities, as stored."""
    found: dict[str, set[str]] = {}
    sql = "SELECT campaign_id, uuid FROM attacker_identities WHERE campaign_id IS NOT NULL"
    for campaign, identity in query(folder / "decnet.db", sql):
        found.setdefault(campaign, set()).add(identity)
    return found


def check_rows(folder: Path) -> None:
    sql = "SELECT uuid, identity_count, merged_into_uuid, review FROM campaigns"
    rows = query(folder / "decnet.db", sql)
    assert {u: n for u, n, into, _ in rows if into is None and n} == {
        uuid: len(members) for uuid, members in campaigns(folder).items()
    }
    assert not any(review for *_, review in rows)


async def stored_nodes(ctx: Context, folder: Path) -> list[Node]:

    sql = "SELECT identity_uuid, record FROM campaign_nodes"
    return [
        Node.from_json(uuid, json.loads(record))
        for uuid, record in query(folder / "decnet.db", sql)
    ]


def kernel(nodes: list[Node], most: int) -> dict[str, set[str]]:
    sizes: dict[str, int] = {}
    for node in nodes:
        for key in keys_of(node):
            sizes[key] = sizes.get(key, 0) + 1
    common = {key for key, size in sizes.items() if size > most}
    parts = [part for part in partition(nodes, common) if len(part) > 1]
    return {min(map(campaign_home_of, part)): set(part) for part in parts}


@pytest.mark.parametrize("seed", range(2))
async def test_campaign_clusterer_partition_is_the_kernels_whatever_the_order(
    tmp_path: Path, seed: int
) -> None:
    people, most = 60, 5
    chance = random.Random(seed)
    shown = [(chance.randrange(people), f"c2:{chance.randrange(12)}") for _ in range(40)]
    # JA3s of their own: identities stay apart, their endpoints link campaigns only.
    shown += [(n, f"ja3:{n // 2}") for n in range(people)]
    tactics = ("TA0007", "TA0008", "TA0011", "TA0003", "TA0002")
    tags = sorted(
        {
            (chance.randrange(people), f"d{chance.randrange(3)}", chance.choice(tactics))
            for _ in range(60)
        }
    )
    timed = [(*tag, chance.randrange(200) / 2) for tag in tags]
    found = []
    for turn in range(2):
        folder = tmp_path / str(turn)
        order: list[Any] = [*shown, *timed]
        turned = random.Random(seed * 10 + turn)
        turned.shuffle(order)
        async with cluster_context(folder) as ctx:
            await add_attackers(ctx, range(people))
            cuts = sorted(turned.sample(range(len(order)), 4))
            for start, end in pairwise([0, *cuts, len(order)]):
                some = order[start:end]
                await add_events(ctx, [(x[0], key_fields(x[1])) for x in some if len(x) == 2])
                await add_tags(ctx, [x for x in some if len(x) == 4])
                await settle(ctx)
                await settle_campaigns(ctx, most)
            nodes = await stored_nodes(ctx, folder)
        assert nodes
        assert campaigns(folder) == kernel(nodes, most)
        check_rows(folder)
        found.append(campaigns(folder))
    assert found[0] == found[1]
    assert found[0], "nothing was linked at all"


async def test_campaign_clusterer_hands_over_and_takes_it_back(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(3))
        await settle(ctx)
        one, other, third = (home_of(uuid_of(n)) for n in range(3))
        await add_tags(ctx, [(0, "d", "TA0003", 0.0), (1, "d", "TA0007", 5.0)])
        told = await settle_campaigns(ctx)
        name = min(campaign_home_of(one), campaign_home_of(other))
        assert campaigns(tmp_path) == {name: {one, other}}
        assert told[0][0] == topics.CAMPAIGN_FORMED
        assert told[0][1] == {"campaign_uuid": name, "identity_uuids": sorted([one, other])}
        assigned = [p["identity_uuid"] for t, p in told if t == topics.IDENTITY_CAMPAIGN]
        assert sorted(assigned) == sorted([one, other])
        # The first goes on there, to no end that anybody could take up from.
        await add_tags(ctx, [(0, "d", "TA0040", 1.0)])
        await settle_campaigns(ctx)
        assert campaigns(tmp_path) == {}
        check_rows(tmp_path)
        # A common download place, three of them, and then everybody has it.
        for n in range(3):
            await add_events(ctx, [(n, key_fields("c2:7")), (n, key_fields(f"ja3:{n}"))])
        await settle(ctx)
        await settle_campaigns(ctx, 3)
        assert [*campaigns(tmp_path).values()] == [{one, other, third}]
        check_rows(tmp_path)
        await add_attackers(ctx, [3])
        await add_events(ctx, [(3, key_fields("c2:7")), (3, key_fields("ja3:3"))])
        await settle(ctx)
        await settle_campaigns(ctx, 3)
        assert campaigns(tmp_path) == {}
        check_rows(tmp_path)


async def test_campaign_clusterer_merges_and_splits_campaigns(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(4))
        pairs = [(0, "c2:1"), (1, "c2:1"), (2, "c2:2"), (3, "c2:2")]
        await add_events(ctx, [(n, key_fields(f"ja3:{n}")) for n in range(4)])
        await add_events(ctx, [(n, key_fields(k)) for n, k in pairs])
        await settle(ctx)
        await settle_campaigns(ctx)
        before = campaigns(tmp_path)
        assert sorted(map(len, before.values())) == [2, 2]
        # 1 leaves a host ready, 2 begins there.
        await add_tags(ctx, [(1, "d", "TA0011", 0.0), (2, "d", "TA0008", 1.0)])
        told = await settle_campaigns(ctx)
        merged = [p for t, p in told if t == topics.CAMPAIGN_MERGED]
        winner = min(before)
        assert merged == [{"winner_uuid": winner, "loser_uuid": max(before)}]
        assert {k: len(v) for k, v in campaigns(tmp_path).items()} == {winner: 4}
        async with ctx.db.session() as session:
            assert await resolve(session, Campaign, max(before)) == winner
        await add_tags(ctx, [(1, "d", "TA0040", 2.0)])
        told = await settle_campaigns(ctx)
        assert [p for t, p in told if t == topics.CAMPAIGN_UNMERGED] == [
            {"resurrected_uuid": max(before), "former_winner_uuid": winner}
        ]
        assert campaigns(tmp_path) == before
        check_rows(tmp_path)


async def test_campaign_clusterer_tags_of_an_identity_go_with_it(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(3))
        await settle(ctx)
        homes = [home_of(uuid_of(n)) for n in range(3)]
        await add_events(ctx, [(n, key_fields("ja3:1")) for n in range(2)])
        await settle(ctx)
        loser = max(homes[:2])

        async def tag(session: AsyncSession) -> None:
            for number, (whose, tactic) in enumerate([(loser, "TA0011"), (homes[2], "TA0007")]):
                session.add(
                    TtpTag(
                        uuid=str(number),
                        source_kind="identity",
                        source_id="x",
                        identity_uuid=whose,
                        decky_id="d",
                        tactic=tactic,
                        technique_id="T1082",
                        confidence=0.5,
                        rule_id="R0001",
                        rule_version=1,
                        attack_release="18.1",
                        mitre_url="-",
                        observed_at=START + number * HOUR,
                    )
                )

        await ctx.write(tag)
        await settle_campaigns(ctx)
    assert [*campaigns(tmp_path).values()] == [{min(homes[:2]), homes[2]}]


@pytest.mark.timeout(300)
async def test_campaign_clusterer_both_workers_and_the_bus(tmp_path: Path) -> None:
    """Killed while it works, and woken by the other's events; ends where it would have."""
    await asyncio.to_thread(migrated, tmp_path)
    people = 400
    async with (
        broker_process(tmp_path) as broker,
        bus_client(broker.path) as client,
        cluster_context(tmp_path) as ctx,
        worker(tmp_path, "decnet.workers.clusterer"),
    ):
        heard = client.subscribe("campaign.>")
        await client.flush()

        async def add(numbers: range) -> None:
            await add_attackers(ctx, numbers)
            events = [(n, key_fields(f"ja3:{n // 2}")) for n in numbers]
            events += [(n, key_fields(f"c2:{n // 6}")) for n in numbers if n % 2 == 0]
            await add_events(ctx, events)
            client.publish(topics.ATTACKER_OBSERVED, {})

        await add(range(people // 2))
        kills = 0

        def is_done() -> bool:
            found = campaigns(tmp_path)
            return sum(map(len, found.values())) == people // 2 and len(found) == 67

        async with asyncio.timeout(3 * DEADLINE):
            while not is_done():
                async with worker(
                    tmp_path, "decnet.workers.campaign_clusterer", cold=not kills
                ) as running:
                    while running.process.returncode is None and not is_done():
                        if kills < 3 and campaigns(tmp_path):
                            running.signal(signal.SIGKILL)
                            await running.ended()
                            kills += 1
                            if kills == 1:  # not before: it cannot be done without a kill
                                await add(range(people // 2, people))
                        await asyncio.sleep(0.02)
        assert kills
        async with asyncio.timeout(DEADLINE):
            # The first may be what was told of one whose forming a kill kept untold.
            while (await anext(heard)).topic != topics.CAMPAIGN_FORMED:
                pass
    async with cluster_context(tmp_path) as ctx:
        await settle_campaigns(ctx)
        assert is_done()
        assert campaigns(tmp_path) == kernel(await stored_nodes(ctx, tmp_path), 256)
    check_rows(tmp_path)
