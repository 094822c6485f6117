"""What may neither fail nor wait: a line on a full disk, in a pipe that nobody reads."""

from __future__ import annotations

import os
import select
from pathlib import Path

from zygote.sys.stderr import say


def test_say_writes_all_of_a_long_text(tmp_path: Path) -> None:
    text = "\n".join(f"line {number} ä \udcff" for number in range(2000))
    with (tmp_path / "log").open("wb") as log:
        assert say(text, log.fileno())
    assert (tmp_path / "log").read_text() == text.replace("\udcff", "\\udcff") + "\n"


def test_say_on_a_full_disk_is_lost() -> None:
    with open("/dev/full", "wb") as full:
        assert not say("a line", full.fileno())


def test_say_without_a_descriptor_or_a_reader_is_lost() -> None:
    read, write = os.pipe()
    os.close(read)
    assert not say("a line", write)
    os.close(write)
    assert not say("a line", write)


def test_say_to_a_full_pipe_does_not_wait() -> None:
    read, write = os.pipe()
    try:
        text = "x" * (1 << 20)
        assert not say(text, write)
        assert not say("a line", write)
        taken = 0
        while select.select([read], [], [], 0)[0]:
            taken += len(os.read(read, 1 << 16))
        assert select.PIPE_BUF <= taken < len(text), "as much as there was room for"
    finally:
        os.close(read)
        os.close(write)
