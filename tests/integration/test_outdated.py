"""`ps` and `status` say when a generation, and so a worker, is older than the code on disk."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from tests.support.cli import Cli
from tests.support.managers import managers, worker

FLEET = """
[zygote.more]
parent = "floor"
preload = ["extra"]
[worker.script]
zygote = "floor"
run = "./job.py"
[worker.branched]
zygote = "more"
run = "tiny:sleeper"
"""
JOB = "import tiny\ntiny.sleeper()\n"


async def test_outdated_code_is_told_by_name_and_outlives_the_manager(tmp_path: Path) -> None:
    async with managers(tmp_path) as make:
        manager = make(worker("sleeper", "sleeper") + FLEET)
        base, extra, job = (manager.folder / f"{name}.py" for name in ("base", "extra", "job"))
        for path, text in ((base, "X = 1\n"), (extra, "import base\n"), (job, JOB)):
            path.write_text(text)
        text = manager.file.read_text()
        manager.file.write_text(text.replace('preload = ["tiny"]', 'preload = ["tiny", "base"]'))
        await manager.start()
        await manager.spawn("sleeper", "script", "branched")

        async def outdated() -> dict[str, str]:
            zygotes = {f"zygote.{each.name}": each.outdated for each in await manager.zygotes()}
            return zygotes | {each.name: each.outdated for each in await manager.workers()}

        async def seen(**expected: Path) -> None:
            want = {name.replace("zygote_", "zygote."): str(p) for name, p in expected.items()}
            await manager.eventually(
                outdated, lambda found: {n: text for n, text in found.items() if text} == want
            )

        await seen()
        os.utime(job)
        await seen(script=job)
        await manager.restart("script")
        await seen()
        extra.write_text("import base  # changed\n")
        await seen(zygote_more=extra, branched=extra)
        extra.unlink()
        extra.write_text("import base\n")
        base.write_text("X = 22\n")
        more = f"{base} and 1 more"
        expected = {"zygote.floor": str(base), "sleeper": str(base), "script": str(base)}
        both = {**expected, "zygote.more": more, "branched": more}
        await manager.eventually(outdated, lambda found: found == both)

        command, run = Cli(manager.folder), ("--runtime-dir", str(manager.run))

        async def told(*words: str) -> Any:
            return (await asyncio.to_thread(command, *run, *words)).out

        listed = json.loads(await told("ps", "--json"))
        assert {row["name"]: row["outdated"] for row in listed["workers"]}["branched"] == more
        assert listed["zygotes"][0]["outdated"] == str(base)
        rows = [line.split() for line in (await told("ps")).splitlines()]
        assert {row[0]: "1*" in row for row in rows[1:]} == {
            **dict.fromkeys(("sleeper", "script", "branched", "zygote.floor", "zygote.more"), True),
            **dict.fromkeys(("manager", "total"), False),
        }
        assert f"older than {base}" in await told("status", "sleeper")
        assert f"older than {base}" in await told("status")

        await manager.kill()
        await manager.start()
        # The zygotes are new; the workers are not, and what they were made of is still known.
        await manager.eventually(
            outdated, lambda found: found == {**both, "zygote.floor": "", "zygote.more": ""}
        )
        await manager.restart("sleeper", "script", "branched")
        await seen()
        kept = sorted(path.name for path in (manager.run / "prints").iterdir())
        assert "floor.2" in kept
        os.kill((await manager.zygotes())[0].pid, 9)
        await manager.eventually(manager.zygotes, lambda found: found[0].generation == 3)

        async def files() -> list[str]:
            return sorted(path.name for path in (manager.run / "prints").iterdir())

        await manager.restart("sleeper", "script")
        await manager.eventually(files, lambda found: "floor.1" not in found)
