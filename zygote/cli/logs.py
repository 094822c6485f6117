"""`zygotectl logs`: what workers wrote, read from their files.

It needs no manager: logs are wanted most when it has died.
"""

from __future__ import annotations

import fnmatch
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import journal, render
from zygote.cli.context import current
from zygote.cli.options import Follow, LogNames
from zygote.cli.text import clean
from zygote.client.start import LOG_NAME
from zygote.errors import Exit, ZygoteError
from zygote.fleet import where
from zygote.sys.logfile import Follower, read_tail

PERIOD = 0.2
"""Seconds between two looks at the files; new files are looked for every fifth time."""

COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "bright_red", "bright_cyan")
_SUFFIX = ".log"
_ZYGOTE = "zygote."


def logs(
    names: LogNames = [],  # noqa: B006
    /,
    *,
    follow: Follow = False,
    n: Annotated[
        int, Parameter(name=["--lines", "-n"], help="How many of the last lines of each.")
    ] = 20,
) -> int:
    """Show the last lines of workers' logs; with --follow, go on with new ones.

    Several logs are told apart by their names in front. On a terminal, what
    could steer it is taken out of the lines; in a pipe they come as they are.
    """
    folder = _log_dir()
    if prefix := journal.prefix_of(folder):
        return _from_journal(prefix, names, n, follow=follow)
    chosen = select(folder, names)
    tell = printer(chosen if len(chosen) > 1 or (follow and not names) else None)
    if not follow:
        for name, path in chosen.items():
            lines = _tail(path, n)
            for line in lines:
                tell(name, line)
            if names and n > 0 and not lines:
                _say_nothing_yet(name)
        return 0
    try:
        _follow(folder, names, chosen, n, tell)
    except KeyboardInterrupt:
        pass
    return 0


def select(folder: Path, names: Iterable[str]) -> dict[str, Path]:
    """The logs that names or globs name; all workers' if there are none.

    Raises:
        ZygoteError: code no-such-worker.
    """
    there = found(folder)
    wanted = list(names)
    if not wanted:
        return {name: path for name, path in there.items() if _is_worker(name)}
    chosen, silent = _matching(there, wanted, str(folder))
    return {name: there.get(name, folder / f"{name}{_SUFFIX}") for name in [*chosen, *silent]}


def _from_journal(prefix: str, names: Sequence[str], lines: int, *, follow: bool) -> int:
    there = journal.names(prefix)
    if names:
        chosen, silent = _matching(there, names, "the journal")
    else:
        chosen = list(filter(_is_worker, there))
        silent = [name for name in _known() if _is_worker(name) and name not in chosen]
    if names or not chosen:
        for name in silent:
            _say_nothing_yet(name)
    wanted = [*chosen, *silent] if follow else chosen
    # Of nobody is, to journalctl, of everybody.
    return journal.show([prefix + name for name in wanted], lines, follow=follow) if wanted else 0


def _matching(
    there: Iterable[str], wanted: Iterable[str], where: str
) -> tuple[list[str], list[str]]:
    """Which of the logs that are there are meant, and who else is: one that has none yet.

    Raises:
        ZygoteError: code no-such-worker; a name is neither's.
    """
    there = list(there)
    known: list[str] | None = None
    chosen: list[str] = []
    silent: list[str] = []
    for name in wanted:
        hits, others = _hits(name, there), chosen
        if not hits:
            known = _known() if known is None else known
            hits, others = _hits(name, known), silent
        if not hits:
            raise ZygoteError(
                f"no log of '{name}' in {where}",
                code="no-such-worker",
                hint=f"there are: {', '.join(there) or 'none; has the fleet run yet?'}",
                exit_code=Exit.NO_SUCH_WORKER,
            )
        others += [each for each in hits if each not in others]
    return chosen, silent


def _hits(name: str, names: Iterable[str]) -> list[str]:
    """Those that a name, a template or a glob means."""
    pattern = f"{name}*" if name.endswith("@") else name
    hits = [each for each in names if fnmatch.fnmatchcase(each, pattern)]
    if "*" in pattern:  # a glob of workers means no zygote
        hits = [each for each in hits if _is_worker(each) or pattern.startswith(_ZYGOTE)]
    return hits


def _known() -> list[str]:
    """Workers and zygotes of the running manager, or else of the fleet file."""
    from zygote.cli.names import known_logs  # asks the manager, which most calls need not

    return [name for name in known_logs() if name != "manager"]


def _say_nothing_yet(name: str) -> None:
    sys.stderr.write(f"{current.program}: '{name}' has written nothing yet\n")


def found(folder: Path) -> dict[str, Path]:
    """Every log: workers, then zygotes, then the manager's own."""
    paths = sorted(folder.glob(f"*{_SUFFIX}")) if folder.is_dir() else []
    named = {path.name.removesuffix(_SUFFIX): path for path in paths}
    ordered = {name: path for name, path in named.items() if _is_worker(name)}
    ordered |= named
    own = current.runtime_dir() / LOG_NAME
    if own.exists():
        ordered.setdefault("manager", own)
    return ordered


def _is_worker(name: str) -> bool:
    return not name.startswith(_ZYGOTE) and name != "manager"


def _log_dir() -> Path:
    """Where the fleet's logs are: as its file says, else in the runtime folder."""
    try:
        configured = where.read_head(current.fleet_file()).get("log_dir", "")
    except ZygoteError:
        configured = ""  # with --runtime-dir the file is not needed
    return Path(configured) if configured else current.runtime_dir() / "logs"


def last_words(name: str) -> str:
    """The last line of a worker's log; "" if there is none, or it may not be read."""
    try:
        lines = read_tail(_log_dir() / f"{name}{_SUFFIX}", 5)
    except (OSError, ZygoteError):
        return ""
    return next((line for line in reversed(lines) if line.strip()), "")


def _tail(path: Path, lines: int) -> list[str]:
    try:
        return read_tail(path, lines)
    except PermissionError as error:
        raise _forbidden(path, error) from None


def _follow(
    folder: Path,
    names: list[str],
    chosen: dict[str, Path],
    lines: int,
    tell: Callable[[str, str], None],
) -> None:
    """Until Ctrl-C. Without names, workers that come later are followed too, from their start."""
    followers = {name: Follower(path, max(0, lines)) for name, path in chosen.items()}
    turn = 0
    while True:
        for name, follower in followers.items():
            try:
                for line in follower.read():
                    tell(name, line)
            except PermissionError as error:
                raise _forbidden(chosen[name], error) from None
        turn += 1
        if turn % 5 == 0 and not names:
            for name, path in select(folder, names).items():
                if name not in followers:
                    chosen[name], followers[name] = path, Follower(path, sys.maxsize)
        time.sleep(PERIOD)


def _forbidden(path: Path, error: OSError) -> ZygoteError:
    return ZygoteError(
        f"the log {path} may not be read",
        code="not-allowed",
        hint="use the manager's own user, or sudo",
        errno=error.errno or 0,
        exit_code=Exit.NOT_ALLOWED,
    )


def printer(names: Iterable[str] | None) -> Callable[[str, str], None]:
    """Something that prints a line of a log; with its name in front if there are `names`."""
    prefixed = names is not None
    if not render.is_terminal():

        def raw(name: str, line: str) -> None:
            sys.stdout.write(f"{name} | {line}\n" if prefixed else f"{line}\n")
            sys.stdout.flush()

        return raw
    from rich.text import Text

    screen = render.console()
    styles: dict[str, str] = {}
    widest = max(map(len, names or ()), default=0)

    def coloured(name: str, line: str) -> None:
        nonlocal widest
        text = Text(clean(line))
        if prefixed:
            style = styles.setdefault(name, COLOURS[len(styles) % len(COLOURS)])
            widest = max(widest, len(name))
            text = Text.assemble((f"{name:<{widest}} | ", style), text)
        screen.print(text, soft_wrap=True)

    return coloured
