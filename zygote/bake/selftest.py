"""What this interpreter can do, found out by trying it.

A bake leans on facts that differ between versions and builds. Each is tried on an object of our
own before it is used on the floor; what does not hold is skipped, and the report says why.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig

from zygote.errors import ZygoteError

_PROBES = 1000


class Counts:
    """Reference counts by address: the low 32 bits of the first word of an object.

    Facts about PEP 683 (immortal objects), 64-bit builds with a GIL:

    - 3.12 and 3.13: a count whose low word is 0xFFFFFFFF is neither raised nor lowered.
    - 3.14 and 3.15: the same for any low word from 3 << 30 up (0xC0000000); between 1 << 31 and
      that it is never lowered, but still raised. `sys._is_immortal` (3.14) tells.
    - There the lowest of the 16 bits at byte 6 says the same once more, and what a call returns is
      judged by it alone: where it is missing, each such reference is counted down when it is
      dropped, however immortal the count. And a frame that took its reference earlier counts it
      down in any case: hence some distance from 3 << 30.
    - 3.15 has PyUnstable_SetImmortal. It is meant for an object that its maker alone refers to,
      and takes no string: of no use for a heap that is there already. So the count is written.
    - 3.11 has no such value. Free-threaded builds count in two other fields.

    Attributes:
        immortal: low words from here up are never written.
        given: the one that `immortalise` writes.
        words: the low words of all that has an address, by address >> 2.
        flags: the 16 bits at byte 6, by (address + 6) >> 1; None where they mean nothing.
    """

    def __init__(self, immortal: int, given: int = 0, *, flagged: bool = False) -> None:
        self.immortal = immortal
        self.given = given or immortal
        # One array over the whole address space (48 bits on aarch64, 47 on x86-64): reading and
        # writing make no object per access.
        self.words = (ctypes.c_uint32 * (1 << 46)).from_address(0)
        self.flags = (ctypes.c_uint16 * (1 << 47)).from_address(0) if flagged else None


def check_build(name: str, place: str) -> None:
    """Refuse a build whose heap cannot be shared.

    Args:
        name: of the zygote.
        place: of it in the fleet file.
    Raises:
        ZygoteError: "free-threaded".
    """
    if not sysconfig.get_config_var("Py_GIL_DISABLED"):
        return
    raise ZygoteError(
        f"cannot bake zygote '{name}': {sys.executable} is Python "
        f"{sys.version.split()[0]} without its lock (free-threaded), which writes to what it "
        "shares in ways that are not known here",
        code="free-threaded",
        step="bake",
        place=place,
        hint=f"name the ordinary build of the same version: `python` of [zygote.{name}], or the "
        "interpreter that the manager is started with",
    )


def immortal_counts() -> Counts | str:
    """How to make objects immortal here; or a line that says why it cannot be done."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded Python counts references in another way"
    if sys.version_info < (3, 12):
        return "no immortal reference counts before Python 3.12"
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return "only known for 64-bit little-endian builds"
    if sys.version_info < (3, 14):
        counts = Counts(0xFFFFFFFF)
    else:
        counts = Counts(3 << 30, 7 << 29, flagged=True)
    if not _holds(counts):
        return f"Python {sys.version.split()[0]} does not keep the immortal count it should know"
    return counts


def _holds(counts: Counts) -> bool:
    """Whether the count of an object is where we think, and stays once it is immortal."""
    words, flags, is_immortal = counts.words, counts.flags, getattr(sys, "_is_immortal", None)
    if words[id(None) >> 2] < counts.immortal:
        return False
    held = [object()]  # in a variable it would be the frame's, too, which counts it to the end
    at = id(held[0]) >> 2
    before = words[at]
    more = held * _PROBES
    counted = words[at] == before + _PROBES
    del more
    if not counted or words[at] != before or (is_immortal and is_immortal(held[0])):
        return False
    if flags and flags[2 * at + 3]:
        return False
    words[at] = counts.given
    if flags:
        flags[2 * at + 3] = 1
    more = held * _PROBES
    seen = {words[at]}
    del more
    seen.add(words[at])
    for _ in range(_PROBES):
        next(iter(held))  # what a call returns is dropped
        held.append(held.pop())
    seen.add(words[at])
    agreed = is_immortal is None or is_immortal(held[0])
    words[at] = before
    if flags:
        flags[2 * at + 3] = 0
    return agreed and seen == {counts.given}
