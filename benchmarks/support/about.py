"""What a figure was measured on: goes into every result."""

from __future__ import annotations

import datetime as dt
import os
import platform
from pathlib import Path
from typing import Any

from zygote.sys.procfs import read_meminfo_kib


def about() -> dict[str, Any]:
    """Date, machine, kernel, Python. Memory in MB of 10^6 bytes."""
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "machine": f"{_processor()}, {_memory_mb()} MB",
        "cores": os.cpu_count(),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _memory_mb() -> int:
    return round(read_meminfo_kib("MemTotal") * 1024 / 1e6)
