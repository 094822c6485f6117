"""CPython's own tests in workers of a baked zygote: the same results as in cold processes?

    .venv/bin/python benchmarks/regression.py [--modules test_gc,test_ssl] [--json]

A zygote bakes decnet's floor with every stage, then each module of the list runs twice, as
`python -m test MODULE` in a cold process and in a worker, in the same folder with the same
environment. Compared is the outcome of every single test (passed, failed, error, skipped), not only
how the process ended. A module that differs is run again both ways: what differs only once is
called unsteady and listed. What differs for a reason is in ALLOWED below, with the reason; any
other difference makes the exit code 1.

Needs an interpreter that ships its tests (Debian's does not: libpython3.X-testsuite).
"""

from __future__ import annotations

import importlib.util
import json
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.support import options
from benchmarks.support.about import about
from benchmarks.support.regrtest import Runner, differences
from zygote.fleet.model import ZygoteSpec
from zygote.inspect.lone import LoneZygote, environment

FLOOR = ("decnet.floor",)
WARM = ("decnet.floor:warm",)

MODULES = (
    "test_dict", "test_list", "test_set", "test_bytes", "test_str", "test_int", "test_float",
    "test_weakref", "test_weakset", "test_gc", "test_finalization", "test_code", "test_funcattrs",
    "test_descr", "test_type_cache", "test_opcache", "test_monitoring", "test_sys",
    "test_sys_settrace", "test_dynamicclassattribute", "test_generators", "test_coroutines",
    "test_contextlib", "test_context", "test_functools", "test_collections", "test_dataclasses",
    "test_enum", "test_typing", "test_inspect", "test_copy", "test_pickle", "test_json",
    "test_re", "test_datetime", "test_decimal", "test_struct", "test_io", "test_os",
    "test_signal", "test_fork1", "test_subprocess", "test_threading", "test_thread",
    "test_queue", "test_selectors", "test_socket", "test_ssl", "test_sqlite3", "test_asyncio",
    "test_logging", "test_warnings", "test_traceback", "test_exceptions", "test_atexit",
    "test_tracemalloc", "test_import",
)  # fmt: skip
"""What a bake touches (objects, counts, the collector, code, types), and what workers do."""

ALLOWED = {
    "typing._collect_parameters": "a doctest of a function that typing_extensions, which pydantic "
    "imports, puts another in the place of (up to 3.12): no program that imports it has that test",
}
"""Test -> why it differs in a worker. A name that ends in `*` stands for all that begin so."""


def say(line: str) -> None:
    """Progress, for people."""
    print(f"regression.py: {line}", file=sys.stderr, flush=True)


def reason(test: str) -> str:
    """Why this test may differ, or ""."""
    for name, why in ALLOWED.items():
        if test == name or (name.endswith("*") and test.startswith(name[:-1])):
            return why
    return ""


def compare(module: str, cold: Runner, baked: Runner) -> dict[str, Any]:
    """Run one module both ways, and again where that differs."""
    say(f"{module}, cold …")
    first = cold.run(module)
    say(f"{module}, baked … (cold: {first.words()}, {first.seconds:.0f} s)")
    second = baked.run(module)
    found = differences(first, second)
    unsteady: dict[str, list[str]] = {}
    open_ones = [test for test in found if not reason(test)]
    if open_ones:
        say(f"{module} again: {len(open_ones)} tests differ, {', '.join(open_ones[:3])} …")
        again = differences(cold.run(module), baked.run(module))
        unsteady = {test: found[test] for test in open_ones if again.get(test) != found[test]}
        found = {test: pair for test, pair in found.items() if test not in unsteady}
    return {
        "module": module,
        "cold": first.words(),
        "baked": second.words(),
        "cold_end": first.end,
        "baked_end": second.end,
        "cold_s": first.seconds,
        "baked_s": second.seconds,
        "failed_cold": sorted(n for n, kind in first.tests.items() if kind in ("failed", "error")),
        "differs": {test: pair for test, pair in found.items() if not reason(test)},
        "explained": {test: [*pair, reason(test)] for test, pair in found.items() if reason(test)},
        "unsteady": unsteady,
        "output": second.output if any(not reason(test) for test in found) else "",
    }


def table(rows: list[dict[str, Any]]) -> str:
    """For people."""
    lines = [f"  {'module':26} {'cold':38} {'baked':38} same"]
    for row in rows:
        same = "NO" if row["differs"] else "but for" if row["explained"] else "yes"
        lines.append(f"  {row['module']:26} {row['cold']:38} {row['baked']:38} {same}")
        for test, pair in row["differs"].items():
            lines.append(f"    {test or 'the process'}: cold {pair[0]}, baked {pair[1]}")
        for test, (was, now, why) in row["explained"].items():
            lines.append(f"    {test or 'the process'}: cold {was}, baked {now}: {why}")
        for test, pair in row["unsteady"].items():
            lines.append(f"    unsteady: {test or 'the process'}: cold {pair[0]}, baked {pair[1]}")
    return "\n".join(lines)


def run(
    modules: tuple[str, ...], preload: tuple[str, ...], warm: tuple[str, ...]
) -> dict[str, Any]:
    """Bake, compare them all; what `--json` prints."""
    spec = ZygoteSpec("regression", preload, warm, cwd=str(Path(__file__).resolve().parent.parent))
    env = environment(spec)
    began = time.monotonic()
    say(f"baking {', '.join(preload)} …")
    with (
        tempfile.TemporaryDirectory(prefix="regrtest-") as name,
        LoneZygote(spec, env) as zygote,
    ):
        folder = Path(name)
        cold, baked = Runner(folder, env), Runner(folder, env, zygote)
        rows = [compare(module, cold, baked) for module in modules]
        skipped = [stage["name"] for stage in zygote.baked["skipped"]]
    return {
        **about(),
        "floor": list(preload),
        "skipped_stages": skipped,
        "seconds": round(time.monotonic() - began, 1),
        "tests": sum(sum(map(int, _numbers(row["baked"]))) for row in rows),
        "same": all(not row["differs"] for row in rows),
        "modules": rows,
    }


def _numbers(words: str) -> list[str]:
    return [word for word in words.split() if word.isdecimal()]


def main() -> int:
    parser = options.parser(__doc__)
    parser.add_argument("--modules", default=",".join(MODULES), help="which, comma-separated")
    given = parser.parse_args()
    if importlib.util.find_spec("test.libregrtest") is None:
        say(f"Python {platform.python_version()} at {sys.executable} does not ship its own tests")
        return 2
    result = run(tuple(given.modules.split(",")), FLOOR, WARM)
    print(json.dumps(result, indent=1) if given.json else table(result["modules"]))
    return 0 if result["same"] else 1


if __name__ == "__main__":
    sys.exit(main())
