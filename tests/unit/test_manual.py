"""Manual pages: everything that can be typed or written is in them, and groff takes them."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from decnet.cli.app import extend, manual
from zygote.cli.app import COMMANDS, build_app
from zygote.cli.manual import main
from zygote.cli.roff import convert, escape, inline
from zygote.fleet.schema import FleetTable, WorkerTable, ZygoteTable


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("man")
    main([str(folder)])
    manual(str(folder))
    return {path.name: path for path in folder.glob("man*/*")}


def plain(page: Path) -> str:
    text = re.sub(r"\\f[BIR]", "", page.read_text())
    return text.replace("\\-", "-").replace("\\(aq", "'").replace("\\e", "\\")


def test_manual_has_every_command_and_key(pages: dict[str, Path]) -> None:
    assert set(pages) == {"zygotectl.1", "decnetctl.1", "zygotectl-fleet.5"}
    text = plain(pages["zygotectl.1"])
    for group in COMMANDS.values():
        for name in group:
            assert f".SS zygotectl {name}" in text
    for option in ("--detach, -d", "--follow, -f", "--wait ready|up|no", "--format supervisord|"):
        assert option in text
    assert "no manager answers" in text, "exit codes"
    keys = plain(pages["zygotectl-fleet.5"])
    for table in (FleetTable, ZygoteTable, WorkerTable):
        for key in table.model_fields:
            assert f"\n{key} = " in keys
    tenant = plain(pages["decnetctl.1"])
    app = build_app("decnetctl", "0")
    extend(app)
    for name in ("visits", "ttp rules", "up"):
        assert f".SS decnetctl {name}" in tenant


def test_manual_is_taken_by_groff(pages: dict[str, Path]) -> None:
    if shutil.which("groff") is None:
        pytest.skip("groff is not here (Debian: groff-base)")
    for page in pages.values():
        done = subprocess.run(
            ["groff", "-man", "-ww", "-z", "-Tascii", page], capture_output=True, text=True,
            check=True, timeout=60,
        )  # fmt: skip
        faults = [line for line in done.stderr.splitlines() if "adjust line" not in line]
        assert not [line for line in faults if "not defined" not in line and "u2" not in line]


def test_roff() -> None:
    assert escape(".x -a 'b' \\") == "\\&.x \\-a \\(aqb\\(aq \\e"
    assert escape("…") == "\\[u2026]"
    assert inline("a `b-c` **d** [e](f.md)") == "a \\fBb\\-c\\fR \\fBd\\fR e"
    text = convert("# T\n\n## A\n\n`x` is\ngood\n\n- one\n  more\n- two\n\n```\n.raw\n```\n"
                   "\n| a | b |\n|---|---|\n| c | d |\n")  # fmt: skip
    assert text == (
        ".SH A\n.PP\n\\fBx\\fR is\ngood\n"
        '.IP "\\(bu" 2\none\nmore\n.IP "\\(bu" 2\ntwo\n'
        ".PP\n.RS 4\n.nf\n\\&.raw\n.fi\n.RE\n.TP\nc\nd\n"
    )
