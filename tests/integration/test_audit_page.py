"""The page on fork safety is true: its programs are audited, and say what it says they say."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.cli import Cli

PAGE = Path(__file__).resolve().parents[2] / "docs" / "fork-safety.md"
AUDIT = "$ zygotectl audit shop.app\n"


def blocks(kind: str) -> list[str]:
    found = re.findall(r"^```(\w*)\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [text for of, text in found if of == kind]


def leveled(text: str, folder: Path) -> str:
    """Without what differs from run to run: numbers, and where the program is."""
    text = text.replace(f"{folder}/", "/srv/shop/").replace("ms)", "s)")
    return re.sub(r"\d+(\.\d+)?", "N", text).strip()


def test_audit_page_case_is_as_printed(tmp_path: Path) -> None:
    broken, mended = [one.removeprefix(AUDIT) for one in blocks("") if one.startswith(AUDIT)]
    (tmp_path / "shop").mkdir()
    sources = blocks("python")
    assert len(sources) == 6
    for wanted, code in ((broken, 1), (mended, 0)):
        for source in sources:
            head, _, body = source.partition("\n")
            name, _, is_mended = head.removeprefix("# ").partition(", ")
            if not is_mended or wanted is mended:
                (tmp_path / name).write_text(body)
        # The environment of who runs the tests may hold a secret, and a system's libraries (libuuid
        # from 2.42 on) handlers; those are told last.
        allowed = (f"--allow={name}=not of this page" for name in ("secret", "fork-handler"))
        done = Cli(tmp_path)("audit", "shop.app", *allowed, code=code)
        shown = re.sub(r", \d allowed(?= \()", "", done.out.partition("\nallowed: ")[0])
        assert leveled(shown, tmp_path) == leveled(wanted, tmp_path)
