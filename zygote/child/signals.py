"""Signals as an interpreter has them when it starts."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]
import faulthandler
import signal
from collections.abc import Mapping

_IGNORED = frozenset((signal.SIGPIPE, signal.SIGXFSZ))
"""What Python ignores, so that the calls themselves fail (EPIPE, EFBIG)."""
_SETTABLE = tuple(int(one) for one in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


def reset(env: Mapping[str, str]) -> None:
    """Default actions, Python's own handler for SIGINT, nothing blocked, nobody woken.

    Timers need nothing: a clone has none. The C functions are called without `signal`'s
    conversions to enums, which would cost more than the system calls do.
    """
    if faulthandler.is_enabled():
        faulthandler.disable()
    signal.set_wakeup_fd(-1)
    for number in _SETTABLE:
        _signal.signal(number, _signal.SIG_IGN if number in _IGNORED else _signal.SIG_DFL)
    _signal.signal(signal.SIGINT, _signal.default_int_handler)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    if env.get("PYTHONFAULTHANDLER"):
        faulthandler.enable()
