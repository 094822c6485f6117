"""`python -m zygote.control`: print the Varlink interface file; `--write` puts it in its place.

It is rendered from `zygote.control.interface`, so that the file never says what the code does not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from zygote.control.interface import NAME, ManagerInterface

FILE = Path(__file__).with_name(f"{NAME}.varlink")


def render() -> str:
    """The interface description, as GetInterfaceDescription answers it and the file holds it."""
    return ManagerInterface.render_interface_description().rstrip("\n") + "\n"


def main(arguments: list[str]) -> int:
    """Exit 0; 2 for an argument that is not known."""
    if arguments not in ([], ["--write"]):
        print("usage: python -m zygote.control [--write]", file=sys.stderr)
        return 2
    if arguments:
        FILE.write_text(render())
        print(FILE)
    else:
        print(render(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
