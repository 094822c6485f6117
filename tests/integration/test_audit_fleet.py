"""What a floor's audit found, as a user of the fleet sees it; and that a bake leaves no hook."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.forkserver import BakeFailedError, MiniManager
from tests.support.managers import managers, worker

FLOOR = """
import os, random
LEVEL = os.environ.get("LEVEL")
DICE = random.Random(6)
"""


async def test_status_shows_warnings_and_variables_that_come_too_late(tmp_path: Path) -> None:
    (tmp_path / "floor.py").write_text(FLOOR)
    async with managers(tmp_path) as make:
        manager = make(worker("web", "sleeper", 'env = { LEVEL = "debug" }', "autostart = false"))
        text = manager.file.read_text()
        preload = f'preload = ["tiny", "floor"]\ncwd = "{tmp_path}"'
        manager.file.write_text(text.replace('preload = ["tiny"]', preload))
        await manager.start()
        cli = Cli(tmp_path)
        words = ("--runtime-dir", str(manager.run), "status")
        [zygote] = cli(*words, "--json").json["zygotes"]
        warned = [
            line for line in zygote["findings"] if "secret" not in line and "tiny" not in line
        ]
        assert warned == [
            "warning random-state: floor: a generator of random numbers (random.Random), held by "
            "floor.DICE: all workers draw the same numbers from their copies",
            "warning environ-read: floor: reads LEVEL when imported, so env of worker web comes "
            "too late: set it in env of [zygote.floor]",
        ]
        shown = cli(*words).out
        assert "audit" in shown and "warning environ-read: floor: reads LEVEL" in shown


@pytest.fixture
def manager(tmp_path: Path):
    made = MiniManager(tmp_path / "zygote.log", cwd=tmp_path)
    yield made
    made.close()


def test_bake_leaves_no_hook_of_the_audit(manager: MiniManager) -> None:
    (manager.cwd / "floor.py").write_text(FLOOR)
    manager.bake(preload=("floor",))
    code = """
import atexit, os, sys
print(type(os.environ).__qualname__, atexit.register, atexit.unregister)
print([type(finder).__module__ for finder in sys.meta_path if "zygote" in repr(finder)])
print(vars(sys.modules["floor"].__spec__.loader).keys() & {"exec_module", "create_module"})
"""
    lines = manager.spawn(code).read().splitlines()
    assert lines == [
        "_Environ <built-in function register> <built-in function unregister>", "[]", "set()",
    ]  # fmt: skip


def test_bake_refuses_a_floor_whose_fork_dies(manager: MiniManager) -> None:
    (manager.cwd / "floor.py").write_text(
        "import os\nos.register_at_fork(after_in_child=os.abort)\n"
    )
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(preload=("floor",))
    assert [f["rule"] for f in caught.value.parts["findings"]] == ["fork"]


def test_bake_refuses_a_floor_whose_copies_are_alike(manager: MiniManager) -> None:
    (manager.cwd / "floor.py").write_text(
        "import os, random\nos.register_at_fork(after_in_child=lambda: random.seed(1))\n"
    )
    with pytest.raises(BakeFailedError) as caught:
        manager.bake(preload=("floor",))
    [finding] = caught.value.parts["findings"]
    assert finding["what"] == "two copies draw the same from random"
    assert finding["severity"] == "refuse"
