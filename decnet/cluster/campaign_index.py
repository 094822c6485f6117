"""`campaign_nodes` and their inverted index: who changed, and whom to compare them with."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col

from decnet.cluster.campaigns import BLOCK_MOST, Node, counterparts, keys_of
from decnet.cluster.merged import chunks
from decnet.db.dialect import upsert
from decnet.db.tables import AttackerIdentity, CampaignKey, CampaignNode


async def store(
    session: AsyncSession, nodes: dict[str, Node | None], block_most: int = BLOCK_MOST
) -> tuple[set[str], set[str]]:
    """Write nodes; None takes one out.

    Returns:
        Those whose record is another now; and those for whom a key became or ceased to be common.
    """
    uuids = sorted(nodes)
    before = await read_nodes(session, uuids)
    changed = {
        uuid
        for uuid in uuids
        if _record(nodes[uuid]) != (before[uuid].as_json() if uuid in before else None)
    }
    if not changed:
        return set(), set()
    old = {uuid: keys_of(before[uuid]) if uuid in before else set() for uuid in changed}
    new = {uuid: _keys(nodes[uuid]) for uuid in changed}
    moved = {key for uuid in changed for key in old[uuid] ^ new[uuid]}
    sizes = await count(session, moved)
    for uuid in sorted(changed):
        await _write(session, uuid, nodes[uuid], old[uuid], new[uuid])
    crossed = set()
    for key in moved:
        size = sizes.get(key, 0)
        size_now = size + sum((key in new[u]) - (key in old[u]) for u in changed)
        if (size > block_most) != (size_now > block_most):
            crossed |= {key, *counterparts(key)}
    shaken = {uuid for uuids in (await members(session, crossed)).values() for uuid in uuids}
    return changed, shaken


def _record(node: Node | None) -> dict[str, Any] | None:
    return node.as_json() if node is not None and keys_of(node) else None


def _keys(node: Node | None) -> set[str]:
    return keys_of(node) if node is not None else set()


async def _write(
    session: AsyncSession, uuid: str, node: Node | None, old: set[str], new: set[str]
) -> None:
    if node is None or not new:
        await session.execute(delete(CampaignKey).where(col(CampaignKey.identity_uuid) == uuid))
        await session.execute(delete(CampaignNode).where(col(CampaignNode.identity_uuid) == uuid))
        return
    row = {"identity_uuid": uuid, "record": node.as_json()}
    await session.execute(
        upsert(session, CampaignNode, row, key=["identity_uuid"], update=["record"])
    )
    for part in chunks(sorted(old - new)):
        await session.execute(
            delete(CampaignKey).where(
                col(CampaignKey.identity_uuid) == uuid, col(CampaignKey.key).in_(part)
            )
        )
    rows = [{"key": key, "identity_uuid": uuid} for key in sorted(new - old)]
    if rows:
        await session.execute(insert(CampaignKey), rows)


async def read_nodes(session: AsyncSession, uuids: Iterable[str]) -> dict[str, Node]:
    """Stored nodes by uuid."""
    found = {}
    for part in chunks(sorted(uuids)):
        statement = select(col(CampaignNode.identity_uuid), col(CampaignNode.record)).where(
            col(CampaignNode.identity_uuid).in_(part)
        )
        for uuid, record in await session.execute(statement):
            found[uuid] = Node.from_json(uuid, record)
    return found


async def count(session: AsyncSession, keys: Collection[str]) -> dict[str, int]:
    """How many identities have each key."""
    sizes: dict[str, int] = {}
    for part in chunks(sorted(keys)):
        statement = (
            select(col(CampaignKey.key), func.count())
            .where(col(CampaignKey.key).in_(part))
            .group_by(col(CampaignKey.key))
        )
        sizes |= {key: size for key, size in await session.execute(statement)}  # noqa: C416
    return sizes


async def common_keys(
    session: AsyncSession, keys: Collection[str], block_most: int = BLOCK_MOST
) -> set[str]:
    """Those of the keys that too many identities have."""
    sizes = await count(session, keys)
    return {key for key, size in sizes.items() if size > block_most}


async def members(session: AsyncSession, keys: Collection[str]) -> dict[str, list[str]]:
    """Identities by key."""
    found: dict[str, list[str]] = {}
    for part in chunks(sorted(keys)):
        statement = select(col(CampaignKey.key), col(CampaignKey.identity_uuid)).where(
            col(CampaignKey.key).in_(part)
        )
        for key, uuid in await session.execute(statement):
            found.setdefault(key, []).append(uuid)
    return found


async def labels(session: AsyncSession, uuids: Collection[str]) -> dict[str, str | None]:
    """identity -> its campaign."""
    found: dict[str, str | None] = {}
    for part in chunks(sorted(uuids)):
        statement = select(col(AttackerIdentity.uuid), col(AttackerIdentity.campaign_id)).where(
            col(AttackerIdentity.uuid).in_(part)
        )
        found |= {uuid: label for uuid, label in await session.execute(statement)}  # noqa: C416
    return found
