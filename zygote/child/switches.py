"""The variables PYTHON… that an interpreter reads when it starts and that can still be obeyed.

The others are listed in `zygote.child`.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Mapping

_NAMES = (
    "PYTHONDONTWRITEBYTECODE",
    "PYTHONINTMAXSTRDIGITS",
    "PYTHONPYCACHEPREFIX",
    "PYTHONTRACEMALLOC",
    "PYTHONWARNINGS",
)
_zygote_env = {name: os.environ.get(name, "") for name in _NAMES}


def obey(env: Mapping[str, str]) -> None:
    """Set what differs from the zygote's own.

    Raises:
        ValueError: a number is wanted and something else is there.
    """
    for name in _NAMES:
        value = env.get(name, "")
        if value != _zygote_env[name]:
            _OBEY[name](value)


def _bytecode(value: str) -> None:
    sys.dont_write_bytecode = bool(value)


def _cache_prefix(value: str) -> None:
    sys.pycache_prefix = value or None


def _digits(value: str) -> None:
    sys.set_int_max_str_digits(int(value) if value else sys.int_info.default_max_str_digits)


def _tracemalloc(value: str) -> None:
    import tracemalloc  # late: only for who asks, and it is no part of any floor

    if int(value or 0):
        tracemalloc.start(int(value))
    else:
        tracemalloc.stop()


def _warnings(value: str) -> None:
    """Take out the filters of the zygote's own options and put these in."""
    present = warnings.filters[:]
    warnings.filters[:] = []  # type: ignore[index]
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]
    old = warnings.filters[:]
    warnings.filters[:] = [one for one in present if one not in old]  # type: ignore[index]
    sys.warnoptions[:] = [option for option in value.split(",") if option]
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]


_OBEY = {
    "PYTHONDONTWRITEBYTECODE": _bytecode,
    "PYTHONINTMAXSTRDIGITS": _digits,
    "PYTHONPYCACHEPREFIX": _cache_prefix,
    "PYTHONTRACEMALLOC": _tracemalloc,
    "PYTHONWARNINGS": _warnings,
}
