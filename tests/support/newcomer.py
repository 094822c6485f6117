"""A person in the first ten minutes: a small fleet, and a machine that is unlike ours."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.cli import COMMAND, PATIENCE, Cli, Done, eventually

FLEET = """
[fleet]
name = "first"
[zygote.floor]
preload = ["app"]
bake = ["freeze"]
[worker.calm]
run = "app:calm"
"""
APP = """
import time

def calm():
    print("calm runs: äöü", flush=True)
    while True: time.sleep(100)

def mute():
    while True: time.sleep(100)

def broken():
    raise RuntimeError("no good")
"""
NOBODY = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
          # The interpreter may stand where only we may go.
          "--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")  # fmt: skip


class Newcomer(Cli):
    """Commands in one folder; each may be given a command to start it through, and variables."""

    def write(self, fleet: str = FLEET, app: str = APP) -> Newcomer:
        """The fleet file and the module beside it; returns itself."""
        (self.folder / "fleet.toml").write_text(fleet)
        (self.folder / "app.py").write_text(app)
        return self

    def add(self, more: str) -> Newcomer:
        """More tables in the fleet file."""
        file = self.folder / "fleet.toml"
        file.write_text(file.read_text() + more)
        return self

    def at(self, *words: str, through: tuple[str, ...] = (), unset: tuple[str, ...] = (),
           cwd: Path | None = None, **env: str) -> Done:  # fmt: skip
        """Run a command to its end, whatever that is. No traceback of ours may be seen."""
        kept = {k: v for k, v in self.env(**env).items() if k not in unset}
        done = subprocess.run(
            [*through, *COMMAND, *words], cwd=cwd or self.folder, env=kept, text=True,
            errors="replace", capture_output=True, timeout=PATIENCE * 2, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert "Traceback" not in done.stderr or "app.py" in done.stderr, done.stderr
        return Done(done.returncode, done.stdout, done.stderr)

    def works(self, *, runtime: Path | None = None, count: int = 1, **how: object) -> Done:
        """It starts, answers, shows a log, and stops; gives what `up` said."""
        there = ("--runtime-dir", str(runtime or self.folder / "run"))
        done = self.at(*there, "up", "--detach", **how)  # type: ignore[arg-type]
        assert done.code == 0, done
        assert done.out.startswith(f"up: {count} of {count} workers ready"), done
        eventually(lambda: "calm runs" in self.at(*there, "logs", "calm", **how).out)  # type: ignore[arg-type]
        gone = self.at(*there, "down", **how)  # type: ignore[arg-type]
        assert gone.code == 0, gone
        return done

    def says(self, words: str, *parts: str, code: int, hint: bool = True, **how: object) -> Done:
        """It ends with this code, and its message has these parts and a way out."""
        done = self.at(*words.split(), **how)  # type: ignore[arg-type]
        assert done.code == code, done
        text = done.out + done.err
        for part in parts:
            assert part in text, f"{part!r} is not in {text}"
        assert not hint or "hint:" in text, text
        return done


class Cases(dict[str, Callable[[Newcomer], None]]):
    """A list of what may happen to them, by name: decorates each that is added."""

    def __call__(self, function: Callable[[Newcomer], None]) -> Callable[[Newcomer], None]:
        self[function.__name__] = function
        return function


@contextlib.contextmanager
def at_home(folder: Path) -> Iterator[Newcomer]:
    """One with a fleet in that folder; none of it runs on, though a case has failed half-way."""
    person = Newcomer(folder).write()
    yield person
    for socket_path in folder.rglob("control.sock"):
        person.at("--runtime-dir", str(socket_path.parent), "down")


def needs_root(program: str = "unshare") -> None:
    """Skip, by name, what only root can arrange."""
    if os.geteuid() != 0:
        pytest.skip("needs root to arrange it")
    if shutil.which(program) is None:
        pytest.skip(f"needs {program} (util-linux)")


def in_namespace(script: str, *flags: str) -> tuple[str, ...]:
    """A command to start others through: in namespaces of its own, after `script`."""
    return ("unshare", *flags, "sh", "-c", f'{script} && exec "$@"', "sh")
