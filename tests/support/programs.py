"""Run a program twice, under `python` and in a copy of a zygote, and say what came of it."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.children import wait
from tests.support.forkserver import DEADLINE, MiniManager, body
from zygote.wire.messages import Kind, Packet

FLOOR = (
    "json", "asyncio", "sqlalchemy", "sqlalchemy.ext.asyncio", "logging", "logging.handlers",
    "multiprocessing", "multiprocessing.pool", "multiprocessing.managers", "concurrent.futures",
    "concurrent.futures.process", "concurrent.futures.thread", "sqlite3", "ssl", "uuid", "decimal",
    "tempfile", "unittest", "email", "tests.support.floor",
)  # fmt: skip
"""What the zygote of these tests has imported: enough to be in the way of a program."""


@dataclass(frozen=True)
class Program:
    """A program and how it is called.

    Attributes:
        command: what stands behind `python`.
        merged: stdout and stderr are one file, so that their order counts.
    """

    command: list[str]
    env: dict[str, str] = field(default_factory=dict)
    stdin: bytes = b""
    merged: bool = False

    @classmethod
    def read(cls, path: Path, built: Path) -> Program:
        """A program by its leading comments: `# run:`, `# env:`, `# stdin:`, `# merged:`.

        Args:
            built: folder for {built}: what is not kept in the repository.
        """

        def fill(text: str) -> str:
            return text.replace("{here}", str(path.parent)).replace("{built}", str(built))

        found: dict[str, Any] = {"command": [str(path)], "env": {}}
        for line in path.read_text(errors="replace").splitlines():
            if not line.startswith("#"):
                break
            key, _, value = line[1:].strip().partition(": ")
            if key == "run":
                found["command"] = [*map(_unescape, shlex.split(fill(value)))]
            elif key == "env":
                found["env"] |= dict(part.split("=", 1) for part in shlex.split(fill(value)))
            elif key == "stdin":
                found["stdin"] = value.encode().decode("unicode_escape").encode("latin-1")
            elif key == "merged":
                found["merged"] = value == "yes"
        return cls(**found)


@dataclass(frozen=True)
class Outcome:
    """What a program did, as far as its caller can see.

    Attributes:
        status: exit code, or minus the signal.
        files: what it left in its folder.
    """

    status: int
    stdout: str
    stderr: str
    files: dict[str, bytes]

    def difference(self, other: Outcome) -> str:
        """What `other` has otherwise, to read; "" if nothing."""
        lines: list[str] = []
        for name in ("stdout", "stderr", "status", "files"):
            one, two = getattr(self, name), getattr(other, name)
            if one != two:
                before, after = (str(each).splitlines() for each in (one, two))
                lines += difflib.unified_diff(
                    before, after, f"python {name}", f"zygote {name}", n=1, lineterm=""
                )
        return "\n".join(lines)


class Bench:
    """A folder that programs run in, one after the other, always by the same path."""

    def __init__(self, folder: Path, manager: MiniManager | None = None) -> None:
        self.folder = folder
        self.manager = manager
        self._out, self._err, self._in = (
            folder.with_name(f"{folder.name}.{name}") for name in ("out", "err", "in")
        )

    def env(self, program: Program) -> dict[str, str]:
        """A small environment, the same for both ways."""
        base = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "LANG": "C.UTF-8",
            "TMPDIR": str(self.folder),
            "PYTHONDONTWRITEBYTECODE": "1",
            "ZYGOTE_TEST_SESSION": os.environ["ZYGOTE_TEST_SESSION"],
        }
        return {name: value for name, value in (base | program.env).items() if value != "-"}

    def by_python(self, program: Program) -> Outcome:
        """Under the interpreter that the zygote runs, too."""
        return self.by_command(program, [sys.executable])

    def by_command(self, program: Program, command: list[str]) -> Outcome:
        """By another program, given its command line."""
        stdin, stdout, stderr = self._prepare(program)
        with stdin, stdout, stderr:
            done = subprocess.run(
                [*command, *program.command],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                env=self.env(program),
                cwd=self.folder,
                timeout=DEADLINE,
                process_group=0,
                check=False,
            )
        return self._outcome(done.returncode)

    def by_zygote(self, program: Program) -> Outcome:
        """In a copy of the zygote."""
        stdin, stdout, stderr = self._prepare(program)
        with stdin, stdout, stderr:
            pid = self.start(program, [stdin.fileno(), stdout.fileno(), stderr.fileno()])
        return self._outcome(wait(pid))

    def start(self, program: Program, stdio: list[int], **more: Any) -> int:
        """Start it in a copy of the zygote, on these descriptors; its pid, once it is up."""
        report, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with report, theirs:
            roles = [
                name
                for name, source in zip(("stdin", "stdout", "stderr"), stdio, strict=True)
                if source >= 0
            ]
            request = body("", [*roles, "report"], self.folder) | {
                "env": self.env(program),
                "session": "group",
                **_what(program.command),
                **more,
            }
            fds = (*(source for source in stdio if source >= 0), theirs.fileno())
            data = json.dumps(request).encode()
            packet = Packet(Kind.SPAWN, uuid.uuid4().bytes, body=data, fds=fds)
            assert self.manager, "this bench has no zygote of its own"
            self.manager.link.send(packet)
            answer = self.manager.receive()
            assert answer.kind is Kind.SPAWNED, answer
            for descriptor in answer.fds:
                os.close(descriptor)
            theirs.close()
            report.settimeout(DEADLINE)
            said = json.loads(report.recv(65536) or b"null")
            assert said and said["up"], said
            return answer.pid

    def _prepare(self, program: Program) -> tuple[Any, Any, Any]:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self._in.write_bytes(program.stdin)
        self._out.write_bytes(b"")
        self._err.write_bytes(b"")
        out = self._out.open("ab")
        return self._in.open("rb"), out, out if program.merged else self._err.open("ab")

    def _outcome(self, status: int) -> Outcome:
        files = {
            str(path.relative_to(self.folder)): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file()
        }
        out, err = (path.read_bytes().decode("latin-1") for path in (self._out, self._err))
        return Outcome(status, _plain(out), _plain(err), files)


def _plain(text: str) -> str:
    """Without what differs between any two processes: addresses, times; and without a traceback's
    count of repetitions, because below a program in a zygote lie some frames of the zygote."""
    text = re.sub(r"\b(tests? in) [0-9.]+s", r"\1 N s", text)
    text = re.sub(r"\b0x[0-9a-f]{6,}", "0x…", text)
    return re.sub(r"(Previous line repeated) \d+", r"\1 N", text)


def _unescape(text: str) -> str:
    return text.replace(r"\n", "\n")


def _what(command: list[str]) -> dict[str, Any]:
    """`run` and `args` of a request for a command line of `python`."""
    kinds = {"-m": "module", "-c": "command"}
    if command[0] in kinds:
        return {"run": {"kind": kinds[command[0]], "target": command[1]}, "args": command[2:]}
    return {"run": {"kind": "file", "target": command[0]}, "args": command[1:]}
