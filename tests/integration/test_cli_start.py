"""What a command loads, how its help and completion come, and what the pages promise."""

from __future__ import annotations

import json
import re
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
