"""One zygote of the fleet through all its generations: baked, watched, replaced.

When it dies a new generation is baked. Workers are the manager's children, so they live on without
their zygote; only new spawns wait for the next generation. A zygote that dies again and again, or
does not bake, is tried again with growing delays; meanwhile the spawns that need it wait, and say
what they wait for.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager.background import Once, lasting
from zygote.manager.children import Child
from zygote.manager.faults import HINTS
from zygote.manager.freshness import Change
from zygote.manager.mold import Mold
from zygote.manager.policy import End
from zygote.manager.shop import Shop
from zygote.manager.zygote import Zygote

_RETRY_FIRST = 0.5
_RETRY_MAX = 30.0
_STEADY = 30.0
"""Seconds that a zygote must have served for the next death to count as a first one again."""
END_TIMEOUT = 3.0
"""Seconds that one may take to end when its link is closed."""


class Slot:
    """One zygote of the fleet through all its generations.

    Attributes:
        current: the one that serves, or the last that did or was to.
        following: the next generation, beside the one that serves, while a reload decides which
            of the two it is to be.
        error: why it could not be baked, the last time; None where it could.
        begun: how many bakes of `bake` have begun.
        failed: the number, among these, of the one that `error` is of.
    """

    def __init__(self, shop: Shop, spec: ZygoteSpec, find: Callable[[str], Slot]) -> None:
        self.spec = spec
        self._find = find
        self.current: Zygote | None = None
        self.following: Zygote | None = None
        self.error: ZygoteError | None = None
        self.begun = self.failed = 0
        self._shop = shop
        self._changed = asyncio.Event()
        self._hurry = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._failures = 0
        self._retired: list[Zygote] = []
        self._tell_fault = Once(self._broken)

    def keep(self) -> None:
        """From now on there is always a zygote, or one in the making."""
        work = lasting(self._keep, self._tell_fault)
        self._task = self._shop.loop.create_task(work, name=f"zygote {self.spec.name}")

    async def bake(self) -> None:
        """Bake the next generation.

        Raises:
            ZygoteError: it cannot be baked; kept in `error` as well.
        """

        def take(zygote: Zygote) -> None:
            self.current = zygote

        self.begun = number = self.begun + 1
        try:
            parent = await self._find(self.spec.parent).get() if self.spec.parent else None
            await self._bake(take, parent)
        except ZygoteError as error:
            self.error, self.failed = error, number
            raise
        else:
            self.error = None
        finally:
            self._change()

    async def bake_next(self, parent: Zygote | Mold | None = None) -> Zygote:
        """Bake the next generation beside the one that serves, which goes on as it is.

        Args:
            parent: the zygote to fork a branch from; default: the parent that serves. Or the
                worker that any zygote's next generation is forked from.
        Raises:
            ZygoteError: it cannot be baked; nothing of it is left.
        """

        def take(zygote: Zygote) -> None:
            self.following = zygote

        if parent is None and self.spec.parent:
            parent = await self._find(self.spec.parent).get()
        try:
            return await self._bake(take, parent)
        except BaseException:
            self.drop_next()
            raise

    def promote(self) -> None:
        """The next generation is what serves from now on; the one before ends."""
        old, self.current, self.following = self.current, self.following, None
        assert self.current
        self.error, self._failures = None, 0
        detail = f"generation={self.current.generation}"
        self._shop.tell("promoted", self.spec.name, self.current.pid, detail)
        self._change()
        if old:
            self._retire(old)

    def retry(self) -> None:
        """If it waits to be baked once more, after a failure: do it now."""
        if not (self.current and self.current.ready):
            self._hurry.set()

    def drop_next(self) -> None:
        """There is to be no next generation: its process is killed. Idempotent."""
        following, self.following = self.following, None
        if following:
            following.kill()
            self._change()

    def keep_blanks(self, count: int) -> None:
        """From now on so many clones of it wait for spawns."""
        for zygote in (self.current, self.following):
            if zygote:
                zygote.blanks.adjust(count)

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

    @property
    def failures(self) -> int:
        """Bakes that failed, one after the other."""
        return self._failures

    @failures.setter
    def failures(self, count: int) -> None:
        self._failures = count

    def hold(self) -> None:
        """Bake nothing until `keep`; a bake under way is given up."""
        if self._task:
            self._task.cancel()
            self._task = None
        if self.current and not self.current.baked.done():
            self.current.kill()

    def resume(self, zygote: Zygote) -> None:
        """It serves already."""
        self.current = zygote
        self._change()

    def close(self) -> None:
        """Bake no more, and let the zygote end."""
        if self._task:
            self._task.cancel()
        for zygote in self.live():
            zygote.close()

    def live(self) -> list[Zygote]:
        """Its processes that live: the one that serves, the next, and those that are to end."""
        found = (self.current, self.following, *self._retired)
        return [z for z in found if z and z.child and not z.child.ended.done()]

    @property
    def log(self) -> str:
        """Path of its log file."""
        return self._shop.log_path(self.spec.name)

    @property
    def outdated(self) -> Change | None:
        """How the code on disk differs from what it is made of."""
        return self._shop.look(self.current.identity) if self.current else None

    async def _keep(self) -> None:
        while True:
            zygote = self.current
            if zygote and zygote.ready and zygote.child:
                since = self._shop.loop.time()
                if (end := await self._served(zygote, zygote.child)) is None:
                    continue
                self._failures = 0 if self._shop.loop.time() - since >= _STEADY else self._failures
                detail = f"{end}; its workers live on"
                self._shop.tell("zygote-ended", self.spec.name, zygote.child.pid, detail)
                self._change()
            while self.following:  # what is to come next is for the reload to decide
                await self._changed.wait()
            if self.current and self.current.ready:
                continue
            try:
                if self._failures:
                    delay = _RETRY_FIRST * 2.0 ** min(self._failures - 1, 20)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._hurry.wait(), min(_RETRY_MAX, delay))
                self._hurry.clear()
                self._failures += 1
                await self.bake()
            except ZygoteError:
                continue
            except Exception as error:  # a fault of ours: this zygote pays, and is tried again
                self._tell_fault(error)
                self.error = ZygoteError(
                    f"cannot bake zygote '{self.spec.name}': internal error: {error!r}",
                    code="internal", hint="please report it, with the manager's output",
                )  # fmt: skip
                self.failed = self.begun
                self._change()

    async def _served(self, zygote: Zygote, child: Child) -> End | None:
        """Until its process ends: how; None: another serves in its place."""
        while self.current is zygote and not child.ended.done():
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                either: set[asyncio.Future[Any]] = {changed, child.ended}
                await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            finally:
                changed.cancel()
        return child.ended.result() if self.current is zygote else None

    async def _bake(self, take: Callable[[Zygote], None], parent: Zygote | Mold | None) -> Zygote:
        """A new generation, baked.

        Args:
            take: called as soon as its process is there.
        Raises:
            ZygoteError: it cannot be baked.
        """
        name, generation = self.spec.name, self._shop.next_generation(self.spec.name)
        started = self._shop.loop.time()
        try:
            zygote = Zygote(self._shop, self.spec, generation, parent)
            await zygote.start()
            take(zygote)
            self._shop.tell("baking", name, zygote.pid, f"generation={generation}")
            await zygote.bake()
        except (OSError, ZygoteError) as error:
            fault = _start_error(self.spec, error) if isinstance(error, OSError) else error
            self._shop.tell("bake-failed", name, None, fault.message)
            raise fault from None
        seconds = self._shop.loop.time() - started
        self._shop.tell("baked", name, zygote.pid, f"generation={generation} after={seconds:.2f}s")
        return zygote

    def _retire(self, zygote: Zygote) -> None:
        """Let one that served end, and see that it does."""
        child = zygote.child
        zygote.close()
        if child is None or child.ended.done():
            return
        self._retired.append(zygote)
        timer = self._shop.loop.call_later(END_TIMEOUT, zygote.kill)

        def ended(done: asyncio.Future[End]) -> None:
            timer.cancel()
            self._retired.remove(zygote)
            detail = f"{done.result()}; generation={zygote.generation} has served"
            self._shop.tell("zygote-ended", self.spec.name, child.pid, detail)

        child.ended.add_done_callback(ended)

    def _broken(self, error: BaseException) -> None:
        text = "".join(traceback.format_exception(error)).strip()
        self._shop.tell("internal-error", self.spec.name, None, text)

    def _change(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _start_error(spec: ZygoteSpec, error: OSError) -> ZygoteError:
    at = f": {error.filename}" if error.filename else ""
    return ZygoteError(
        f"cannot start zygote '{spec.name}'{at}: {error.strerror}",
        code="zygote-start",
        step="start",
        errno=error.errno or 0,
        hint=HINTS.get(error.errno or 0, "check python and cwd of the zygote in the fleet file"),
        place=spec.place,
    )
