"""Giving up every capability but CAP_NET_RAW, for a process that began as root.

The fleet file could do it (`capabilities = ["CAP_NET_RAW"]`), but then a fleet that has not got
the capability could not start the worker at all, and it is to stay up and say what is missing.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

CAP_SETPCAP, CAP_NET_RAW = 8, 13
LAST_CAP = 63
_VERSION_3 = 0x20080522
_PR_CAPBSET_DROP = 24
_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL = 47, 4


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Word(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable"))


def has(capability: int) -> bool:
    """Whether this process has a capability in its effective set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return bool(int(line.split()[1], 16) >> capability & 1)
    return False


def keep_only_net_raw() -> None:
    """Give up every other capability for good; where CAP_NET_RAW is missing, all of them.

    For the one thread of a process that does nothing else. Never raises: what is left then is
    what there was.
    """
    libc = ctypes.CDLL(None)
    keep = 1 << CAP_NET_RAW if has(CAP_NET_RAW) else 0
    if has(CAP_SETPCAP):
        for number in range(LAST_CAP):
            if not keep >> number & 1:
                libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0)
    words = (_Word * 2)(_Word(keep, keep, 0), _Word(0, 0, 0))
    libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), words)
    libc.prctl(_PR_CAP_AMBIENT, _AMBIENT_CLEAR_ALL, 0, 0, 0)
