"""`zygotectl logs` of workers that have written nothing yet, out of files and out of a journal."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.cli import Cli, Done
from zygote.sys.logfile import JOURNAL_MARKER

FLEET = """
[fleet]
name = "shop"
[zygote.floor]
[worker.talk]
run = "shop.talk"
[worker.web]
run = "shop.web"
"""
JOURNALCTL = """#!/bin/sh
case "$*" in
*"-F SYSLOG_IDENTIFIER"*) cat identifiers ;;
*) echo "shown: $*" ;;
esac
"""


class Shop:
    """A fleet that is not running; a journal that says what it was asked for."""

    def __init__(self, folder: Path) -> None:
        self.cli, self.folder = Cli(folder), folder
        self.logs = folder / "run" / "logs"
        self.logs.mkdir(parents=True)
        (folder / "fleet.toml").write_text(FLEET)

    def into_journal(self, *identifiers: str) -> None:
        (self.logs / JOURNAL_MARKER).write_text("shop\n")
        (self.folder / "identifiers").write_text("".join(f"{each}\n" for each in identifiers))
        command = self.folder / "bin" / "journalctl"
        command.parent.mkdir()
        command.write_text(JOURNALCTL)
        command.chmod(0o755)

    def __call__(self, *words: str, code: int = 0) -> Done:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        return self.cli("--runtime-dir", "run", "logs", *words, code=code, PATH=path)


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


NOTHING = "zygotectl: '{}' has written nothing yet\n"


def test_logs_journal_of_a_silent_worker_is_empty_and_said_to_be(shop: Shop) -> None:
    shop.into_journal("shop/talk", "other/web")
    done = shop("web")
    assert (done.out, done.err) == ("", NOTHING.format("web"))
    done = shop("talk", "web")
    assert "shop/talk" in done.out and "web" not in done.out
    assert done.err == NOTHING.format("web")
    assert "-f -t shop/web" in shop("-f", "web").out, "what it will write is waited for"
    assert "no log of 'nobody'" in shop("nobody", code=4).err


def test_logs_journal_in_which_nobody_of_the_fleet_is_shows_no_strangers(shop: Shop) -> None:
    shop.into_journal("sshd", "other/web")
    done = shop()
    assert done.out == ""
    assert done.err == NOTHING.format("talk") + NOTHING.format("web")


def test_logs_files_of_a_silent_worker_are_empty_and_said_to_be(shop: Shop) -> None:
    (shop.logs / "talk.log").touch()
    done = shop("talk", "web")
    assert (done.out, done.err) == ("", NOTHING.format("talk") + NOTHING.format("web"))
    assert "no log of 'nobody'" in shop("nobody", code=4).err
    (shop.logs / "talk.log").write_text("a line\n")
    done = shop("talk")
    assert (done.out, done.err) == ("a line\n", "")
