"""Workers of a few lines, each with one habit. Preloaded by the zygotes of the manager's tests.

They tell what they do in files of the folder that they run in, which the test reads.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from zygote import notify, sockets

FLOOR = os.getpid()
"""Of the process that imported this: a copy has its zygote's."""


def told(what: str, text: str = "") -> None:
    """Append a line to NAME.WHAT in the current folder, in one write."""
    with open(f"{os.environ['ZYGOTE_WORKER']}.{what}", "a") as out:
        out.write(text + "\n")


def wait_for(what: str) -> None:
    """Until the file NAME.WHAT is there."""
    path = Path(f"{os.environ['ZYGOTE_WORKER']}.{what}")
    while not path.exists():
        time.sleep(0.01)


def sleeper() -> None:
    """Tells that it runs, and sleeps."""
    told("ran", str(os.getpid()))
    while True:
        signal.pause()


def seed_teller() -> None:
    """Tells the hash of a word, which the hash seed decides, and what it was forked with."""
    told("seed", f"{hash('zygote')} {'tiny' in sys.modules and sys.modules['tiny'].FLOOR}")
    sleeper()


def lender() -> None:
    """Listens on a socket that its manager keeps for the next process; tells its address."""
    sock = sockets.listener("door", lambda: socket.create_server(("127.0.0.1", 0)))
    told("address", str(sock.getsockname()[1]))
    notify.ready()
    while True:
        signal.pause()


def crasher() -> None:
    """Ends with the status in its first argument, at once."""
    told("ran", str(os.getpid()))
    print("about to crash", flush=True)
    sys.exit(int(sys.argv[1]))


def crash_on_demand() -> None:
    """Sleeps until it is told to end, with the status in that file."""
    told("ran", str(os.getpid()))
    wait_for("crash")
    path = Path(f"{os.environ['ZYGOTE_WORKER']}.crash")
    code = int(path.read_text())
    path.unlink()
    sys.exit(code)


def notifier() -> None:
    """Is ready when it is told to."""
    told("ran", str(os.getpid()))
    notify.status("warming up")
    wait_for("go")
    notify.ready("at your service")
    while True:
        signal.pause()


def never_ready() -> None:
    """Never says READY=1."""
    sleeper()


def early_bird() -> None:
    """Says READY=1 as the very first thing."""
    notify.ready("early")
    sleeper()


def last_words() -> None:
    """Says something and ends in the same breath."""
    notify.ready("famous last words")


def stubborn() -> None:
    """Ignores SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sleeper()


def graceful() -> None:
    """On SIGTERM tells the moment and ends with status 0."""

    def stop(number: int, frame: object) -> None:
        told("stopped", f"{time.monotonic()}")
        sys.exit(0)

    signal.signal(signal.SIGTERM, stop)
    told("started", f"{time.monotonic()}")
    sleeper()


def family() -> None:
    """Has a child in its group, a grandchild in a group of its own, and both ignore SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    for own_group in (False, True):
        if os.fork() == 0:
            if own_group:
                os.setpgid(0, 0)
                if os.fork():
                    os._exit(0)
            told("child", str(os.getpid()))
            while True:
                signal.pause()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    sleeper()


def watched() -> None:
    """Shows signs of life, each with its moment, until the file `mute` appears; then hangs."""
    told("ran", str(os.getpid()))
    notify.ready()
    interval = notify.watchdog_interval()
    assert interval
    while not Path("mute").exists():
        notify.notify(f"WATCHDOG=1\nSTATUS={time.monotonic()}", timeout=0.2)
        time.sleep(interval / 4)
    while True:
        signal.pause()


def child_speaks() -> None:
    """Its child, and not itself, says READY=1."""
    pid = os.fork()
    if pid == 0:
        notify.ready("my child said so")
        time.sleep(60)
        os._exit(0)
    sleeper()


def environment() -> None:
    """Writes its environment down."""
    for name, value in sorted(os.environ.items()):
        told("env", f"{name}={value}")
    told("env", "END")
    sleeper()


def hoarder() -> None:
    """Stores 32 MB once the file NAME.more is there, which it removes; and tells which it is.

    "born" in its arguments: it does so before it is ready. "heir": once one of it has been ready,
    the next is not before NAME.go is there. "dozer": it says that it is busy, and then idle.
    "slow": told to end, it waits for NAME.end.
    """
    told("ran", str(os.getpid()))
    name = os.environ["ZYGOTE_WORKER"]
    heir = "heir" in sys.argv and Path(f"{name}.served").exists()
    kept = bytearray(b"x") * (32 << 20) if "born" in sys.argv else b""
    if "dozer" in sys.argv:
        notify.idle(False)
    if "slow" in sys.argv:
        signal.signal(signal.SIGTERM, lambda *_: (wait_for("end"), os._exit(0)))
    if heir:
        wait_for("go")
    notify.ready()
    told("served")
    wait_for("more")
    Path(f"{name}.more").unlink()
    kept = bytearray(b"x") * (32 << 20)
    if "dozer" in sys.argv:
        wait_for("idle")
        notify.idle()
    while kept:
        signal.pause()


def insider() -> None:
    """Asks the manager for all that it could ask, by itself and through an orphan; then sleeps."""
    path = f"{os.environ['ZYGOTE_RUNTIME_DIR']}/control.sock"
    for name in ("List", "Stop", "Run"):
        told("asked", f"{name} {ask(path, name)}")
    parent = os.fork()
    if parent == 0:
        parent = os.getpid()
        if os.fork() == 0:
            os.setsid()
            while os.getppid() == parent:
                time.sleep(0.01)
            told("asked", f"orphan {ask(path, 'Stop')}")
        os._exit(0)
    sleeper()


PARAMETERS: dict[str, dict[str, object]] = {
    "List": {}, "Stop": {"names": []},
    "Run": {"zygote": None, "kind": "command", "target": "open('ran', 'w')", "args": [], "env": {},
            "cwd": str(Path.cwd()), "umask": 0, "stdin": 0, "stdout": 1, "stderr": 2},
}  # fmt: skip


def ask(path: str, method: str) -> str:
    """Call a method of the manager: "done", or the error's code."""
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(path)
        call = {"method": f"io.zygote.Manager.{method}", "parameters": PARAMETERS[method],
                "more": method == "Run"}  # fmt: skip
        socket.send_fds(line, [json.dumps(call).encode() + b"\0"], [0, 1, 2])
        answer = b""
        while b"\0" not in answer:
            more = line.recv(65536)
            if not more:
                return "hung up"
            answer += more
    reply = json.loads(answer.partition(b"\0")[0])  # Run says more, perhaps in the same breath
    return str(reply["parameters"].get("code", reply["error"])) if "error" in reply else "done"


def keeper() -> None:
    """Tells what its credentials are, and what is left of them for a program that it starts."""
    folder = Path(os.environ["CREDENTIALS_DIRECTORY"])
    kept = {path.name: path.read_text() for path in sorted(folder.iterdir())}
    for name, text in kept.items():
        told("has", f"{name} {text}")
    code = f"import pathlib; print(pathlib.Path('{folder}/key').exists())"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    told("has", f"exec {ran.stdout.strip()}")
    sleeper()


def thief() -> None:
    """Tries to open the credentials of another worker: by its names, and by its descriptors."""
    wait_for("go")
    name, pid = Path("thief.go").read_text().split()
    folder = Path(os.environ["ZYGOTE_RUNTIME_DIR"], "credentials", name)
    for path in (folder / "key", *(Path(f"/proc/{pid}/fd/{n}") for n in range(3, 6))):
        try:
            told("stole", path.read_text())
        except OSError as error:
            told("stole", f"no: {errno.errorcode[error.errno or 0]}")
    sleeper()
