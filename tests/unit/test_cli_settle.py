"""`up --detach` tells of a worker that ends as it begins; a stand-in answers for the manager."""

from __future__ import annotations

import asyncio
import time
from typing import cast

from zygote.cli.progress import Progress, settle
from zygote.client.api import Client
from zygote.control.interface import WorkerState


class Answers:
    """What the manager says, one answer after the other; the last one for good."""

    def __init__(self, *answers: list[WorkerState]) -> None:
        self._answers = list(answers)
        self.asked = 0

    async def workers(self) -> list[WorkerState]:
        self.asked += 1
        return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]


async def settled(answers: Answers) -> list[str]:
    quiet = Progress("", quiet=True)
    found = await settle(cast(Client, answers), quiet, asyncio.Event())
    return [worker.state for worker in found]


def ready(age: float) -> WorkerState:
    return WorkerState("a", "ready", ready=True, started_at=time.time() - age)


async def test_settle_looks_again_at_a_worker_that_has_just_begun() -> None:
    answers = Answers([ready(0)], [WorkerState("a", "failed")])
    assert await settled(answers) == ["failed"]


async def test_settle_waits_for_one_that_is_started_again() -> None:
    answers = Answers([ready(0)], [WorkerState("a", "starting")], [ready(0)])
    assert await settled(answers) == ["ready"]
    assert answers.asked == 3, "it looks twice, not for ever"


async def test_settle_is_content_with_one_that_has_run_for_a_while() -> None:
    answers = Answers([ready(60)])
    assert await settled(answers) == ["ready"]
    assert answers.asked == 1
