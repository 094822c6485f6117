"""Commands of the pretended shell that are the shell's own: echo, variables, shells in shells."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

from decnet.decoys.shell.commands import COMMANDS, Result, command, flags_of, operands_of
from decnet.decoys.shell.files import FileError

if TYPE_CHECKING:
    from decnet.decoys.shell.shell import Shell

DEPTH_MOST = 3
"""`sh -c "sh -c …"` goes no deeper."""


@command("echo")
def _echo(shell: Shell, arguments: list[str], data: str) -> Result:
    flags = ""
    while arguments and arguments[0] in ("-n", "-e", "-E", "-ne", "-en"):
        flags += arguments[0]
        arguments = arguments[1:]
    text = " ".join(arguments)
    if "e" in flags:
        text = _unescape(text)
    return Result(text if "n" in flags else text + "\n")


@command("printf")
def _printf(shell: Shell, arguments: list[str], data: str) -> Result:
    if not arguments:
        return Result("", 2, "-bash: printf: usage: printf [-v var] format [arguments]\n")
    text, rest = _unescape(arguments[0]), arguments[1:]
    for word in rest[:16]:
        text = text.replace("%s", word, 1).replace("%d", word, 1)
    return Result(text)


@command("env", "export", "printenv", "declare")
def _env(shell: Shell, arguments: list[str], data: str) -> Result:
    for word in operands_of(arguments):
        name, mark, value = word.partition("=")
        if mark and name.isidentifier() and len(shell.variables) < 256:
            shell.variables[name] = value
    if operands_of(arguments):
        return Result("")
    return Result("".join(f"{k}={v}\n" for k, v in shell.variables.items() if k.isidentifier()))


@command("unset")
def _unset(shell: Shell, arguments: list[str], data: str) -> Result:
    for name in arguments:
        shell.variables.pop(name, None)
    return Result("")


@command("history")
def _history(shell: Shell, arguments: list[str], data: str) -> Result:
    if "c" in flags_of(arguments):
        shell.history = []
    return Result("".join(f"{n:5}  {line}\n" for n, line in enumerate(shell.history, 1)))


@command("which", "type", "command")
def _which(shell: Shell, arguments: list[str], data: str) -> Result:
    found = [n for n in operands_of(arguments) if n in COMMANDS]
    status = 0 if found and len(found) == len(operands_of(arguments)) else 1
    return Result("".join(f"/usr/bin/{name}\n" for name in found), status)


@command("sh", "bash", "dash", "ash", "su")
def _sh(shell: Shell, arguments: list[str], data: str) -> Result:
    """`sh -c LINE`, a script by name, or on standard input."""
    if "-c" in arguments:
        return _nested(shell, " ".join(arguments[arguments.index("-c") + 1 :][:1]))
    script = operands_of(arguments)[:1]
    if script and script != [shell.user]:
        path = shell.files.resolve(shell.folder, script[0], shell.home)
        try:
            data = shell.files.read(path).decode("utf-8", "surrogateescape")
        except FileError as problem:
            return Result("", 127, f"sh: 0: cannot open {script[0]}: {problem}\n")
    return _nested(shell, data)


@command("busybox")
def _busybox(shell: Shell, arguments: list[str], data: str) -> Result:
    """Bots ask for an applet that cannot be, and look for this very answer."""
    if not arguments:
        return Result("BusyBox v1.35.0 multi-call binary.\n")
    if arguments[0] not in COMMANDS:
        return Result("", 127, f"{arguments[0]}: applet not found\n")
    return _nested(shell, shlex.join(arguments))


@command("sudo", "exec", "eval", "nohup", "time")
def _prefix(shell: Shell, arguments: list[str], data: str) -> Result:
    """Another command behind this one."""
    while arguments and arguments[0].startswith("-"):
        arguments = arguments[1:]
    return _nested(shell, shlex.join(arguments))


def _nested(shell: Shell, line: str) -> Result:
    if not line or shell.depth >= DEPTH_MOST:
        return Result("")
    shell.depth += 1
    try:
        return Result(shell.run_line(line), shell.status)
    finally:
        shell.depth -= 1


@command("exit", "logout")
def _exit(shell: Shell, arguments: list[str], data: str) -> Result:
    shell.is_over = True
    word = arguments[0] if arguments else ""
    status = int(word) % 256 if word.isascii() and word.isdigit() and len(word) < 9 else 0
    return Result("", status)


@command("reboot", "shutdown", "halt", "poweroff")
def _reboot(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("", 1, "Failed to talk to init daemon.\n")


@command("passwd")
def _passwd(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("", 10, "passwd: Authentication token manipulation error\n")


def _unescape(text: str) -> str:
    """`\\n`, `\\t`, `\\\\`, `\\xHH` and `\\0OOO` as echo -e has them."""
    out, at = [], 0
    simple = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "a": "\a", "e": "\x1b"}
    while at < len(text):
        c = text[at]
        following = text[at + 1 : at + 2]
        at += 1
        if c != "\\" or not following:
            out.append(c)
        elif following in simple:
            out.append(simple[following])
            at += 1
        elif following == "x" and _hex(text[at + 1 : at + 3]):
            digits = _hex(text[at + 1 : at + 3])
            out.append(chr(int(digits, 16)))
            at += 1 + len(digits)
        else:
            out.append(c)
    return "".join(out)


def _hex(text: str) -> str:
    count = 0
    while count < len(text) and text[count] in "0123456789abcdefABCDEF":
        count += 1
    return text[:count]
