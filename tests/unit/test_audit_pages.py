"""The pages on fork safety have every rule and every row of the checklist."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from zygote.audit.reference import PAGE, page
from zygote.audit.rules import TABLE

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs" / "fork-safety.md"
ROWS = 42


@pytest.mark.parametrize("path", [PAGE, DOCS], ids=["help", "docs"])
def test_pages_have_the_rules_of_the_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert page(text) == text, f"renew it: python -m zygote.audit.reference {path}"


def test_checklist_answers_every_row_and_uses_every_rule() -> None:
    text = DOCS.read_text(encoding="utf-8").partition("## The checklist")[2]
    rows = re.findall(r"^\| (\d+) \| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", text, re.MULTILINE)
    assert [int(row[0]) for row in rows] == list(range(1, ROWS + 1))
    for number, _, phase, where, done in rows:
        assert set(phase.split()) <= {"P", "C", "R", "–"}, number
        assert where != "–" or len(done) > 10, f"row {number}: no rule, and no reason"
    named = set(re.findall(r"`([a-z-]+)`", " ".join(row[3] for row in rows) + text))
    assert set(TABLE) <= named


def test_page_on_popular_packages_says_what_was_measured() -> None:
    result = json.loads((ROOT / "benchmarks/results/audit-popular.json").read_text())
    text = " ".join(DOCS.read_text().split())
    count, refused = result["packages"], len(result["refused"])
    assert count >= 60
    assert result["refused_without_a_cause"] == []
    assert f"audits {count} of PyPI" in text
    assert f"{count - refused} may be forked" in text
    assert (refused, result["refused_with_remedies"]) == (10, ["polars"]), "the page says ten, nine"
