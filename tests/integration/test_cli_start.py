"""What a command loads, how its help and completion come, and what the pages promise."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cli import Cli
from zygote.cli.app import COMMANDS
from zygote.errors import Exit

VERBS = [name for group in COMMANDS.values() for name in group]
PAGES = sorted(p for p in (Path(__file__).parents[2] / "zygote" / "help").glob("*.md"))

LOADED = """
import sys
sys.argv = ["zygotectl", *{words!r}]
from zygote.cli.app import main
try:
    main()
except SystemExit:
    pass
sys.stderr.write("\\nLOADED " + " ".join(sorted(m for m, v in sys.modules.items() if v)) + "\\n")
"""


def loaded(*words: str) -> set[str]:
    """Every module that a command line loads in a fresh interpreter."""
    code = LOADED.format(words=list(words))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    return set(done.stderr.rpartition("LOADED ")[2].split())


def test_help_loads_no_command(tmp_path: Path) -> None:
    modules = loaded("--help")
    commands = {f"zygote.cli.{name}" for name in VERBS}
    assert not modules & commands
    assert not {m for m in modules if m.split(".")[0] in ("pydantic", "asyncvarlink", "asyncio")}


def test_run_loads_nothing_that_takes_time(tmp_path: Path) -> None:
    modules = loaded("--runtime-dir", str(tmp_path), "run", "--", "-c", "pass")
    assert "zygote.client.program" in modules, "it went that way"
    heavy = {"rich", "cyclopts", "pydantic", "asyncio", "asyncvarlink", "attrs", "tomllib",
             "ssl", "ctypes", "subprocess", "dataclasses", "inspect"}  # fmt: skip
    assert not {m for m in modules if m.split(".")[0] in heavy}


def test_ps_loads_no_checker_and_no_ssl(tmp_path: Path) -> None:
    modules = loaded("--runtime-dir", str(tmp_path), "ps", "--json")
    assert "zygote.client.api" in modules
    assert not {m for m in modules if m.split(".")[0] in ("pydantic", "_ssl")}


def test_help_names_every_command(tmp_path: Path) -> None:
    text = Cli(tmp_path)("--help").out
    for name in VERBS:
        assert re.search(rf"│ {name} +\S", text), name
    assert "--fleet" in text and "--runtime-dir" in text


@pytest.mark.parametrize("verb", VERBS)
def test_help_of_a_command_has_its_whole_docstring(tmp_path: Path, verb: str) -> None:
    done = Cli(tmp_path)(verb, "--help", COLUMNS="80")
    assert done.out.startswith(f"Usage: zygotectl {verb}")
    assert all(len(line) <= 80 for line in done.out.splitlines())
    assert "[default: []]" not in done.out
    assert Cli(tmp_path)("help", verb).code == 0


def test_unknown_command_is_usage_and_says_what_was_meant(tmp_path: Path) -> None:
    done = Cli(tmp_path)("pss", code=Exit.USAGE)
    assert done.err.startswith("zygotectl: unknown command \"pss\"\n  hint: did you mean 'ps'?")
    done = Cli(tmp_path)("ps", "--wid", code=Exit.USAGE)
    assert "--wid" in done.err and "Traceback" not in done.err
    done = Cli(tmp_path)("spawn", "x", "--wait", "forever", code=Exit.USAGE)
    assert "forever" in done.err


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"zygotectl \d+\.\d+\.\d+\n", Cli(tmp_path)("--version").out)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_script(tmp_path: Path, shell: str) -> None:
    script = Cli(tmp_path)("--completion", shell).out
    for name in VERBS:
        assert name in script
    if shutil.which(shell):
        done = subprocess.run([shell, "-n"], input=script, text=True, check=False,
                              capture_output=True)  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_completion_of_the_shell_in_use(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    assert "complete -F" in cli("--completion", SHELL="/bin/bash").out
    assert "name it" in cli("--completion", SHELL="/bin/tcsh", code=Exit.USAGE).err


def test_completion_installed_works_in_bash(tmp_path: Path) -> None:
    """A real bash with the installed script completes commands, and workers' names."""
    bash = shutil.which("bash")
    assert bash, "bash is everywhere we run"
    cli = Cli(tmp_path)
    done = cli("--install-completion", HOME=str(tmp_path), SHELL=bash)
    (script,) = re.findall(r"written: (\S+);", done.out)
    (tmp_path / "fleet.toml").write_text(
        '[fleet]\nname = "x"\n[worker.alpha]\nrun = "json"\n[worker."beta@one"]\nrun = "json"\n'
    )
    own = tmp_path / "bin" / "zygotectl"
    own.parent.mkdir()
    own.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m zygote.cli "$@"\n')
    own.chmod(0o755)

    def complete(*words: str) -> str:
        line = " ".join(words)
        program = (
            f'source "{script}"; COMP_WORDS=({line}); COMP_LINE="{line}"; '
            f"COMP_POINT=${{#COMP_LINE}}; COMP_CWORD={len(words) - 1}; "
            f'_zygotectl; printf "%s\\n" "${{COMPREPLY[@]}}"'
        )
        path = f"{own.parent}:/usr/bin:/bin"
        found = subprocess.run([bash, "-c", program], capture_output=True, text=True, check=True,
                               cwd=tmp_path, env=cli.env(PATH=path))  # fmt: skip
        return found.stdout

    assert complete("zygotectl", "sp") == "spawn\n"
    assert complete("zygotectl", "restart", "al") == "alpha\n"
    assert complete("zygotectl", "restart", "be") == "beta@one\n"


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_installed_is_found_by(tmp_path: Path, shell: str) -> None:
    """One command writes it to where that shell looks."""
    done = Cli(tmp_path)("--install-completion", shell, HOME=str(tmp_path), SHELL=f"/bin/{shell}")
    (script,) = re.findall(r"written: (\S+);", done.out)
    assert Path(script).is_relative_to(tmp_path) and "zygotectl" in Path(script).name
    assert "spawn" in Path(script).read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_help_page_is_shown(tmp_path: Path, page: Path) -> None:
    cli = Cli(tmp_path)
    assert cli("help", page.stem).out == page.read_text()
    title = page.read_text().splitlines()[0]
    assert title.startswith("# ") and title[2:] in cli("help").out
    with cli.terminal("help", page.stem) as terminal:
        assert terminal.wait() == 0
    assert title[2:] in terminal.seen


def test_help_of_nothing_known(tmp_path: Path) -> None:
    assert "did you mean memory" in Cli(tmp_path)("help", "memry", code=Exit.USAGE).err


def test_help_page_exit_codes_are_those_of_the_code(tmp_path: Path) -> None:
    page = next(page for page in PAGES if page.stem == "exit-codes").read_text()
    told = {int(code) for code in re.findall(r"^\| (\d+) \|", page, re.MULTILINE)}
    assert told == {v for k, v in vars(Exit).items() if k.isupper()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_help_page_names_only_commands_that_there_are(page: Path) -> None:
    known = {*VERBS, "up", "help"}
    for verb in re.findall(r"zygotectl ([a-z]+)", page.read_text()):
        assert verb in known, verb
    for topic in re.findall(r"zygotectl help ([a-z-]+)", page.read_text()):
        assert topic in {each.stem for each in PAGES}


def test_json_error_of_usage_is_json_too(tmp_path: Path) -> None:
    done = Cli(tmp_path)("ps", "--json", "--nope", code=Exit.USAGE)
    assert json.loads(done.out)["error"]["code"] == "usage"
