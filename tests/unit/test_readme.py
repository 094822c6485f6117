"""What README tells people to type is tried."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from zygote.fleet.load import check

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_readme_fleet_file_is_valid(tmp_path: Path) -> None:
    example = (ROOT / "docs" / "examples" / "shop" / "fleet.toml").read_text()
    short, text = blocks("toml")
    assert short == example
    (tmp_path / "fleet.toml").write_text(text)
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "__init__.py").touch()
    (shop / "models.py").write_text("def warm(): ...\n")
    (shop / "tasks.py").write_text("async def orders(): ...\ndef mailer(): ...\n")
    fleet, errors = check(tmp_path / "fleet.toml")
    assert not errors, [error.message for error in errors]
    assert fleet is not None
    assert fleet.workers["orders"].memory_max == 128 * 2**20
    assert "mailer@" in fleet.templates
    assert fleet.zygotes["floor"].blanks == 4


def test_readme_names_only_commands_and_subjects_that_exist() -> None:
    from zygote.cli.app import COMMANDS

    verbs = {name for group in COMMANDS.values() for name in group}
    used = re.findall(r"zygotectl ([a-z-]+)", README)
    assert used
    assert set(used) <= verbs
    subjects = {path.stem for path in (ROOT / "zygote" / "help").glob("*.md")}
    assert set(re.findall(r"zygotectl help ([a-z-]+)", README)) <= subjects


def test_readme_figures_are_those_of_the_results() -> None:
    subprocess.run([sys.executable, ROOT / "benchmarks" / "readme.py", "--check"], check=True)
