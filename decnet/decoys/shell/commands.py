"""Commands of the pretended shell about users and files, and the table of all.

Each is (shell, arguments, stdin) -> Result. `system.py` has those about the machine.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from decnet.decoys.shell.files import FileError

if TYPE_CHECKING:
    from decnet.decoys.shell.shell import Shell


class Result(NamedTuple):
    """What a command wrote, and its exit status."""

    out: str
    status: int = 0
    error: str = ""


OUT_MOST = 64 << 10
Run = Callable[["Shell", list[str], str], Result]
COMMANDS: dict[str, Run] = {}


def command(*names: str) -> Callable[[Run], Run]:
    """Register under these names."""

    def register(function: Run) -> Run:
        COMMANDS.update(dict.fromkeys(names, function))
        return function

    return register


def flags_of(arguments: list[str]) -> str:
    return "".join(a[1:] for a in arguments if a.startswith("-") and not a.startswith("--"))


def operands_of(arguments: list[str]) -> list[str]:
    return [a for a in arguments if not a.startswith("-") or a == "-"]


# -- who and where


@command("id")
def _id(shell: Shell, arguments: list[str], data: str) -> Result:
    uid, user = shell.uid, shell.user
    if "u" in flags_of(arguments):
        return Result(f"{user if 'n' in flags_of(arguments) else uid}\n")
    return Result(f"uid={uid}({user}) gid={uid}({user}) groups={uid}({user})\n")


@command("whoami", "logname")
def _whoami(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(f"{shell.user}\n")


@command("hostname")
def _hostname(shell: Shell, arguments: list[str], data: str) -> Result:
    if set(flags_of(arguments)) & set("iI"):
        return Result(f"{shell.host.address} \n")
    return Result(f"{shell.host.name}\n")


@command("uname")
def _uname(shell: Shell, arguments: list[str], data: str) -> Result:
    flags = flags_of(arguments) or "s"
    if "--all" in arguments or "a" in flags:
        flags = "snrvmo"
    parts = {
        "s": "Linux",
        "n": shell.host.name,
        "r": shell.host.kernel,
        "v": shell.host.kernel_build,
        "m": "x86_64",
        "p": "unknown",
        "i": "unknown",
        "o": "GNU/Linux",
    }
    wrong = next((f for f in flags if f not in parts), None)
    if wrong:
        return Result("", 1, f"uname: invalid option -- '{wrong}'\n")
    return Result(" ".join(text for flag, text in parts.items() if flag in flags) + "\n")


@command("pwd")
def _pwd(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(f"{shell.folder}\n")


@command("cd")
def _cd(shell: Shell, arguments: list[str], data: str) -> Result:
    target = operands_of(arguments)[0] if operands_of(arguments) else shell.home
    path = shell.files.resolve(shell.folder, target, shell.home)
    if not shell.files.is_dir(path):
        text = "Not a directory" if shell.files.exists(path) else "No such file or directory"
        return Result("", 1, f"-bash: cd: {target}: {text}\n")
    shell.folder = shell.variables["PWD"] = path
    return Result("")


@command("tty")
def _tty(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("/dev/pts/0\n")


# -- files


@command("ls", "dir", "ll")
def _ls(shell: Shell, arguments: list[str], data: str) -> Result:
    flags = flags_of(arguments)
    out, error = "", ""
    for target in operands_of(arguments) or ["."]:
        path = shell.files.resolve(shell.folder, target, shell.home)
        if not shell.files.exists(path):
            error += f"ls: cannot access '{target}': No such file or directory\n"
            continue
        names = shell.files.names(path) if shell.files.is_dir(path) else [target]
        if "a" not in flags:
            names = [n for n in names if not n.startswith(".")]
        if "l" in flags:
            out += f"total {4 * len(names)}\n" if shell.files.is_dir(path) else ""
            out += "".join(_long(shell, posixpath.join(path, n), n) for n in names)
        elif names:
            out += "  ".join(names) + "\n"
    return Result(out, 2 if error else 0, error)


def _long(shell: Shell, path: str, name: str) -> str:
    is_dir = shell.files.is_dir(path)
    try:
        size = 4096 if is_dir else len(shell.files.read(path))
    except FileError:
        size = 0
    when = shell.host.booted(shell.clock()).strftime("%b %e %H:%M")
    mode = "drwxr-xr-x 2" if is_dir else "-rw-r--r-- 1"
    return f"{mode} root root {size:6} {when} {name}\n"


@command("cat", "more", "less", "zcat")
def _cat(shell: Shell, arguments: list[str], data: str) -> Result:
    return _each_file(shell, "cat", arguments, data, lambda text: text)


@command("head", "tail")
def _head(shell: Shell, arguments: list[str], data: str) -> Result:
    digits = "".join(c for c in " ".join(arguments) if c.isascii() and c.isdigit())
    count = int(digits[:4] or 10)
    files = [a for a in operands_of(arguments) if not a.isdigit()]
    return _each_file(
        shell, "head", files, data, lambda text: "".join(text.splitlines(True)[:count])
    )


@command("grep", "egrep", "fgrep")
def _grep(shell: Shell, arguments: list[str], data: str) -> Result:
    words = operands_of(arguments)
    if not words:
        return Result("", 2, "Usage: grep [OPTION]... PATTERNS [FILE]...\n")
    # A plain search: a pattern of theirs never becomes a regular expression of ours.
    needle, flags = words[0].strip("^$"), flags_of(arguments)

    def matching(text: str) -> str:
        lines = text.splitlines(True)
        fold = str.lower if "i" in flags else str
        found = [ln for ln in lines if (fold(needle) in fold(ln)) != ("v" in flags)]
        return f"{len(found)}\n" if "c" in flags else "".join(found)

    result = _each_file(shell, "grep", words[1:], data, matching)
    return Result(result.out, 0 if result.out else 1, result.error)


@command("wc")
def _wc(shell: Shell, arguments: list[str], data: str) -> Result:
    def count(text: str) -> str:
        if "l" in flags_of(arguments):
            return f"{text.count(chr(10))}\n"
        return f"{text.count(chr(10)):7} {len(text.split()):7} {len(text):7}\n"

    return _each_file(shell, "wc", arguments, data, count)


@command("sort", "uniq", "awk", "sed", "cut", "tr", "xargs", "tee", "base64")
def _pass_on(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result(data)


def _each_file(
    shell: Shell, name: str, arguments: list[str], data: str, work: Callable[[str], str]
) -> Result:
    files = [f for f in operands_of(arguments) if f != "-"]
    if not files:
        return Result(work(data))
    out, error = "", ""
    for file in files:
        try:
            raw = shell.files.read(shell.files.resolve(shell.folder, file, shell.home))
            out += work(raw.decode("utf-8", "surrogateescape"))
        except FileError as problem:
            error += f"{name}: {file}: {problem}\n"
        if len(out) > OUT_MOST:
            break
    return Result(out, 1 if error else 0, error)


@command("mkdir")
def _mkdir(shell: Shell, arguments: list[str], data: str) -> Result:
    def make(path: str) -> None:
        if not ("p" in flags_of(arguments) and shell.files.is_dir(path)):
            shell.files.mkdir(path)

    return _each_path(shell, "mkdir: cannot create directory", arguments, make)


@command("touch")
def _touch(shell: Shell, arguments: list[str], data: str) -> Result:
    return _each_path(
        shell,
        "touch: cannot touch",
        arguments,
        lambda path: shell.files.write(path, b"", append=True),
    )


@command("rm", "rmdir", "unlink")
def _rm(shell: Shell, arguments: list[str], data: str) -> Result:
    def remove(path: str) -> None:
        if shell.files.exists(path):
            shell.files.remove(path)
        elif "f" not in flags_of(arguments):
            raise FileError("No such file or directory")

    return _each_path(shell, "rm: cannot remove", arguments, remove)


@command("cp", "mv")
def _copy(shell: Shell, arguments: list[str], data: str) -> Result:
    paths = [shell.files.resolve(shell.folder, a, shell.home) for a in operands_of(arguments)]
    if len(paths) != 2:
        return Result("", 1, "cp: missing file operand\n")
    source, target = paths
    if shell.files.is_dir(target):
        target = posixpath.join(target, posixpath.basename(source))
    try:
        shell.files.write(target, shell.files.read(source))
    except FileError as problem:
        return Result("", 1, f"cp: cannot stat '{arguments[0]}': {problem}\n")
    return Result("")


def _each_path(
    shell: Shell, complaint: str, arguments: list[str], work: Callable[[str], None]
) -> Result:
    error = ""
    for name in operands_of(arguments):
        try:
            work(shell.files.resolve(shell.folder, name, shell.home))
        except FileError as problem:
            error += f"{complaint} '{name}': {problem}\n"
    return Result("", 1 if error else 0, error)


@command("chmod", "chown", "chattr", "sync", "kill", "killall", "pkill", "ulimit", "umask", "set")
@command("sleep", "true", ":", "alias", "stty", "trap", "sysctl", "service", "systemctl")
def _silent(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("")


@command("false")
def _false(shell: Shell, arguments: list[str], data: str) -> Result:
    return Result("", 1)
