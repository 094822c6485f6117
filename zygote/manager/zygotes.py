"""The zygotes of the fleet: baked in the order of the tree, and ended together."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager.alone import Alone
from zygote.manager.children import Child
from zygote.manager.shop import Shop
from zygote.manager.slot import END_TIMEOUT, Slot
from zygote.manager.zygote import Zygote


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

    def hold(self) -> None:
        """Bake nothing until `keep`; bakes under way are given up."""
        for slot in self.slots.values():
            slot.hold()

    def serving(self) -> list[Zygote]:
        """Those that serve, parents before their branches."""
        found = (slot.current for slot in self.slots.values())
        return [zygote for zygote in found if zygote and zygote.ready]

    def resume(
        self, spec: ZygoteSpec, generation: int, sock: socket.socket, child: Child,
        report: dict[str, Any], layout: str,
    ) -> None:  # fmt: skip
        """One that served before this manager was exec'd anew; owns the socket, its link."""
        zygote = Zygote(self._shop, spec, generation, sock=sock)
        zygote.resume(child, report, layout)
        slot = self.slots.get(spec.name) or self.add(spec)
        slot.resume(zygote)

    def close(self) -> None:
        """Let all of them end."""
        for slot in self.slots.values():
            slot.close()

    async def end(self) -> None:
        """Let all of them end, and wait until they have; those that take too long are killed."""
        self.close()
        live = [zygote.child for zygote in self.live() if zygote.child]
        live += self._shop.live_blanks()
        if not live:
            return
        ends = [asyncio.ensure_future(asyncio.shield(child.ended)) for child in live]
        _, late = await asyncio.wait(ends, timeout=END_TIMEOUT)
        for child in live:
            if not child.ended.done():
                self._shop.kill(child)
        if late:
            await asyncio.wait(late)

    def live(self) -> list[Zygote]:
        """Those whose process lives."""
        return [zygote for slot in self.slots.values() for zygote in slot.live()]
