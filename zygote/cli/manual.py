"""Manual pages, made of the command lines themselves and of the pages that `help` shows.

`python -m zygote.cli.manual DIR` writes man1/zygotectl.1 and man5/zygotectl-fleet.5 into DIR; a
tenant calls `write_commands` with its own app.
"""

from __future__ import annotations

import inspect
import os
import sys
import time
import typing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zygote import __version__
from zygote.cli.roff import convert, escape, head, inline
from zygote.cli.topics import read

if TYPE_CHECKING:
    from cyclopts import App

_ENVIRONMENT = """\
## Environment

- `ZYGOTE_FLEET`: the fleet file, where --fleet names none.
- `ZYGOTE_RUNTIME_DIR`: the manager's folder, where --runtime-dir names none.
- `NO_COLOR`: no colours.

## Files

- `fleet.toml`: the fleet, in the current folder.
- `/run/zygote/NAME`, `$XDG_RUNTIME_DIR/zygote/NAME`, `/tmp/zygote-UID/NAME`: the manager's folder.
"""


def commands(app: App, program: str, about: str, see: str) -> str:
    """The page of a command line, section 1."""
    parts = [head(program, 1, _date(), f"{program} {__version__}", about)]
    parts.append(
        f".SH SYNOPSIS\n.B {escape(program)}\n[\\fB\\-\\-fleet\\fR \\fIFILE\\fR] "
        "[\\fB\\-\\-runtime\\-dir\\fR \\fIDIR\\fR] \\fICOMMAND\\fR [\\fIOPTIONS\\fR]\n"
    )
    parts.append(f".SH DESCRIPTION\n{inline(str(app.help or about))}\n")
    groups: dict[str, list[str]] = {}
    for name in _names(app):
        group = _group(app, name)
        groups.setdefault(group, []).append(_command(app, program, (name,)))
    for group, entries in groups.items():
        parts.append(f".SH {escape(group.upper())}\n" + "".join(entries))
    parts.append(".SH EXIT STATUS\n" + convert(read("exit-codes")))
    parts.append(convert(_ENVIRONMENT))
    parts.append(f".SH SEE ALSO\n{see}\n")
    return "".join(parts)


def fleet_file() -> str:
    """The page of the fleet file, section 5."""
    about = "a fleet of Python workers, in TOML"
    first = head("zygotectl-fleet", 5, _date(), f"zygotectl {__version__}", about)
    text = read("fleet-file").partition("\n")[2]
    return f"{first}.SH DESCRIPTION\n{convert(text)}.SH SEE ALSO\n.BR zygotectl (1)\n"


def write_commands(app: App, folder: Path, program: str, about: str, see: str) -> Path:
    """Write the page of a command line below `folder`; gives its path."""
    return _write(folder / "man1" / f"{program}.1", commands(app, program, about, see))


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def _date() -> str:
    """Of the build; SOURCE_DATE_EPOCH makes it the same every time."""
    stamp = os.environ.get("SOURCE_DATE_EPOCH")
    return time.strftime("%Y-%m-%d", time.gmtime(int(stamp) if stamp else None))


def _names(app: App) -> list[str]:
    hidden = ("-h", "--help", "--version")
    return [name for name in app if name not in hidden and app[name].show]


def _group(app: App, name: str) -> str:
    groups = app[name].group
    first = groups[0] if isinstance(groups, tuple | list) and groups else groups
    return str(getattr(first, "_name", first) or "Commands")


def _command(app: App, program: str, path: tuple[str, ...]) -> str:
    """One command with its options; one that has commands of its own, with those."""
    sub = app
    for name in path:
        sub = sub[name]
    inner = _names(sub) if sub.default_command is None else []
    if inner:
        return "".join(_command(app, program, (*path, name)) for name in inner)
    arguments = [each for each in sub.assemble_argument_collection() if each.show]
    usage = " ".join(filter(None, (_usage(each) for each in arguments)))
    text = [f".SS {escape(' '.join((program, *path)))} {usage}"]
    function = sub.default_command
    said = inspect.cleandoc(function.__doc__ or "") if function else str(sub.help or "")
    said = said.partition("\nArgs:")[0].strip()
    for paragraph in said.split("\n\n"):
        text += [".PP", *(inline(line.strip()) for line in paragraph.split("\n") if line.strip())]
    for each in arguments:
        text += [".TP", _spelled(each), inline(_meaning(each)) or "\\&"]
    return "\n".join(text) + "\n"


def _usage(argument: Any) -> str:
    if not _is_positional(argument):
        return ""
    name = argument.names[0].upper()
    many = "..." if "list" in str(argument.hint) else ""
    return (
        f"\\fI{escape(name)}\\fR{many}" if argument.required else f"[\\fI{escape(name)}\\fR{many}]"
    )


def _is_positional(argument: Any) -> bool:
    return not any(name.startswith("-") for name in argument.names)


def _spelled(argument: Any) -> str:
    if _is_positional(argument):
        return f"\\fI{escape(argument.names[0].upper())}\\fR"
    names = [name for name in argument.names if not name.startswith("--no-")]
    spelled = ", ".join(f"\\fB{escape(name)}\\fR" for name in names)
    if argument.hint is bool:
        return spelled
    return f"{spelled} \\fI{escape(_values(argument.hint))}\\fR"


def _values(hint: Any) -> str:
    """What an option takes: its words, or a name for their kind."""
    words = [each for each in typing.get_args(hint) if isinstance(each, str)]
    if not words:
        for inner in typing.get_args(hint):
            words += [each for each in typing.get_args(inner) if isinstance(each, str)]
    if words:
        return "|".join(words)
    return {"int": "N", "float": "N", "str": "TEXT"}.get(getattr(hint, "__name__", ""), "VALUE")


def _meaning(argument: Any) -> str:
    text = str(argument.parameter.help or "")
    default = argument.field_info.default
    shown = argument.parameter.show_default is not False and not isinstance(default, bool)
    return f"{text} Default: {default}." if shown and isinstance(default, str | int) else text


def main(arguments: list[str]) -> int:
    """Write our own pages into a folder."""
    from zygote.cli.app import build_app

    folder = Path(arguments[0]) if arguments else Path("build/man")
    app = build_app("zygotectl", __version__)
    about = "drive a fleet of Python workers that share one baked floor"
    see = ".BR zygotectl\\-fleet (5),\n.BR decnetctl (1)"
    paths = [write_commands(app, folder, "zygotectl", about, see)]
    paths.append(_write(folder / "man5" / "zygotectl-fleet.5", fleet_file()))
    for path in paths:
        sys.stderr.write(f"{path}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
