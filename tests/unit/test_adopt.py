"""A process that can be neither taken over nor watched is ended, and no second one is started."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest

from tests.support.specs import fleet_of, worker_spec
from zygote.manager.adopt import adopt_all
from zygote.manager.children import Child, Children
from zygote.manager.events import EventLog
from zygote.manager.state import Found
from zygote.manager.verbs import Workers


async def test_adoption_of_what_cannot_be_watched_kills_it_and_starts_nothing_beside_it() -> None:
    def watch(child: Child) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    children, events = Children(), EventLog(stream=None)
    children.on_add(watch)
    leaves = Mock()
    leaves.adopt.return_value = None
    parts: Any = SimpleNamespace(events=events, leaves=leaves, state=Mock())
    process = subprocess.Popen(["/bin/sleep", "600"])  # noqa: ASYNC220
    try:
        pidfd = os.pidfd_open(process.pid)
        found = Found("web", {"format": 99}, process.pid, pidfd, 1.0)
        adoption = adopt_all([found], Workers(fleet_of(worker_spec())), parts, children)
        assert process.wait(20) == -signal.SIGKILL
    finally:
        process.kill()
        process.wait()
    assert adoption.resting == {"web"}
    assert children.get(process.pid) is None
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(pidfd)
    (event,) = events.since(9)
    assert (event.event, event.subject, event.pid) == ("adoption-failed", "web", process.pid)
    assert "of format 99" in event.detail
    assert "No space left" in event.detail
