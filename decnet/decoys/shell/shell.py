"""One session of the pretended shell: lines in, plausible output out."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from decnet.decoys.shell import builtins, system  # noqa: F401 -- they fill the table
from decnet.decoys.shell.commands import COMMANDS, Result
from decnet.decoys.shell.files import FileError, Files
from decnet.decoys.shell.host import Host
from decnet.decoys.shell.parse import Command, Pipeline, ShellSyntaxError, parse

OUTPUT_MOST = 64 << 10
HISTORY_MOST = 500
DOWNLOADS_MOST = 32
STEPS_MOST = 256
"""Commands that one line may run, nested ones included."""
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass
class Shell:
    """A logged-in user's shell. Nothing in it runs anything, or touches a file or a network."""

    host: Host
    user: str
    clock: Callable[[], dt.datetime] = lambda: dt.datetime.now(dt.UTC)
    remote: str = ""
    left: Mapping[str, bytes] = field(default_factory=dict)
    """Files that lie on this machine besides the system's: absolute path -> bytes."""
    files: Files = field(init=False)
    folder: str = field(init=False)
    variables: dict[str, str] = field(init=False)
    history: list[str] = field(default_factory=list)
    downloads: list[str] = field(default_factory=list)
    depth: int = 0
    status: int = 0
    is_over: bool = False

    def __post_init__(self) -> None:
        tree = self.host.files()
        for path, data in self.left.items():
            for folder in reversed(PurePosixPath(path).parents):
                tree.setdefault(str(folder), None)
            tree.setdefault(path, data)
        self.home = "/root" if self.user == "root" else f"/home/{self.user}"
        tree.setdefault(self.home, None)
        self.files = Files(tree)
        self.folder = self.home
        self.variables = {
            "HOME": self.home,
            "USER": self.user,
            "LOGNAME": self.user,
            "SHELL": "/bin/bash",
            "PATH": PATH,
            "PWD": self.home,
            "LANG": "C.UTF-8",
            "$": "4127",
        }
        self._left = STEPS_MOST

    @property
    def uid(self) -> int:
        """The user's number."""
        return 0 if self.user == "root" else 1000

    @property
    def prompt(self) -> str:
        """As bash on Debian shows it."""
        folder = self.folder
        if folder == self.home or folder.startswith(self.home + "/"):
            folder = "~" + folder[len(self.home) :]
        return f"{self.user}@{self.host.name}:{folder}{'#' if self.uid == 0 else '$'} "

    def run(self, line: str) -> str:
        """The output of a line, at most `OUTPUT_MOST` characters; sets `status` and `is_over`."""
        if line.strip():
            self.history = [*self.history[1 - HISTORY_MOST :], line.strip()]
        self._left = STEPS_MOST
        return self.run_line(line)

    def run_line(self, line: str) -> str:
        """`run` without a trace in the history."""
        self.variables["?"] = str(self.status)
        try:
            pipelines = parse(line, self.variables)
        except ShellSyntaxError as error:
            self.status = 2
            return f"-bash: unexpected EOF while looking for matching `{error}'\n"
        out = ""
        for pipeline in pipelines:
            if (pipeline.before == "&&" and self.status != 0) or (
                pipeline.before == "||" and self.status == 0
            ):
                continue
            out += self._pipeline(pipeline)
            if self.is_over or len(out) > OUTPUT_MOST:
                break
        return out[:OUTPUT_MOST]

    def _pipeline(self, pipeline: Pipeline) -> str:
        errors, data = "", ""
        for command in pipeline.commands:
            result = self._command(command, data)
            # Standard error passes by the pipe.
            errors += result.error
            data = result.out[:OUTPUT_MOST]
            self.status = result.status
            self.variables["?"] = str(result.status)
            if self.is_over:
                break
        return errors + data

    def _command(self, command: Command, data: str) -> Result:
        # A script that feeds itself to sh over and over: an end, as if the machine were slow.
        self._left -= 1
        if self._left < 0:
            return Result("", 1, "-bash: fork: retry: Resource temporarily unavailable\n")
        words = command.words
        while words and _is_assignment(words[0]):
            name, _, value = words[0].partition("=")
            if len(self.variables) < 256:
                self.variables[name] = value
            words = words[1:]
        for _, operator, target in command.redirects:
            if operator == "<":
                try:
                    data = self._read(target)
                except FileError as error:
                    return Result("", 1, f"-bash: {target}: {error}\n")
        result = self._call(words, data) if words else Result("")
        return self._redirect(command, result)

    def _call(self, words: list[str], data: str) -> Result:
        name, *arguments = words
        known = COMMANDS.get(name.rpartition("/")[2] if name.startswith("/") else name)
        if known is not None:
            return known(self, arguments, data)
        path = self.files.resolve(self.folder, name, self.home)
        if "/" in name and self.files.is_dir(path):
            return Result("", 126, f"-bash: {name}: Is a directory\n")
        if "/" in name:
            text = "Permission denied" if self.files.exists(path) else "No such file or directory"
            return Result("", 126 if self.files.exists(path) else 127, f"-bash: {name}: {text}\n")
        return Result("", 127, f"-bash: {name}: command not found\n")

    def _redirect(self, command: Command, result: Result) -> Result:
        out, error = result.out, result.error
        for descriptor, operator, target in command.redirects:
            if operator == "<":
                continue
            if target.startswith("&"):
                if descriptor == "2" and target == "&1":
                    out, error = out + error, ""
                continue
            taken = (out if descriptor != "2" else "") + (error if descriptor in "2&" else "")
            path = self.files.resolve(self.folder, target, self.home)
            try:
                data = taken.encode("utf-8", "surrogateescape")
                self.files.write(path, data, append=operator == ">>")
            except FileError as problem:
                return Result("", 1, f"-bash: {target}: {problem}\n")
            out = "" if descriptor != "2" else out
            error = "" if descriptor in "2&" else error
        return Result(out, result.status, error)

    def _read(self, path: str) -> str:
        data = self.files.read(self.files.resolve(self.folder, path, self.home))
        return data.decode("utf-8", "surrogateescape")

    def note_download(self, url: str) -> None:
        """Somebody wanted to fetch this."""
        if len(self.downloads) < DOWNLOADS_MOST:
            self.downloads.append(url[:2048])


def _is_assignment(word: str) -> bool:
    name, mark, _ = word.partition("=")
    return bool(mark) and name.isidentifier() and name.isascii()
