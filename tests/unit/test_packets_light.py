"""scapy without its table of network card makers, and no trace of that for other programs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

MAKERS = """
import {first}
import os, scapy.data
wireshark = any(os.path.exists(f"{{d}}/share/wireshark/manuf") for d in ("/usr", "/usr/local"))
print(len(scapy.data.MANUFDB.d), wireshark, "scapy.libs.manuf" in __import__("sys").modules)
"""


def makers(first: str, home: Path) -> tuple[int, bool, bool]:
    """How many makers a program knows that imports this first; its cache lies in `home`."""
    env = {**os.environ, "HOME": str(home), "XDG_CACHE_HOME": str(home / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", MAKERS.format(first=first)], capture_output=True, text=True,
        check=True, env=env,
    )  # fmt: skip
    count, wireshark, left = done.stdout.split()
    return int(count), wireshark == "True", left == "True"


def test_light_has_no_makers_and_leaves_everybody_else_theirs(tmp_path: Path) -> None:
    count, wireshark, left = makers("decnet.packets.light", tmp_path)
    assert (count == 0 or wireshark) and not left
    assert makers("scapy.data", tmp_path)[0] > 10_000, "no empty table was kept in the cache"
    assert makers("decnet.packets.dissect", tmp_path)[0] == count
