"""supervisord.conf as a draft: https://supervisord.org/configuration.html."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from zygote.draft.ini import Entry, Section, sections
from zygote.draft.model import Worker, fleet_name, literal, worker_name
from zygote.draft.taker import LOGS, NOT_PYTHON, OURS, Taker, read_text

_LOST = {
    "startsecs": "ready is what counts here: type = \"notify\" and zygote.notify.ready() say it",
    "exitcodes": "any exit code but 0 is a failure",
    "stopasgroup": "on a stop the main process is asked, and then all of its processes are killed",
    "killasgroup": "all processes of a worker are killed with it, always",
    "redirect_stderr": "stdout and stderr go into one log, always",
    "stdout_logfile": LOGS, "stderr_logfile": LOGS,
    "stderr_logfile_maxbytes": LOGS, "stderr_logfile_backups": LOGS,
    "stdout_capture_maxbytes": LOGS, "stderr_capture_maxbytes": LOGS,
    "stdout_events_enabled": "`events -f` tells what happens to workers",
    "stderr_events_enabled": "`events -f` tells what happens to workers",
    "stdout_syslog": LOGS, "stderr_syslog": LOGS,
    "serverurl": "programs reach the manager by its control socket",
    "process_name": "an instance is called by its template and number",
    "numprocs_start": "the instances are listed by name",
}  # fmt: skip
_SECTIONS = {
    "unix_http_server": OURS + ": control.sock in its folder",
    "inet_http_server": "the manager listens on no port",
    "supervisord": OURS, "supervisorctl": "`zygotectl` is the client",
    "eventlistener": "a program that follows `events -f --json` does that",
    "fcgi-program": NOT_PYTHON, "rpcinterface": OURS, "group": "names take globs: stop 'web*'",
}  # fmt: skip
_SILENT = {"command", "priority", "numprocs"}


def read(path: Path, home: Path) -> Taker:
    """A draft of supervisord's programs."""
    taker = Taker(path, home, fleet_name(home.name))
    programs: list[tuple[int, Worker]] = []
    for number, (file, section) in enumerate(_all(path, taker)):
        kind, _, name = section.name.partition(":")
        if kind == "program":
            worker = _program(taker, file, section, name)
            priority = int(section.get("priority", "999")) if _int(section, "priority") else 999
            programs.append((priority * 10000 + number, worker))
        elif kind != "include":
            why = _SECTIONS.get(kind, OURS)
            taker.lose(section.line, f"[{section.name}]", why)
    taker.draft.workers = [worker for _, worker in sorted(programs, key=lambda pair: pair[0])]
    return taker


def _all(path: Path, taker: Taker) -> list[tuple[Path, Section]]:
    """The sections, those of included files with them."""
    found = [(path, section) for section in sections(read_text(path))]
    for _, section in list(found):
        if section.name == "include":
            for pattern in section.get("files").split():
                pattern = pattern.replace("%(here)s", str(path.parent))
                folder = path.parent if not pattern.startswith("/") else Path("/")
                files = sorted(folder.glob(pattern.lstrip("/")))
                if not files:
                    taker.lose(section.line, f"files = {pattern}", "no such file here")
                for each in files:
                    found += [(each, inner) for inner in sections(read_text(each))]
    return found


def _int(section: Section, key: str) -> bool:
    return section.get(key).strip().lstrip("-").isdigit()


def _program(taker: Taker, file: Path, section: Section, name: str) -> Worker:
    """One [program:NAME]."""
    count = int(section.get("numprocs", "1")) if _int(section, "numprocs") else 1
    worker = Worker(worker_name(name) + ("@" if count > 1 else ""))
    if count > 1:
        first = int(section.get("numprocs_start") or 0) if _int(section, "numprocs_start") else 0
        worker.instances = [str(first + each) for each in range(count)]
    worker.said.append(f"[program:{name}] of {file.name}")
    folder = Path(_fill(section.get("directory"), file, name) or ".")
    folder = folder if folder.is_absolute() else taker.home / folder
    percent = count > 1
    for entry in section.entries:
        _entry(taker, worker, entry, file, name, percent)
    line = _fill(section.get("command"), file, name, percent)
    number = next((e.line for e in section.entries if e.key == "command"), section.line)
    if not line:
        taker.off(worker, "", section.line, "it has no command")
    else:
        taker.command(worker, line, number, folder=folder)
    if "priority" in {e.key for e in section.entries}:
        worker.said.append(f"priority {section.get('priority')}: here `after` gives the order, by "
                           "readiness.")  # fmt: skip
    return worker


def _entry(
    taker: Taker, worker: Worker, entry: Entry, file: Path, name: str, percent: bool
) -> None:
    key, value, line = entry
    what = f"[program:{name}] {key} = {value}".replace("\n", " ")
    filled = _fill(value, file, name, percent)
    match key:
        case "autostart":
            taker.put(worker, "autostart", filled.lower() in ("true", "1", "yes", "on"), line, what)
        case "autorestart":
            words = {"true": "always", "false": "no", "unexpected": "on-failure"}
            taker.put(worker, "restart", words.get(filled.lower(), filled), line, what)
        case "startretries":
            taker.put(worker, "start_limit", _number(filled), line, what)
        case "stopsignal":
            taker.put(worker, "stop_signal", f"SIG{filled.upper().removeprefix('SIG')}", line, what)
        case "stopwaitsecs":
            taker.put(worker, "stop_grace", _number(filled), line, what)
        case "user":
            taker.put(worker, "user", filled, line, what)
        case "umask":
            taker.put(worker, "umask", filled.zfill(4), line, what)
        case "directory":
            taker.put(worker, "cwd", filled, line, what)
        case "stdout_logfile_maxbytes":
            size = re.sub(r"(?i)([kmg])b$", lambda m: m[1].upper(), filled)
            taker.put(worker, "log_max_bytes", int(size) if size.isdigit() else size, line, what)
        case "stdout_logfile_backups":
            taker.put(worker, "log_keep", _number(filled), line, what)
        case "environment":
            _environment(taker, worker, filled, line, what)
        case _ if key not in _SILENT:
            taker.lose(line, what, _LOST.get(key, "no key of a fleet file does that"))


def _environment(taker: Taker, worker: Worker, text: str, line: int, what: str) -> None:
    """`A="x",B=y`: names and values with commas between them."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=",")
    lexer.whitespace_split = True
    lexer.commenters = ""
    env = {}
    try:
        for word in lexer:
            if word.strip(","):
                name, equals, value = word.partition("=")
                if not equals:
                    raise ValueError(word)
                env[name.strip()] = value
    except ValueError:
        taker.lose(line, what, "it cannot be read")
        return
    taker.put(worker, "env", {**worker.keys.get("env", {}), **env}, line, what)


def _fill(text: str, file: Path, name: str, percent: bool = False) -> str:
    """%(here)s and its kin; what supervisord would take from its environment becomes ${NAME:-}."""
    text = literal(text)
    text = text.replace("%(here)s", str(file.parent)).replace("%(program_name)s", name)
    text = text.replace("%(group_name)s", name).replace("%(host_node_name)s", "${HOSTNAME:-}")
    text = re.sub(r"%\(ENV_([A-Za-z_]\w*)\)s", r"${\1:-}", text)
    if percent:
        return re.sub(r"%\(process_num\)\d*[ds]", "%i", text)
    return text.replace("%%", "%")


def _number(text: str) -> int | str:
    return int(text) if text.isdigit() else text
