"""circus.ini as a draft: https://circus.readthedocs.io, "Configuration"."""

from __future__ import annotations

import fnmatch
import re
from pathlib import Path

from zygote.draft.ini import Entry, Section, sections
from zygote.draft.model import Worker, fleet_name, literal, worker_name
from zygote.draft.taker import LOGS, OURS, Taker, read_text

_LOST = {
    "copy_env": "the manager's environment is always passed on",
    "copy_path": "sys.path is the zygote's: `path` of [zygote.floor]",
    "warmup_delay": "`after` and readiness give the order",
    "send_hup": "stop_signal = \"SIGHUP\" sends that instead",
    "stop_children": "all processes of a worker are killed with it, always",
    "singleton": "a worker that is no template is one, always",
    "use_sockets": "sockets are not passed on: the program binds its own",
    "max_age": "max_private recycles a worker by what it has un-shared, not by age",
    "max_age_variance": "as max_age",
    "on_demand": "`spawn NAME` starts it; autostart = false",
    "virtualenv": "start the manager with that environment's interpreter",
    "virtualenv_py_ver": "as virtualenv",
    "close_child_stdin": "stdin is /dev/null, always",
    "close_child_stdout": LOGS, "close_child_stderr": LOGS,
    "pipe_stdout": LOGS, "pipe_stderr": LOGS,
    "async_kill": "a stop waits for stop_grace at most",
    "use_papa": OURS,
}  # fmt: skip
_OURS = ("cmd", "args", "shell", "working_dir", "numprocesses", "priority")


def read(path: Path, home: Path) -> Taker:
    """A draft of circus's watchers."""
    taker = Taker(path, home, fleet_name(home.name))
    found = sections(read_text(path))
    environments = [s for s in found if s.name == "env" or s.name.startswith("env:")]
    watchers: list[tuple[int, int, Worker]] = []
    for number, section in enumerate(found):
        kind, _, name = section.name.partition(":")
        if kind == "watcher":
            worker = _watcher(taker, section, name, environments)
            priority = section.get("priority", "0")
            rank = -int(priority) if priority.isdigit() else 0
            watchers.append((rank, number, worker))
        elif kind == "socket":
            taker.lose(section.line, f"[{section.name}]", _LOST["use_sockets"])
        elif kind == "circus":
            for entry in section.entries:
                why = (
                    "circus reads more files: import them, too" if "include" in entry.key else OURS
                )
                taker.lose(entry.line, f"[circus] {entry.key} = {entry.value}", why)
        elif kind == "plugin":
            taker.lose(
                section.line, f"[{section.name}]", "a program that follows `events -f --json`"
            )
    taker.draft.workers = [each for _, _, each in sorted(watchers, key=lambda each: each[:2])]
    return taker


def _watcher(taker: Taker, section: Section, name: str, environments: list[Section]) -> Worker:
    count = section.get("numprocesses", "1")
    many = count.isdigit() and int(count) > 1
    worker = Worker(worker_name(name) + ("@" if many else ""))
    worker.said.append(f"[{section.name}] of {taker.path.name}")
    if many:
        worker.instances = [str(each + 1) for each in range(int(count))]
    elif count == "0":
        worker.keys["autostart"] = False
    folder = Path(_fill(section.get("working_dir"), many) or ".")
    for entry in section.entries:
        _entry(taker, worker, entry, name, many)
    env: dict[str, str] = {}
    for each in environments:
        patterns = each.name.removeprefix("env").removeprefix(":").split(",")
        if patterns == [""] or any(fnmatch.fnmatch(name, p.strip()) for p in patterns):
            env |= {entry.key.upper(): _fill(entry.value, many) for entry in each.entries}
    if env:
        worker.keys["env"] = env
    line = " ".join(filter(None, (section.get("cmd"), section.get("args"))))
    number = next((e.line for e in section.entries if e.key == "cmd"), section.line)
    if not line:
        taker.off(worker, "", section.line, "it has no cmd")
    elif "$(circus.sockets." in line:
        taker.off(worker, line, number, _LOST["use_sockets"])
    else:
        shell = section.get("shell").lower() in ("true", "1")
        taker.command(worker, _fill(line, many), number, folder=taker.home / folder, shell=shell)
    return worker


def _entry(taker: Taker, worker: Worker, entry: Entry, name: str, many: bool) -> None:
    key, value, line = entry
    what = f"[watcher:{name}] {key} = {value}".replace("\n", " ")
    filled = _fill(value, many)
    truth = filled.lower() in ("true", "1", "yes")
    match key:
        case "working_dir":
            taker.put(worker, "cwd", filled, line, what)
        case "uid":
            taker.put(worker, "user", filled, line, what)
        case "gid":
            taker.put(worker, "group", filled, line, what)
        case "autostart":
            taker.put(worker, "autostart", truth, line, what)
        case "respawn":
            taker.put(worker, "restart", "always" if truth else "no", line, what)
        case "max_retry":
            taker.put(worker, "start_limit", max(0, int(filled)) if _whole(filled) else filled,
                      line, what)  # fmt: skip
        case "graceful_timeout":
            taker.put(worker, "stop_grace", float(filled) if _decimal(filled) else filled, line,
                      what)  # fmt: skip
        case "stop_signal":
            word = f"SIG{filled.upper().removeprefix('SIG')}"
            taker.put(worker, "stop_signal", int(filled) if filled.isdigit() else word, line, what)
        case _ if key.startswith("rlimit_"):
            limits = {**worker.keys.get("rlimits", {}), key[7:]: int(filled)}
            taker.put(worker, "rlimits", limits if _whole(filled) else filled, line, what)
        case _ if key.startswith(("stdout_stream", "stderr_stream")):
            taker.lose(line, what, LOGS)
        case _ if key.startswith("hooks."):
            taker.lose(line, what, "no code of yours runs in the manager: `events -f --json` tells")
        case _ if key not in _OURS:
            taker.lose(line, what, _LOST.get(key, "no key of a fleet file does that"))


def _whole(text: str) -> bool:
    return text.lstrip("-").isdigit()


def _decimal(text: str) -> bool:
    return text.replace(".", "", 1).isdigit()


def _fill(text: str, many: bool) -> str:
    """$(circus.wid) and its kin."""
    text = literal(text)
    text = re.sub(r"\$\(circus\.wid\)|\(\(circus\.wid\)\)", "%i" if many else "1", text)
    return re.sub(
        r"\$\(circus\.env\.([A-Za-z_]\w*)\)|\(\(circus\.env\.([A-Za-z_]\w*)\)\)",
        lambda m: f"${{{(m[1] or m[2]).upper()}:-}}", text,
    )  # fmt: skip
