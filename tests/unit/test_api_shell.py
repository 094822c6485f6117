"""What wraps the REST interface: a stream whose reader leaves is no error."""

from __future__ import annotations

from typing import Any

import pytest
from anyio import BrokenResourceError

from decnet.web.api.headers import Receive, Scope, Send, Shell

SCOPE: dict[str, Any] = {"type": "http", "headers": []}
START = {"type": "http.response.start", "status": 200, "headers": []}


async def served(*errors: Exception, begins: bool = True) -> list[Any]:
    """What is sent by an application that begins its answer, and fails so in its tasks."""
    sent: list[Any] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if begins:
            await send({**START})
        raise ExceptionGroup("unhandled errors in a TaskGroup", errors)

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Shell(app)(SCOPE, receive, send)
    return sent


async def test_reader_who_leaves_amid_a_stream_is_no_error() -> None:
    nested = ExceptionGroup("inner", [BrokenResourceError()])
    assert await served(BrokenResourceError(), nested) == ["http.response.start"]


@pytest.mark.parametrize("begins", [True, False])
async def test_faults_of_a_stream_are_told(begins: bool) -> None:
    with pytest.raises(ExceptionGroup):
        await served(BrokenResourceError(), ValueError("a fault"), begins=begins)


async def test_answer_that_never_began_is_a_fault() -> None:
    with pytest.raises(ExceptionGroup):
        await served(BrokenResourceError(), begins=False)
