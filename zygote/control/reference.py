"""The control interface as a page: made of the Varlink file, so that it says what is served.

`python -m zygote.control.reference` prints it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

FILE = Path(__file__).parent / "io.zygote.Manager.varlink"
_MEMBER = re.compile(r"(type|method|error) (\w+) ?\(")
_HEAD = """\
# The control interface `{name}`

{about}

Made of `zygote/control/{file}`, which the manager serves itself:
`varlinkctl introspect SOCKET {name}`.
How to call it, and from which languages: `zygotectl help control-protocol`.
"""


def page(text: str | None = None) -> str:
    """The page, in Markdown.

    Args:
        text: an interface in Varlink's language; default: the manager's.
    """
    lines = (FILE.read_text(encoding="utf-8") if text is None else text).splitlines()
    about, name = [], ""
    members: dict[str, list[str]] = {"method": [], "type": [], "error": []}
    said: list[str] = []
    for line in lines:
        if line.startswith("#"):
            said.append(line.lstrip("#").strip())
        elif line.startswith("interface "):
            about, name, said = said, line.split()[1], []
        elif match := _MEMBER.match(line):
            members[match[1]].append(_member(match[1], match[2], line, said))
            said = []
        elif not line.strip():
            said = []
    parts = [_HEAD.format(name=name, about=" ".join(about), file=FILE.name)]
    for kind, title in (("method", "Methods"), ("error", "Errors"), ("type", "Types")):
        parts.append(f"## {title}\n")
        parts += members[kind]
    return "\n".join(parts).rstrip() + "\n"


def _member(kind: str, name: str, line: str, said: list[str]) -> str:
    """One method, type or error: its comment, and its fields each on a line."""
    text = [f"### {name}", ""]
    paragraphs = " ".join(part or "\n\n" for part in said).strip()
    if paragraphs:
        text += [*(part.strip() for part in re.split(r"\n\n", paragraphs)), ""]
    into, _, out = line[line.index("(") :].partition(" -> ")
    if kind == "method":
        text += ["takes:" if _fields(into) else "takes nothing", "", *_fields(into)]
        text += ["", "gives:" if _fields(out) else "gives nothing", "", *_fields(out)]
    else:
        text += _fields(into)
    return "\n".join([*text, ""])


def _fields(text: str) -> list[str]:
    inner = text.strip()[1:-1]
    if not inner:
        return []
    pairs = (each.partition(": ") for each in inner.split(", "))
    return [f"- `{name}`: {_words(kind)}" for name, _, kind in pairs]


def _words(kind: str) -> str:
    if kind.startswith("?"):
        return f"{_words(kind[1:])}, or null"
    if kind.startswith("[]"):
        return f"list of {_words(kind[2:])}"
    if kind.startswith("[string]"):
        return f"map of text to {_words(kind[8:])}"
    plain = {"string": "text", "int": "whole number", "float": "number", "bool": "true or false"}
    return plain.get(kind, f"[{kind}](#{kind.lower()})")


if __name__ == "__main__":
    sys.stdout.write(page())
