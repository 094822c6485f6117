"""What importing costs, layer by layer, in fresh interpreters.

A layer is one or more modules that are imported together. The process that imports does nothing
else (`zygote.inspect.probe`); its memory is read from outside while it waits.

Bytecode is compiled first, by a process that imports everything once: a compiler's garbage in the
figures would flatter whoever shares the floor. What had to be compiled in spite of that (a folder
that cannot be written) is named in the result.
"""

from __future__ import annotations

import os
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

from zygote.inspect.subject import Cold, Subject

INTERPRETER = "interpreter"
"""The name of the layer below all others."""

Tell = Callable[[str], None]
"""Called with what is being done."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One row: the process once this layer is imported.

    Attributes:
        layer: the modules, as they were given.
        rss_kib, pss_kib, uss_kib, pagetables_kib: of the whole process (KiB).
        added_rss_kib, added_pss_kib, added_uss_kib: by this layer; of the interpreter, all of it.
        seconds: that this layer took; of the interpreter, from exec until it could import.
        modules, threads, fds, sockets: of the whole process. An interpreter has one thread and
            the descriptors 0, 1 and 2.
        added_modules: by this layer.
    """

    layer: str
    rss_kib: int
    pss_kib: int
    uss_kib: int
    pagetables_kib: int
    added_rss_kib: int
    added_pss_kib: int
    added_uss_kib: int
    seconds: float
    modules: int
    added_modules: int
    threads: int
    fds: int
    sockets: int


class Place(NamedTuple):
    """Where to import: an interpreter, its folder, its environment."""

    python: str
    cwd: str | None = None
    env: Mapping[str, str] = os.environ


@dataclass(frozen=True, slots=True)
class Floor:
    """What was measured.

    Attributes:
        layers: the interpreter first.
        compiled: source files that were compiled while measured.
        each: every layer was imported alone, over a bare interpreter.
    """

    place: Place
    layers: tuple[Layer, ...]
    compiled: tuple[str, ...]
    repeat: int
    each: bool

    def as_json(self) -> dict[str, Any]:
        """Keys are stable."""
        return {
            "python": self.place.python,
            "cwd": self.place.cwd or os.getcwd(),  # noqa: PTH109 - a string is wanted
            "mode": "each" if self.each else "cumulative",
            "repeat": self.repeat,
            "bytecode": {"compiled_before": True, "compiled_while_measured": list(self.compiled)},
            "layers": [asdict(layer) for layer in self.layers],
        }


class Blamed(NamedTuple):
    """One module of `blame`.

    Attributes:
        importer: the module whose import asked for it first; "" for the one that was asked for.
        with_kib, with_s: its import, with all that it imported itself.
        own_kib, own_s: without that.
    """

    module: str
    importer: str
    with_kib: int
    own_kib: int
    with_s: float
    own_s: float


def measure(
    layers: Sequence[str],
    place: Place,
    *,
    repeat: int = 1,
    each: bool = False,
    tell: Tell = lambda _: None,
) -> Floor:
    """Import the layers in fresh interpreters.

    Args:
        layers: modules; several with commas between them are one layer.
        repeat: how often; each figure is the median.
        each: every layer over a bare interpreter, not over those before it.
    Raises:
        ZygoteError: as `Cold` and `Subject.ask`.
    """
    compile_first(layers, place, tell)
    columns = [[layer] for layer in layers] if each else [list(layers)]
    compiled: dict[str, None] = {}
    rounds = []
    for number in range(repeat):
        rows: list[Layer] = []
        for column in columns:
            many = f" ({number + 1} of {repeat})" if repeat > 1 else ""
            found, sources = _once(column, place, _suffixed(tell, many))
            compiled |= dict.fromkeys(sources)
            rows += found[1:] if rows else found
        rounds.append(rows)
    middle = tuple(_median(same) for same in zip(*rounds, strict=True))
    return Floor(place, middle, tuple(compiled), repeat, each)


def blame(layers: Sequence[str], place: Place, tell: Tell = lambda _: None) -> list[Blamed]:
    """Which imports inside the last layer cost what, over the others.

    Raises:
        ZygoteError: as `measure`.
    """
    compile_first(layers, place, tell)
    with Cold(*place) as subject:
        for layer in layers[:-1]:
            tell(f"importing {layer}")
            subject.ask("import", *modules_of(layer))
        tell(f"importing {layers[-1]}, module by module")
        (found,) = subject.ask("blame", *modules_of(layers[-1]))
    return [Blamed(*each) for each in found]


def by_package(blamed: Sequence[Blamed]) -> list[Blamed]:
    """The same summed up for each top-level package, the dearest first."""
    sums: dict[str, list[float]] = {}
    for each in blamed:
        total = sums.setdefault(each.module.partition(".")[0], [0, 0])
        total[0] += each.own_kib
        total[1] += each.own_s
    rows = [Blamed(name, "", int(k), int(k), s, s) for name, (k, s) in sums.items()]
    return sorted(rows, key=lambda row: (-row.own_kib, -row.own_s))


def compile_first(layers: Sequence[str], place: Place, tell: Tell) -> None:
    """Import everything once, so that its bytecode lies on disk.

    Raises:
        ZygoteError: as `measure`.
    """
    tell("compiling bytecode")
    with Cold(*place) as subject:
        for layer in layers:
            subject.ask("import", *modules_of(layer))


def modules_of(layer: str) -> list[str]:
    """The modules of a layer: `a,b` is two."""
    return [name.strip() for name in layer.split(",") if name.strip()]


def _once(layers: Sequence[str], place: Place, tell: Tell) -> tuple[list[Layer], list[str]]:
    with Cold(*place) as subject:
        _, loaded, compiled = subject.ask("import")
        rows = [_look(subject, INTERPRETER, None, subject.ready_s, loaded)]
        for layer in layers:
            tell(f"importing {layer}")
            seconds, loaded, compiled = subject.ask("import", *modules_of(layer))
            rows.append(_look(subject, layer, rows[-1], seconds, loaded))
    return rows, compiled


def _look(subject: Subject, name: str, below: Layer | None, seconds: float, modules: int) -> Layer:
    memory = subject.memory()
    fds, sockets = subject.fds()
    return Layer(
        layer=name,
        rss_kib=memory.rss_kib,
        pss_kib=memory.pss_kib,
        uss_kib=memory.uss_kib,
        pagetables_kib=memory.pagetables_kib,
        added_rss_kib=memory.rss_kib - (below.rss_kib if below else 0),
        added_pss_kib=memory.pss_kib - (below.pss_kib if below else 0),
        added_uss_kib=memory.uss_kib - (below.uss_kib if below else 0),
        seconds=round(seconds, 4),
        modules=modules,
        added_modules=modules - (below.modules if below else 0),
        threads=subject.threads(),
        fds=fds,
        sockets=sockets,
    )


def _median(rows: Sequence[Layer]) -> Layer:
    """Each figure's own median."""
    figures: dict[str, Any] = {}
    for field in fields(Layer):
        values = [getattr(row, field.name) for row in rows]
        if field.name == "layer":
            figures["layer"] = values[0]
        elif field.name == "seconds":
            figures["seconds"] = round(statistics.median(values), 4)
        else:
            figures[field.name] = int(statistics.median(values))
    return Layer(**figures)


def _suffixed(tell: Tell, suffix: str) -> Tell:
    return lambda text: tell(text + suffix)
