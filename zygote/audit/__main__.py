"""The other end of `zygotectl audit`: runs in the interpreter of the program that is audited.

Started as a file, `PYTHON …/zygote/audit/__main__.py FD`, and needs the standard library alone:
that interpreter need not have this package, and nothing is put on its sys.path. The order comes as
one line of JSON on FD, a socket; lines of JSON go back: {"stage", "detail"} before each step, and
at the end {"result"} or {"error"}.
"""

from __future__ import annotations

import importlib.util
import json
import os
import socket
import sys
from typing import Any


def main() -> None:
    """Read the order, carry it out, answer, and end without finalisation."""
    if len(sys.argv) != 2 or not sys.argv[1].isdecimal():
        sys.exit("usage: python zygote/audit/__main__.py FD (zygotectl audit starts it)")
    folder = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120
    sys.path[:1] = [] if sys.path[:1] == [folder] else sys.path[:1]
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    parts = json.loads(channel.makefile("rb").readline())

    def tell(stage: str, detail: str) -> None:
        channel.sendall(json.dumps({"stage": stage, "detail": detail}).encode() + b"\n")

    _find_package()
    from zygote.audit.probe import Order, ProbeError, run  # late: it could not be found before

    sys.argv[:] = ["-m"]  # what a program that looks at it may expect
    answer: dict[str, Any]
    try:
        answer = {"result": run(Order(channel=channel.fileno(), **parts), tell)}
    except ProbeError as error:
        answer = {
            "error": {"message": str(error), "hint": error.hint, "traceback": error.trace},
        }
    channel.sendall(json.dumps(answer).encode() + b"\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads and exit callbacks of the program must not hold us up


def _find_package() -> None:
    """Make `zygote` importable from where this file is, without its folder on sys.path."""
    folder = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120
    place = os.path.join(folder, "__init__.py")  # noqa: PTH118
    spec = importlib.util.spec_from_file_location(
        "zygote", place, submodule_search_locations=[folder]
    )
    assert spec and spec.loader
    package = importlib.util.module_from_spec(spec)
    sys.modules["zygote"] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    main()
