"""Blanks: clones made ahead of time, which wait for what they are to become.

A spawn that finds one waiting finds the clone made, the session begun and the descriptors closed.
The manager sends the blank, on a socket of its own, the very packet that the zygote would have been
sent; the end of that socket is the blank's end, too. What makes a process itself comes after: the
fork hooks, which seed `random`, and the whole set-up of a worker.

Until then a blank has written to hardly any page (`zygote.sys.parking`); what it wrote to stays
charged to its zygote's cgroup, in which it was made.
"""

from __future__ import annotations

import os
import random
import sys
from typing import Any, NoReturn

from zygote.forkserver.paths import Path
from zygote.sys import parking
from zygote.sys.clone3 import Batch
from zygote.sys.stderr import say
from zygote.wire.link import BadPacketError, Link, Request
from zygote.wire.messages import Kind

_NAME = "blank"
_FAULT = 70


def park(link: Link, path: Path, asked: Request) -> Batch | Request:
    """Make blanks.

    Args:
        link: the zygote's; in a blank its own socket takes that one's place.
        asked: a Blank; its descriptors, a socket for each, stay the caller's.
    Returns:
        In the zygote what came of it, at once. In a blank the Spawn that it was given; one that is
        given none ends here.
    """
    parking.prepare(_NAME)
    title, sockets = link.read_body(asked)
    titles: Any = sys.modules["setproctitle"]
    ours = titles.getproctitle()
    titles.setproctitle(title.decode())  # they have it from here: it costs them no page
    batch = path.park(sockets, link.fileno())
    if batch.mine < 0:
        titles.setproctitle(ours)
        return batch
    try:
        request = link.wait()
    except BadPacketError as error:
        _end(f"bad request: {error}")
    if request is None:
        os._exit(0)
    if request.head.kind is not Kind.SPAWN:
        _end(f"no request: {request.head.kind.name}")
    if path.name == "fork":  # its hooks ran before it waited
        random.seed()
    return request


def _end(why: str) -> NoReturn:
    say(f"zygote: a blank: {why}")
    os._exit(_FAULT)
