"""The zygotes: started, baked, watched; when one dies a new generation is baked.

Workers are the manager's children, so they live on without their zygote; only new spawns wait for
the next generation. A zygote that dies again and again, or does not bake, is tried again with
growing delays; meanwhile the spawns that need it wait, and say what they wait for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

from zygote.control.interface import ZygoteState
from zygote.errors import ZygoteError
from zygote.fleet.model import WorkerSpec, ZygoteSpec
from zygote.manager import findings
from zygote.manager.alone import Alone
from zygote.manager.zygote import Shop, Zygote

_RETRY_FIRST = 0.5
_RETRY_MAX = 30.0
_END_TIMEOUT = 3.0
_STEADY = 30.0
"""Seconds that a zygote must have served for the next death to count as a first one again."""


class Slot:
    """One zygote of the fleet through all its generations."""

    def __init__(self, shop: Shop, spec: ZygoteSpec, find: Callable[[str], Slot]) -> None:
        self.spec = spec
        self._find = find
        self.current: Zygote | None = None
        self.error: ZygoteError | None = None
        self._shop = shop
        self._changed = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0

    def keep(self) -> None:
        """From now on there is always a zygote, or one in the making."""
        self._task = self._shop.loop.create_task(self._keep(), name=f"zygote {self.spec.name}")

    async def bake(self) -> None:
        """Bake the next generation.

        Raises:
            ZygoteError: it cannot be baked; kept in `error` as well.
        """
        generation = self._shop.next_generation(self.spec.name)
        started = self._shop.loop.time()
        try:
            parent = await self._find(self.spec.parent).get() if self.spec.parent else None
            zygote = Zygote(self._shop, self.spec, generation, parent)
            await zygote.start()
            self.current = zygote
            self._shop.tell("baking", self.spec.name, self.current.pid, f"generation={generation}")
            await self.current.bake()
        except OSError as error:
            self.error = _start_error(self.spec, error)
        except ZygoteError as error:
            self.error = error
        else:
            self.error = None
            seconds = self._shop.loop.time() - started
            detail = f"generation={generation} after={seconds:.2f}s"
            self._shop.tell("baked", self.spec.name, self.current.pid, detail)
        self._change()
        if self.error:
            self._shop.tell("bake-failed", self.spec.name, None, self.error.message)
            raise self.error

    async def get(self) -> Zygote:
        """A zygote that serves; waits as long as there is none."""
        while True:
            if self.current and self.current.ready:
                return self.current
            changed = self._changed
            await changed.wait()

    async def change(self) -> None:
        """Wait until something about it has changed."""
        await self._changed.wait()

    def close(self) -> None:
        """Bake no more, and let the zygote end."""
        if self._task:
            self._task.cancel()
        if self.current:
            self.current.close()

    def state(
        self, workers: Iterable[WorkerSpec] = (), env: Mapping[str, str] = MappingProxyType({})
    ) -> ZygoteState:
        """For `status`.

        Args:
            workers: those that are copies of it.
            env: what it inherits.
        """
        zygote, report = self.current, self.current.report if self.current else {}
        word = "baking"
        if zygote and zygote.ready:
            word = "ready"
        elif self.error:
            word = "failed"
        elif zygote and zygote.baked.done():
            word = "dead"
        reason = report.get("spawn_path_reason")
        path = str(report.get("spawn_path", "")) + (f" ({reason})" if reason else "")
        seconds = report.get("seconds")
        return ZygoteState(
            name=self.spec.name,
            state=word,
            pid=zygote.pid if zygote and not zygote.gone else None,
            generation=zygote.generation if zygote else 0,
            parent=self.spec.parent,
            python=str(report.get("python", "")),
            spawn_path=path,
            bake_seconds=None if seconds is None else float(seconds),
            modules=int(report.get("modules", 0)),
            stages=zygote.stage_lines() if zygote else [],
            findings=findings.lines(self.spec, report, workers, env),
            outdated=str(self._shop.look(zygote.identity) or "") if zygote else "",
            log=self._shop.log_path(self.spec.name),
            error=self.error.message if self.error else "",
            hint=self.error.hint if self.error else "",
        )

    async def _keep(self) -> None:
        while True:
            zygote = self.current
            if zygote and zygote.ready and zygote.child:
                since = self._shop.loop.time()
                # Shielded: cancelling the keeper must not cancel the child's one future.
                end = await asyncio.shield(zygote.child.ended)
                self._failures = 0 if self._shop.loop.time() - since >= _STEADY else self._failures
                detail = f"{end}; its workers live on"
                self._shop.tell("zygote-ended", self.spec.name, zygote.child.pid, detail)
                self._change()
            try:
                if self._failures:
                    await asyncio.sleep(
                        min(_RETRY_MAX, _RETRY_FIRST * 2.0 ** min(self._failures - 1, 20))
                    )
                self._failures += 1
                await self.bake()
            except ZygoteError:
                continue

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


class Zygotes:
    """All zygotes of the fleet, by name."""

    def __init__(self, shop: Shop, specs: Mapping[str, ZygoteSpec]) -> None:
        self._shop = shop
        self.slots: dict[str, Slot] = {}
        for spec in specs.values():
            self.add(spec)

    def add(self, spec: ZygoteSpec) -> Slot:
        """One more; `keep` of its slot bakes it."""
        slot = self.slots[spec.name] = Slot(self._shop, spec, self.slots.__getitem__)
        return slot

    def alone(self, name: str) -> Alone:
        """Starts workers that name this zygote and are no copies of it."""
        return Alone(self._shop, self.slots[name].spec)

    async def bake_all(self) -> list[ZygoteError]:
        """Bake every zygote, each after its parent; the errors of those that cannot be."""
        errors: list[ZygoteError] = []
        left = list(self.slots.values())
        done: set[str] = {""}
        while left:
            now = [slot for slot in left if slot.spec.parent in done]
            left = [slot for slot in left if slot.spec.parent not in done]
            outcomes = await asyncio.gather(*(slot.bake() for slot in now), return_exceptions=True)
            for outcome in outcomes:
                if isinstance(outcome, ZygoteError):
                    errors.append(outcome)
                elif outcome is not None:
                    raise outcome
            done = {slot.spec.name for slot in now if slot.current and slot.current.ready}
            if not done:  # these wait, with the keepers, for a parent that can be baked
                break
        return errors

    def keep(self) -> None:
        """Replace every zygote that ends from now on."""
        for slot in self.slots.values():
            slot.keep()

    def close(self) -> None:
        """Let all of them end."""
        for slot in self.slots.values():
            slot.close()

    async def end(self) -> None:
        """Let all of them end, and wait until they have; those that take too long are killed."""
        self.close()
        live = [zygote.child for zygote in self.live() if zygote.child]
        if not live:
            return
        ends = [asyncio.ensure_future(asyncio.shield(child.ended)) for child in live]
        _, late = await asyncio.wait(ends, timeout=_END_TIMEOUT)
        for child in live:
            if not child.ended.done():
                self._shop.kill(child)
        if late:
            await asyncio.wait(late)

    def live(self) -> list[Zygote]:
        """Those whose process lives."""
        found = (slot.current for slot in self.slots.values())
        return [z for z in found if z and z.child and not z.child.ended.done()]


def _start_error(spec: ZygoteSpec, error: OSError) -> ZygoteError:
    at = f": {error.filename}" if error.filename else ""
    return ZygoteError(
        f"cannot start zygote '{spec.name}'{at}: {error.strerror}",
        code="zygote-start",
        step="start",
        errno=error.errno or 0,
        hint="check python and cwd of the zygote in the fleet file",
        place=spec.place,
    )
