"""ttp: what was done, in the words of MITRE ATT&CK.

Follows `logs` (behind the profiler), attackers' behaviour, intelligence, canaries, reused secrets
and identities with a durable cursor each. Tags and cursor are one transaction, and a tag's id
follows from what it says: a kill at any instant loses no tag and doubles none. The bus only says
when to look; what is new is told on it after the commit.
"""

from __future__ import annotations

from pathlib import Path

from decnet.context import Context, run_worker
from decnet.ttp import rehearsal
from decnet.ttp.service import RULES_SECONDS, Tagger
from decnet.ttp.settings import TtpSettings


async def main(ctx: Context) -> None:
    """Tag until told to stop."""
    tagger = Tagger(ctx, TtpSettings.from_env())
    wake = await ctx.wake(*tagger.listen())
    await tagger.start()
    ctx.reports.append(tagger.report)
    ctx.ready(f"{len(tagger.catalogue.rules)} rules")
    while not ctx.stopping.is_set():
        ctx.progress()
        await tagger.follow_rules()
        if not await tagger.tick():
            await wake.wait(RULES_SECONDS)


async def rehearse(folder: Path) -> None:
    """Tag some visits in a throw-away database: for a zygote's warm-up."""
    await rehearsal.rehearse(folder)


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("ttp", main)


if __name__ == "__main__":
    run()
