"""`python -m zygote.fleet FILE`: check a fleet file, in a process that ends.

Prints one JSON object on stdout: the fleet as `zygote.fleet.model.Fleet.from_json` reads it and
exit code 0; or {"errors": [{code, message, hint, place, …}]} and exit code 7. `--json` may be
given and changes nothing. For people there is `zygotectl check`.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from zygote.errors import Exit
from zygote.fleet.load import check


def main(arguments: list[str]) -> int:
    """Check the one file named; returns the exit code."""
    names = [argument for argument in arguments if argument != "--json"]
    if len(names) != 1 or names[0].startswith("-"):
        sys.stderr.write("usage: python -m zygote.fleet FILE [--json]\n")
        return Exit.USAGE
    fleet, errors = check(Path(names[0]))
    if fleet is None:
        print(json.dumps({"errors": [error.as_dict() for error in errors]}))
        return Exit.FLEET_FILE
    print(json.dumps(fleet.to_json()))
    return Exit.DONE


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
