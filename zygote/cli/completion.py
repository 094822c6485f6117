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

    chosen = shell or _shell_in_use()
    app = current_app[-1]
    script = app.generate_completion(shell=chosen).rstrip() + "\n"
    if chosen == "zsh":
        # As a file in $fpath the function is all that is wanted; `eval` has to register it as well.
        script += f"(( $+functions[compdef] )) && compdef _cyclopts_{app.name[0]} {app.name[0]}\n"
    sys.stdout.write(script)
    return 0


def install(shell: Shell | None = None, /) -> int:
    """Write the completion script to the place where the shell looks for it.

    Args:
        shell: bash, zsh or fish; default: the one in $SHELL.
    """
    from zygote.cli.app import current_app

    chosen = shell or _shell_in_use()
    path = current_app[-1].install_completion(shell=chosen)
    if chosen == "zsh":
        _start_zsh_completion()
    render.heading(f"written: {path}; it works in new shells", "")
    return 0


def _start_zsh_completion() -> None:
    """Have ~/.zshrc start zsh's completion, if nothing there does: without it no script is read."""
    file = Path.home() / ".zshrc"
    text = file.read_text(errors="surrogateescape") if file.exists() else ""
    if not any(starter in text for starter in ("compinit", "oh-my-zsh", "prezto")):
        with file.open("a") as startup:
            startup.write("autoload -Uz compinit && compinit\n")


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
