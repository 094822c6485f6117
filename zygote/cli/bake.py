"""`zygotectl bake`: bake a floor to look at it, and compare what its stages save."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import IO, Annotated, Any

from cyclopts import Parameter

from zygote.cli import render, report
from zygote.cli.context import current
from zygote.cli.floor import find_zygotes
from zygote.cli.options import Json
from zygote.cli.progress import Progress
from zygote.cli.render import Column
from zygote.errors import Exit, ZygoteError
from zygote.fleet.model import ZygoteSpec
from zygote.inspect import bakes
from zygote.inspect.bakes import Row
from zygote.inspect.floor import Place, compile_first
from zygote.inspect.lone import LoneZygote, environment
from zygote.sys import procfs


def bake(
    floor: Annotated[
        str | None, Parameter(help="A zygote of the fleet file. Default: floor, or the first.")
    ] = None,
    /,
    *,
    compare: Annotated[
        bool, Parameter(show_default=False, help="Bake it with one stage more each time.")
    ] = False,
    rows: Annotated[
        str | None,
        Parameter(help="--compare only these: nothing,freeze,…,last (the whole bake)."),
    ] = None,
    last: Annotated[
        bool, Parameter(show_default=False, help="--compare: the whole bake only.")
    ] = False,
    rounds: Annotated[int, Parameter(help="--compare: how often the work is done.")] = 3,
    work: Annotated[
        str | None,
        Parameter(help="--compare: the work, module:function. Default: the zygote's warm."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Bake a zygote of the fleet file beside the running fleet, and tell how that went.

    Nothing of the fleet is touched, and no manager is needed. With --compare
    it is baked once for each stage; for each bake three workers are measured:
    one that idles, one after a full collection, one that has worked.
    """
    if not compare and (rows or last or work):
        raise _usage("--rows, --last and --work go with --compare", "add --compare")
    if rounds < 1 or (work and ":" not in work):
        raise _usage("--rounds is at least 1, --work a module:function",
                     "--compare --work shop.tasks:warm --rounds 3")  # fmt: skip
    chain = find_zygotes(floor)
    spec = chain[-1]
    quiet = as_json and not sys.stderr.isatty()
    with tempfile.TemporaryFile() as log, Progress(f"baking {spec.name}", quiet=quiet) as progress:
        try:
            if compare:
                names = ["last"] if last else (rows or "").split(",") if rows else []
                chosen = bakes.chosen(spec, names)
                entries = [work] if work else list(spec.warm)
                found = _compare(
                    chain, chosen, entries, rounds, log, lambda text: progress.show([text])
                )
            else:
                answer = _once(chain, log, lambda text: progress.show([text]))
        except ZygoteError:
            _show_output(log)
            raise
    if compare:
        _show_compared(spec, found, entries, rounds, as_json)
    elif as_json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        _show(spec, answer)
    return Exit.DONE


def _once(
    chain: Sequence[ZygoteSpec], log: IO[bytes], tell: Callable[[str], None]
) -> dict[str, Any]:
    def stage(name: str, detail: str) -> None:
        tell(f"{name}: {detail}" if detail else name)

    spec = chain[-1]
    with (
        _parents(chain, log, tell) as parent,
        LoneZygote(
            spec, environment(spec), output=log.fileno(), tell=stage, parent=parent
        ) as zygote,
    ):
        memory = procfs.read_memory(zygote.pid)
        assert memory is not None
        return {"zygote": spec.name, "file": spec.place, **zygote.baked, "memory": asdict(memory)}


def _compare(
    chain: Sequence[ZygoteSpec],
    rows: dict[str, tuple[str, ...]],
    entries: Sequence[str],
    rounds: int,
    log: IO[bytes],
    tell: Callable[[str], None],
) -> list[Row]:
    def step(row: str, what: str) -> None:
        # Nine bakes of a dozen steps each are worth seeing only where the line is overwritten.
        if sys.stderr.isatty() or what in ("baking", "measuring"):
            tell(f"{row}: {what}")

    spec = chain[-1]
    env = environment(spec)
    # An uncompiled floor would leave its compiler's garbage in the first row alone.
    preload = [module for each in chain for module in each.preload]
    if preload:
        place = Place(spec.python or sys.executable, spec.cwd, _with_path(spec, env))
        compile_first(preload, place, tell)
    code = bakes.work_of(entries, rounds) if entries else ""
    with _parents(chain, log, tell) as parent:
        return bakes.compare(spec, env, rows, code, output=log.fileno(), parent=parent, tell=step)


@contextmanager
def _parents(
    chain: Sequence[ZygoteSpec], log: IO[bytes], tell: Callable[[str], None]
) -> Iterator[LoneZygote | None]:
    """The zygote to fork the last one from, baked whole; None for one that starts from nothing."""
    with ExitStack() as open_ones:
        parent = None
        for spec in chain[:-1]:
            tell(f"{spec.name}, which {chain[-1].name} is forked from: baking")
            zygote = LoneZygote(spec, environment(spec), output=log.fileno(), parent=parent)
            parent = open_ones.enter_context(zygote)
        yield parent


def _with_path(spec: ZygoteSpec, env: dict[str, str]) -> dict[str, str]:
    paths = [*spec.path, *filter(None, [env.get("PYTHONPATH")])]
    return {**env, "PYTHONPATH": ":".join(paths)} if paths else env


STAGES = (
    Column("STAGE", lambda row: row["name"]),
    Column("TIME", lambda row: row["took"], right=True),
    Column("RESULT", lambda row: row["detail"]),
)
COMPARED = (
    Column("BAKE", lambda row: row.name),
    Column("IDLE", lambda row: f"{row.idle_mb:.2f}", right=True, plain="IDLE_MB"),
    Column("AFTER_GC", lambda row: f"{row.gc_mb:.2f}", right=True, plain="AFTER_GC_MB"),
    Column(
        "WORKED", lambda row: "" if row.worked_mb is None else f"{row.worked_mb:.2f}",
        right=True, plain="WORKED_MB",
    ),
    Column("ZYGOTE", lambda row: f"{row.zygote_mb:.1f}", right=True, plain="ZYGOTE_MB"),
    Column("BAKE_TIME", lambda row: f"{row.seconds:.1f}s", right=True),
    Column("SKIPPED", lambda row: ",".join(row.skipped), drop=1),
)  # fmt: skip


def _show(spec: ZygoteSpec, answer: dict[str, Any]) -> None:
    lines = [
        {"name": s["name"], "took": render.milliseconds(s["seconds"] * 1000), "detail": s["detail"]}
        for s in answer["stages"]
    ]
    lines += [{"name": s["name"], "took": "skipped", "detail": s["why"]} for s in answer["skipped"]]
    render.show(STAGES, lines)
    memory = answer["memory"]
    for finding in answer["findings"]:
        word = "warning" if finding.get("severity") == "warn" else "allowed"
        render.heading(
            f"{word}: {finding['rule']}: {finding['module']} {finding['what']}", "yellow"
        )
    why = f" ({answer['spawn_path_reason']})" if answer.get("spawn_path_reason") else ""
    render.heading(
        f"zygote '{spec.name}': {answer['modules']} modules, baked in {answer['seconds']:.1f} s; "
        f"RSS {render.megabytes(memory['rss_kib'])} MB; Python {answer['python']}; "
        f"workers by {answer['spawn_path']}{why}", "",
    )  # fmt: skip


def _show_compared(
    spec: ZygoteSpec, rows: Sequence[Row], entries: Sequence[str], rounds: int, as_json: bool
) -> None:
    work = f"{', '.join(entries)}, {rounds} times" if entries else ""
    if as_json:
        answer = {
            "zygote": spec.name,
            "work": list(entries),
            "rounds": rounds,
            "stages": [row.as_json() for row in rows],
        }
        sys.stdout.write(json.dumps(answer) + "\n")
        return
    render.show(COMPARED, rows, note="private MB of 10^6 bytes of one worker; ZYGOTE: its RSS")
    sys.stdout.flush()
    sys.stderr.write(
        f"worked: {work}\n" if work else
        "worked: nothing to do: the zygote has no `warm`; --work module:function names some\n"
    )  # fmt: skip


def _show_output(log: IO[bytes]) -> None:
    """What the zygote or a worker said before it failed; its traceback is in it."""
    log.seek(0)
    said = log.read().decode(errors="replace").strip()
    if said and not current.json:
        sys.stderr.write(report.indented("\n".join(said.splitlines()[-40:])))


def _usage(message: str, hint: str) -> ZygoteError:
    return ZygoteError(message, code="usage", hint=hint, exit_code=Exit.USAGE)
