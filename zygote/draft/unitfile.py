"""A systemd *.service file as a draft: systemd.service(5), systemd.exec(5)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from zygote.draft.command import split_assignments, variables
from zygote.draft.ini import Entry, unit_sections
from zygote.draft.model import Worker, fleet_name, worker_name
from zygote.draft.taker import LOGS, Taker, read_text
from zygote.fleet.kinds import Kind
from zygote.fleet.schema import WorkerTable, systemd_words
from zygote.fleet.words import OTHER_WORDS

_LOST = {
    "EnvironmentFile": "the fleet file reads no other file: put it into the unit that starts the "
    "manager",
    "ExecStartPre": "do it before the manager starts, or in the worker",
    "ExecStartPost": "a worker that comes `after` this one can do it",
    "ExecStop": "stop_signal and stop_grace end it",
    "ExecStopPost": "`events -f --json` tells of an end",
    "ExecReload": "`kill --signal HUP NAME` sends a signal, `restart NAME` restarts",
    "PIDFile": "`status NAME` tells the pid",
    "StandardOutput": LOGS, "StandardError": LOGS, "StandardInput": "stdin is /dev/null, always",
    "SyslogIdentifier": LOGS,
    "KillMode": "on a stop the main process is asked, and then all of its processes are killed",
    "Slice": "cgroups are the manager's: put that into its own unit",
    "Delegate": "that belongs into the manager's own unit",
    "RuntimeDirectory": "make the folder in the manager's own unit, or in the worker",
    "StateDirectory": "make the folder in the manager's own unit, or in the worker",
    "CacheDirectory": "make the folder in the manager's own unit, or in the worker",
    "LogsDirectory": LOGS,
    "PartOf": "the whole fleet is one unit", "BindsTo": "the whole fleet is one unit",
    "Requires": "that belongs into the manager's own unit",
    "Wants": "that belongs into the manager's own unit",
    "Before": "`after` of the other worker says it",
    "OnFailure": "`events -f --json` tells of a failure",
    "RemainAfterExit": "a worker that has ended is not running",
    "NotifyAccess": "only the main process is listened to",
}  # fmt: skip
_OF_THE_UNIT = "a wall around a process: put it into the manager's own unit, for the whole fleet"
_WALLS = re.compile(
    r"(Protect|Private|Restrict|ReadOnly|ReadWrite|Inaccessible|SystemCall|Lock|MemoryDeny|"
    r"Dynamic|Ambient|Temporary|Bind(ReadOnly)?Paths|RootDirectory|IPAddress|Device|Keyring|"
    r"RemoveIPC|NoExec|Exec(Paths)|Secure)"
)


def read(path: Path, home: Path) -> Taker:
    """A draft of one worker; a unit `name@.service` is a template."""
    taker = Taker(path, home, fleet_name(home.name))
    name, at, instance = path.stem.partition("@")
    worker = Worker(worker_name(name) + ("@" if at and not instance else ""))
    worker.said.append(f"{path.name}")
    words = {word: key for word, key in systemd_words().items() if word.islower()}
    entries = [(s.name, entry) for s in unit_sections(read_text(path)) for entry in s.entries]
    starts = [entry for section, entry in entries if entry.key == "ExecStart" and entry.value]
    folder = next((e.value for _, e in entries if e.key == "WorkingDirectory"), "")
    for section, entry in entries:
        if entry.key not in ("ExecStart", "Description", "Documentation"):
            _entry(taker, worker, section, entry, words, bool(at))
    described = next((e.value for _, e in entries if e.key == "Description"), "")
    if described:
        worker.said.append(described)
    if not starts:
        taker.off(worker, "", 1, "it has no ExecStart")
    else:
        for more in starts[1:]:
            taker.lose(more.line, f"ExecStart={more.value}", "a worker runs one program")
        _start(taker, worker, starts[0], folder, bool(at))
    taker.draft.workers.append(worker)
    return taker


def _start(taker: Taker, worker: Worker, entry: Entry, folder: str, template: bool) -> None:
    marks = re.match(r"[-@:+!|]*", entry.value)
    line = entry.value[marks.end() if marks else 0 :]
    found = marks.group() if marks else ""
    for mark, why in (
        ("-", "its failures count as such: restart says what follows"),
        ("+", "it has the worker's user and capabilities"),
        ("!", "it has the worker's user and capabilities"),
        ("@", "argv[0] is the program's"),
    ):
        if mark in found:
            taker.lose(entry.line, f"ExecStart={mark}…", why)
    where = Path(folder) if folder.startswith("/") and Path(folder).is_dir() else taker.home
    taker.command(worker, _fill(line, template), entry.line, folder=where)


def _entry(
    taker: Taker, worker: Worker, section: str, entry: Entry, words: dict[str, str], template: bool
) -> None:
    key, raw, line = entry
    what = f"{key}={raw}"
    value = _fill(raw, template)
    if section == "Install":
        return  # that it is enabled: workers are, unless autostart says otherwise
    ours = words.get(key.lower()) or OTHER_WORDS.get(key.lower(), "")
    match key:
        case "Type":
            _type(taker, worker, value, line)
        case "Environment":
            try:
                env = split_assignments(value)
            except ValueError as error:
                taker.lose(line, what, str(error))
                return
            taker.put(worker, "env", {**worker.keys.get("env", {}), **env}, line, what)
        case "After":
            others = "the manager's own unit comes after it"
            if rest := [each for each in raw.split() if each]:
                taker.lose(line, f"After={' '.join(rest)}", others)
        case "Restart":
            word = value if value in ("no", "always", "on-failure") else "on-failure"
            taker.put(worker, "restart", word, line, what)
            if word != value:
                taker.lose(line, what, f'restart = "{word}" is nearest')
        case "CapabilityBoundingSet" | "AmbientCapabilities":
            if "~" in value:
                taker.lose(line, what, "capabilities lists those that are kept")
            else:
                taker.put(worker, "capabilities", value.split(), line, what)
        case "SupplementaryGroups":
            taker.put(worker, "groups", value.split(), line, what)
        case "CPUQuota":
            taker.put(worker, "cpu_max", value, line, what)
        case "WorkingDirectory":
            taker.put(worker, "cwd", value.lstrip("-"), line, what)
        case "TimeoutSec":
            taker.put(worker, "start_timeout", _time(value), line, what)
            taker.put(worker, "stop_grace", _time(value), line, what)
        case _ if key.startswith("Limit") and key != "LimitNOFILESoft":
            _limit(taker, worker, key, value, line)
        case _ if key in _LOST:
            taker.lose(line, what, _LOST[key])
        case "LoadCredential":
            name, _, path = value.partition(":")
            found = {**worker.keys.get("credentials", {}), name: path}
            taker.put(worker, "credentials", found, line, what)
        case _ if ours in WorkerTable.model_fields and ours not in ("run", "after", "type"):
            found_value = _as(ours, value)
            before = worker.keys.get(ours)
            if isinstance(before, list) and isinstance(found_value, list):
                found_value = before + found_value  # a key of this kind may come more than once
            taker.put(worker, ours, found_value, line, what)
        case _ if _WALLS.match(key):
            taker.lose(line, what, _OF_THE_UNIT)
        case _:
            taker.lose(line, what, "no key of a fleet file does that")


def _type(taker: Taker, worker: Worker, value: str, line: int) -> None:
    if value in ("notify", "notify-reload"):
        worker.keys["type"] = "notify"
    elif value == "oneshot":
        worker.keys |= {"restart": "no", "autostart": False}
        worker.said.append(f"It runs once, on demand: `spawn {worker.name}`.")
    elif value in ("forking", "dbus", "idle"):
        why = {"forking": "the program must stay in the foreground: find its option for that",
               "dbus": "readiness by D-Bus: call zygote.notify.ready() instead",
               "idle": "it is as simple here"}[value]  # fmt: skip
        taker.lose(line, f"Type={value}", why)


def _limit(taker: Taker, worker: Worker, key: str, value: str, line: int) -> None:
    soft, _, hard = value.partition(":")
    numbers: list[Any] = [int(each) if each.isdigit() else each for each in (soft, hard or soft)]
    limit = numbers if hard else numbers[0]
    limits = {**worker.keys.get("rlimits", {}), key[5:].lower(): limit}
    taker.put(worker, "rlimits", limits, line, f"{key}={value}")


def _as(key: str, value: str) -> Any:
    """A value as its key wants it: what that is, the schema says."""
    kind = next((m for m in WorkerTable.model_fields[key].metadata if isinstance(m, Kind)), None)
    words = kind.words if kind else ""
    if words == "true or false":
        return value.lower() in ("yes", "true", "1", "on")
    if words.startswith("list"):
        return value.split()
    if key == "umask":
        return value.zfill(4)
    return int(value) if value.lstrip("-").isdigit() and not words.startswith("name") else value


def _time(value: str) -> Any:
    return int(value) if value.isdigit() else value


def _fill(text: str, template: bool) -> str:
    """Specifiers and variables of systemd."""
    text = text.replace("%h", "${HOME:-}").replace("%%", "%" if not template else "%%")
    if template:
        text = text.replace("%I", "%i")
    return re.sub(r"\$\{([A-Za-z_]\w*)\}", lambda m: variables(m[0]), text)
