"""The masters that the standard library leaves to its user, each as short as can be.

    python -m benchmarks.peers.masters fork|frozen|forkserver N

`fork` and `frozen` fork again whoever ends; a Process of multiprocessing is not restarted.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from typing import NoReturn

from benchmarks.peers import line


def _leave(*_: object) -> None:
    raise SystemExit


def _child(run: Callable[[], None]) -> NoReturn:
    """Never back into the parent's code: its `finally` would end the siblings."""
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gc.enable()
        run()
    finally:
        os._exit(1)


def fork(count: int, freeze: bool) -> None:
    """Import, then fork: as it is, or warmed up and frozen as gc.freeze's documentation has it."""
    from benchmarks.peers import app

    if freeze:
        gc.disable()
        app.warm()
        gc.collect()
        gc.freeze()
    children: set[int] = set()
    signal.signal(signal.SIGTERM, _leave)
    try:
        while True:
            while len(children) < count:
                pid = os.fork()
                if pid == 0:
                    _child(line.serve)
                children.add(pid)
            children.discard(os.wait()[0])
    finally:
        for pid in children:
            os.kill(pid, signal.SIGTERM)
        for pid in children:
            os.waitpid(pid, 0)


def forkserver(count: int) -> None:
    """The server preloads the floor; this process, which only starts and waits, does not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["benchmarks.peers.app", "benchmarks.peers.line"])
    signal.signal(signal.SIGTERM, _leave)
    children = [context.Process(target=line.serve) for _ in range(count)]
    try:
        for child in children:
            child.start()
        for child in children:
            child.join()
    finally:
        for child in children:
            child.terminate()
        for child in children:
            child.join()


if __name__ == "__main__":
    number = int(sys.argv[2])
    if sys.argv[1] == "forkserver":
        forkserver(number)
    else:
        fork(number, sys.argv[1] == "frozen")
