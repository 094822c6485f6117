"""A line of shell into pipelines: quotes, escapes, variables, `; && || | > >>`. Pure and bounded.

What a real shell could do beyond that (loops, substitution) is passed on as plain words, so that
the commands see it and answer as if they did not know it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

COMMANDS_MOST = 64
WORDS_MOST = 256
LINE_MOST = 8192
EXPANDED_MOST = 16 << 10
"""Characters that all variables of a line may expand to."""

_OPERATOR = re.compile(r"&&|\|\||[;|&\n]")
_REDIRECT = re.compile(r"([12&]?)(>>|>\|?|<)(&[12-])?")
_VARIABLE = re.compile(r"\$(?:\{(\w{1,64})\}|(\w{1,64})|([?$#!]))", re.ASCII)


class ShellSyntaxError(ValueError):
    """The line ends inside a quote; an interactive shell would ask for more."""


@dataclass
class Command:
    """One simple command. Redirections: (descriptor, operator, file)."""

    words: list[str] = field(default_factory=list)
    redirects: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Pipeline:
    """Commands joined by "|", and the operator that stands before them ("", ";", "&&", "||")."""

    before: str
    commands: list[Command]


def parse(line: str, variables: Mapping[str, str]) -> Iterator[Pipeline]:
    """The line's pipelines in order, at most `COMMANDS_MOST` commands.

    A variable is looked up when its pipeline is asked for: the one before may have set it.

    Raises:
        ShellSyntaxError: a quote is not closed; before the first pipeline, as a shell would.
    """
    line = line[:LINE_MOST]
    for _ in _Parser(line, {}).pipelines():
        pass
    return _Parser(line, variables).pipelines()


class _Parser:
    def __init__(self, line: str, variables: Mapping[str, str]) -> None:
        self._line = line
        self._at = 0
        self._variables = variables
        self._expandable = EXPANDED_MOST

    def pipelines(self) -> Iterator[Pipeline]:
        before, commands, command, count = "", [], Command(), 0
        while True:
            token = self._next(command)
            if token is None or token in (";", "&", "\n", "&&", "||", "|"):
                if command.words or command.redirects:
                    commands.append(command)
                    count += 1
                command = Command()
                if token != "|":
                    if commands:
                        yield Pipeline(before, commands)
                    before, commands = ("" if token is None else token), []
                if token is None or count >= COMMANDS_MOST:
                    return

    def _next(self, command: Command) -> str | None:
        """Add one word or redirection to the command, or give the operator that ends it."""
        line = self._line
        while self._at < len(line) and line[self._at] in " \t\r":
            self._at += 1
        if self._at >= len(line):
            return None
        if line[self._at] == "#":
            newline = line.find("\n", self._at)
            self._at = len(line) if newline < 0 else newline
            return self._next(command)
        redirect = _REDIRECT.match(line, self._at)
        if redirect is not None:
            self._at = redirect.end()
            target = redirect[3] or self._skip_and_word()
            command.redirects.append((redirect[1] or "1", redirect[2], target))
            return ""
        operator = _OPERATOR.match(line, self._at)
        if operator is not None:
            self._at = operator.end()
            return operator.group()
        word = self._word()
        if len(command.words) < WORDS_MOST:
            command.words.append(word)
        return ""

    def _skip_and_word(self) -> str:
        while self._at < len(self._line) and self._line[self._at] in " \t":
            self._at += 1
        return self._word()

    def _word(self) -> str:
        out: list[str] = []
        line = self._line
        while self._at < len(line):
            c = line[self._at]
            if c in " \t\r\n;|&<>":
                break
            self._at += 1
            if c == "'":
                out.append(self._until("'"))
            elif c == '"':
                out.append(self._double())
            elif c == "\\":
                out.append(line[self._at : self._at + 1])
                self._at += 1
            elif c == "$":
                out.append(self._variable())
            else:
                out.append(c)
        return "".join(out)

    def _until(self, quote: str) -> str:
        end = self._line.find(quote, self._at)
        if end < 0:
            raise ShellSyntaxError(quote)
        text = self._line[self._at : end]
        self._at = end + 1
        return text

    def _double(self) -> str:
        out: list[str] = []
        line = self._line
        while self._at < len(line):
            c = line[self._at]
            self._at += 1
            if c == '"':
                return "".join(out)
            if c == "\\" and line[self._at : self._at + 1] in ('"', "\\", "$", "`"):
                out.append(line[self._at])
                self._at += 1
            elif c == "$":
                out.append(self._variable())
            else:
                out.append(c)
        raise ShellSyntaxError('"')

    def _variable(self) -> str:
        match = _VARIABLE.match(self._line, self._at - 1)
        if match is None:
            return "$"
        self._at = match.end()
        value = self._variables.get(match[1] or match[2] or match[3], "")
        # A=$A$A a few times over would fill the memory of a real shell.
        value = value[: self._expandable]
        self._expandable -= len(value)
        return value
