"""A worker that takes memory on SIGUSR1 until something stops it. For `chaos.py`, in a cgroup.

Run as a file: it needs nothing but the standard library and `zygote.notify`.
"""

from __future__ import annotations

import signal

from zygote import notify

BITE = 4 << 20


def eat(_number: int, _frame: object) -> None:
    """More and more, and none of it given back."""
    taken = []
    while True:
        taken.append(bytearray(b"x") * BITE)


def main() -> None:
    """Be ready, and wait to be fed."""
    signal.signal(signal.SIGUSR1, eat)
    notify.ready("fasting")
    while True:
        signal.pause()


if __name__ == "__main__":
    main()
