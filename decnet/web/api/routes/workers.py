"""/workers: every process of the fleet; start, stop and restart by admins."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Annotated, Any, Literal

from fastapi import APIRouter, HTTPException, Path, Request
from pydantic import BaseModel

from decnet.web.api import fleet
from decnet.web.api.guard import Admin, Caller, Ctx
from decnet.web.api.paging import found
from decnet.web.api.registry import Registry
from zygote.errors import Exit, ZygoteError

log = logging.getLogger("decnet.api")
router = APIRouter(prefix="/workers", tags=["workers"])
Name = Annotated[str, Path(max_length=128, pattern=r"^[\w.@-]+$")]
CODES: dict[int, int] = {Exit.NO_SUCH_WORKER: 404, Exit.NOT_ALLOWED: 403}
OWN_DELAY_SECONDS = 0.3
"""So that the answer is out before we stop ourselves."""


class Done(BaseModel):
    """What came of a command."""

    name: str
    state: str


@router.get("")
async def workers(caller: Caller, request: Request) -> fleet.Fleet:
    """Every worker: the manager's state, memory, last heartbeat."""
    return await fleet.look(registry(request))


@router.get("/{name}")
async def worker(caller: Caller, request: Request, name: Name) -> fleet.Worker:
    """One worker, by its name in the fleet."""
    everything = await fleet.look(registry(request))
    row = next((one for one in everything.workers if one.name == name), None)
    return found(row, f"worker {name!r}")


@router.post("/{name}/{verb}", status_code=202)
async def command(
    ctx: Ctx,
    caller: Admin,
    request: Request,
    name: Name,
    verb: Literal["start", "stop", "restart"],
) -> Done:
    """Start, stop or restart a worker through the manager."""
    log.info("%s asks to %s %s", caller.username, verb, name)
    if name == ctx.name and verb != "start":
        _later(request, fleet.command(ctx, name, verb, caller.username))
        return Done(name=name, state="asked")
    try:
        state = await fleet.command(ctx, name, verb, caller.username)
    except fleet.Unmanaged as error:
        raise HTTPException(503, str(error)) from error
    except ZygoteError as error:
        raise HTTPException(CODES.get(error.exit_code, 409), _text(error)) from error
    return Done(name=name, state=state)


def registry(request: Request) -> Registry:
    """The heartbeats that this process has heard."""
    beats: Registry = request.app.state.registry
    return beats


def _later(request: Request, work: Coroutine[Any, Any, str]) -> None:
    """Run it once this answer is out; kept alive on the application."""
    tasks: set[asyncio.Task[None]] = request.app.state.tasks

    async def wait_and_work() -> None:
        await asyncio.sleep(OWN_DELAY_SECONDS)
        try:
            await work
        except (ZygoteError, fleet.Unmanaged) as error:
            log.warning("the command on ourselves failed: %s", error)

    task = asyncio.create_task(wait_and_work())
    tasks.add(task)
    task.add_done_callback(tasks.discard)


def _text(error: ZygoteError) -> str:
    return f"{error.message} ({error.hint})" if error.hint else error.message
