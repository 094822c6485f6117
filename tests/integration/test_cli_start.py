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


EACH = """
import json, os, sys
import cyclopts, cyclopts.help, rich.console, rich.markdown, rich.panel, rich.table
from zygote.cli.app import main
sys.argv[0] = "zygotectl"
told = []
for words in json.loads(sys.argv.pop()):
    reader, writer = os.pipe()
    if not (pid := os.fork()):
        os.dup2(writer, 1)
        sys.argv[1:] = words
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
        sys.stdout.flush()
        os._exit(code or 0)
    os.close(writer)
    with open(reader) as out:
        told.append((out.read(), os.waitpid(pid, 0)[1]))
json.dump(told, sys.stdout)
"""
"""Commands one after the other, as copies of one process that has loaded what all of them load."""


def each(folder: Path, commands: list[list[str]]) -> list[tuple[str, int]]:
    """What each command prints into a pipe, and its `wait` status."""
    done = subprocess.run(
        [sys.executable, "-c", EACH, json.dumps(commands)], cwd=folder, check=True, text=True,
        env=Cli(folder).env(COLUMNS="80"), stdout=subprocess.PIPE, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return [(out, status) for out, status in json.loads(done.stdout)]


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


def test_help_of_every_command_has_its_whole_docstring(tmp_path: Path) -> None:
    told = each(tmp_path, [[verb, "--help"] for verb in VERBS])
    again = each(tmp_path, [["help", verb] for verb in VERBS])
    for verb, (out, status), (same, as_well) in zip(VERBS, told, again, strict=True):
        assert status == as_well == 0, verb
        assert out.startswith(f"Usage: zygotectl {verb}") and same
        assert all(len(line) <= 80 for line in out.splitlines()), verb
        assert "[default: []]" not in out, verb
    assert Cli(tmp_path)("help", "ps", COLUMNS="80").out == again[VERBS.index("ps")][0]


def test_unknown_command_is_usage_and_says_what_was_meant(tmp_path: Path) -> None:
    done = Cli(tmp_path)("pss", code=Exit.USAGE)
    assert done.err.startswith("zygotectl: unknown command \"pss\"\n  hint: did you mean 'ps'?")
    done = Cli(tmp_path)("ps", "--wid", code=Exit.USAGE)
    assert "--wid" in done.err and "Traceback" not in done.err
    done = Cli(tmp_path)("spawn", "x", "--wait", "forever", code=Exit.USAGE)
    assert "forever" in done.err


def test_version(tmp_path: Path) -> None:
    assert re.fullmatch(r"zygotectl \d+\.\d+\.\d+\n", Cli(tmp_path)("--version").out)


def test_help_pages_are_shown(tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    listed = cli("help").out
    told = each(tmp_path, [["help", page.stem] for page in PAGES])
    for page, (out, status) in zip(PAGES, told, strict=True):
        title = page.read_text().splitlines()[0]
        assert (out, status) == (page.read_text(), 0)
        assert title.startswith("# ") and title[2:] in listed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_help_page_is_shown_on_a_terminal(tmp_path: Path, page: Path) -> None:
    title = page.read_text().splitlines()[0]
    with Cli(tmp_path).terminal("help", page.stem) as terminal:
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
