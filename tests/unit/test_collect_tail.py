"""The spool: growing, renamed, truncated, replaced files, half and endless lines."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from decnet.collect import tail
from decnet.collect.record import HEAD_MOST, LINE_MOST
from decnet.collect.tail import Cursor


class Reader:
    """What collect does with the spool, without a database."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cursors: dict[str, Cursor] = {}

    def all(self, most: int = 3) -> list[bytes]:
        lines: list[bytes] = []
        moved = True
        while moved:
            moved = False
            files = tail.scan(self.folder)
            for file in files:
                chunk = tail.read(file, self.cursors.get(file.key), most)
                if chunk is not None:
                    # Through JSON, as the database keeps it.
                    self.cursors[file.key] = Cursor.from_json(chunk.cursor.as_json())
                    lines += [line.data for line in chunk.lines]
                    moved = True
        return lines


def write(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def test_tail_reads_each_line_once(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "decoy@ssh.log"
    write(file, b"one\ntwo\nthree\nfour\nfi")
    assert reader.all() == [b"one", b"two", b"three", b"four"]
    assert reader.all() == []
    write(file, b"ve\n\n\nsix\n")
    assert reader.all() == [b"five", b"six"]


def test_tail_goes_on_in_a_renamed_file_and_its_successor(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "decoy@ssh.log"
    write(file, b"one\ntwo\n")
    assert reader.all() == [b"one", b"two"]
    write(file, b"three\n")
    file.rename(tmp_path / "decoy@ssh.log.17")
    write(file, b"four\n")
    assert reader.all() == [b"three", b"four"]
    old = next(f for f in tail.scan(tmp_path) if f.is_segment)
    assert tail.is_consumed(old, reader.cursors[old.key])
    old.path.unlink()
    files = tail.scan(tmp_path)
    assert tail.forgotten(reader.cursors, files) == [old.key]


def test_tail_starts_again_in_a_truncated_file(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "x.log"
    write(file, b"one\ntwo\nthree\n")
    assert len(reader.all()) == 3
    os.truncate(file, 0)
    write(file, b"four\n")
    assert reader.all() == [b"four"]


def test_tail_starts_again_in_a_truncated_file_that_has_outgrown_the_cursor(
    tmp_path: Path,
) -> None:
    reader, file = Reader(tmp_path), tmp_path / "x.log"
    write(file, b"one\ntwo\n")
    assert len(reader.all()) == 2
    os.truncate(file, 0)
    write(file, b"uno\ndos\ntres\n")
    assert reader.all() == [b"uno", b"dos", b"tres"]


def test_tail_takes_a_new_file_with_an_old_inode_for_new(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "x.log"
    write(file, b"one\ntwo\n")
    reader.all()
    inode = str(file.stat().st_ino)
    cursor = reader.cursors.pop(inode)
    file.unlink()
    write(file, b"other words, longer than before\n")
    reader.cursors[str(file.stat().st_ino)] = cursor  # as if the number had been given again
    assert reader.all() == [b"other words, longer than before"]


def test_tail_takes_a_segment_with_an_old_inode_and_size_for_new(tmp_path: Path) -> None:
    reader, first = Reader(tmp_path), tmp_path / "x.log.1"
    write(first, b"one\ntwo\n")
    assert reader.all() == [b"one", b"two"]
    (cursor,) = reader.cursors.values()
    first.unlink()
    second = tmp_path / "x.log.2"
    write(second, b"uno\ndos\n")
    (file,) = tail.scan(tmp_path)
    reader.cursors = {file.key: cursor}  # as if the number had been given again
    assert not tail.is_consumed(file, cursor), "or it would be deleted unread"
    assert reader.all() == [b"uno", b"dos"]


def test_tail_ends_a_half_line_only_in_a_segment(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "x.log"
    write(file, b"one\ntw")
    assert reader.all() == [b"one"]
    file.rename(tmp_path / "x.log.1")
    assert reader.all() == [b"tw"]


def test_tail_stores_an_endless_line_by_its_head_and_skips_the_rest(tmp_path: Path) -> None:
    reader, file = Reader(tmp_path), tmp_path / "x.log"
    write(file, b"a" * (10 << 20))
    assert reader.all() == [b"a" * HEAD_MOST]
    write(file, b"a" * 100_000)
    assert reader.all() == []
    write(file, b"a\nnext\n")
    assert reader.all() == [b"next"]


def test_tail_sees_only_regular_files_with_a_log_name(tmp_path: Path) -> None:
    write(tmp_path / "x.log", b"x\n")
    write(tmp_path / ".hidden.log", b"x\n")
    write(tmp_path / "x.txt", b"x\n")
    (tmp_path / "link.log").symlink_to(tmp_path / "x.txt")
    (tmp_path / "folder.log").mkdir()
    os.mkfifo(tmp_path / "pipe.log")
    assert [f.path.name for f in tail.scan(tmp_path)] == ["x.log"]


def test_tail_orders_segments_before_the_live_file(tmp_path: Path) -> None:
    for name in ("b.log", "a.log", "a.log.10", "a.log.9"):
        write(tmp_path / name, b"x\n")
    found = [f.path.name for f in tail.scan(tmp_path)]
    assert found == ["a.log.9", "a.log.10", "a.log", "b.log"]


@given(
    st.lists(st.binary(max_size=40).map(lambda b: b.replace(b"\n", b"")), max_size=30),
    st.lists(st.integers(1, 50), min_size=1),
    st.integers(1, 5),
)
def test_tail_split_gives_every_line_once_however_the_bytes_come(
    lines: list[bytes], pieces: list[int], most: int
) -> None:
    data = b"".join(line + b"\n" for line in lines)
    found: list[bytes] = []
    at = end = 0
    skipping = False
    while at < len(data):
        end = min(len(data), end + pieces[len(found) % len(pieces)])
        cut, used, skipping = tail.split(data[at:end], most, skipping=skipping)
        found += [line.data for line in cut]
        at += used
    assert found == [line for line in lines if line]
    assert not skipping


@given(st.integers(LINE_MOST - 2, LINE_MOST + 2), st.booleans())
def test_tail_split_knows_the_longest_line(length: int, ended: bool) -> None:
    lines, used, skipping = tail.split(b"a" * length + b"\nb\n", 9)
    assert [len(line.data) for line in lines] == [
        min(length, HEAD_MOST if length > LINE_MOST else length),
        1,
    ]
    assert (used, skipping) == (length + 3, False)
    lines, used, skipping = tail.split(b"a" * length, 9, ended=ended)
    too_long = length > LINE_MOST
    assert len(lines) == (1 if too_long or ended else 0)
    assert skipping == (too_long and not ended)
