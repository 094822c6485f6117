"""Write README's figures from benchmarks/results/*.json: no figure in README is typed by hand.

    .venv/bin/python benchmarks/readme.py [--check]

--check changes nothing and exits 1 where README differs from the results.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import tables

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "benchmarks" / "results"
BEGIN = "<!-- figures: written by `make bench`, from benchmarks/results/ -->"
END = "<!-- /figures -->"
OTHER_SIZES = ("peers-8", "peers-128")


def read(name: str) -> dict[str, Any]:
    """A result."""
    found: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text())
    return found


def is_there(name: str) -> bool:
    """Whether it was measured."""
    return (RESULTS / f"{name}.json").exists()


def figures() -> str:
    """The block between the marks, in Markdown."""
    parts = [
        tables.fleet(read("fleet")),
        tables.drift(read("drift")),
        tables.peers(read("peers-32"), [read(name) for name in OTHER_SIZES if is_there(name)]),
        tables.bake(read("bake")),
        ["![What each stage of the bake saves](benchmarks/results/bake.png)"],
        tables.spawn(read("spawn")),
        tables.tree(read("tree")),
        tables.blanks(read("blanks")),
        tables.refork(read("refork")),
        tables.isolation(read("isolation")),
        tables.reload(read("reload")),
        tables.regression(read("regression")),
        tables.chaos(read("chaos")),
        tables.thousand(read("thousand")),
        tables.audit(read("audit-popular")),
    ]
    return "\n\n".join("\n".join(part) for part in parts)


def main() -> int:
    readme = ROOT / "README.md"
    old = readme.read_text()
    head, tail = old.split(BEGIN)[0], old.split(END)[1]
    new = f"{head}{BEGIN}\n{figures()}\n{END}{tail}"
    if "--check" in sys.argv:
        if new != old:
            print(
                "README's figures are not those of benchmarks/results: make bench", file=sys.stderr
            )
        return int(new != old)
    readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
