"""`python -m zygote.child BODY FD,FD,…`: a worker that is no copy of a zygote, from its exec on.

Started by the manager for `isolation = "exec"`. BODY is a descriptor to read from: one line of
JSON, {"path": folders that come after sys.path[0]}, then the request as a zygote's clone gets it;
the descriptors after it are the request's. What a clone inherits set up is set up here.
"""

from __future__ import annotations

import json
import os
import sys

from zygote.audit import atexits


def main(arguments: list[str]) -> None:
    """Become the worker; never returns."""
    source, fds = int(arguments[0]), tuple(map(int, arguments[1].split(",")))
    with open(source, "rb") as file:
        os.lseek(source, 0, os.SEEK_SET)
        head, body = file.readline(), file.read()
    atexits.record()
    folder = os.getcwd()  # noqa: PTH109 - as text, like the rest of sys.path
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)  # PYTHONSAFEPATH: the set-up decides, as in a clone
    sys.path[1:1] = [each for each in json.loads(head)["path"] if each not in sys.path]
    # Late: it notes what sys.path is, and its exit callbacks are to be recorded.
    __import__("zygote.child.main")
    atexits.stop()
    atexits.disown()
    sys.modules["zygote.child.main"].become_worker(body, fds, b"")


if __name__ == "__main__":
    main(sys.argv[1:])
