"""The pages of docs/: links lead somewhere, what is quoted is what is there, the site is made."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from zygote.cli.app import COMMANDS
from zygote.control import reference

ROOT = Path(__file__).resolve().parents[2]
DOCS = sorted((ROOT / "docs").glob("*.md"))


def test_docs_links_lead_somewhere(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / ".ci" / "links.py"], check=True)


def test_docs_site_is_made_without_a_warning(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "-q", "--strict", "-f", ".ci/mkdocs.yml",
         "-d", str(tmp_path / "site")],
        cwd=ROOT, capture_output=True, text=True, timeout=110, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = (tmp_path / "site" / "reference" / "control-interface.html").read_text()
    assert "Restart" in made
    start = (tmp_path / "site" / "getting-started.html").read_text()
    assert 'href="examples.html"' in start and "zygote/help" not in start


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.stem)
def test_docs_name_only_commands_and_subjects_that_exist(page: Path) -> None:
    verbs = {name for group in COMMANDS.values() for name in group} | {"--help"}
    text = page.read_text()
    assert set(re.findall(r"(?:^|`)zygotectl ([a-z]+)", text, re.MULTILINE)) <= verbs
    subjects = {path.stem for path in (ROOT / "zygote" / "help").glob("*.md")}
    assert set(re.findall(r"zygotectl help ([a-z-]+)", text)) <= subjects


def test_docs_show_the_example_as_it_is() -> None:
    text = (ROOT / "docs" / "examples.md").read_text()
    fleet = (ROOT / "docs" / "examples" / "shop" / "fleet.toml").read_text()
    assert f"```toml\n{fleet}```" in text


def test_control_reference_has_every_member() -> None:
    page = reference.page()
    members = re.findall(r"^(?:type|method|error) (\w+)", reference.FILE.read_text(), re.MULTILINE)
    assert [name for name in members if f"### {name}\n" not in page] == []
    assert "- `names`: list of text, or null" in page
    assert "- `results`: list of [Result](#result)" in page
