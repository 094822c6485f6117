"""A zygote process that another zygote, or a worker that is its mold, makes of itself."""

from __future__ import annotations

import asyncio
import json
import os
import uuid
from typing import TYPE_CHECKING

from zygote.errors import ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.manager.children import Child
from zygote.manager.link import LinkLostError
from zygote.manager.mold import PATIENCE, Mold
from zygote.manager.shop import Shop
from zygote.wire.messages import Kind, Packet

if TYPE_CHECKING:
    from zygote.manager.zygote import Zygote


async def fork(
    shop: Shop, spec: ZygoteSpec, generation: int, parent: Zygote | Mold, link: int
) -> Child:
    """A clone of the parent. One whose answer is lost finds its link closed, and ends.

    Args:
        link: its end of the link that it is to serve; stays the caller's.
    Raises:
        OSError: no descriptor for its log, or it is gone already.
        ZygoteError: the parent ended, or did not, or could not, make one.
    """
    patience = PATIENCE if isinstance(parent, Mold) else None  # a zygote's is watched
    log = shop.open_log(spec)
    try:
        async with asyncio.timeout(patience):
            packet = Packet(Kind.BRANCH, uuid.uuid4().bytes, fds=(link, log))
            answer = await parent.request(packet)
    except LinkLostError:
        raise _failed(spec, parent, "its parent ended") from None
    except TimeoutError:
        why = f"no answer within {PATIENCE:g} s"
        raise _failed(spec, parent, why, hint="does it call zygote.mold.offer()?") from None
    finally:
        os.close(log)
    if answer.kind is Kind.SPAWN_FAILED:
        parts = json.loads(answer.body)
        why = parts.get("detail") or os.strerror(parts["errno"])
        raise _failed(spec, parent, why, parts["errno"], parts["hint"])
    pidfd = answer.fds[0] if answer.fds else None
    return shop.take_branch(spec, generation, answer.pid, pidfd)


def _failed(
    spec: ZygoteSpec, parent: Zygote | Mold, why: str, errno: int = 0, hint: str = ""
) -> ZygoteError:
    source = f"worker '{parent.name}'" if isinstance(parent, Mold) else f"'{spec.parent}'"
    return ZygoteError(
        f"cannot fork zygote '{spec.name}' from {source}: {why}",
        code="zygote-start", step="branch", errno=errno, hint=hint, place=spec.place,
    )  # fmt: skip
