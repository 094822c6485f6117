"""The client's end of the control protocol, where the library's own falls short."""

from __future__ import annotations

from typing import Any

import pytest
from asyncvarlink import VarlinkClientProtocol

from zygote.client.api import Protocol

REPLY: dict[str, Any] = {"parameters": {}, "continues": True}


class Closed:
    """The transport of a connection that is lost."""

    def close(self) -> None: ...


async def lost(kind: type[VarlinkClientProtocol]) -> VarlinkClientProtocol:
    protocol = kind()
    protocol._transport = Closed()  # type: ignore[assignment]
    protocol.connection_lost(None)
    return protocol


async def test_a_reply_that_nobody_waits_for_is_dropped() -> None:
    protocol = await lost(Protocol)
    protocol.request_received(REPLY, None)


async def test_the_library_still_needs_us_for_that() -> None:
    protocol = await lost(VarlinkClientProtocol)
    with pytest.raises(IndexError):
        protocol.request_received(REPLY, None)
