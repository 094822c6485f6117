"""`--completion` and `--install-completion`: the TAB key in bash, zsh and fish."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Literal, cast, get_args

from zygote.cli import render
from zygote.cli.context import current
from zygote.errors import Exit, ZygoteError

Shell = Literal["bash", "zsh", "fish"]


def print_script(shell: Shell | None = None, /) -> int:
    """Print the completion script: eval "$(zygotectl --completion bash)"

    Args:
        shell: bash, zsh or fish; default: the one in $SHELL.
    """
    from zygote.cli.app import current_app

    script = current_app[-1].generate_completion(shell=shell or _shell_in_use())
    sys.stdout.write(script.rstrip() + "\n")
    return 0


def install(shell: Shell | None = None, /) -> int:
    """Write the completion script to the place where the shell looks for it.

    Args:
        shell: bash, zsh or fish; default: the one in $SHELL.
    """
    from zygote.cli.app import current_app

    chosen = shell or _shell_in_use()
    path = current_app[-1].install_completion(shell=chosen)
    render.heading(f"written: {path}; it works in new shells", "")
    return 0


def _shell_in_use() -> Shell:
    name = Path(os.environ.get("SHELL", "")).name
    if name in get_args(Shell):
        return cast(Shell, name)
    raise ZygoteError(
        f"no completion for the shell {name!r}" if name else "$SHELL does not say which shell",
        code="usage",
        hint=f"name it: {current.program} --completion bash (or zsh, fish)",
        exit_code=Exit.USAGE,
    )
