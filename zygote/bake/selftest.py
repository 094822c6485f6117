"""What this interpreter can do, found out by trying it.

A bake leans on facts that differ between versions and builds. Each is tried on an object of our
own before it is used on the floor; what does not hold is skipped, and the report says why.
"""

from __future__ import annotations

import ctypes
import sys
import sysconfig

_PROBES = 1000


class Counts:
    """Reference counts by address: the low 32 bits of the first word of an object.

    Facts about PEP 683 (immortal objects), 64-bit builds with a GIL:

    - 3.12 and 3.13: a count whose low word is 0xFFFFFFFF is neither raised nor lowered.
    - 3.14 and 3.15: the same for any low word from 3 << 30 up (0xC0000000); between 1 << 31 and
      that it is never lowered, but still raised. `sys._is_immortal` (3.14) tells.
    - 3.15 has PyUnstable_SetImmortal. It is meant for an object that its maker alone refers to,
      and takes no string: of no use for a heap that is there already. So the count is written.
    - 3.11 has no such value. Free-threaded builds count in two other fields.
    """

    def __init__(self, immortal: int) -> None:
        self.immortal = immortal
        # One array over the whole address space: reading and writing make no object per access.
        self.words = (ctypes.c_uint32 * (1 << 45)).from_address(0)


def immortal_counts() -> Counts | str:
    """How to make objects immortal here; or a line that says why it cannot be done."""
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        return "a free-threaded Python counts references in another way"
    if sys.version_info < (3, 12):
        return "no immortal reference counts before Python 3.12"
    if sys.maxsize < 2**32 or sys.byteorder != "little":
        return "only known for 64-bit little-endian builds"
    counts = Counts(0xFFFFFFFF if sys.version_info < (3, 14) else 3 << 30)
    if not _holds(counts):
        return f"Python {sys.version.split()[0]} does not keep the immortal count it should know"
    return counts


def _holds(counts: Counts) -> bool:
    """Whether the count of an object is where we think, and stays once it is immortal."""
    words, is_immortal = counts.words, getattr(sys, "_is_immortal", None)
    if words[id(None) >> 2] < counts.immortal:
        return False
    probe = object()
    at = id(probe) >> 2
    before = words[at]
    held = [probe] * _PROBES
    counted = words[at] == before + _PROBES
    del held
    if not counted or words[at] != before or (is_immortal and is_immortal(probe)):
        return False
    words[at] = counts.immortal
    held = [probe] * _PROBES
    raised = words[at] != counts.immortal
    del held
    lowered = words[at] != counts.immortal
    agreed = is_immortal is None or is_immortal(probe)
    words[at] = before
    return agreed and not raised and not lowered
