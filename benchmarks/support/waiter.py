"""A worker that imports decnet's floor, says that it is ready, and waits."""

from __future__ import annotations

import importlib
import signal

from zygote import notify


def run() -> None:
    """In a copy of the floor the import finds all there; a fresh interpreter pays for it."""
    importlib.import_module("decnet.floor")
    notify.ready()
    while True:
        signal.pause()
