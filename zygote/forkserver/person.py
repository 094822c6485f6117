"""Who a zygote is while it imports: `user` in its table of the fleet file.

Code of the floor then runs without root's rights: what it opens, writes or starts, it does as that
user. The rights are put aside, not given up, because workers are made from here that may need
them: they are back in force when the bake is done and only our own loop runs. So this guards
against what imports do, and not against a module that sets out to get them back.

Facts: leaving uid 0 clears the effective capabilities, and with PR_SET_KEEPCAPS the permitted ones
stay (capabilities(7)). A change of user also forgets the signal for the parent's death, and makes a
process not dumpable, so that its own /proc/self would be root's.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, NamedTuple

from zygote.errors import ZygoteError
from zygote.sys import caps, prctl


class Person(NamedTuple):
    """Ids to import under, and those of the manager: what a worker is that names no user."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    managers: tuple[int, int, tuple[int, ...]]


def read(body: dict[str, Any]) -> Person | None:
    """From a Bake's body; None: as who we are."""
    given = body.get("person")
    if not given:
        return None
    uid, gid, groups = given["managers"]
    return Person(given["uid"], given["gid"], tuple(given["groups"]), (uid, gid, tuple(groups)))


def step_down(person: Person | None) -> None:
    """Become this user, and put all capabilities aside.

    Raises:
        ZygoteError: code zygote-user; we may not.
    """
    if person is None:
        return
    _tell_children(None)
    try:
        if os.getresuid() != (person.uid,) * 3:
            os.setgroups(person.groups)
            os.setresgid(person.gid, person.gid, person.gid)
            caps.keep_over_setuid()
            os.setresuid(person.uid, person.uid, person.uid)
            caps.set_dumpable()
            prctl.set_death_signal(signal.SIGKILL)
    except OSError as error:
        raise ZygoteError(
            f"cannot import as uid {person.uid}: {error.strerror}",
            code="zygote-user",
            step="user",
            errno=error.errno or 0,
            hint="run the manager as root, or take user= out of the zygote's table",
        ) from error
    caps.write(caps.read()._replace(effective=0))


def step_up(person: Person | None) -> None:
    """What was put aside is in force again: the loop and the set-up of workers need it."""
    if person is None:
        return
    held = caps.read()
    caps.write(held._replace(effective=held.permitted))
    _tell_children(person.managers)


def _tell_children(managers: tuple[int, int, tuple[int, ...]] | None) -> None:
    request: Any = sys.modules.get("zygote.child.request")
    if request is not None:
        request.managers = managers
