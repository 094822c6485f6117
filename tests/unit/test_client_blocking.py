"""The client without an event loop."""

from __future__ import annotations

import pytest

from zygote.client.api import Client
from zygote.client.blocking import BlockingClient
from zygote.errors import ZygoteError


class Silent:
    """A connection that does nothing but end, or fail in that."""

    def __init__(self, fault: ZygoteError | None = None) -> None:
        self.closed = 0
        self._fault = fault

    async def close(self) -> None:
        self.closed += 1
        if self._fault:
            raise self._fault


def blocking(silent: Silent, monkeypatch: pytest.MonkeyPatch) -> BlockingClient:
    async def connect(socket: str) -> Silent:
        return silent

    monkeypatch.setattr(Client, "connect", connect)
    return BlockingClient("nowhere")


def test_closed_twice_is_closed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = Silent()
    with blocking(silent, monkeypatch) as client:
        client.close()
    assert silent.closed == 1


def test_loop_is_closed_though_the_connection_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    client = blocking(Silent(ZygoteError("it is gone")), monkeypatch)
    with pytest.raises(ZygoteError, match="gone"):
        client.close()
    client.close()
