"""The bus has a descriptor for each client, whatever soft limit it was given."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import resource
from decnet.bus.broker import MAX_CLIENTS
from decnet.workers.bus import raise_nofile
_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
raise_nofile()
soft, now = resource.getrlimit(resource.RLIMIT_NOFILE)
wanted = MAX_CLIENTS + 64
print(soft >= (wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)), now == hard)
"""


def test_bus_raises_its_soft_limit_and_leaves_the_hard_one() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "True"]
