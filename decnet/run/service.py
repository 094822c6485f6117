"""`python -m decnet.run.service MODULE ARGUMENTS`: what decnet's units start.

Does what `decnetctl up` does before it starts a manager: secrets that the operator gave go out of
the environment into files, and what the fleet file takes from the environment is added. Then it
becomes that module, by exec: the same process, so systemd's pid, sockets and watchdog are its own.

What a worker's own unit starts (`zygote.service.exec`) has no rights to write such files: there
secrets are only taken away. The zygote's unit has written them, and they come as credentials.
"""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from decnet.run.stash import stash, withhold
from decnet.run.variables import variables
from zygote.errors import Exit, ZygoteError

_OF_A_WORKER = "zygote.service.exec"


def main(words: list[str]) -> NoReturn:
    """Become the module; ends with an exit code if that cannot be."""
    if not words:
        print(__doc__, file=sys.stderr)
        sys.exit(Exit.USAGE)
    env = dict(os.environ)
    try:
        env |= variables(env)
        if words[0] == _OF_A_WORKER:
            withhold(env)
        else:
            stash(env)
    except ZygoteError as error:
        print(f"decnet: {error.message}\n  hint: {error.hint}", file=sys.stderr, flush=True)
        sys.exit(error.exit_code or Exit.FAILED)
    os.execve(sys.executable, [sys.executable, "-P", "-m", *words], env)


if __name__ == "__main__":
    main(sys.argv[1:])
