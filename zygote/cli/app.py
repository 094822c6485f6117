"""`zygotectl`, and the frame for command lines like it.

A tenant gives its users the same verbs on its own fleet, and verbs of its own beside them:

    from zygote.cli.app import App, drive

    def main() -> int:
        return drive("shopctl", "1.2", default_fleet=lambda: FLEET, extend=add_commands)

    def add_commands(app: App) -> None:
        app.command("shop.cli.orders:orders", name="orders", help="Show the orders of today.")

Commands are import strings and their help is given here, so that `--help` and each command load
only what they need. A command is a function with type hints and a docstring (cyclopts; options as
in `zygote.cli.options`); it returns an exit code or None, and raises `ZygoteError` for what goes
wrong. `zygote.cli.context.current` says which fleet it is about.

`run` never comes to cyclopts: it competes with a plain start of python.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from zygote import __version__
from zygote.cli import early, ground
from zygote.cli.context import current
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    from typing import Any

    from cyclopts import App

    from zygote.cli.ports import Port

COMMANDS = {
    "Beginning": {
        "init": "Write a fleet.toml for the project in this folder.",
        "import": "Make a fleet.toml of supervisord's, circus's, gunicorn's, systemd's file, or a "
        "Procfile.",
    },
    "Fleet": {
        "up": "Start the manager and its fleet.",
        "down": "Stop the fleet and its manager.",
        "reload": "Bring the fleet up to what is on disk, its file and its code, without a gap.",
        "reexec": "Upgrade the manager in place: same pid, same workers, new code.",
        "refork": "Fork a warm worker to be its zygote's next generation.",
        "check": "Check a fleet file: every mistake at once.",
        "install": "Make the fleet a service of systemd.",
        "uninstall": "Take the service away again.",
    },
    "Workers": {
        "spawn": "Start workers and wait until they are ready.",
        "scale": "Have so many instances of a template run.",
        "stop": "Stop workers gracefully, and keep them stopped.",
        "restart": "Stop workers, start them, wait until they are ready.",
        "kill": "Send a signal to workers; without --signal, stop them.",
    },
    "Watching": {
        "ps": "List processes with their memory.",
        "top": "The same, live.",
        "status": "Tell how the manager, or a worker, is.",
        "logs": "Show what workers wrote.",
        "events": "Show what happened.",
        "suggest": "Propose memory limits from what workers really took.",
        "cow": "Tell why a worker's memory is not shared: causes and objects, by name.",
    },
    "Floors": {
        "floor": "Measure what imports cost, and find out what to preload.",
        "audit": "Tell whether a process that imported something may be forked.",
        "bake": "Bake a floor to look at it, or stage by stage (--compare).",
    },
    "More": {
        "run": "Run any Python program in a copy of a zygote, on this terminal.",
        "help": "Explain a subject: memory, exit-codes, …",
    },
}


_ELSEWHERE = {"help": ("topics", "help"), "import": ("takeover", "take_over")}
"""Commands whose name is not that of their module and function."""


def main() -> int:
    """The command `zygotectl`; returns its exit code."""
    # asyncio imports ssl where it can: 4 MB and a fifth of its time, for a UNIX socket.
    sys.modules["ssl"] = None  # type: ignore[assignment]
    return drive("zygotectl", __version__)


def drive(
    program: str,
    version: str,
    *,
    default_fleet: Callable[[], Path] | None = None,
    extend: Callable[[App], None] | None = None,
    before_up: Callable[[], None] | None = None,
    ports: Callable[[Collection[str]], Iterable[Port]] | None = None,
    cold: Callable[[], tuple[float, str] | None] | None = None,
    tenant: Callable[[str], dict[str, Any]] | None = None,
    words: Sequence[str] | None = None,
) -> int:
    """Run one command line to its end; returns the exit code. Errors are reported here.

    Args:
        program: the name that messages begin with.
        version: what --version prints.
        default_fleet: the fleet file where --fleet names none.
        extend: adds commands.
        before_up: called before `up` starts a manager (a database to migrate); may raise.
        cold: tells `top` what the workers cost as cold processes, if that was ever measured: KiB,
            and when and how.
        ports: tells `check` which ports the workers of these names will listen on.
        tenant: gives what `install` adds to units of that name: the fields of
            `zygote.install.plan.Tenant`.
        words: the command line; default: that of this process.
    """
    current.program, current.version = program, version
    current.default_fleet, current.before_up = default_fleet, before_up
    current.ports, current.cold = ports, cold
    ground.hold_standard_streams()
    ground.speak_any_encoding()
    current.tenant = tenant or current.tenant
    try:
        ground.check_folder()
        rest = early.take_global_options(sys.argv[1:] if words is None else list(words), current)
        if rest[:1] == ["run"] and not early.wants_help(rest[1:]):
            from zygote.cli.run import run_words

            return run_words(rest[1:])
        current.json = early.wants_json(rest)
        rest = early.name_whole_fleet(rest)
        app = build_app(program, version, rest)
        if extend:
            extend(app)
        code = _dispatch(app, rest)
        sys.stdout.flush()  # here, where a reader that has left is no failure
        return code
    except ZygoteError as error:
        from zygote.cli import report

        return report.show(error)
    except KeyboardInterrupt:
        return Exit.INTERRUPTED
    except BrokenPipeError:
        # Who read our output has seen enough (`zygotectl logs | head`).
        from zygote.cli import report

        report.silence_stdout()
        return Exit.DONE
    except OSError as error:
        fault = _fault(error)
        if fault is None:
            raise
        from zygote.cli import report

        if fault.code == "no-output":
            report.silence_stdout()
        return report.show(fault)


def _fault(error: OSError) -> ZygoteError | None:
    """What may go wrong anywhere and is no fault of ours, told; None if it is something else."""
    if error.errno == errno.EMFILE:
        return ZygoteError("this command may not open as many files as it needs",
                           code="no-descriptors", hint="raise the limit: ulimit -n 1024",
                           errno=error.errno)  # fmt: skip
    if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO) or error.filename:
        return None
    return ZygoteError(f"the output cannot be written: {error.strerror}", code="no-output",
                       hint="free some space there, or send it elsewhere",
                       errno=error.errno)  # fmt: skip


def build_app(program: str, version: str, words: Sequence[str] = ()) -> App:
    """The cyclopts app with all verbs, none of them loaded.

    Args:
        words: the command line; the command in it has its own docstring as its help.
    """
    from cyclopts import App, Group, Parameter

    from zygote.cli.launch import launcher

    app = App(
        name=program,
        version=f"{program} {version}",
        help="Drive a fleet of Python workers that share one baked floor.",
        help_epilogue=f"Subjects: {program} help. Exit codes: {program} help exit-codes.",
        help_format="plaintext",
        version_flags=["--version"],
        default_parameter=Parameter(negative=()),
    )
    chosen = next((word for word in words if not word.startswith("-")), "")
    for order, (group, commands) in enumerate(COMMANDS.items()):
        shown = Group(group, sort_key=order)
        for place, (name, text) in enumerate(commands.items()):
            module, function = _ELSEWHERE.get(name, (name, name))
            app.command(
                f"zygote.cli.{module}:{function}", name=name, group=shown, sort_key=place,
                help=None if name == chosen else text,
            )  # fmt: skip
    completion = Group("Shell", sort_key=len(COMMANDS))
    app.command(
        "zygote.cli.completion:print_script", name="--completion", group=completion,
        help="Print the completion script for bash, zsh or fish.",
    )  # fmt: skip
    app.command(
        "zygote.cli.completion:install", name="--install-completion", group=completion,
        help="Install completion for the shell in use.",
    )  # fmt: skip

    app.meta.default(launcher(app))
    return app


def _dispatch(app: App, words: list[str]) -> int:
    from cyclopts import CycloptsError, UnknownCommandError

    current_app.append(app)
    try:
        code = app.meta(words, exit_on_error=False, print_error=False, result_action="return_value")
    except UnknownCommandError as error:
        raise _unknown(error.unused_tokens or [""], error.app or app) from None
    except CycloptsError as error:
        raise _usage(str(error)) from None
    return code if isinstance(code, int) else Exit.DONE


def _unknown(tokens: Sequence[str], app: App) -> ZygoteError:
    """cyclopts would load every command, tables and all, only to say what is meant."""
    from difflib import get_close_matches

    close = get_close_matches(tokens[0], [name for name in app if name[:1] != "-"], n=1)
    return _usage(
        f'unknown command "{tokens[0]}". ' + "".join(f'Did you mean "{c}"?' for c in close)
    )


def _usage(said: str) -> ZygoteError:
    """cyclopts' sentences in our shape: one fault, one way out."""
    fault, _, more = said.partition(". ")
    hint = f"{current.program} --help"
    if more.startswith("Did you mean"):
        hint = f"{more.partition('?')[0].lower()}? {hint} lists the commands".replace('"', "'")
    return ZygoteError(
        fault[:1].lower() + fault[1:].rstrip("."), code="usage", hint=hint, exit_code=Exit.USAGE
    )


current_app: list[App] = []
"""The app in use, for the commands that speak about the command line itself."""

__all__ = ["App", "build_app", "drive", "main"]
