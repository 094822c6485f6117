"""A visitor at the pretended shell: lines in, output out, all of it told and recorded."""

from __future__ import annotations

import posixpath
import uuid
from typing import Any

from decnet.collect import rfc5424
from decnet.collect.text import clean
from decnet.decoys.house import House
from decnet.decoys.looks import Look
from decnet.decoys.recorder import Recording, Shards
from decnet.decoys.shell.host import Host
from decnet.decoys.shell.shell import Shell
from decnet.estate.files import placed

FILES_TOLD = 16
"""Files of one session that are kept and told."""


def host_of(look: Look) -> Host:
    """The machine that the shell pretends to be."""
    return Host(look.host, look.distro, look.kernel, look.kernel_build)


def motd(look: Look) -> bytes:
    """What is shown after a log-in at a terminal."""
    return (
        f"Linux {look.host} {look.kernel} x86_64\r\n\r\n{look.distro}\r\n"
        "The programs on this machine are free software.\r\n"
    ).encode()


class Seat:
    """One session at the shell.

    Args:
        visitor: fields of each event: who it is.
        user: the name that was logged in with.
        session_id: default: a new one.
    """

    def __init__(
        self,
        house: House,
        shards: Shards,
        visitor: dict[str, Any],
        user: str,
        session_id: str = "",
    ) -> None:
        self.id = session_id or uuid.uuid4().hex
        self.lines = 0
        self.shell = Shell(
            host_of(house.look),
            clean(user)[:32] or "root",
            remote=visitor["src_ip"],
            left=placed(house.state_dir, house.decky),
        )
        self._journal = house.journal
        self._captures = house.captures
        self._shards = shards
        self._visitor = visitor
        self._principal = user
        self._term = ""
        self._recording: Recording | None = None
        self._told_downloads = 0

    @property
    def prompt(self) -> bytes:
        """The shell's."""
        return self.shell.prompt.encode("utf-8", "surrogateescape")

    def begin(self, size: tuple[int, int], term: str, command: str | None = None) -> None:
        """The recording starts.

        Args:
            size: columns and rows.
            command: the one command, where no shell was asked for.
        """
        self._term = term
        header = {
            "width": size[0],
            "height": size[1],
            "env": {"TERM": term},
            "src_ip": self._visitor["src_ip"],
            "user": clean(self._principal)[:255],
            "command": None if command is None else clean(command[:4096]),
        }
        self._recording = Recording(self._shards, self.id, header)

    def typed(self, data: bytes) -> None:
        """Keys, recorded."""
        if self._recording is not None:
            self._recording.typed(data)

    def shown(self, data: bytes) -> None:
        """Output, recorded."""
        if self._recording is not None:
            self._recording.shown(data)

    def resized(self, width: int, height: int) -> None:
        """Another window size, recorded."""
        if self._recording is not None:
            self._recording.resized(width % 1000, height % 1000)

    def run(self, line: str) -> bytes:
        """A line's output, with line feeds; the line and what it would fetch are told."""
        if line.strip():
            self.lines += 1
            self._journal.event("command", {**self._told(), "command": line})
        out = self.shell.run(line)
        for url in self.shell.downloads[self._told_downloads :]:
            told = {**self._told(), "url": url}
            self._journal.event("download_attempt", told, severity=rfc5424.WARNING)
        self._told_downloads = len(self.shell.downloads)
        return out.encode("utf-8", "surrogateescape")

    def end(self) -> None:
        """The session is over: tell what it was. Safe to call twice, and before `begin`."""
        recording, self._recording = self._recording, None
        if recording is None:
            return
        recording.end()
        self._keep_files()
        self._journal.event(
            "session_recorded",
            {
                **self._visitor,
                "session_id": self.id,
                "principal": self._principal,
                "duration_s": f"{recording.duration_s:.3f}",
                "commands": self.lines,
                "size_bytes": recording.size_bytes,
                "truncated": "true" if recording.truncated else "false",
                "shard_path": str(recording.path),
                "term": self._term,
            },
        )

    def _keep_files(self) -> None:
        """What was written by echo and the like is often a program, put together bit by bit."""
        for path, data in list(self.shell.files.written().items())[:FILES_TOLD]:
            capture = self._captures.begin()
            capture.write(data)
            capture.keep()
            told = {
                **self._visitor,
                "session_id": self.id,
                "filename": posixpath.basename(path),
                "path": path,
                "size_bytes": capture.size_bytes,
                "sha256": capture.sha256,
                "stored_as": capture.path,
                "cut_short": "true" if capture.truncated else None,
            }
            self._journal.event("file_captured", told, severity=rfc5424.WARNING)

    def _told(self) -> dict[str, Any]:
        return {
            **self._visitor,
            "session_id": self.id,
            "user": self.shell.user,
            "uid": self.shell.uid,
            "pwd": self.shell.folder,
        }
