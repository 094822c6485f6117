"""What each stage of the bake saves on a floor: one bake a row, three workers a bake.

For each row a fresh zygote bakes the floor with one more stage than in the row above; the last row
is the bake as the fleet file has it. From each three workers are forked:

    idle     an asyncio worker that has started and waits
    gc       the same after a full collection
    worked   one that has done some work

The figures are private memory (USS), in MB of 10^6 bytes, and the zygote's RSS.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.fleet.words import BAKE_STAGES
from zygote.inspect.lone import LoneZygote
from zygote.sys import procfs

_FIRST = (
    "freeze",
    "warm",
    "collect",
    "trim",
    "immortalise",
    "seal",
    "relocate",
    "keep",
    "collapse",
)
NOTHING = "nothing"
MB = 1024 / 1e6
PATIENCE = 300.0
"""Seconds that a worker may take for its work."""

_IDLE = """
import asyncio, os
async def main():
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""
_GC = """
import asyncio, gc, os
async def main():
    gc.collect()
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""
_WORKED = """
import asyncio, importlib, inspect, os
def call(entry):
    module, _, path = entry.partition(":")
    function = importlib.import_module(module)
    for name in path.split("."):
        function = getattr(function, name)
    result = function()
    if inspect.isawaitable(result):
        async def wait():
            return await result
        asyncio.run(wait())
for number in range({rounds}):
    for entry in {entries!r}:
        call(entry)
from zygote.memory import reshare
reshare()
async def main():
    os.close(os.open({mark!r}, os.O_CREAT | os.O_WRONLY))
    await asyncio.sleep(3600)
asyncio.run(main())
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One bake. MB of 10^6 bytes; `worked_mb` is None where there was no work to do.

    Attributes:
        name: "nothing", or "+ STAGE".
        idle_mb, gc_mb, worked_mb: private memory of a worker.
        zygote_mb: the zygote's RSS.
        seconds: that the bake took, the start of the interpreter included.
        skipped: stages that could not be, or had no effect to have.
    """

    name: str
    idle_mb: float
    gc_mb: float
    worked_mb: float | None
    zygote_mb: float
    seconds: float
    skipped: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Keys are stable."""
        return {**asdict(self), "skipped": list(self.skipped)}


def order(stages: Collection[str] = BAKE_STAGES) -> tuple[str, ...]:
    """In which order stages are added: what helps most without the others comes first."""
    known = [name for name in _FIRST if name in stages]
    return (*known, *(name for name in BAKE_STAGES if name in stages and name not in known))


def rows_of(spec: ZygoteSpec) -> dict[str, tuple[str, ...]]:
    """Name of each row → its stages; of a zygote whose `bake` names some, of those."""
    stages = order(BAKE_STAGES if spec.bake is None else spec.bake)
    rows: dict[str, tuple[str, ...]] = {NOTHING: ()}
    return rows | {f"+ {name}": stages[: n + 1] for n, name in enumerate(stages)}


def chosen(spec: ZygoteSpec, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The rows of these names ("nothing", "freeze", "last"); all of them if none is named.

    Raises:
        ZygoteError: code usage; there is no such row.
    """
    rows = rows_of(spec)
    plain = {name.removeprefix("+ "): name for name in rows} | {"last": list(rows)[-1]}
    for name in names:
        if name not in plain:
            raise ZygoteError(
                f"no row is called '{name}'",
                code="usage", hint=f"there are {', '.join(plain)}", exit_code=Exit.USAGE,
            )  # fmt: skip
    wanted = {plain[name] for name in names} or set(rows)
    return {name: stages for name, stages in rows.items() if name in wanted}


def work_of(entries: Sequence[str], rounds: int) -> str:
    """The code of the worker that works: it calls `module:function`s, so many times."""
    return _WORKED.replace("{entries!r}", repr(tuple(entries))).replace("{rounds}", str(rounds))


def compare(
    spec: ZygoteSpec,
    env: Mapping[str, str],
    rows: Mapping[str, tuple[str, ...]],
    work: str,
    *,
    output: int = 2,
    parent: LoneZygote | None = None,
    jobs: int = 1,
    tell: Callable[[str, str], None] = lambda _row, _what: None,
) -> list[Row]:
    """Bake and measure, row by row.

    Args:
        work: code of a worker that makes the file {mark!r} when it is done; "": none.
        output, parent: as `LoneZygote`; of a branch its parent is baked whole in every row.
        jobs: so many rows at a time: sooner done, and the figures are the same but for `seconds`.
        tell: called with the row and what is being done about it.
    Raises:
        ZygoteError: a bake or a worker failed.
    """

    def measure(name: str) -> Row:
        tell(name, "baking")

        def progress(stage: str, detail: str) -> None:
            tell(name, f"baking: {stage} {detail}".rstrip())

        row_spec = replace(spec, bake=rows[name])
        began = time.monotonic()
        with LoneZygote(row_spec, env, output=output, tell=progress, parent=parent) as zygote:
            seconds = time.monotonic() - began
            return _measured(name, zygote, seconds, work, lambda: tell(name, "measuring"))

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(measure, rows))


def _measured(
    name: str, zygote: LoneZygote, seconds: float, work: str, tell: Callable[[], None]
) -> Row:
    """Its workers, one after the other."""
    with tempfile.TemporaryDirectory(prefix="zygote-bakes-") as folder:
        mark = Path(folder) / "mark"

        def private(code: str) -> float:
            filled = code.replace("{mark!r}", repr(str(mark)))
            return round(zygote.measure(filled, mark, PATIENCE).uss_kib * MB, 2)

        # The first worker also maps pages of libraries that nobody had touched before.
        private(_IDLE)
        figures = procfs.read_memory(zygote.pid)
        assert figures is not None
        tell()
        return Row(
            name=name,
            idle_mb=private(_IDLE),
            gc_mb=private(_GC),
            worked_mb=private(work) if work else None,
            zygote_mb=round(figures.rss_kib * MB, 1),
            seconds=round(seconds, 2),
            skipped=tuple(
                each["name"]
                for each in zygote.baked["skipped"]
                if each["name"] in (zygote.spec.bake or ())
            ),
        )
