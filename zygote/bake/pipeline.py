"""The bake: from an empty interpreter to a floor that stays shared.

    import → audit → warm → collect → trim → relocate → immortalise → freeze → audit → keep →
    seal → collapse → ready

The order matters. Code is moved with what it has learnt, so `relocate` comes after `warm`. Before
the freeze the heap may still be walked and written; after it nothing may. `seal` comes when
nobody makes or drops objects any more, so that no hole opens again: after the last audit, which
makes and drops thousands. `keep` wants what code has learnt by then, and leaves holes, too.
`collapse` comes when no page comes or goes.

What an exception that nobody foresaw does to the bake, stage by stage:

- import, warm: it is the fleet's own code that failed, and they say so. The bake ends.
- audit, collect: they look for what must not be in a floor; unseen, it would be in every worker.
  The bake ends.
- relocate: each function has its old code or its copy, and both are kept. Skipped.
- trim: it only gives back what is free. Skipped.
- immortalise: a count is the true one or the immortal one, object by object. Skipped.
- freeze: it is done or not done. Skipped.
- seal: what was taken is kept; the rest are holes, as before. Skipped.
- keep: code lies in its old pages or in those of the file, with the same content. Skipped.
- collapse: pages are moved by the kernel, each wholly or not at all. Skipped.

A skipped stage costs sharing and nothing else; `status` says which and why, and the traceback is in
the zygote's log.
"""

from __future__ import annotations

import time
import traceback
from collections.abc import Collection
from typing import Any

from zygote.bake import (
    audit,
    collapse,
    collect,
    freeze,
    immortalise,
    keep,
    relocate,
    seal,
    trim,
    warm,
)
from zygote.bake.stage import Bake, Skipped, Stage
from zygote.errors import ZygoteError
from zygote.sys.stderr import say

STAGES = (
    Stage("audit", audit.run),
    Stage("warm", warm.run),
    Stage("collect", collect.run),
    Stage("trim", trim.run, optional=True),
    Stage("relocate", relocate.run, optional=True),
    Stage("immortalise", immortalise.run, optional=True),
    Stage("freeze", freeze.run, optional=True),
    Stage("final audit", audit.run),
    Stage("keep", keep.run, optional=True),
    Stage("seal", seal.run, optional=True),
    Stage("collapse", collapse.run, optional=True),
)
"""All stages after "import", which is the fork server's own (`zygote.forkserver.preload`)."""


def chosen(names: Collection[str] | None) -> tuple[Stage, ...]:
    """The stages of these names and the audits, in their order; None is all.

    A stage that was not asked for is skipped and says so, like one that cannot be.
    """
    if names is None:
        return STAGES
    return tuple(
        stage if stage.run is audit.run or stage.name in names else Stage(stage.name, _unwanted)
        for stage in STAGES
    )


def _unwanted(_bake: Bake) -> str:
    raise Skipped("not among the stages that `bake` names")


def run(bake: Bake, stages: tuple[Stage, ...]) -> dict[str, Any]:
    """Run the stages in order.

    Returns:
        {"seconds": of all, "stages": [{"name", "seconds", "detail"}], "skipped": [{"name",
        "why"}], "findings": [warnings, and what is allowed], "environ_reads": {variable: [modules
        that read it while they were imported]}}.
    Raises:
        ZygoteError: a stage stopped the bake; its `step` is the stage's name if it set none.
    """
    done: list[dict[str, Any]] = []
    skipped: list[dict[str, Any]] = []
    began = time.monotonic()
    for stage in stages:
        bake.tell(stage.name, "")
        since = time.monotonic()
        try:
            detail = stage.run(bake)
        except Skipped as why:
            skipped.append({"name": stage.name, "why": str(why)})
            continue
        except ZygoteError:
            raise
        except Exception as error:
            if not stage.optional:
                raise
            say(traceback.format_exc().rstrip())
            text = f"{type(error).__name__}: {error}".rstrip(": ")
            skipped.append({"name": stage.name, "why": f"{text} (see the zygote's log)"})
            continue
        seconds = round(time.monotonic() - since, 4)
        done.append({"name": stage.name, "seconds": seconds, "detail": detail})
    return {
        "seconds": round(time.monotonic() - began, 4),
        "stages": done,
        "skipped": skipped,
        "findings": [finding.as_dict() for finding in bake.findings],
        "environ_reads": bake.ledger.environ.readers(),
    }
