"""The options that benchmarks have in common."""

from __future__ import annotations

import argparse


def parser(about: str | None) -> argparse.ArgumentParser:
    """A parser whose help is the benchmark's own docstring, with --json."""
    made = argparse.ArgumentParser(description=about, formatter_class=argparse.RawTextHelpFormatter)
    made.add_argument("--json", action="store_true", help="print one JSON object")
    return made


def on_a_floor(about: str | None, rounds: int) -> argparse.ArgumentParser:
    """The same for so many rounds on one floor: --n and --floor."""
    made = parser(about)
    made.add_argument("--n", type=int, default=rounds, help=f"rounds (default {rounds})")
    made.add_argument("--floor", default="decnet.floor", help="module to preload")
    return made
