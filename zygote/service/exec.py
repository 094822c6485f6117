"""`python -m zygote.service.exec NAME`: what a worker's unit starts.

It stands in the unit as systemd made it, asks the zygote at $ZYGOTE_DOOR for a clone that takes
its place, tells systemd that this is the main process now (MAINPID=), waits until that was heard,
and ends. A zygote that is not there yet is waited for: how long, TimeoutStartSec= of the unit says.
"""

from __future__ import annotations

import array
import json
import os
import select
import socket
import sys
import time
from typing import Any

from zygote.sys import prctl

_AGAIN = 0.1
_BARRIER = 10.0


def main(name: str, path: str = "") -> int:
    """Hand over to a clone; returns an exit code."""
    path = path or os.environ.get("ZYGOTE_DOOR", "")
    if not path:
        print(f"zygote exec {name}: no ZYGOTE_DOOR: this is for a unit", file=sys.stderr)
        return 2
    answer: dict[str, Any] = ask(path, name)
    if "pid" not in answer:
        error = answer.get("error", {})
        message = str(error.get("message", "no answer"))
        print(f"zygote exec {name}: {message}", file=sys.stderr)
        if error.get("hint"):
            print(f"  hint: {error['hint']}", file=sys.stderr)
        # Where stdin is a terminal, so is stderr, and the journal hears nothing.
        tell(f"STATUS={' '.join(message.split())}")
        barrier()
        return 1
    state = f"MAINPID={answer['pid']}" + ("\nREADY=1" if answer["ready"] else "")
    tell(state)
    barrier()
    return 0


def ask(path: str, name: str) -> dict[str, Any]:
    """Ask until there is an answer. A zygote that ends while it is asked made no clone."""
    count = int(os.environ.get("LISTEN_FDS", "0")) if _for_us("LISTEN_PID") else 0
    names = os.environ.get("LISTEN_FDNAMES", "").split(":")
    listen = [names[at] if at < len(names) else "" for at in range(count)]
    fds = array.array("i", [0, 1, 2, *range(3, 3 + count)])
    call = json.dumps(
        {"worker": name, "env": _env(), "listen": listen, "securebits": prctl.securebits()}
    ).encode()
    told = False
    while True:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as door:
                door.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
                door.connect(path)
                door.sendmsg([call], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])
                if data := door.recv(1 << 16):
                    answer: dict[str, Any] = json.loads(data)
                    return answer
        except (ConnectionError, FileNotFoundError):
            pass
        if not told:
            print(f"zygote exec {name}: waiting for the zygote at {path}", file=sys.stderr)
            told = True
        time.sleep(_AGAIN)


def _env() -> dict[str, str]:
    """Ours, without what names our pid: the clone has another one."""
    own = {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "SYSTEMD_EXEC_PID", "WATCHDOG_PID",
           "ZYGOTE_DOOR"}  # fmt: skip
    return {key: value for key, value in os.environ.items() if key not in own}


def _for_us(variable: str) -> bool:
    return os.environ.get(variable) == str(os.getpid())


def tell(state: str, *fds: int) -> None:
    """sd_notify(3)."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
        channel.connect("\0" + address[1:] if address[0] == "@" else address)
        channel.sendmsg([state.encode()], rights)


def barrier() -> None:
    """Wait until systemd has read all we told: else our end would be the unit's."""
    reader, writer = os.pipe()
    tell("BARRIER=1", writer)
    os.close(writer)
    poll = select.poll()
    poll.register(reader, select.POLLHUP)
    poll.poll(int(_BARRIER * 1000))
    os.close(reader)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
