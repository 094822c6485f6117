"""What happened, read from the tables that other workers write: feeds with durable cursors.

The bus loses events; these do not. A feed turns rows behind its cursor into events whose ids
follow from the rows. All of this only reads; `outbox` stores events and cursor together.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import SQLModel, col

from decnet.analysis.profile import is_attributable
from decnet.bus import topics
from decnet.db import cursors
from decnet.db.tables import (
    Attacker,
    CanaryToken,
    CanaryTrigger,
    Credential,
    CredentialReuse,
    Log,
    SessionRecording,
)
from decnet.webhook.event import Event

CURSOR_PREFIX = "webhook_cursor:"
PROFILER_CURSOR = "attacker_worker_cursor"
SESSION_RECORDED = "session_recorded"
COMMANDS_MOST = 100


class Feed(Protocol):
    """A source of events. A cursor is any JSON value."""

    @property
    def name(self) -> str:
        """Of its cursor."""

    @property
    def patterns(self) -> tuple[str, ...]:
        """The topics of its events. It is not read while nobody asks for one."""

    async def end(self, session: AsyncSession) -> Any:
        """The cursor behind all that is there."""

    async def skip(self, session: AsyncSession, since: Any) -> Any:
        """The cursor to go on from while nobody asks for the events."""

    async def read(self, session: AsyncSession, since: Any, most: int) -> tuple[list[Event], Any]:
        """Events behind a cursor, and the cursor behind them."""

    async def settle(self, session: AsyncSession, until: Any) -> None:
        """Write what the feed itself notes, in the transaction that moves its cursor."""

    def hint(self) -> None:
        """The bus says that there is something to read."""


class Plain:
    """A feed that notes nothing but its cursor, and is cheap enough to be read at each tick."""

    async def settle(self, session: AsyncSession, until: Any) -> None:
        """Nothing."""

    def hint(self) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Rows(Plain):
    """A table whose id grows: `make` turns rows into events."""

    name: str
    patterns: tuple[str, ...]
    table: type[SQLModel]
    make: Callable[[AsyncSession, Sequence[Any]], Any]
    event_type: str = ""

    async def end(self, session: AsyncSession) -> int:
        """The last id."""
        return await session.scalar(select(func.max(_id(self.table)))) or 0

    async def skip(self, session: AsyncSession, since: Any) -> int:
        """The end."""
        return max(int(since), await self.end(session))

    async def read(self, session: AsyncSession, since: Any, most: int) -> tuple[list[Event], int]:
        """The next rows."""
        at = _id(self.table)
        statement = select(self.table).where(at > since).order_by(at).limit(most)
        if self.event_type:
            # The kind's own index; the others need not be read.
            statement = statement.where(col(Log.event_type) == self.event_type)
        rows = (await session.scalars(statement)).all()
        if not rows:
            return [], since
        return list(await self.make(session, rows)), rows[-1].id  # type: ignore[attr-defined]


class Attackers(Plain):
    """`attacker.observed` and `attacker.scored`, for what the profiler has taken in."""

    name = "attackers"
    patterns = (topics.ATTACKER_OBSERVED, topics.ATTACKER_SCORED)

    async def end(self, session: AsyncSession) -> int:
        """Where the profiler is."""
        return int(await cursors.get(session, PROFILER_CURSOR, 0))

    async def skip(self, session: AsyncSession, since: Any) -> int:
        """The end."""
        return max(int(since), await self.end(session))

    async def read(self, session: AsyncSession, since: Any, most: int) -> tuple[list[Event], int]:
        """First sights, and a profile for each address that the rows speak of."""
        until = await self.end(session)
        statement = (
            select(
                *(col(Log.id), col(Log.timestamp), col(Log.decky), col(Log.service)),
                *(col(Log.event_type), col(Log.attacker_ip)),
            )
            .where(col(Log.id) > since, col(Log.id) <= until)
            .order_by(col(Log.id))
            .limit(most)
        )
        rows = (await session.execute(statement)).all()
        if not rows:
            return [], max(since, until)
        first: dict[str, Any] = {}
        for row in rows:
            if is_attributable(row.attacker_ip):
                first.setdefault(row.attacker_ip, row)
        events = [
            _observed(row)
            for ip, row in first.items()
            if not await self._is_known(session, ip, since)
        ]
        profiles = await session.scalars(
            select(Attacker).where(col(Attacker.ip).in_(list(first))).order_by(col(Attacker.ip))
        )
        return events + [_scored(attacker) for attacker in profiles], rows[-1].id

    async def _is_known(self, session: AsyncSession, ip: str, before: int) -> bool:
        statement = select(col(Log.id)).where(col(Log.attacker_ip) == ip, col(Log.id) <= before)
        return await session.scalar(statement.limit(1)) is not None


def _id(table: Any) -> Any:
    return table.id


def _observed(row: Any) -> Event:
    payload = {
        "attacker_ip": row.attacker_ip,
        "decky": row.decky,
        "service": row.service,
        "event_type": row.event_type,
        "first_seen": row.timestamp.isoformat(),
    }
    return Event.make(topics.ATTACKER_OBSERVED, row.attacker_ip, row.timestamp.timestamp(), payload)


def _scored(attacker: Attacker) -> Event:
    names = (
        *("event_count", "service_count", "decky_count", "bounty_count", "credential_count"),
        "is_traversal",
    )
    # A profile that grew has more events: the count tells one state of it from the next.
    return Event.make(
        topics.ATTACKER_SCORED,
        f"{attacker.ip}|{attacker.event_count}",
        attacker.last_seen.timestamp(),
        {"attacker_ip": attacker.ip, **{name: getattr(attacker, name) for name in names}},
    )


async def _lines(session: AsyncSession, rows: Sequence[Log]) -> Iterable[Event]:
    return [
        Event.make(
            topics.SYSTEM_LOG,
            str(row.id),
            row.timestamp.timestamp(),
            {
                "id": row.id,
                "timestamp": row.timestamp.isoformat(),
                "decky": row.decky,
                "service": row.service,
                "event_type": row.event_type,
                "attacker_ip": row.attacker_ip,
                "fields": row.fields,
            },
            type=row.event_type,
        )
        for row in rows
    ]


async def _sessions(session: AsyncSession, rows: Sequence[Log]) -> Iterable[Event]:
    wanted = [str(row.fields.get("session_id", "")) for row in rows]
    found = await session.scalars(
        select(SessionRecording).where(col(SessionRecording.session_id).in_(wanted))
    )
    return [
        Event.make(
            topics.ATTACKER_SESSION_ENDED,
            one.session_id,
            one.ended_at.timestamp(),
            {
                "session_id": one.session_id,
                "attacker_ip": one.attacker_ip,
                "attacker_uuid": None,
                "decky_id": one.decky,
                "service": one.service,
                "ended_at": one.ended_at.isoformat(),
                "duration_s": one.duration_s,
                "commands": one.commands[:COMMANDS_MOST],
                "shard_path": one.shard_path,
            },
        )
        for one in found
    ]


async def _credentials(session: AsyncSession, rows: Sequence[Credential]) -> Iterable[Event]:
    return [
        Event.make(
            topics.CREDENTIAL_CAPTURED,
            str(row.id),
            row.first_seen.timestamp(),
            {
                "secret_sha256": row.secret_sha256,
                "secret_kind": row.secret_kind,
                "attacker_ip": row.attacker_ip,
                "decky": row.decky_name,
                "service": row.service,
            },
        )
        for row in rows
    ]


async def _reuses(session: AsyncSession, rows: Sequence[CredentialReuse]) -> Iterable[Event]:
    return [
        Event.make(
            topics.CREDENTIAL_REUSED,
            f"{row.secret_kind}|{row.secret_sha256}",
            row.last_seen.timestamp(),
            row.model_dump(mode="json", exclude={"id"}),
        )
        for row in rows
    ]


async def _triggers(session: AsyncSession, rows: Sequence[CanaryTrigger]) -> Iterable[Event]:
    wanted = {row.token_uuid for row in rows}
    tokens = {
        token.uuid: token
        for token in await session.scalars(
            select(CanaryToken).where(col(CanaryToken.uuid).in_(wanted))
        )
    }
    return [
        Event.make(
            topics.canary(row.token_uuid, "triggered"),
            row.hit_id,
            row.occurred_at.timestamp(),
            {
                "token_id": row.token_uuid,
                "trigger_id": row.id,
                "name": tokens[row.token_uuid].name,
                "decky_name": tokens[row.token_uuid].decky_name,
                "src_ip": row.src_ip,
                "user_agent": row.user_agent,
                "request_path": row.request_path,
                "dns_qname": row.dns_qname,
            },
        )
        for row in rows
        if row.token_uuid in tokens
    ]


BY_ID: tuple[Feed, ...] = (
    Attackers(),
    Rows("lines", (topics.SYSTEM_LOG,), Log, _lines),
    Rows("sessions", (topics.ATTACKER_SESSION_ENDED,), Log, _sessions, SESSION_RECORDED),
    Rows("credentials", (topics.CREDENTIAL_CAPTURED,), Credential, _credentials),
    Rows("reuses", (topics.CREDENTIAL_REUSED,), CredentialReuse, _reuses),
    Rows("canary_triggers", ("canary.*.triggered",), CanaryTrigger, _triggers),
)
