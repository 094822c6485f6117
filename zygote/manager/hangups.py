"""Noticing that a peer has left, on sockets that nobody reads from just then."""

from __future__ import annotations

import asyncio
import select
from collections.abc import Callable
from contextlib import suppress


class Hangups:
    """Notices a peer that closed its end, on any number of sockets, without reading from them.

    A second epoll instance with an empty mask: EPOLLHUP and EPOLLERR are always reported
    (epoll_ctl(2)), and a UNIX stream socket has EPOLLHUP once the peer has closed both directions.
    One that only shut down its sending side (`printf … | nc -U`) is still waiting for its answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._epoll = select.epoll()
        self._callbacks: dict[int, Callable[[], None]] = {}
        loop.add_reader(self._epoll.fileno(), self._ready)

    def watch(self, fd: int, callback: Callable[[], None]) -> None:
        """Call back once when the peer of `fd` has hung up."""
        self._epoll.register(fd, 0)
        self._callbacks[fd] = callback

    def forget(self, fd: int, callback: Callable[[], None]) -> None:
        """Stop watching. A number that was closed and given to another socket is left alone."""
        if self._callbacks.get(fd) == callback:
            del self._callbacks[fd]
            with suppress(OSError):  # closing has unregistered it
                self._epoll.unregister(fd)

    def close(self) -> None:
        """Watch nothing any more. Idempotent."""
        self._callbacks.clear()
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()

    def _ready(self) -> None:
        for fd, _ in self._epoll.poll(0):
            if callback := self._callbacks.get(fd):
                self.forget(fd, callback)
                callback()
