"""Signals by the names that people give them."""

from __future__ import annotations

import signal

from zygote.errors import Exit, ZygoteError


def parse_signal(text: str) -> int:
    """SIGUSR1, usr1 or 10.

    Raises:
        ZygoteError: code no-such-signal.
    """
    name = text.upper()
    name = name if name.startswith("SIG") else f"SIG{name}"
    if name in signal.Signals.__members__:
        return int(signal.Signals[name])
    if text.isdecimal() and 0 < int(text) <= signal.SIGRTMAX:
        return int(text)
    raise ZygoteError(
        f"no signal '{text}'",
        code="no-such-signal",
        hint="for example SIGTERM, SIGHUP, SIGUSR1 or a number",
        exit_code=Exit.USAGE,
    )
