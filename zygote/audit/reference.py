"""The list of rules in the pages on fork safety, made from the rules themselves.

`python -m zygote.audit.reference PAGE` prints the page with the list brought up to date; a test
holds the pages equal to that.
"""

from __future__ import annotations

import re
import sys
import textwrap
from pathlib import Path

from zygote.audit.known import LIBRARIES
from zygote.audit.rules import REFUSE, TABLE, WARN

HEADING = "## The rules"
PAGE = Path(__file__).parent.parent / "help" / "fork-safety.md"
_SECTION = re.compile(rf"(?<=^{HEADING}\n).*?(?=^## |\Z)", re.DOTALL | re.MULTILINE)


def page(text: str) -> str:
    """The page's text with the section renewed; the rest is as it was.

    Raises:
        ValueError: it has no such section.
    """
    if not _SECTION.search(text):
        raise ValueError(f"the page has no heading '{HEADING}'")
    made = f"\n{section()}\n\n"
    return _SECTION.sub(lambda _: made, text).rstrip("\n") + "\n"


def section() -> str:
    """All rules, those that refuse first; then the libraries that remedies know of."""
    parts = [
        "Refused, unless `allow` has the rule with a reason:",
        "\n".join(_entry(name) for name, rule in TABLE.items() if rule.severity == REFUSE),
        "Warnings, which refuse nothing:",
        "\n".join(_entry(name) for name, rule in TABLE.items() if rule.severity == WARN),
        textwrap.fill(
            f"Remedies know: {'; '.join(library.name for library in LIBRARIES)}.", 100,
            break_on_hyphens=False,
        ),
    ]  # fmt: skip
    return "\n\n".join(parts)


def _entry(name: str) -> str:
    rule = TABLE[name]
    text = f"{rule.title}: {rule.why}. Instead: {rule.remedy}."
    body = textwrap.fill(
        text, 98, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
    )
    return f"- `{name}`  \n{body}"


if __name__ == "__main__":
    _page = Path(sys.argv[1]) if len(sys.argv) > 1 else PAGE
    sys.stdout.write(page(_page.read_text(encoding="utf-8")))
