"""The blanks of one zygote process: clones made ahead of time, one of which a spawn takes.

They are refilled behind the spawns' backs: never while one waits for the zygote, and, as long as
there are some, several at a time, because clones made in one go share more. A spawn that finds none
is cloned, as ever. A blank that dies is replaced; those that die, or cannot be made, again and
again, ever more slowly.

They belong to their zygote process, and go with it: to a newer one's floor they would be strangers.
"""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import uuid
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from zygote.errors import describe_errno
from zygote.manager.children import Child
from zygote.manager.link import LinkLostError, send_packet
from zygote.manager.policy import End
from zygote.wire.messages import MAX_BLANKS, Kind, Packet

if TYPE_CHECKING:
    from zygote.manager.shop import Shop
    from zygote.manager.zygote import Zygote

_SOON = 0.05
"""Seconds after a spawn, until which its worker has the machine to itself."""
_QUIET = 10.0
"""Seconds without a spawn after which the last few are filled up, too."""
_YOUNG = 1.0
"""Seconds; a blank that dies younger than this makes the next ones wait."""
_RETRY_FIRST, _RETRY_MAX = 0.5, 30.0
_END_TIMEOUT = 1.0


@dataclass(eq=False, slots=True)
class Blank:
    """One blank.

    Attributes:
        sock: where it waits for its Spawn; owned.
        born: on the loop's clock.
    """

    child: Child
    sock: socket.socket
    born: float

    def send(self, packet: Packet) -> None:
        """Give it a Spawn; it waits no more, whatever comes of it.

        Raises:
            OSError: it is gone (EPIPE), or we are out of something.
        """
        with self.sock:
            send_packet(self.sock, packet)


class Blanks:
    """The blanks of one zygote process.

    Attributes:
        wanted: how many there should be.
        ready: they wait; the oldest first.
        taken: how many became something.
        missed: how many spawns found none.
        trouble: why there are fewer than wanted, or "".
    """

    def __init__(self, shop: Shop, zygote: Zygote) -> None:
        self.wanted = zygote.spec.blanks
        self.ready: list[Blank] = []
        self.taken = self.missed = 0
        self.trouble = ""
        self._shop = shop
        self._loop = shop.loop
        self._zygote = zygote
        self._open = False
        self._filling: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._last_taken = 0.0
        self._failures = 0
        self._failed_at = 0.0

    def start(self) -> None:
        """The zygote serves: from now on there are some."""
        self.trouble = self._shop.why_no_blanks()
        if not self._zygote.report.get("blanks"):
            self.trouble = "its zygote is of an older version, which knows of none"
        if self.trouble:
            if self.wanted:
                self._tell(f"none: {self.trouble}")
            return
        self._open = True
        self._later(_SOON)

    def adjust(self, wanted: int) -> None:
        """Another number is wanted."""
        self.wanted = wanted
        while len(self.ready) > self.wanted:
            self._dismiss(self.ready.pop())
        self._later(_SOON)

    def take(self) -> Blank | None:
        """One that waits, or None; the caller's."""
        if not self.wanted:
            return None
        self._last_taken = self._loop.time()
        self._later(self._delay())
        while self.ready:
            blank = self.ready.pop(0)
            if not blank.child.ended.done():
                self.taken += 1
                return blank
        self.missed += 1
        return None

    def view(self) -> dict[str, Any]:
        """For `status`: the parts of a ZygoteState that tell of them."""
        return {
            "blanks": self.wanted,
            "blank_pids": [blank.child.pid for blank in self.ready],
            "blank_spawns": self.taken,
            "blank_misses": self.missed,
            "blank_trouble": self.trouble,
        }

    def retire(self) -> None:
        """Make no more, and let those that wait end. Idempotent."""
        self._open = False
        if self._timer:
            self._timer.cancel()
            self._timer = None
        while self.ready:
            self._dismiss(self.ready.pop())

    def _later(self, delay: float) -> None:
        """Look in so many seconds, unless that is to be earlier already."""
        if not self._open or self._filling:
            return
        if self._timer:
            if self._timer.when() <= self._loop.time() + delay:
                return
            self._timer.cancel()
        self._timer = self._loop.call_later(delay, self._look)

    def _look(self) -> None:
        self._timer = None
        short = self.wanted - len(self.ready)
        if short <= 0:
            self._failures, self.trouble = 0, ""
            return
        if self._zygote.waiting:
            self._later(_SOON)
        elif 2 * short < self.wanted and self._loop.time() - self._last_taken < _QUIET:
            self._later(_QUIET)
        else:
            work = self._fill(min(short, MAX_BLANKS))
            self._filling = self._loop.create_task(work, name=f"blanks {self._zygote.spec.name}")
            self._filling.add_done_callback(self._filled)

    def _filled(self, task: asyncio.Task[None]) -> None:
        self._filling = None
        if not task.cancelled() and (error := task.exception()):
            self._failed(f"{type(error).__name__}: {error}")
        self._later(self._delay())

    def _delay(self) -> float:
        if not self._failures:
            return _SOON
        return float(min(_RETRY_MAX, _RETRY_FIRST * 2.0 ** min(self._failures, 20)))

    async def _fill(self, count: int) -> None:
        pairs: list[tuple[socket.socket, socket.socket]] = []
        try:
            for _ in range(count):
                pairs.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET))
                pairs[-1][0].setblocking(False)
            fds = tuple(theirs.fileno() for _, theirs in pairs)
            title = f"zygote: {self._zygote.spec.name}, blank".encode()
            packet = Packet(Kind.BLANK, uuid.uuid4().bytes, body=title, fds=fds)
            answer = await self._zygote.request(packet)
            said = json.loads(answer.body)
            if answer.kind is Kind.PARKED:
                self._file(said["pids"], list(answer.fds), [ours for ours, _ in pairs])
            if said["errno"]:
                self._failed(f"{describe_errno(said['errno'])}; {said['hint']}".rstrip("; "))
        except LinkLostError:
            pass  # those that were made find their sockets closed, and end
        except OSError as error:
            self._failed(describe_errno(error.errno or errno.EIO))
        finally:
            kept = {blank.sock for blank in self.ready}
            for ours, theirs in pairs:
                theirs.close()
                if ours not in kept:
                    ours.close()

    def _file(self, pids: list[int], pidfds: list[int], socks: list[socket.socket]) -> None:
        """Those that were made; `pidfds` may be missing where the way to clone gives none."""
        known = pidfds if len(pidfds) == len(pids) else [None] * len(pids)
        for pid, pidfd, sock in zip(pids, known, socks, strict=False):
            try:
                child = self._shop.take_blank(self._zygote.spec, pid, pidfd)
            except OSError:  # it is gone already
                continue
            blank = Blank(child, sock, self._loop.time())
            self.ready.append(blank)
            child.ended.add_done_callback(partial(self._ended, blank))
        if not self._open:  # its zygote went away meanwhile
            self.retire()

    def _ended(self, blank: Blank, done: asyncio.Future[End]) -> None:
        if blank not in self.ready:
            return  # it was taken, or told to go
        self.ready.remove(blank)
        blank.sock.close()
        if blank.born < self._failed_at:
            pass  # made with another that failed, and was told of
        elif self._loop.time() - blank.born < _YOUNG:
            self._failed(f"one {done.result()} soon after it was made")
        else:
            self._tell(f"pid {blank.child.pid} {done.result()} while it waited; it is replaced")
        self._later(self._delay())

    def _failed(self, why: str) -> None:
        if why != self.trouble:
            self._tell(f"fewer than {self.wanted}: {why}")
        self.trouble, self._failed_at = why, self._loop.time()
        self._failures += 1

    def _tell(self, detail: str) -> None:
        self._shop.tell("blanks", self._zygote.spec.name, self._zygote.pid, detail)

    def _dismiss(self, blank: Blank) -> None:
        """It ends when its socket does; one that cannot, because it is stopped, is killed."""
        blank.sock.close()
        self._loop.call_later(_END_TIMEOUT, self._kill_if_there, blank.child)

    def _kill_if_there(self, child: Child) -> None:
        if not child.ended.done():
            self._shop.kill(child)
