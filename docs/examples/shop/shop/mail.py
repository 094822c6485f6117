"""The queue's worker: it does what others have sent, one task after the other."""

from __future__ import annotations

import time

from shop import queue


@queue.task
def welcome(name: str) -> str:
    """Write to a new customer."""
    return f"Dear {name}, welcome!"


def main() -> None:
    """Work until stopped."""
    while True:
        if not queue.work_once():
            time.sleep(0.1)
