"""Wrong fleet files: each error has its code, its line, the value, and the way out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.fleetfile import check_text, write_fleet
from zygote.errors import Exit
from zygote.fleet.load import check

HEAD = '[fleet]\nname = "demo"\n[zygote.floor]\n'
WEB = HEAD + '[worker.web]\nrun = "app.web:main"\n'


class Wrong(NamedTuple):
    """A file's text, and what must be said of it: one error."""

    name: str
    text: str
    code: str
    line: int
    says: str
    hint: str


def read_corpus() -> list[Wrong]:
    """The blocks of fleet_wrong.txt; its head tells how they are written."""
    found = []
    corpus = Path(__file__).with_name("fleet_wrong.txt").read_text()
    for block in corpus.split("\n== ")[1:]:
        title, *rest = block.split("\n")
        name, _, code = title.partition(": ")
        rest = [line for line in rest if line and not line.startswith("# ")]
        says = [line[2:] for line in rest if line.startswith("! ")]
        hints = [line[2:] for line in rest if line.startswith("? ")]
        body = "\n".join(line for line in rest if line[:2] not in ("! ", "? "))
        text = body.replace("@head\n", HEAD).replace("@web\n", WEB) + "\n"
        lines = text.split("\n")
        (line,) = (number for number, each in enumerate(lines, 1) if each.startswith(">"))
        text = text.replace("\n>", "\n").removeprefix(">")
        found.append(Wrong(name, text, code, line, says[0], hints[0]))
    return found


WRONG = read_corpus()


@pytest.mark.parametrize("wrong", WRONG, ids=[wrong.name for wrong in WRONG])
def test_fleet_wrong_file(tmp_path: Path, wrong: Wrong) -> None:
    check_wrong(tmp_path, wrong)


def check_wrong(folder: Path, wrong: Wrong) -> None:
    """One error, this one, with all its parts."""
    fleet, errors = check_text(folder, wrong.text, PATH="/usr/bin:/bin")
    assert fleet is None
    told = [(error.code, error.place, error.message, error.hint) for error in errors]
    assert len(errors) == 1, told
    (error,) = errors
    assert (error.code, error.place) == (wrong.code, f"fleet.toml:{wrong.line}"), told
    assert wrong.says in error.message, told
    assert wrong.hint in error.hint, told
    assert error.exit_code == Exit.FLEET_FILE
    assert "\n" not in error.message + error.hint
    assert not error.message.endswith(".")


def test_fleet_wrong_files_are_many_and_different() -> None:
    assert len({wrong.name for wrong in WRONG}) == len(WRONG) > 100
    assert len({wrong.code for wrong in WRONG}) > 15


def test_fleet_wrong_name_too_long(tmp_path: Path) -> None:
    text = HEAD + f'[worker.{"w" * 101}]\nrun = "app.web"\n'
    hint = "at most 100"
    check_wrong(tmp_path, Wrong("", text, "bad-name", 4, "cannot be called", hint))


def test_fleet_wrong_socket_path_too_long(tmp_path: Path) -> None:
    text = f'[fleet]\nname = "x"\nruntime_dir = "/{"d" * 120}"\n'
    check_wrong(tmp_path, Wrong("", text, "socket-path-too-long", 3, "107", "shorter"))


@pytest.mark.parametrize("depth", [20, 400, 5000])
def test_fleet_wrong_nesting_beyond_all_measure(tmp_path: Path, depth: int) -> None:
    text = WEB + "args = " + "[" * depth + "]" * depth
    check_wrong(tmp_path, Wrong("", text, "toml-syntax", 6, "nested too deep", "two levels"))


def test_fleet_wrong_in_many_places_told_at_once_in_order(tmp_path: Path) -> None:
    text = (
        '[fleet]\nname = "Demo"\n'  # 2
        '[zygote.floor]\npreload = ["nope"]\n'  # 4
        '[defaults]\nwatchdog = "x"\n'  # 6
        '[worker.a]\nrun = "app.web"\nmemory_max = "1X"\nfoo = 1\nafter = ["b", "zz"]\n'  # 9 10 11
        '[worker.b]\nrun = "app.nope"\nafter = ["a"]\n'  # 13; the cycle at 11
        '[worker.c]\nzygote = "q"\n[wroker.d]\n'  # 15 16 17
    )
    fleet, errors = check_text(tmp_path, text)
    assert fleet is None
    assert [(error.code, error.place.partition(":")[2]) for error in errors] == [
        ("bad-name", "2"),
        ("no-such-module", "4"),
        ("bad-unit", "6"),
        ("bad-unit", "9"),
        ("unknown-key", "10"),
        ("cycle", "11"),
        ("unknown-worker", "11"),
        ("no-such-module", "13"),
        ("missing-key", "15"),
        ("unknown-zygote", "16"),
        ("unknown-key", "17"),
    ]


def test_fleet_wrong_value_mended_by_a_later_layer_is_told_once(tmp_path: Path) -> None:
    text = HEAD + '[defaults]\nrun = 3\n[worker.a]\nrun = "app.web"\n[worker.b]\n'
    _, errors = check_text(tmp_path, text)
    assert [(error.code, error.place) for error in errors] == [("wrong-type", "fleet.toml:5")]


# The file itself


@pytest.mark.parametrize(
    ("content", "code", "line", "hint"),
    [
        (b"", "fleet-file-empty", 1, "[fleet]"),
        (b" \n\n", "fleet-file-empty", 1, "[fleet]"),
        (b"[fleet]\nname = '\xe9'\n", "fleet-file-not-utf8", 2, "LATIN1"),
        ("[fleet]\nname = 'x'\n".encode("utf-16"), "fleet-file-not-utf8", 1, "UTF-16"),
        (b"\x7fELF\x02\x01\x01\0\0", "fleet-file-not-utf8", 1, "binary"),
        (b"[fleet]\n\n# \0", "fleet-file-not-utf8", 3, "UTF-8"),
    ],
)
def test_fleet_file_not_text(
    tmp_path: Path, content: bytes, code: str, line: int, hint: str
) -> None:
    _, (error,) = check_text(tmp_path, content)
    assert (error.code, error.place) == (code, f"fleet.toml:{line}")
    assert hint in error.hint
    assert error.exit_code == Exit.FLEET_FILE


def test_fleet_file_missing(tmp_path: Path) -> None:
    _, (error,) = check(tmp_path / "gone" / "fleet.toml")
    assert error.code == "no-fleet-file"
    assert str(tmp_path / "gone" / "fleet.toml") in error.message
    assert error.errno
    assert error.exit_code == Exit.FLEET_FILE


def test_fleet_file_below_a_file(tmp_path: Path) -> None:
    path = write_fleet(tmp_path, "x")
    _, (error,) = check(path / "fleet.toml")
    assert error.code == "no-fleet-file"


def test_fleet_file_is_a_folder_with_one(tmp_path: Path) -> None:
    write_fleet(tmp_path, HEAD)
    _, (error,) = check(tmp_path)
    assert error.code == "fleet-file-not-a-file"
    assert str(tmp_path / "fleet.toml") in error.hint


def test_fleet_file_is_a_pipe_that_nobody_writes(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fleet.toml")
    _, (error,) = check(tmp_path / "fleet.toml")
    assert error.code == "fleet-file-not-a-file"


def test_fleet_file_too_big(tmp_path: Path) -> None:
    _, (error,) = check_text(tmp_path, b"#" * 2**20 + b"\n")
    assert error.code == "fleet-file-too-big"
    assert "template" in error.hint


def test_fleet_file_unreadable(tmp_path: Path) -> None:
    path = write_fleet(tmp_path, HEAD)
    path.chmod(0)
    if os.geteuid() == 0:
        # Root may read it all the same; a loop of links, not even root.
        path.unlink()
        path.symlink_to(path)
    _, (error,) = check(path)
    assert error.code == "fleet-file-unreadable"
    assert error.errno
    assert "readable" in error.hint


def test_fleet_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    fleet, errors = check_text(tmp_path, b"\xef\xbb\xbf" + HEAD.encode())
    assert fleet is not None, errors
