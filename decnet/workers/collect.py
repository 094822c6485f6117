"""collect: from the decoys' spool files into the database, `decnet.log` and `decnet.json`.

One tick: look at the spool, take up to a batch of lines (every file gets its share), store rows
and cursors in one transaction, tell the bus, and bring the exported files up to the database.
Killed between any two of these it goes on where it was: lines behind the cursors are read again,
rows behind the exported files are written again.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import itertools
import logging
from collections import Counter
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.collect import store, tail
from decnet.collect.export import Exporter
from decnet.collect.record import Record, fault, read_line
from decnet.collect.store import Batch, Stored
from decnet.context import Context, run_worker
from decnet.db.errors import StorageError

log = logging.getLogger("decnet.collect")

POLL_SECONDS = 1.0
EXPORT_ROWS = 200
EXPORT_RETRY_TICKS = 5
"""Ticks to leave the exported files alone after they could not be written."""
SHARE_LEAST = 8
"""Lines that each file may give in a tick, however many files there are."""


class Collector:
    """The worker's state between ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._cursors: dict[int, tail.Cursor] = {}
        self._exporter: Exporter | None = None
        self._noted: dict[str, Any] | None = None
        self._turn = 0
        self._pause = 0
        self._faults: Counter[str] = Counter()
        self._troubles: dict[str, str] = {}
        self._health: dict[str, Any] = {"stored": 0, "files": 0, "lag_bytes": 0}

    async def resume(self) -> None:
        """Take up what the last one left."""
        async with self._ctx.db.session() as session:
            self._cursors, self._noted = await store.load(session)
        settings = self._ctx.settings
        self._exporter = Exporter(settings.log_file, settings.json_file, self._noted)

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {**self._health, "bad_lines": dict(self._faults)}
        if self._exporter is not None:
            told["noise_suppressed"] = self._exporter.noise.suppressed
        if self._troubles:
            told["troubles"] = dict(self._troubles)
        return told

    async def tick(self) -> bool:
        """One batch; False where there was nothing to do."""
        files = self._scan()
        batch = self._collect(files)
        busy = bool(batch.records or batch.moved or batch.gone)
        if busy:
            self._publish(batch, await self._store(batch))
            self._delete_consumed(files)
        return await self._export() or busy

    async def settle(self) -> None:
        """Note where the exported files end, for when nothing else is to be stored."""
        assert self._exporter is not None
        if self._exporter.note() != self._noted:
            await self._write(Batch((), note=self._exporter.note()))

    def close(self) -> None:
        """Close the exported files."""
        if self._exporter is not None:
            self._exporter.close()

    # -- reading

    def _scan(self) -> list[tail.SpoolFile]:
        try:
            files = tail.scan(self._ctx.settings.spool_dir)
        except OSError as error:
            self._trouble("spool", error)
            return []
        self._troubles.pop("spool", None)
        self._health["files"] = len(files)
        behind = 0
        for file in files:
            cursor = self._cursors.get(file.inode)
            behind += max(0, file.size - (cursor.offset if cursor else 0))
        self._health["lag_bytes"] = behind
        return files

    def _collect(self, files: list[tail.SpoolFile]) -> Batch:
        """Up to a batch of lines; a file that always has more does not starve the others."""
        limit = self._ctx.settings.batch_size
        # One file a decoy: its segments in their order, the next when this one is read.
        behind: dict[str, tail.SpoolFile] = {}
        for file in files:
            if not self._is_read(file):
                behind.setdefault(file.stem, file)
        share = max(SHARE_LEAST, limit // max(1, len(behind)))
        records: list[Record] = []
        moved: dict[int, tail.Cursor] = {}
        self._turn += 1
        at = self._turn % max(1, len(behind))
        for file in itertools.islice(itertools.cycle(behind.values()), at, at + len(behind)):
            if len(records) >= limit:
                break
            try:
                chunk = tail.read(file, self._cursors.get(file.inode), min(share, limit))
            except FileNotFoundError:  # rotated since the scan: the next one finds it
                continue
            except OSError as error:
                self._trouble(file.stem, error)
                continue
            if chunk is not None:
                now = dt.datetime.now(dt.UTC)
                records.extend(self._record(line, file.stem, now) for line in chunk.lines)
                moved[file.inode] = chunk.cursor
        return Batch(records, moved, tail.forgotten(self._cursors, files) if files else ())

    def _is_read(self, file: tail.SpoolFile) -> bool:
        cursor = self._cursors.get(file.inode)
        return cursor is not None and cursor.offset == file.size

    def _record(self, line: tail.Line, source: str, now: dt.datetime) -> Record:
        if line.size:
            record = fault(line.data, "too_long", source, now, size=line.size)
        else:
            record = read_line(line.data, source, now)
        if record.fault:
            self._faults[record.fault] += 1
        return record

    # -- storing

    async def _store(self, batch: Batch) -> Stored:
        assert self._exporter is not None
        batch = Batch(batch.records, batch.moved, batch.gone, self._exporter.note())
        try:
            return await self._write(batch)
        except StatementError as error:
            if not is_refusal(error):
                raise
            # One bad line must not stop all that come after it.
            log.warning("the database refuses a batch of %d: %s", len(batch.records), error.orig)
            return await self._store_singly(batch)

    async def _store_singly(self, batch: Batch) -> Stored:
        """Find what is refused, and store its refusal; the cursors move with the last one."""
        accepted: list[Record] = []
        for record in batch.records:
            try:
                await self._try(record)
                accepted.append(record)
            except StatementError as error:
                if not is_refusal(error):
                    raise
                self._faults["refused"] += 1
                head = record.raw_line.encode("ascii", "backslashreplace")
                accepted.append(fault(head, "refused", "collect", record.timestamp))
        return await self._write(Batch(accepted, batch.moved, batch.gone, batch.note))

    async def _try(self, record: Record) -> None:
        """Store one record and take it back."""

        async def work(session: AsyncSession) -> None:
            await store.store(session, Batch([record]))
            await session.rollback()

        await self._ctx.write(work)

    async def _write(self, batch: Batch) -> Stored:
        stored = await self._ctx.write(lambda session: store.store(session, batch))
        self._cursors.update(batch.moved)
        for inode in batch.gone:
            self._cursors.pop(inode, None)
        if batch.note is not None:
            self._noted = dict(batch.note)
        self._health["stored"] += len(batch.records)
        return stored

    def _publish(self, batch: Batch, stored: Stored) -> None:
        """Hints, after the commit. Who misses one finds the rows."""
        publish = self._ctx.bus.publish
        if batch.records:
            publish(
                topics.SYSTEM_LOG,
                {
                    "component": "collector",
                    "flushed": len(batch.records),
                    "position": stored.last_id,
                },
                type="batch",
            )
        for row in stored.credentials:
            payload = {
                name: row[name]
                for name in ("secret_sha256", "secret_kind", "attacker_ip", "service")
            }
            publish(topics.CREDENTIAL_CAPTURED, {**payload, "decky": row["decky_name"]})
        for end, commands in stored.sessions:
            publish(
                topics.ATTACKER_SESSION_ENDED,
                {
                    "session_id": end.session_id,
                    "attacker_ip": end.attacker_ip,
                    "attacker_uuid": None,
                    "decky_id": end.decky,
                    "service": end.service,
                    "ended_at": end.ended_at.isoformat(),
                    "duration_s": end.duration_s,
                    "commands": commands,
                    "shard_path": end.shard_path,
                },
            )

    def _delete_consumed(self, files: list[tail.SpoolFile]) -> None:
        """Segments that their decoy has rotated away and that are stored to the last line."""
        for file in files:
            if tail.is_consumed(file, self._cursors.get(file.inode)):
                with contextlib.suppress(OSError):
                    file.path.unlink()

    # -- exporting

    async def _export(self) -> bool:
        """Bring the files up to the database; True where there is more to write."""
        exporter = self._exporter
        assert exporter is not None
        if self._pause:
            self._pause -= 1
            return False
        if not exporter.is_pending:
            async with self._ctx.db.session() as session:
                rows = await store.rows_after(session, exporter.last_id, EXPORT_ROWS)
            if not rows:
                return False
            exporter.render(rows)
        try:
            if exporter.is_moved():
                await self._write(Batch((), note=exporter.note()))
            exporter.flush()
        except OSError as error:
            # The rows are safe: the files catch up when they can be written again.
            self._trouble("export", error)
            self._pause = EXPORT_RETRY_TICKS
            return False
        self._troubles.pop("export", None)
        return True

    def _trouble(self, what: str, error: OSError) -> None:
        text = error.strerror or str(error)
        if self._troubles.get(what) != text:
            log.warning("cannot use %s (%s); trying again, nothing is lost", what, error)
        self._troubles[what] = text


def is_refusal(error: StatementError) -> bool:
    """Whether the database objects to a value, and not to the weather."""
    return isinstance(error, DataError | IntegrityError) or type(error) is StatementError


async def main(ctx: Context) -> None:
    """Collect until told to stop."""
    collector = Collector(ctx)
    wake = await ctx.wake(topics.SYSTEM_SPOOL)
    await collector.resume()
    ctx.reports.append(collector.health)
    ctx.ready(f"reading {ctx.settings.spool_dir}")
    try:
        while not ctx.stopping.is_set():
            ctx.progress()
            if not await collector.tick() and not await wake.wait(POLL_SECONDS):
                await collector.settle()
        with contextlib.suppress(StorageError):
            await collector.settle()
    finally:
        collector.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("collect", main)


if __name__ == "__main__":
    run()
