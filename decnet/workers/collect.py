"""collect: from the decoys' spool files into the database, `decnet.log` and `decnet.json`.

One tick: look at the spool, take up to a batch of lines (every file gets its share), store rows
and cursors in one transaction, tell the bus, and bring the exported files up to the database.
Killed between any two of these it goes on where it was: lines behind the cursors are read again,
rows behind the exported files are written again.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DataError, IntegrityError, StatementError
from sqlalchemy.ext.asyncio import AsyncSession

from decnet.bus import topics
from decnet.collect import rehearsal, store, tail
from decnet.collect.export import Exporter
from decnet.collect.inlet import Inlet
from decnet.collect.news import publish
from decnet.collect.only import only_reader
from decnet.collect.options import CollectOptions
from decnet.collect.record import Record, fault
from decnet.collect.sources import Sources
from decnet.collect.store import Batch, Stored
from decnet.context import Context, WorkerError, open_context, run_worker
from decnet.db.engine import Database
from decnet.db.errors import StorageError
from decnet.settings import EXIT_CONFIG, Settings
from zygote.warming import rounds

log = logging.getLogger("decnet.collect")

POLL_SECONDS = 1.0
EXPORT_ROWS = 200
EXPORT_RETRY_TICKS = 5
"""Ticks to leave the exported files alone after they could not be written."""


class Collector:
    """The worker's state between ticks; all that counts of it is in the database."""

    def __init__(self, ctx: Context, files: tuple[str, ...] = ()) -> None:
        self._ctx = ctx
        self._cursors: dict[str, tail.Cursor] = {}
        self._sources = Sources(ctx.settings.spool_dir, files, self._trouble)
        self._exporter: Exporter | None = None
        self._noted: dict[str, Any] | None = None
        self._pause = 0
        self._troubles: dict[str, str] = {}
        self._stored = 0

    async def resume(self) -> None:
        """Take up what the last one left."""
        async with self._ctx.db.session() as session:
            self._cursors, self._noted = await store.load(session)
        settings = self._ctx.settings
        self._exporter = Exporter(settings.log_file, settings.json_file, self._noted)

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        told: dict[str, Any] = {"stored": self._stored, **self._sources.health()}
        if self._exporter is not None:
            told["noise_suppressed"] = self._exporter.noise.suppressed
        if self._troubles:
            told["troubles"] = dict(self._troubles)
        return told

    async def tick(self) -> bool:
        """One batch; False where there was nothing to do."""
        files = self._sources.scan(self._cursors)
        batch = self._sources.read(files, self._cursors, self._ctx.settings.batch_size)
        busy = bool(batch.records or batch.moved or batch.gone)
        if busy:
            publish(self._ctx.bus, len(batch.records), await self._store(batch))
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
                self._sources.faults["refused"] += 1
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
        for key in batch.gone:
            self._cursors.pop(key, None)
        if batch.note is not None:
            self._noted = dict(batch.note)
        self._stored += len(batch.records)
        return stored

    def _delete_consumed(self, files: list[tail.SpoolFile]) -> None:
        """Segments that their decoy has rotated away and that are stored to the last line."""
        for file in files:
            if tail.is_consumed(file, self._cursors.get(file.key)):
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
        self._trouble("export", None)
        return True

    def _trouble(self, what: str, error: OSError | None) -> None:
        if error is None:
            self._troubles.pop(what, None)
            return
        text = error.strerror or str(error)
        if self._troubles.get(what) != text:
            log.warning("cannot use %s (%s); trying again, nothing is lost", what, error)
        self._troubles[what] = text


def is_refusal(error: StatementError) -> bool:
    """Whether the database objects to a value, and not to the weather."""
    return isinstance(error, DataError | IntegrityError) or type(error) is StatementError


@contextlib.asynccontextmanager
async def open_inlet(
    ctx: Context, options: CollectOptions, hint: Callable[[], object]
) -> AsyncIterator[None]:
    """The syslog sockets, where they are wanted and can be had.

    Raises:
        WorkerError: they cannot be had, and the operator asked for them.
    """
    if options.socket is None or options.stream_socket is None:
        yield
        return
    # Hinted directly: the bus gives nobody back what he himself published.
    inlet = Inlet(options.socket, options.stream_socket, ctx.settings.spool_dir, hint)
    try:
        await inlet.open()
    except OSError as error:
        if options.is_socket_asked_for:
            raise WorkerError(
                str(error),
                code="inlet-refused",
                hint="set DECNET_COLLECT_SOCKET to another path, or to off",
                exit_code=EXIT_CONFIG,
            ) from error
        log.warning("no syslog sockets: %s", error)
        ctx.health["inlet"] = {"error": str(error)}
        yield
        return
    ctx.reports.append(inlet.health)
    try:
        yield
    finally:
        inlet.close()


async def main(ctx: Context) -> None:
    """Collect until told to stop."""
    options = CollectOptions.from_env(ctx.settings)
    collector = Collector(ctx, options.files)
    wake = await ctx.wake(topics.SYSTEM_SPOOL)
    with only_reader(ctx.settings.spool_dir):
        await collector.resume()
        ctx.reports.append(collector.health)
        try:
            async with open_inlet(ctx, options, wake.hint):
                ctx.ready(f"reading {ctx.settings.spool_dir}")
                while not ctx.stopping.is_set():
                    ctx.progress()
                    if not await collector.tick() and not await wake.wait(POLL_SECONDS):
                        await collector.settle()
            with contextlib.suppress(StorageError):
                await collector.settle()
        finally:
            collector.close()


async def rehearse(folder: Path) -> None:
    """Store some of everything on a throw-away database, through the real worker's parts."""
    settings = Settings.from_env({"DECNET_STATE_DIR": str(folder), "DECNET_BUS_ENABLED": "false"})
    await Database(settings.db_url).create_all()
    options = CollectOptions.from_env(settings, {"DECNET_COLLECT_FILES": f"{folder}/*.txt"})
    assert options.stream_socket is not None
    async with open_context("collect", settings, notifies=False) as ctx:
        collector = Collector(ctx, options.files)
        await collector.resume()
        async with open_inlet(ctx, options, lambda: None):
            for number in range(rounds()):
                rehearsal.write_round(settings.spool_dir / "warm.log", number)
                if options.stream_socket.exists():  # not where the folder's path is too long
                    await rehearsal.send_stream(options.stream_socket)
                while await collector.tick():
                    pass
        collector.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("collect", main)


if __name__ == "__main__":
    run()
