"""Captured files where the disk does not take them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from decnet.decoys.captures import HEAD_BYTES, Captures


def test_capture_on_a_full_disk_is_still_read_for_its_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_handle: int, _data: object) -> int:
        raise OSError(28, "No space left on device")

    capture = Captures(tmp_path).begin()
    monkeypatch.setattr(os, "write", full)
    capture.write(b"Subject: zz\r\n")
    capture.write(b"\r\nhello")
    assert capture.read(1 << 20) == b"Subject: zz\r\n\r\nhello"
    assert capture.truncated
    capture.drop()


def test_capture_without_a_folder_is_still_read_for_its_event(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    capture = Captures(tmp_path / "file").begin()
    capture.write(b"x" * HEAD_BYTES + b"beyond")
    assert capture.read(1 << 20) == b"x" * HEAD_BYTES
    assert capture.size_bytes == HEAD_BYTES + 6


def test_capture_that_is_kept_is_read_to_its_end(tmp_path: Path) -> None:
    capture = Captures(tmp_path).begin()
    data = b"y" * (HEAD_BYTES + 100)
    capture.write(data)
    assert capture.read(1 << 20) == data
    capture.keep()
    assert capture.path is not None
