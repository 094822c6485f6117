"""What stands on the command line before anything is loaded: global options, and `run`."""

from __future__ import annotations

from pathlib import Path

import pytest

from zygote.cli import early, run
from zygote.cli.context import Context
from zygote.errors import Exit, ZygoteError


@pytest.mark.parametrize(
    ("words", "fleet", "runtime", "rest"),
    [
        (["ps"], None, None, ["ps"]),
        (["-f", "x", "logs", "-f"], "x", None, ["logs", "-f"]),
        (["--fleet=x", "--runtime-dir", "r", "ps"], "x", "r", ["ps"]),
        (["--runtime-dir=r", "--fleet", "x"], "x", "r", []),
        (["ps", "--fleet", "x"], None, None, ["ps", "--fleet", "x"]),
        ([], None, None, []),
    ],
)
def test_global_options_stand_first(
    words: list[str], fleet: str | None, runtime: str | None, rest: list[str]
) -> None:
    into = Context()
    assert early.take_global_options(words, into) == rest
    assert (into.fleet, into.runtime) == (fleet, runtime)


@pytest.mark.parametrize("words", [["-f"], ["--fleet"], ["--runtime-dir"], ["-f", ""]])
def test_global_option_without_a_value(words: list[str]) -> None:
    with pytest.raises(ZygoteError) as caught:
        early.take_global_options(words, Context())
    assert caught.value.exit_code == Exit.USAGE
    assert words[0] in caught.value.hint


def test_context_default_fleet_wins_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, other = tmp_path / "own.toml", tmp_path / "other.toml"
    for file in (own, other):
        file.write_text(f'[fleet]\nname = "{file.stem}"\n')
    monkeypatch.setenv("ZYGOTE_FLEET", str(other))
    assert Context().fleet_file() == other
    assert Context(default_fleet=lambda: own).fleet_file() == own
    assert Context(default_fleet=lambda: own, fleet=str(other)).fleet_file() == other


def test_context_runtime_dir_needs_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Context(runtime="here").socket() == tmp_path / "here" / "control.sock"
    monkeypatch.setenv("ZYGOTE_RUNTIME_DIR", str(tmp_path / "there"))
    assert Context().runtime_dir() == tmp_path / "there"


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["cow", "--fleet"], ["cow", "--all"]),
        (["cow", "--fleet", "--json"], ["cow", "--all", "--json"]),
        (["cow", "--fleet", "a.toml", "web"], ["cow", "--fleet", "a.toml", "web"]),
        (["cow", "--fleet=a.toml", "--fleet"], ["cow", "--fleet=a.toml", "--all"]),
        (["ps", "--fleet"], ["ps", "--fleet"]),
    ],
)
def test_cow_fleet_without_a_value_means_all_workers(words: list[str], meant: list[str]) -> None:
    assert early.name_whole_fleet(words) == meant


@pytest.mark.parametrize(
    ("words", "program"),
    [
        (["--", "-m", "a.b", "-x"], (None, "module", "a.b", ("-x",))),
        (["-m", "a"], (None, "module", "a", ())),
        (["-ma", "b"], (None, "module", "a", ("b",))),
        (["-c", "pass", "--zygote", "z"], (None, "command", "pass", ("--zygote", "z"))),
        (["-cpass"], (None, "command", "pass", ())),
        (["--zygote", "z", "--", "f.py", "--", "-m"], ("z", "file", "f.py", ("--", "-m"))),
        (["--zygote=z", "f.py"], ("z", "file", "f.py", ())),
        (["--", "--odd-name.py"], None),
    ],
)
def test_run_words(words: list[str], program: tuple[object, ...] | None) -> None:
    if program is None:
        with pytest.raises(ZygoteError):
            run.parse(words)
        return
    found = run.parse(words)
    assert (found.zygote, found.kind, found.target, found.args) == program


@pytest.mark.parametrize("option", ["-u", "-B", "-W", "-X", "-O", "-OO", "-I", "-S", "-i", "-Wd"])
def test_run_refuses_an_option_of_python_with_a_way_out(option: str) -> None:
    with pytest.raises(ZygoteError) as caught:
        run.parse(["--", option, "x.py"])
    assert caught.value.exit_code == Exit.USAGE
    assert caught.value.hint
