"""The command line of a zygote."""

from __future__ import annotations

import getopt
import sys
from typing import NamedTuple

from zygote.errors import Exit
from zygote.forkserver.paths import NAMES

_USAGE = (
    "usage: python -m zygote.forkserver --link FD [--name NAME] [--generation N] "
    f"[--spawn-path {'|'.join(NAMES)}]"
)


class Options(NamedTuple):
    """What the manager said."""

    link: int
    name: str
    spawn_path: str


def parse() -> Options:
    """By getopt: argparse would add a dozen modules to every floor, for four options."""
    try:
        pairs, rest = getopt.getopt(
            sys.argv[1:], "", ["link=", "name=", "generation=", "spawn-path="]
        )
        given = dict(pairs)
        options = Options(
            int(given["--link"]), given.get("--name", ""), given.get("--spawn-path", "auto")
        )
        if rest or options.spawn_path not in NAMES:
            raise ValueError(f"unknown: {rest or options.spawn_path}")
    except (getopt.GetoptError, KeyError, ValueError) as error:
        print(f"zygote: {_USAGE} ({error})", file=sys.stderr)
        sys.exit(Exit.USAGE)
    return options
