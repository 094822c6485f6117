"""What this machine allows in the way of cgroups is found out and said, whatever it is."""

from __future__ import annotations

import subprocess
import sys

DISCOVER = """
from pathlib import Path
from zygote.manager.leaves import Leaves
found = Leaves.discover("try-out")
print(found.summary)
leaf = found.leaf("worker", "x")
assert (leaf is None) == (not found.enforced)
if leaf:
    leaf.remove()
"""


def test_leaves_discover_tells_enforced_or_why_not() -> None:
    done = subprocess.run([sys.executable, "-c", DISCOVER], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(("enforced", "not enforced: "))
    assert len(done.stdout.strip()) > len("not enforced: ") or done.stdout.strip() == "enforced"
