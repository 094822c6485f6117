"""What a stage of the bake is given, and what it gives back.

A stage is a function `run(bake) -> detail` in a file of its own, whose docstring says why the
stage exists. `detail` is one line for `zygotectl status` ("31,204 objects"). A stage that cannot
or need not act raises `Skipped`; one that must stop the bake raises `ZygoteError`. Any other
exception is a fault of ours: what follows from it is said by `Stage.optional`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from zygote.audit.blame import Ledger
from zygote.audit.report import Finding
from zygote.bake.lookups import Seen
from zygote.fleet.model import ZygoteSpec


class Skipped(Exception):
    """This stage does nothing here; the argument says why, in one line."""


@dataclass(slots=True)
class Bake:
    """One bake, handed from stage to stage.

    Attributes:
        spec: what to bake.
        link_fd: the only descriptor besides stdio that the audit accepts.
        tell: called with (stage, detail) before each step that runs code of the fleet's owner,
            so that the manager can name what hangs.
        own: what every worker does whatever it runs, as far as it is harmless in the zygote; called
            many times.
        rehearse: gives the ids of the code objects that an idle worker has entered, in order;
            raises ZygoteError or OSError where that cannot be found out.
        look_up: gives what an idle worker has looked up in classes; raises as `rehearse`.
        trace: gives the ids of the code objects that a function enters, which it runs in a clone,
            first those that any worker runs, then those of each part, and in the end those that a
            second function names afterwards, in the clone; raises as `rehearse`.
        ledger: which module made which thread and which descriptor.
        frozen: the collector sees nothing of the floor any more. (Its own count does not say that:
            Python 3.12 starts with immortal objects among the frozen ones.)
        studied: what only a walk over the heap can find, noted while it can still be walked.
        twins: what came of forking it, right after the imports.
        findings: of the last audit: warnings, and what is allowed with a reason.
    """

    spec: ZygoteSpec
    link_fd: int
    tell: Callable[[str, str], None]
    own: Callable[[], None]
    rehearse: Callable[[], dict[int, None]]
    look_up: Callable[[], list[Seen]]
    trace: Callable[[Callable[[], None], Callable[[], Iterable[int]]], list[dict[int, None]]]
    ledger: Ledger = field(default_factory=Ledger)
    frozen: bool = False
    studied: list[Finding] = field(default_factory=list)
    twins: list[Finding] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


class Stage(NamedTuple):
    """A named stage.

    Attributes:
        optional: it only makes the floor share better, and the heap is sound wherever it breaks
            off: an exception that nobody foresaw counts as skipped.
    """

    name: str
    run: Callable[[Bake], str]
    optional: bool = False
