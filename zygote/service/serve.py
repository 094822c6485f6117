"""`python -m zygote.service.serve --fleet FILE --zygote NAME --socket PATH`: a zygote as a unit.

The unit's main process checks the fleet file, starts the doorkeeper, and becomes the zygote by
exec. So the zygote is PID 1's own child, and a clone with CLONE_PARENT is PID 1's child, too. The
zygote's code is the one that a manager starts, and knows no difference: the doorkeeper holds the
other end of its link. If either ends, so does the other, and the unit is started anew; workers
live on.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import Fleet, ZygoteSpec
from zygote.service import door
from zygote.sys import linker

_USAGE = "usage: python -m zygote.service.serve --fleet FILE --zygote NAME --socket PATH"


def main(arguments: list[str]) -> NoReturn:
    """Become the zygote."""
    given = dict(zip(arguments[::2], arguments[1::2], strict=False))
    if set(given) != {"--fleet", "--zygote", "--socket"}:
        sys.exit(_USAGE)
    try:
        fleet = read_fleet(given["--fleet"])
        spec = find(fleet, given["--zygote"])
        listener = _listener(Path(given["--socket"]))
    except ZygoteError as error:
        print(f"zygote: {error}", file=sys.stderr)
        sys.exit(error.exit_code or Exit.FAILED)
    mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    _split_off(fleet, spec, mine, listener)
    mine.close()
    listener.close()
    os.set_inheritable(theirs.fileno(), True)
    kept = {name: value for name, value in os.environ.items() if name not in door.NOT_INHERITED}
    env = {**kept, **linker.AT_ONCE, **spec.env}
    os.chdir(spec.cwd or "/")
    python = spec.python or sys.executable
    words = ["-m", "zygote.forkserver", "--link", str(theirs.fileno()), "--name", spec.name,
             "--generation", "1", "--spawn-path", "clone3"]  # fmt: skip
    os.execve(python, [python, *words], env)


def read_fleet(file: str) -> Fleet:
    """The checked fleet, by a process that ends.

    Raises:
        ZygoteError: exit code FLEET_FILE.
    """
    import json

    words = [sys.executable, "-P", "-m", "zygote.fleet", file]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=False)
    answer = json.loads(done.stdout or b"{}")
    if "errors" in answer or done.returncode:
        parts = (answer.get("errors") or [{"message": f"{file} cannot be checked"}])[0]
        error = ZygoteError.from_dict(parts)
        error.exit_code = Exit.FLEET_FILE
        raise error
    return Fleet.from_json(answer.get("fleet", answer))


def find(fleet: Fleet, name: str) -> ZygoteSpec:
    """One zygote, with what its parents import before it: as a unit it stands alone.

    Raises:
        ZygoteError: code no-such-zygote.
    """
    if name not in fleet.zygotes:
        raise ZygoteError(
            f"the fleet has no zygote '{name}'",
            code="no-such-zygote",
            hint=f"there are: {', '.join(fleet.zygotes)}",
            exit_code=Exit.NO_SUCH_WORKER,
        )
    spec = fleet.zygotes[name]
    parent = spec.parent
    while parent:
        above = fleet.zygotes[parent]
        spec = replace(
            spec, preload=(*above.preload, *spec.preload), warm=(*above.warm, *spec.warm), parent=""
        )
        parent = above.parent
    return spec


def _listener(path: Path) -> socket.socket:
    """The socket unit's, or one of our own."""
    if os.environ.get("LISTEN_PID") == str(os.getpid()) and os.environ.get("LISTEN_FDS") == "1":
        handed = socket.socket(fileno=3)
        handed.set_inheritable(False)
        return handed
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    path.unlink(missing_ok=True)
    listener.bind(str(path))
    path.chmod(0o666)  # the kernel tells the doorkeeper who calls
    listener.listen(128)
    return listener


def _split_off(
    fleet: Fleet, spec: ZygoteSpec, link: socket.socket, listener: socket.socket
) -> None:
    """Start the doorkeeper, as nobody's child: the zygote's audit would find one of its own."""
    between = os.fork()
    if between == 0:
        if os.fork() == 0:
            try:
                door.Door(fleet, spec, link, listener).keep()
            finally:
                os._exit(1)
        os._exit(0)
    os.waitpid(between, 0)


if __name__ == "__main__":
    main(sys.argv[1:])
