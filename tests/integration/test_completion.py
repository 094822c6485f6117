"""The TAB key in bash, zsh and fish, as each of them really completes."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli, Terminal, plain
from zygote.errors import Exit

FLEET = """
[fleet]
name = "x"
[worker.alpha]
run = "json"
[worker."beta@one"]
run = "json"
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a fleet in it, and `zygotectl` on the way that `environment` sets."""
    (tmp_path / "fleet.toml").write_text(FLEET)
    own = tmp_path / "bin" / "zygotectl"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zygote.cli "$@"\n')
    own.chmod(0o755)
    return tmp_path


def environment(home: Path, shell: str) -> dict[str, str]:
    path = f"{home}/bin:/usr/bin:/bin"
    unset = {"XDG_CONFIG_HOME": f"{home}/.config", "XDG_DATA_HOME": f"{home}/.local/share",
             "ZDOTDIR": str(home)}  # fmt: skip
    return Cli(home).env(PATH=path, HOME=str(home), SHELL=shell, **unset)


def found(shell: str) -> str:
    """Where that shell is."""
    program = shutil.which(shell)
    if not program:
        pytest.skip(f"needs the package {shell}")
    return program


def installed(home: Path, shell: str) -> Path:
    """What `--install-completion` wrote for that shell."""
    done = Cli(home)("--install-completion", shell, HOME=str(home), SHELL=f"/bin/{shell}")
    (script,) = re.findall(r"written: (\S+);", done.out)
    assert Path(script).is_relative_to(home) and "zygotectl" in Path(script).name
    return Path(script)


def test_completion_of_the_shell_in_use(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    assert "complete -F" in cli("--completion", SHELL="/bin/bash").out
    assert "name it" in cli("--completion", SHELL="/bin/tcsh", code=Exit.USAGE).err


@pytest.mark.parametrize("way", ["installed", "evaluated"])
def test_completion_in_bash(home: Path, way: str) -> None:
    bash = found("bash")
    script = installed(home, "bash") if way == "installed" else home / "printed"
    if way == "evaluated":
        script.write_text(Cli(home)("--completion", "bash").out)

    def complete(*words: str) -> str:
        line = " ".join(words)
        program = (
            f'source "{script}"; COMP_WORDS=({line}); COMP_LINE="{line}"; '
            f"COMP_POINT=${{#COMP_LINE}}; COMP_CWORD={len(words) - 1}; "
            f'_zygotectl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        done = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True,
                              cwd=home, env=environment(home, bash))  # fmt: skip
        return done.stdout

    assert complete("zygotectl", "sp") == "spawn\n"
    assert complete("zygotectl", "restart", "al") == "alpha\n"
    assert complete("zygotectl", "restart", "be") == "beta@one\n"


@pytest.mark.parametrize("way", ["installed", "evaluated"])
def test_completion_in_fish(home: Path, way: str) -> None:
    fish = found("fish")
    first = ""
    if way == "installed":
        installed(home, "fish")
    else:
        first = "zygotectl --completion fish | source; "

    def complete(line: str) -> list[str]:
        done = subprocess.run(
            [fish, "-c", f'{first}complete -C "{line}"'],
            capture_output=True, text=True, check=True, cwd=home, env=environment(home, fish),
        )  # fmt: skip
        return [shown.split("\t")[0] for shown in done.stdout.splitlines()]

    assert complete("zygotectl spa") == ["spawn"]
    assert complete("zygotectl restart al") == ["alpha"]
    assert complete("zygotectl restart be") == ["beta@one"]


@pytest.mark.parametrize("way", ["installed", "beside the user's own", "evaluated"])
def test_completion_in_zsh(home: Path, way: str) -> None:
    """On a terminal, with the user's start-up file: none so far, one that is in use, `eval`."""
    zsh = found("zsh")
    own = "PS1='at> '\n"
    start = home / ".zshrc"
    if way == "evaluated":
        own += 'autoload -Uz compinit && compinit\neval "$(zygotectl --completion zsh)"\n'
        start.write_text(own)
    else:
        if way != "installed":
            start.write_text("autoload -Uz compinit && compinit\n")
        installed(home, "zsh")
        assert start.read_text().count("compinit") == 2, "started once: `compinit && compinit`"
        start.write_text(start.read_text() + own)
    with Terminal([zsh, "-i"], home, environment(home, zsh)) as terminal:
        terminal.expect("at> ")
        terminal.type("zygotectl spa\t")
        terminal.until(lambda: "zygotectl spawn" in plain(terminal.seen), "never completed")
        terminal.type("\x15zygotectl restart be\t")
        terminal.until(lambda: "restart beta@one" in plain(terminal.seen), "never completed")
        terminal.type("\x15exit\r")
        terminal.wait()
