"""What must be known before the command line is parsed as a whole.

The global options stand before the command, as `-f` after it means something else (`logs -f`);
the long ones may stand anywhere else, too, which is cyclopts' part.
"""

from __future__ import annotations

from zygote.cli.context import Context
from zygote.errors import Exit, ZygoteError

_FLEET, _RUNTIME = ("-f", "--fleet"), ("--runtime-dir",)


def take_global_options(words: list[str], into: Context) -> list[str]:
    """Take the leading --fleet, -f and --runtime-dir; returns the rest.

    Raises:
        ZygoteError: code usage; one has no value.
    """
    rest = list(words)
    while rest:
        name, equals, value = rest[0].partition("=")
        if name not in _FLEET + _RUNTIME or (equals and name == "-f"):
            break
        if not equals:
            if len(rest) < 2 or not rest[1]:
                raise ZygoteError(
                    f"{name} needs a value",
                    code="usage",
                    hint=f"{into.program} {name} {'FILE' if name in _FLEET else 'DIR'} COMMAND …",
                    exit_code=Exit.USAGE,
                )
            value = rest.pop(1)
        rest.pop(0)
        if name in _FLEET:
            into.fleet = value
        else:
            into.runtime = value
    return rest


def name_whole_fleet(words: list[str]) -> list[str]:
    """`cow --fleet` without a value means all workers; with one, --fleet names the file as ever."""
    if words[:1] != ["cow"]:
        return words
    after = [*words[1:], "-"]
    return [
        "--all" if word == "--fleet" and following.startswith("-") else word
        for word, following in zip(words, after, strict=True)
    ]


def wants_help(words: list[str]) -> bool:
    """`run --help`, and not `run -- prog --help`."""
    return words[:1] in (["--help"], ["-h"])


def wants_json(words: list[str]) -> bool:
    """--json stands among the options."""
    options = words[: words.index("--")] if "--" in words else words
    return "--json" in options
