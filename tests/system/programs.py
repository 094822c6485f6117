"""What the workers of the system tests do; preloaded by their zygote."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from zygote import notify

FLOOR = bytearray(b"f") * (48 << 20)
"""What the floor weighs: charged to the zygote, shared by every worker."""


def tell(text: object) -> None:
    """A line into NAME.out in the working folder."""
    with open(f"{os.environ['ZYGOTE_WORKER']}.out", "a") as out:
        out.write(f"{text}\n")


def idle() -> None:
    """Say in which cgroup we are, and wait."""
    tell(Path("/proc/self/cgroup").read_text().strip())
    while True:
        signal.pause()


def talk() -> None:
    """Print a line, be ready, and say something once the file NAME.say is there."""
    print("one line for the journal", flush=True)
    notify.ready()
    said = Path(f"{os.environ['ZYGOTE_WORKER']}.say")
    while not said.exists():
        time.sleep(0.02)
    notify.status("said meanwhile")
    while True:
        signal.pause()


def hog() -> None:
    """Take memory until something stops us."""
    taken = []
    tell("taking")
    while True:
        taken.append(bytearray(b"x") * (4 << 20))


def bomb() -> None:
    """Fork until refused, say how often that worked, and wait."""
    children = 0
    while True:
        try:
            pid = os.fork()
        except OSError as error:
            tell(f"{children} {error.errno}")
            break
        if pid == 0:
            signal.pause()
            os._exit(0)
        children += 1
    while True:
        signal.pause()


def parent() -> None:
    """Leave a grandchild in a session of its own that ignores polite signals."""
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            tell(os.getpid())
            while True:
                signal.pause()
        os._exit(0)
    os.wait()
    idle()


def grow() -> None:
    """Read the floor, say so, then on SIGUSR1 take 24 MiB of our own, and say so."""
    held = []

    def more(number: int, frame: object) -> None:
        held.append(bytearray(b"y") * (24 << 20))
        tell("grown")

    signal.signal(signal.SIGUSR1, more)
    tell(f"read {FLOOR.count(b'f')}")
    while True:
        signal.pause()


def keeper() -> None:
    """Have a file kept for the next process of us; that one says what it got."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()):
        print("kept", os.environ["LISTEN_FDNAMES"], os.pread(3, 100, 0).decode(), flush=True)
    else:
        kept = os.memfd_create("kept")
        os.write(kept, b"what was before")
        notify.store(kept, "word")
    notify.ready()
    while True:
        signal.pause()


def spin() -> None:
    """Burn what the CPU limit allows."""
    tell("spinning")
    while True:
        pass
