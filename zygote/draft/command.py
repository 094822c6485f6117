"""A command line as other managers have it, as `run`, `args` and `env` of a worker."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from zygote.draft.model import Worker, literal

TOOLS = {
    "uvicorn": "uvicorn", "gunicorn": "gunicorn", "hypercorn": "hypercorn", "daphne": "daphne",
    "waitress-serve": "waitress", "flask": "flask", "fastapi": "fastapi", "celery": "celery",
    "dramatiq": "dramatiq", "arq": "arq", "rq": "rq.cli", "huey_consumer": "huey.bin.huey_consumer",
    "huey_consumer.py": "huey.bin.huey_consumer", "django-admin": "django", "alembic": "alembic",
    "scrapy": "scrapy", "streamlit": "streamlit", "luigid": "luigi.cmdline", "faust": "faust",
    "http.server": "http.server",
}  # fmt: skip
"""Commands of known packages -> the module that `python -m` would run."""

_RUNNERS = ("poetry", "pipenv", "uv", "pdm", "rye", "hatch")
_PATCHERS = ("ddtrace-run", "newrelic-admin", "opentelemetry-instrument", "coverage", "kernprof")
_PYTHON = re.compile(r"python[0-9.]*|pypy[0-9.]*")
_ASSIGNMENT = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)", re.DOTALL)
_SHELL = re.compile(r"(?<!\\)(?:&&|\|\||[|;<>`]|\$\(|&\s*$)")
_NO_SERVICE = {"--reload": "it watches files in a process of its own: restart the worker instead",
               "-D": "the manager keeps it in the foreground", "--daemon": "as -D",
               "--daemonize": "the manager keeps it in the foreground",
               "--detach": "the manager keeps it in the foreground"}  # fmt: skip
_APPS = ("uvicorn", "hypercorn", "daphne", "gunicorn", "waitress")


class Refused(Exception):
    """This command cannot become a worker; the text says why."""


@dataclass
class Command:
    """What a command line comes to.

    Attributes:
        python: of a command that names an interpreter by its path.
        dropped: (words, why) that were left out.
        entry: modules that the program consists of, as far as the words tell.
    """

    run: str = ""
    args: list[str] = field(default_factory=list)
    env: dict[str, str] = field(default_factory=dict)
    python: str = ""
    said: list[str] = field(default_factory=list)
    dropped: list[tuple[str, str]] = field(default_factory=list)
    entry: list[str] = field(default_factory=list)

    def into(self, worker: Worker) -> None:
        """Write it into a worker's keys."""
        worker.keys["run"] = self.run
        if self.args:
            worker.keys["args"] = self.args
        if self.env:
            worker.keys["env"] = {**worker.keys.get("env", {}), **self.env}
        worker.said += self.said
        worker.entry += self.entry


def read_line(line: str, folder: Path, *, shell: bool = False) -> Command:
    """A command line as one text.

    Args:
        folder: where it would be started.
        shell: a shell would read it: what only that can do is refused.
    Raises:
        Refused: with the reason.
    """
    if shell and (found := _SHELL.search(line)):
        raise Refused(
            f"a shell is needed for {found.group().strip()!r}: put it into a script of Python, or "
            "make one worker of each part"
        )
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise Refused(f"it cannot be split into words: {error}") from None
    return read_words(words, folder)


def read_words(words: list[str], folder: Path) -> Command:
    """A command line as words; see `read_line`."""
    command = Command()
    words = _strip(list(words), command)
    if not words:
        raise Refused("there is no command")
    name = Path(words[0]).name
    if name in ("sh", "bash", "dash", "zsh") and len(words) > 2 and words[1].strip("-elx") == "c":
        inner = read_line(words[2], folder, shell=True)
        inner.env = {**command.env, **inner.env}
        return inner
    if name in _PATCHERS:
        raise Refused(
            f"{name} patches a program before its first import; in the floor's modules that is "
            "over: start its library from your code"
        )
    if _PYTHON.fullmatch(name):
        _read_python(words, command)
    elif "/" in words[0] or name.endswith(".py"):
        _read_file(words, folder, command)
    else:
        _read_name(words, folder, command)
    _drop_flags(command)
    _find_entry(command)
    return command


def _strip(words: list[str], command: Command) -> list[str]:
    """Take off what stands before the program: exec, env, NAME=value, `poetry run`."""
    while words:
        name = Path(words[0]).name
        if match := _ASSIGNMENT.fullmatch(words[0]):
            command.env[match[1]] = variables(match[2])
            del words[0]
        elif name in ("exec", "env", "nohup", "setsid") and len(words) > 1:
            del words[0]
        elif name in _RUNNERS and words[1:2] == ["run"]:
            command.dropped.append(
                (" ".join(words[:2]), "start the fleet in that environment: the manager's "
                 "interpreter is its workers'")
            )  # fmt: skip
            del words[:2]
        else:
            break
    return words


def _read_python(words: list[str], command: Command) -> None:
    if "/" in words[0]:
        command.python = words[0]
    rest = words[1:]
    while rest:
        word = rest.pop(0)
        if word == "-m":
            if not rest:
                raise Refused("-m without a module")
            command.run, command.args = rest[0], [variables(each) for each in rest[1:]]
            return
        if word == "-c":
            raise Refused("python -c has no file that could be shared: put its code into a module")
        if word == "-u":
            command.env["PYTHONUNBUFFERED"] = "1"
        elif word in ("-W", "-X"):
            value = rest.pop(0) if rest else ""
            command.dropped.append((f"{word} {value}", _LATE))
        elif word.startswith("-") and word != "-":
            command.dropped.append((word, _LATE))
        else:
            command.run = word if "/" in word or word.endswith(".py") else f"./{word}"
            command.args = [variables(each) for each in rest]
            return
    raise Refused("an interpreter without a program")


_LATE = "an option of the interpreter: set what it stands for in env of [zygote.floor] (PYTHON…)"


def _read_file(words: list[str], folder: Path, command: Command) -> None:
    """A program by its path: a script of Python, or refused."""
    path = folder / words[0]
    name = path.name
    kind = kind_of_file(path)
    if kind == "missing" and name in TOOLS:
        command.run = TOOLS[name]
    elif kind in ("python", "missing"):
        command.run = words[0] if "/" in words[0] else f"./{words[0]}"
    else:
        raise Refused(f"{words[0]} is {kind}: it would share nothing; leave it where it is")
    if path.parent.name == "bin" and (path.parent / "python").exists():
        command.python = str(Path(words[0]).parent / "python")
        if name in TOOLS:
            command.run = TOOLS[name]
    command.args = [variables(each) for each in words[1:]]


def _read_name(words: list[str], folder: Path, command: Command) -> None:
    """A program to be looked up in PATH, or a command of a package that we know."""
    name = words[0]
    command.args = [variables(each) for each in words[1:]]
    if name in TOOLS:
        command.run = TOOLS[name]
        return
    for place in (folder / ".venv/bin", folder / "venv/bin"):
        if kind_of_file(place / name) == "python":
            command.run, command.python = str(place / name), str(place / "python")
            return
    found = shutil.which(name)
    if found is None:
        raise Refused(f"there is no command '{name}' here: name its module or its file in `run`")
    kind = kind_of_file(Path(found))
    if kind != "python":
        raise Refused(f"{name} is {kind}: it would share nothing; leave it where it is")
    command.run = found


def kind_of_file(path: Path) -> str:
    """`python`, `missing`, or what else it is, with its article."""
    try:
        with path.open("rb") as file:
            head = file.read(256)
    except OSError:
        return "missing"
    if path.suffix == ".py":
        return "python"
    if head.startswith(b"\x7fELF"):
        return "a compiled program"
    first = head.partition(b"\n")[0]
    if first.startswith(b"#!"):
        if b"python" in first or b"pypy" in first:
            return "python"
        # What pip writes where the interpreter's path is long: a shell that starts Python.
        return "python" if b"'''exec'" in head else "a script of another language"
    return "no program of Python"


def variables(text: str) -> str:
    """$NAME and ${NAME} of a shell, as the fleet file has them; unset ones are empty there."""

    def fill(match: re.Match[str]) -> str:
        name = match["braced"] or match["bare"]
        default = match["default"] or {"PORT": "8000"}.get(name, "")
        return f"${{{name}:-{default}}}"

    return re.sub(
        r"\$(?:\{(?P<braced>[A-Za-z_]\w*)(?::?-(?P<default>[^}]*))?\}|(?P<bare>[A-Za-z_]\w*))",
        fill,
        text,
    )


def _drop_flags(command: Command) -> None:
    """Options that make no sense under a manager."""
    kept = []
    for word in command.args:
        if word in _NO_SERVICE and (word != "-D" or command.run == "gunicorn"):
            command.dropped.append((word, _NO_SERVICE[word]))
        else:
            kept.append(word)
    command.args = kept


def _find_entry(command: Command) -> None:
    """Which modules the program consists of: its own, and an application named in the words."""
    top = command.run.partition(".")[0]
    module, _, _ = command.run.partition(":")
    if "/" not in command.run and not command.run.endswith(".py"):
        command.entry.append(module)
    words = command.args
    if top in _APPS:
        for word in words:
            if re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(\))?", word):
                command.entry.append(word.partition(":")[0])
                break
        else:
            if words and re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", words[-1]):
                command.entry.append(words[-1])
    elif top in ("celery", "flask"):
        for word, following in zip(words, [*words[1:], ""], strict=True):
            name, _, glued = word.partition("=")
            if name in ("-A", "--app"):
                app = (glued or following).partition(":")[0]
                if re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*", app):
                    command.entry.append(app)
    elif top in ("dramatiq", "arq") and words:
        command.entry += [
            w.partition(":")[0] for w in words if re.fullmatch(r"[A-Za-z_][\w.:]*", w)
        ]


def split_assignments(text: str) -> dict[str, str]:
    """`A="x y" B=z` as systemd and others have it.

    Raises:
        ValueError: it is not of that form.
    """
    found = {}
    for word in shlex.split(text):
        match = _ASSIGNMENT.fullmatch(word)
        if not match:
            raise ValueError(f"not NAME=value: {word!r}")
        found[match[1]] = literal(match[2])
    return found


def place_below(path: str, folder: Path, home: Path) -> str:
    """A path that is relative to `folder`, as seen from the fleet file's folder `home`."""
    full = os.path.normpath(folder / path)
    if full == str(home) or full.startswith(f"{home}/"):
        return f"./{os.path.relpath(full, home)}"
    return full
