"""`zygotectl help`: the pages that explain a subject."""

from __future__ import annotations

import difflib
import sys
from importlib import resources
from typing import Annotated

from cyclopts import Parameter

from zygote.cli import render
from zygote.cli.context import current
from zygote.errors import Exit, ZygoteError


def topics() -> dict[str, str]:
    """Each topic with the first line of its page."""
    pages = resources.files("zygote.help").iterdir()
    names = sorted(p.name.removesuffix(".md") for p in pages if p.name.endswith(".md"))
    return {name: read(name).partition("\n")[0].lstrip("# ") for name in names}


def read(topic: str) -> str:
    """The page."""
    return (resources.files("zygote.help") / f"{topic}.md").read_text(encoding="utf-8")


def help(
    topic: Annotated[
        str | None, Parameter(help="A subject, or a command.", completer=lambda _: topics())
    ] = None,
    /,
) -> int:
    """Explain a subject. Without one, list the subjects."""
    known = topics()
    if topic is None:
        render.heading(f"{current.program} help SUBJECT")
        width = max(map(len, known))
        for name, title in known.items():
            render.heading(f"  {name:{width}}  {title}", "")
        name = current.program
        render.heading(f"Commands: {name} --help, {name} COMMAND --help", "dim")
        return 0
    if topic in known:
        _show(read(topic))
        return 0
    from zygote.cli.app import current_app

    app = current_app[-1]
    if topic in app and not topic.startswith("-"):
        app.help_print([topic])
        return 0
    near = difflib.get_close_matches(topic, known, n=1)
    raise ZygoteError(
        f"no help on '{topic}'",
        code="no-such-topic",
        hint=f"did you mean {near[0]}?" if near else f"there is: {', '.join(known)}",
        exit_code=Exit.USAGE,
    )


def _show(page: str) -> None:
    if not render.is_terminal():
        sys.stdout.write(page)
        return
    from rich.markdown import Markdown

    screen = render.console()
    screen.print(Markdown(page), width=min(screen.width, 100))
