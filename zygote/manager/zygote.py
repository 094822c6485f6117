"""One zygote process: one generation, from its exec to its end."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager import branch
from zygote.manager.blanks import Blank, Blanks
from zygote.manager.children import Child
from zygote.manager.freshness import Generation
from zygote.manager.link import Link, LinkLostError
from zygote.manager.mold import Mold
from zygote.manager.policy import End
from zygote.manager.request import person
from zygote.manager.requests import Requests
from zygote.manager.shop import Shop
from zygote.wire.messages import Kind, Packet

HUNG_SECONDS = 30.0
"""A zygote answers in milliseconds. One that answers nobody for so long is stuck, or stopped."""


class Zygote:
    """One zygote process: one generation of one zygote. To be awaited: `start`, then `bake`.

    Args:
        sock: our end of the link to one that is there already, see `resume`.
    Attributes:
        baked: resolved with the bake's report, or with the ZygoteError that ended it.
        blanks: clones of it that wait for a spawn.
        layout: names the exec that it comes from: who has the same shares addresses, canary, seed.
    """

    def __init__(
        self,
        shop: Shop,
        spec: ZygoteSpec,
        generation: int,
        parent: Zygote | Mold | None = None,
        sock: socket.socket | None = None,
    ) -> None:
        self.spec = spec
        self.parent = parent
        self.generation = generation
        self.layout: str = parent.layout if parent else f"{spec.name}.{generation}"
        self.report: dict[str, Any] = {}
        self.baked: asyncio.Future[dict[str, Any]] = shop.loop.create_future()
        self.child: Child | None = None
        self.blanks = Blanks(shop, self)
        self._shop = shop
        self._last = ("start", "")
        self._requests = Requests(shop.loop)
        self._patience: asyncio.TimerHandle | None = None
        ours = sock
        if ours is None:
            ours, self._theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._link = Link(shop.loop, ours, self._received, self._lost)

    def resume(self, child: Child, report: dict[str, Any], layout: str) -> None:
        """It was baked before this manager was exec'd anew; instead of `start` and `bake`."""
        self.child, self.layout = child, layout
        self._received(Packet(Kind.BAKED, body=_json(report)))
        child.ended.add_done_callback(self._ended)

    async def start(self) -> None:
        """Make the process, by exec or by its parent, and ask it to bake.

        Raises:
            OSError: it cannot be started.
            ZygoteError: so, too; or its parent ended meanwhile.
        """
        with self._theirs as theirs:
            try:
                if self.parent:
                    self.child = await branch.fork(
                        self._shop, self.spec, self.generation, self.parent, theirs.fileno()
                    )
                else:
                    self.child = self._shop.start_zygote(
                        self.spec, self.generation, theirs.fileno()
                    )
                spec = self.parent.adapt(self.spec) if isinstance(self.parent, Mold) else self.spec
                what = {"spec": asdict(spec), "person": person(spec)}
                self._link.send(Packet(Kind.BAKE, body=_json(what)))
            except BaseException:
                self._link.close()
                raise
        self.child.ended.add_done_callback(self._ended)

    @property
    def pid(self) -> int:
        """Of the zygote process."""
        return self.child.pid if self.child else 0

    @property
    def identity(self) -> Generation:
        """Its name, and the number of its generation."""
        return self.spec.name, self.generation

    @property
    def link(self) -> int:
        """The descriptor of our end of its link; -1 once that is closed."""
        return self._link.fileno()

    @property
    def ready(self) -> bool:
        """It serves spawns."""
        return self.baked.done() and not self.baked.exception() and not self.gone

    @property
    def gone(self) -> bool:
        """The process ended, or is about to."""
        return self.child is None or self.child.ended.done() or not self._link_open

    @property
    def waiting(self) -> bool:
        """Somebody waits for an answer."""
        return len(self._requests) > 0

    @property
    def spawn_path(self) -> str:
        """How it makes processes: clone3, clone or fork."""
        return str(self.report.get("spawn_path", ""))

    _link_open = True

    def stage_lines(self) -> list[str]:
        """The stages of its bake, one a line; of one that bakes, where it is."""
        if not self.report:
            stage, detail = self._last
            return [f"{stage}: {detail}" if detail else stage]
        lines = []
        for stage in self.report.get("stages", []):
            detail = stage.get("detail") or "done"
            lines.append(f"{stage.get('name')}: {detail} ({float(stage.get('seconds', 0)):.2f} s)")
        for skipped in self.report.get("skipped", []):
            lines.append(f"{skipped.get('name')}: skipped, {skipped.get('why')}")
        return lines

    async def bake(self) -> dict[str, Any]:
        """Wait until it is baked.

        Raises:
            ZygoteError: it cannot be baked; the process is being killed.
        """
        try:
            async with asyncio.timeout(self.spec.bake_timeout):
                await asyncio.shield(self.baked)
        except TimeoutError:
            stage, detail = self._last
            self._fail_bake(
                ZygoteError(
                    f"cannot bake zygote '{self.spec.name}': {stage} {detail}".rstrip()
                    + f" was not done within {self.spec.bake_timeout:g} s",
                    code="bake-timeout",
                    step=stage,
                    hint=f"see where it hangs in {self._shop.log_path(self.spec.name)}, "
                    "or give it more time with bake_timeout",
                    place=self.spec.place,
                )
            )
        return self.baked.result()

    def request(
        self, packet: Packet, sent: Callable[[float], None] | None = None
    ) -> asyncio.Future[Packet]:
        """Send a Spawn; the future has the answer, or LinkLostError. Pass fds that stay open."""
        future = self._requests.open(packet)
        if self._patience is None:
            self._wait_patiently()
        try:
            self._link.send(packet, sent)
        except OSError:
            self._requests.forget(packet)
            future.set_exception(LinkLostError())
        return future

    def take_blank(self) -> Blank | None:
        """A clone that waits for a spawn; the caller's."""
        return self.blanks.take()

    def origin(self, forks: str) -> str:
        """How a worker came to be that was no blank.

        Args:
            forks: why it must not be one, or "".
        """
        if not self.blanks.wanted:
            return "clone"
        return f"clone: {forks or self.blanks.trouble or 'no blank was left'}"

    def withdraw(self, packet: Packet) -> bool:
        """Take back a Spawn that was not sent yet."""
        self._requests.forget(packet)
        return self._link.withdraw(packet)

    def close(self) -> None:
        """Let it end: it does so when its link closes."""
        self._lost("closed by the manager")
        self._link.close()

    def kill(self) -> None:
        """End it now."""
        self.close()
        if self.child and not self.child.ended.done():
            self._shop.kill(self.child)

    def _received(self, packet: Packet) -> None:
        if packet.kind is Kind.PROGRESS:
            parts = json.loads(packet.body)
            stage, detail = str(parts.get("stage", "")), str(parts.get("detail", ""))
            self._last = (stage, detail)
        elif packet.kind is Kind.BAKED:
            self.report = json.loads(packet.body)
            for prints in packet.fds:
                parent = self.parent.identity if self.parent else None
                self._shop.keep_prints(self.identity, prints, parent)
                os.close(prints)
            if self.child and self.child.leaf:
                # Every worker runs on these pages: they are the last that should be reclaimed.
                self.child.leaf.protect(self.spec.memory_low)
            if not self.baked.done():
                self.baked.set_result(self.report)
                self.blanks.start()
        elif packet.kind is Kind.BAKE_FAILED:
            parts = json.loads(packet.body)
            error = ZygoteError.from_dict(parts)
            error.place = error.place or self.spec.place
            error.args = (error.message, str(parts.get("traceback", "")))
            # It ends by itself, once it has written its traceback to its log.
            self._fail_bake(error, kill_after=1.0)
        elif packet.kind in (Kind.SPAWNED, Kind.SPAWN_FAILED, Kind.PARKED):
            self._requests.answer(packet)

    def _wait_patiently(self) -> None:
        """While requests are open there must be an answer, to any of them, now and then."""
        answers = self._requests.answered

        def look() -> None:
            self._patience = None
            waiting = len(self._requests)
            if waiting and self._requests.answered == answers:
                detail = f"no answer for {HUNG_SECONDS:g}s, {waiting} spawns wait; killed"
                self._shop.tell("zygote-hung", self.spec.name, self.pid, detail)
                self.kill()
            elif waiting:
                self._wait_patiently()

        self._patience = self._shop.loop.call_later(HUNG_SECONDS, look)

    def _lost(self, reason: str) -> None:
        self._link_open = False
        self.blanks.retire()
        if self._patience:
            self._patience.cancel()
            self._patience = None
        self._requests.lose(reason)
        # A zygote that closed its link, or talks nonsense, is of no use alive.
        if self.child and not self.child.ended.done() and reason != "closed by the manager":
            self._shop.loop.call_later(1.0, self._kill_if_there)

    def _kill_if_there(self) -> None:
        if self.child and not self.child.ended.done():
            self._shop.kill(self.child)

    def _ended(self, future: asyncio.Future[End]) -> None:
        stage, detail = self._last
        self._link.close()
        self._lost("it ended")
        self._fail_bake(
            ZygoteError(
                f"cannot bake zygote '{self.spec.name}': it {future.result()} "
                f"while at: {stage} {detail}".rstrip(),
                code="bake-died",
                step=stage,
                hint=f"its last words are in {self._shop.log_path(self.spec.name)}",
                place=self.spec.place,
            )
        )

    def _fail_bake(self, error: ZygoteError, kill_after: float = 0.0) -> None:
        if not self.baked.done():
            self.baked.set_exception(error)
            self.baked.exception()  # seen: nobody has to ask for it
            self._shop.loop.call_later(kill_after, self.kill)


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
