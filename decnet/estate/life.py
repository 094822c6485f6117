"""One piece of life at a time: traffic, a file, or a mail between two of our deckies.

The row is written after the deed, with how it went. A worker killed between the two leaves a
connection or a file without a row: a file's row is made again by the next edit, a connection was
only scenery.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import random
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Any

from sqlalchemy import delete, func
from sqlalchemy.ext.asyncio import AsyncSession
from sqlmodel import col, select

from decnet.context import Context
from decnet.db import cursors
from decnet.db.base import new_uuid, utc_now
from decnet.db.tables import (
    FleetDecky,
    OrchestratorEmail,
    OrchestratorEvent,
    RealismConfig,
    SyntheticFile,
)
from decnet.decoys.catalogue import KINDS, UnknownDecoy, decky_number
from decnet.estate import files, traffic, words
from decnet.estate.settings import EstateSettings

WEIGHTS = {"traffic": 45, "file": 45, "email": 10}
EVENTS_MOST = 10_000
MAILS_MOST = 5_000
FILES_MOST = 40
"""A decky: then the ones that are there are edited."""
PRUNE_TICKS = 100


class Life:
    """Makes one piece at each tick.

    Args:
        chance: decides everything, so that a seed repeats a day.
    """

    def __init__(self, ctx: Context, settings: EstateSettings, chance: random.Random) -> None:
        self._ctx = ctx
        self._settings = settings
        self._chance = chance
        self._ticks = 0

    async def tick(self) -> tuple[str, str, dict[str, Any]] | None:
        """One piece; (kind, decky, payload) to publish, None where there is nobody to act on."""
        self._ticks += 1
        if self._ticks % PRUNE_TICKS == 0:
            await self._ctx.write(prune)
        async with self._ctx.db.session() as session:
            deckies = list((await session.scalars(select(FleetDecky))).all())
            weights = await _weights(session)
        for kind in _in_random_order(weights, self._chance):
            done = await getattr(self, f"_{kind}")(deckies)
            if done is not None:
                return kind, *done
        return None

    async def _traffic(self, deckies: list[FleetDecky]) -> tuple[str, dict[str, Any]] | None:
        target = self._pick(deckies, lambda kind: True)
        if target is None:
            return None
        decky, number, kind = target
        others = [d.name for d in deckies if d.name != decky.name] or [decky.name]
        sender = self._chance.choice(others)
        settings = self._ctx.settings
        port = self._ctx.settings.decoy_port(kind, number)
        source = traffic.address_of(self._number(sender) or number)
        fault = await traffic.talk(kind, _reachable(settings.decoy_host), port, source)
        event = OrchestratorEvent(
            kind="traffic",
            protocol=kind,
            action="connect",
            src=sender,
            dst=decky.name,
            success=not fault,
            payload={"port": port, "error": fault} if fault else {"port": port},
        )
        return decky.name, await self._ctx.write(lambda session: _add(session, event))

    async def _file(self, deckies: list[FleetDecky]) -> tuple[str, dict[str, Any]] | None:
        if not deckies:
            return None
        decky = self._chance.choice(deckies).name
        return decky, await self._ctx.write(lambda session: self._write_file(session, decky))

    async def _write_file(self, session: AsyncSession, decky: str) -> dict[str, Any]:
        kind = self._chance.choice(words.CLASSES)
        persona = self._chance.choice(words.PERSONAS)
        path = words.path_of(kind, persona, self._chance)
        now = utc_now()
        where = (col(SyntheticFile.decky) == decky, col(SyntheticFile.path) == path)
        row = (await session.scalars(select(SyntheticFile).where(*where))).first()
        count = await session.scalar(
            select(func.count()).select_from(SyntheticFile).where(col(SyntheticFile.decky) == decky)
        )
        if row is None and (count or 0) >= FILES_MOST:
            row = (
                await session.scalars(
                    select(SyntheticFile)
                    .where(col(SyntheticFile.decky) == decky)
                    .order_by(col(SyntheticFile.modified_at))
                    .limit(1)
                )
            ).first()
            assert row is not None
            kind, path = row.content_class, row.path
        old = row.last_body if row else ""
        text = words.body(kind, persona, f"{now:%Y-%m-%d %H:%M:%S}", self._chance, old)
        if row is None:
            row = SyntheticFile(
                decky=decky,
                path=path,
                persona=persona.login,
                content_class=kind,
                content_hash="",
                last_body="",
            )
        else:
            row.edit_count += 1
        row.content_hash, row.last_body = hashlib.sha256(text.encode()).hexdigest(), text
        row.modified_at = now
        session.add(row)
        action = "edit" if row.edit_count else "create"
        try:
            files.place(self._ctx.settings.state_dir, decky, path, text)
            fault = ""
        except OSError as error:
            fault = error.strerror or str(error)
        event = OrchestratorEvent(
            kind="file",
            action=action,
            dst=decky,
            success=not fault,
            payload={"path": path, "persona": persona.login, "class": kind, "error": fault},
        )
        return await _add(session, event)

    async def _email(self, deckies: list[FleetDecky]) -> tuple[str, dict[str, Any]] | None:
        target = self._pick(deckies, lambda kind: kind == "smtp")
        if target is None:
            return None
        decky, number, kind = target
        async with self._ctx.db.session() as session:
            last = (
                await session.scalars(
                    select(OrchestratorEmail)
                    .where(col(OrchestratorEmail.decky) == decky.name)
                    .order_by(col(OrchestratorEmail.id).desc())
                    .limit(1)
                )
            ).first()
        row, message = self._compose(decky.name, last)
        port = self._ctx.settings.decoy_port(kind, number)
        source = traffic.address_of(number)
        fault = await traffic.send_mail(
            _reachable(self._ctx.settings.decoy_host),
            port,
            source,
            row.mail_from,
            row.mail_to,
            bytes(message),
        )
        row.success = not fault
        told = {"subject": row.subject, "thread_id": row.thread_id, "error": fault}

        async def store(session: AsyncSession) -> dict[str, Any]:
            session.add(OrchestratorEmail.model_validate(row.model_dump()))
            return {"kind": "email", "action": "send", "dst": decky.name, "success": not fault} | {
                "payload": told,
                "ts": row.ts.isoformat(),
            }

        return decky.name, await self._ctx.write(store)

    def _compose(
        self, decky: str, last: OrchestratorEmail | None
    ) -> tuple[OrchestratorEmail, EmailMessage]:
        """An answer to the thread's last mail, or (often) the beginning of another thread."""
        domain = self._settings.mail_domain
        sender, receiver = self._chance.sample(words.PERSONAS, 2)
        subject, thread, parent = words.subject(self._chance), new_uuid(), None
        if last is not None and self._chance.random() < 0.5:
            by_login = {f"{p.login}@{domain}": p for p in words.PERSONAS}
            sender = by_login.get(last.mail_to, sender)
            receiver = by_login.get(last.mail_from, receiver)
            subject = last.subject if last.subject.startswith("Re: ") else f"Re: {last.subject}"
            thread, parent = last.thread_id, last.message_id
        now = utc_now()
        row = OrchestratorEmail(
            ts=now,
            decky=decky,
            thread_id=thread,
            message_id=f"<{new_uuid()}@{domain}>",
            in_reply_to=parent,
            mail_from=f"{sender.login}@{domain}",
            mail_to=f"{receiver.login}@{domain}",
            subject=subject,
        )
        message = EmailMessage()
        message["From"] = f"{sender.name} <{row.mail_from}>"
        message["To"] = f"{receiver.name} <{row.mail_to}>"
        message["Subject"] = subject
        message["Date"] = format_datetime(now)
        message["Message-ID"] = row.message_id
        if parent:
            message["In-Reply-To"] = message["References"] = parent
        message.set_content(words.mail(sender, receiver, self._chance))
        return row, message

    def _pick(self, deckies: list[FleetDecky], fits: Any) -> tuple[FleetDecky, int, str] | None:
        found = [
            (decky, number, kind)
            for decky in deckies
            if (number := self._number(decky.name)) is not None
            for kind in decky.services
            # Port 0: the kernel chose it, and nobody here knows which.
            if kind in KINDS and fits(kind) and self._ctx.settings.decoy_port(kind, number)
        ]
        return self._chance.choice(found) if found else None

    def _number(self, decky: str) -> int | None:
        try:
            return decky_number(decky, self._ctx.settings.decky_name)
        except UnknownDecoy:
            return None


def _reachable(host: str) -> str:
    return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)


async def _add(session: AsyncSession, event: OrchestratorEvent) -> dict[str, Any]:
    session.add(event)
    return {
        "kind": event.kind,
        "protocol": event.protocol,
        "action": event.action,
        "src": event.src,
        "dst": event.dst,
        "success": event.success,
        "payload": event.payload,
        "ts": (event.ts or dt.datetime.now(dt.UTC)).isoformat(),
    }


async def _weights(session: AsyncSession) -> dict[str, int]:
    """`WEIGHTS`, or what `realism_config` says under the key "weights" where that makes sense."""
    value = await session.scalar(
        select(col(RealismConfig.value)).where(col(RealismConfig.key) == "weights")
    )
    if not isinstance(value, dict):
        return dict(WEIGHTS)
    own = {k: v for k, v in value.items() if k in WEIGHTS and isinstance(v, int) and 0 <= v <= 1000}
    return {**WEIGHTS, **own}


def _in_random_order(weights: dict[str, int], chance: random.Random) -> list[str]:
    """The kinds, the likelier ones rather first; a weight of 0 means never."""
    keyed = [(chance.random() ** (1 / w), kind) for kind, w in sorted(weights.items()) if w > 0]
    return [kind for _, kind in sorted(keyed, reverse=True)]


async def prune(session: AsyncSession) -> None:
    """Keep the newest rows only."""
    for table, most in ((OrchestratorEvent, EVENTS_MOST), (OrchestratorEmail, MAILS_MOST)):
        last = await session.scalar(select(func.max(col(table.id))))
        if last and last > most:
            await session.execute(delete(table).where(col(table.id) <= last - most))


async def resume(session: AsyncSession) -> int:
    """A seed for this start: another one each time, the same sequence for a given database."""
    seed = int(await cursors.get(session, "orchestrator_seed", 0)) + 1
    await cursors.set(session, "orchestrator_seed", seed)
    return seed
