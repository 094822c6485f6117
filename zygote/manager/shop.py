"""What the zygotes need of the rest of the manager; `floor.ZygoteShop` is it."""

from __future__ import annotations

import asyncio
from typing import Protocol

from zygote.fleet.model import ZygoteSpec
from zygote.manager.children import Child
from zygote.manager.freshness import Change, Generation


class Shop(Protocol):
    """What the zygotes need of the rest of the manager."""

    loop: asyncio.AbstractEventLoop

    def start_zygote(self, spec: ZygoteSpec, generation: int, link: int) -> Child:
        """Exec a zygote process with this end of the link."""
        ...

    def start_alone(self, spec: ZygoteSpec, body: bytes, fds: tuple[int, ...]) -> int:
        """Exec a worker that takes this body and these descriptors; its pid."""
        ...

    def open_log(self, spec: ZygoteSpec) -> int:
        """A descriptor of its log, for appending; the caller's."""
        ...

    def take_branch(self, spec: ZygoteSpec, generation: int, pid: int, pidfd: int | None) -> Child:
        """File a zygote process that another zygote made; owns the pidfd."""
        ...

    def take_blank(self, spec: ZygoteSpec, pid: int, pidfd: int | None) -> Child:
        """File a blank that a zygote made; owns the pidfd."""
        ...

    def why_no_blanks(self) -> str:
        """Why they would be of no use here, or ""."""
        ...

    def live_blanks(self) -> list[Child]:
        """All blanks, those that were told to go as well."""
        ...

    def next_generation(self, name: str) -> int:
        """A number that was never used for this zygote on this folder."""
        ...

    def kill(self, child: Child) -> None:
        """SIGKILL for a zygote."""
        ...

    def keep_prints(self, of: Generation, prints: int, parent: Generation | None) -> None:
        """Keep which files a generation was made of; the descriptor stays the caller's."""
        ...

    def look(self, of: Generation) -> Change | None:
        """How the disk differs from what a generation was made of."""
        ...

    def log_path(self, name: str) -> str:
        """Path of the log file of a zygote."""
        ...

    def tell(self, event: str, name: str, pid: int | None, detail: str) -> None:
        """Emit an event about a zygote."""
        ...
