"""Reused secrets and habits, from the tables they come from to those they go to."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet import models
from decnet.bus import topics
from decnet.cluster.merged import home_of
from decnet.context import Context
from decnet.db.tables import Attacker, Credential, Observation, utc_now
from decnet.workers import campaign_clusterer, clusterer
from tests.integration.test_campaign_clusterer import settle_campaigns
from tests.support.api import running_api
from tests.support.cluster import (
    START,
    add_attackers,
    add_events,
    address,
    cluster_context,
    groups,
    key_fields,
    settle,
    uuid_of,
)
from tests.support.decnet_env import query

SECRET = "ab" * 32


async def add_credential(ctx: Context, number: int, decky: str, service: str = "ssh") -> None:
    async def work(session: AsyncSession) -> None:
        session.add(
            Credential(
                attacker_ip=address(number),
                decky_name=decky,
                service=service,
                principal="root",
                secret_sha256=SECRET,
                secret_b64="",
                first_seen=utc_now(),
                last_seen=utc_now(),
                attempt_count=2,
            )
        )

    await ctx.write(work)


async def observe(ctx: Context, number: int, primitive: str, *values: Any) -> None:
    async def work(session: AsyncSession) -> None:
        for value in values:
            now = utc_now()
            session.add(
                Observation(
                    id=f"{number}-{primitive}-{now.timestamp()}",
                    attacker_uuid=uuid_of(number),
                    primitive=primitive,
                    value=value,
                    confidence=1.0,
                    window_start_ts=START,
                    window_end_ts=START,
                    source="test",
                    evidence_ref="-",
                    ts=now,
                )
            )

    await ctx.write(work)


def reuse(folder: Path) -> list[tuple[Any, ...]]:
    sql = "SELECT target_count, attempt_count, attacker_uuids, deckies FROM credential_reuse"
    return query(folder / "decnet.db", sql)


def states(folder: Path) -> dict[tuple[str, str], tuple[str, int]]:
    sql = "SELECT identity_uuid, primitive, state, observation_count FROM attribution_state"
    return {(i, p): (s, n) for i, p, s, n in query(folder / "decnet.db", sql)}


async def test_clusterer_tells_of_a_secret_at_a_second_target(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(2))
        await add_credential(ctx, 0, "decky-01")
        await add_credential(ctx, 1, "decky-01")
        told = [event for event in await settle(ctx) if event[0] == topics.CREDENTIAL_REUSED]
        assert not told, "two hands at one target are no reuse"
        assert reuse(tmp_path) == []
        await add_credential(ctx, 1, "decky-02")
        told = [event for event in await settle(ctx) if event[0] == topics.CREDENTIAL_REUSED]
        assert len(told) == 1
        payload = models.CredentialReused.model_validate(told[0][1])
        assert payload.attacker_uuids == sorted([uuid_of(0), uuid_of(1)])
        assert payload.principal == "root"
        assert reuse(tmp_path)[0][:2] == (2, 6)
        assert json.loads(reuse(tmp_path)[0][3]) == ["decky-01", "decky-02"]
        # Read again after a restart: one row still.
        await settle(ctx)
        assert len(reuse(tmp_path)) == 1


async def test_clusterer_waits_a_while_for_whose_secret_it_is(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_credential(ctx, 0, "decky-01")
        await add_credential(ctx, 0, "decky-02")
        await settle(ctx)
        assert reuse(tmp_path) == [], "the profiler has not come to this address yet"

        async def age(session: AsyncSession) -> None:
            old = utc_now() - dt.timedelta(hours=1)
            await session.execute(update(Credential).values(last_seen=old))

        await ctx.write(age)
        await settle(ctx)
        assert reuse(tmp_path)[0][2] == "[]", "nobody waits for ever"


async def test_clusterer_habits_follow_merges_and_splits(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(2))
        await settle(ctx)
        one, other = (home_of(uuid_of(n)) for n in range(2))
        for primitive in ("motor.modality", "motor.tab"):
            await observe(ctx, 0, primitive, "typed", "typed", "typed")
        await observe(ctx, 0, "motor.digraph_simhash", "ff00ff00ff00ff00")
        told = await settle(ctx)
        assert states(tmp_path)[one, "motor.modality"] == ("stable", 3)
        change = models.AttributionChanged.model_validate(
            next(p for t, p in told if t == topics.ATTRIBUTION_CHANGED)
        )
        assert (change.old_state, change.new_state) == ("unknown", "stable")
        hashes = dict(
            query(
                tmp_path / "decnet.db", "SELECT uuid, kd_digraph_simhash FROM attacker_identities"
            )
        )
        assert hashes[one] == "ff00ff00ff00ff00"
        for primitive in ("motor.modality", "motor.tab"):
            await observe(ctx, 1, primitive, "pasted", "pasted", "pasted")
        await add_events(ctx, [(n, key_fields("payload:1")) for n in range(2)])
        told = await settle(ctx)
        winner = min(one, other)
        assert states(tmp_path)[winner, "motor.modality"] == ("multi_actor", 6)
        alarms = [p for t, p in told if t == topics.ATTRIBUTION_SUSPECTED]
        assert len(alarms) == 1, "two habits: told once"
        suspected = models.AttributionSuspected.model_validate(alarms[0])
        assert suspected.identity_uuid == winner
        assert suspected.confidence <= 0.6
        assert max(one, other) not in {identity for identity, _ in states(tmp_path)}
        await add_events(ctx, [(n, key_fields(f"ja3:{n}")) for n in range(2)])
        await settle(ctx)
        assert states(tmp_path)[one, "motor.modality"] == ("stable", 3)
        assert states(tmp_path)[other, "motor.modality"] == ("stable", 3)


async def test_clusterer_identities_are_seen_when_their_addresses_are(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(2))
        await settle(ctx)
        await settle_campaigns(ctx)
        late = START + dt.timedelta(days=30)

        async def visit(session: AsyncSession) -> None:
            await session.execute(
                update(Attacker)
                .where(col(Attacker.uuid) == uuid_of(1))
                .values(last_seen=late, updated_at=utc_now())
            )

        await ctx.write(visit)
        await settle(ctx)
        sql = "SELECT uuid, last_seen_at, campaign_dirty FROM attacker_identities"
        rows = {u: (seen[:10], dirty) for u, seen, dirty in query(tmp_path / "decnet.db", sql)}
        assert rows[home_of(uuid_of(1))] == ("2026-01-31", 1)
        assert rows[home_of(uuid_of(0))] == ("2026-01-01", 0)


async def test_clusterer_events_are_of_their_models(tmp_path: Path) -> None:
    kinds = {
        topics.IDENTITY_FORMED: models.IdentityObserved,
        topics.IDENTITY_LINKED: models.IdentityObserved,
        topics.IDENTITY_MERGED: models.Merged,
        topics.IDENTITY_UNMERGED: models.Unmerged,
        topics.IDENTITY_CAMPAIGN: models.IdentityAssigned,
        topics.CAMPAIGN_FORMED: models.CampaignJoined,
        topics.CAMPAIGN_IDENTITY: models.CampaignJoined,
    }
    seen = set()
    async with cluster_context(tmp_path) as ctx:
        for number in range(4):
            await add_attackers(ctx, [number])
            shown = [key_fields("payload:1")] + ([key_fields(f"ja3:{number}")] if number else [])
            await add_events(ctx, [(number, fields) for fields in shown])
            told = await settle(ctx) + await settle_campaigns(ctx)
            for topic, payload in told:
                kinds[topic].model_validate(payload)
                assert topics.is_topic(topic)
                seen.add(topic)
        await add_events(ctx, [(0, key_fields("ja3:9"))])
        for topic, payload in await settle(ctx) + await settle_campaigns(ctx):
            kinds[topic].model_validate(payload)
            seen.add(topic)
    assert seen >= {topics.IDENTITY_FORMED, topics.IDENTITY_UNMERGED, topics.CAMPAIGN_FORMED}


async def test_clusterer_decnetctl_lists_identities_and_campaigns(tmp_path: Path) -> None:
    async with cluster_context(tmp_path) as ctx:
        await add_attackers(ctx, range(5))
        shown = [(0, "hassh:1"), (1, "hassh:1"), (2, "c2:1"), (2, "ja3:2"), (3, "c2:1")]
        await add_events(ctx, [(n, key_fields(k)) for n, k in [*shown, (3, "ja3:3")]])
        await settle(ctx)
        await settle_campaigns(ctx)
    assert len(groups(tmp_path)) == 4
    await asyncio.to_thread(_ask, tmp_path)


def _ask(folder: Path) -> None:
    with running_api(folder) as api:
        env = os.environ | {
            "DECNET_STATE_DIR": str(api.settings.state_dir),
            "DECNET_API_PORT": str(api.settings.api_port),
        }

        def decnetctl(*words: str) -> str:
            command = [sys.executable, "-m", "decnet.cli.app", *words]
            done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=180)
            assert done.returncode == 0, done.stderr
            return done.stdout

        page = json.loads(decnetctl("identities", "--json"))
        assert sorted(row["observation_count"] for row in page["data"]) == [1, 1, 1, 2]
        pair = next(row for row in page["data"] if row["observation_count"] == 2)
        shown = decnetctl("identities", pair["uuid"])
        assert {address(0), address(1)} <= set(shown.split())
        assert "hassh:1" in decnetctl("identities")
        found = json.loads(decnetctl("campaigns", "--json"))["data"]
        assert [row["identity_count"] for row in found] == [2]
        assert found[0]["uuid"] in decnetctl("campaigns")
        assert "2 identities" in decnetctl("campaigns", found[0]["uuid"])


async def test_clusterer_rehearsals_leave_nothing_behind(tmp_path: Path) -> None:

    for module in (clusterer, campaign_clusterer):
        folder = tmp_path / module.__name__
        folder.mkdir()
        before = asyncio.all_tasks()
        await module.rehearse(folder)
        assert asyncio.all_tasks() == before
    assert query(tmp_path / clusterer.__name__ / "decnet.db", "SELECT * FROM credential_reuse")
