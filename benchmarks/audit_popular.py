#!/usr/bin/env python3
"""Audit popular packages, each as a floor of its own: none may be refused without a cause.

Makes an environment of its own (`.venv-popular`, about a minute and 1 GB), imports each package in
a fresh interpreter as `zygotectl audit` does, and writes benchmarks/results/audit-popular.json:
package, version, seconds and memory of the import, findings.

    .venv/bin/python benchmarks/audit_popular.py [PACKAGE …]

A package that really starts a thread when it is imported is in `CAUSES`, with why; it is audited
again with what the remedy says. Exit code 1: one is refused that is not listed there.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from zygote.cli.probing import Limits, Target, probe  # noqa: E402
from zygote.errors import ZygoteError  # noqa: E402

VENV = ROOT / ".venv-popular"
PYTHON = VENV / "bin" / "python"
RESULT = ROOT / "benchmarks" / "results" / "audit-popular.json"
LIST = Path(__file__).with_suffix(".txt")
PACKAGES = {
    name: module or name.replace("-", "_")
    for name, _, module in (line.partition(" ") for line in LIST.read_text().splitlines())
    if name != "#"
}
"""Package -> module to import."""
CAUSES = {
    "elasticsearch": "imports pyarrow and numpy where they are installed",
    "joblib": "imports numpy where it is installed",
    "matplotlib": "imports numpy",
    "numpy": "OpenBLAS starts its pool of threads when it is loaded",
    "openpyxl": "imports numpy where it is installed",
    "pandas": "imports numpy, and pyarrow where it is installed",
    "polars": "the jemalloc in it starts a thread when it is loaded, and polars one more",
    "pyarrow": "the jemalloc in it starts a thread when it is loaded; imports numpy",
    "scikit-learn": "imports numpy and scipy, each with an OpenBLAS, and pyarrow",
    "scipy": "imports numpy, and has an OpenBLAS of its own",
}
"""Packages that start threads of native code when they are imported, and so are refused rightly."""
REMEDIES = {
    "OPENBLAS_NUM_THREADS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
"""What the audit's own remedies say to set; those refused are audited once more with it."""
LIMITS = Limits(work=120.0, fork=30.0)


def main(names: list[str]) -> int:
    make()
    versions = installed()
    rows = []
    for number, name in enumerate(names, 1):
        row = audit(name, versions.get(name, "?"))
        if row["refused"]:
            row["cause"] = CAUSES.get(name, "")
            row["refused_with_remedies"] = audit(name, "", REMEDIES)["refused"]
        rows.append(row)
        say(f"{number}/{len(names)} {name} {row['version']}: {summary(row)}")
    refused = [row for row in rows if row["refused"]]
    wrong = [row["package"] for row in refused if row["refused"] != ["thread"] or not row["cause"]]
    report = {
        "python": sys.version.split()[0],
        "cpus": os.cpu_count(),
        "packages": len(rows),
        "refused": {row["package"]: row["cause"] for row in refused},
        "remedies": REMEDIES,
        "refused_with_remedies": [
            row["package"] for row in refused if row["refused_with_remedies"]
        ],
        "refused_without_a_cause": wrong,
        "rows": rows,
    }
    if names == list(PACKAGES):
        RESULT.write_text(json.dumps(report, indent=1) + "\n")
    say(f"{len(rows)} packages; refused: {', '.join(report['refused']) or 'none'}; with what the "
        f"remedies say: {', '.join(report['refused_with_remedies']) or 'none'}")  # fmt: skip
    if wrong:
        say(f"without a known cause: {', '.join(wrong)}")
    return 1 if wrong else 0


def audit(name: str, version: str, env: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """One package in an interpreter of its own."""
    module = PACKAGES[name]
    row: dict[str, Any] = {"package": name, "version": version, "module": module}
    target = Target([module], python=str(PYTHON), cwd=str(VENV), env=dict(env))
    try:
        found = probe(target, LIMITS, lambda line: None)
    except ZygoteError as error:
        return row | {"error": error.message, "refused": ["error"], "warnings": []}
    findings = found["findings"]
    keys = ("rule", "severity", "module", "what")
    return row | {
        "modules": found["modules"],
        "import_seconds": found["seconds"],
        "mb": round(found["rss"] / 1e6, 1),
        "refused": sorted({f["rule"] for f in findings if f["severity"] == "refuse"}),
        "warnings": sorted({f["rule"] for f in findings if f["severity"] == "warn"}),
        "findings": [{key: f[key] for key in keys} for f in findings],
    }


def summary(row: dict[str, Any]) -> str:
    if "error" in row:
        return str(row["error"])
    counted = f"{row['modules']} modules, {row['import_seconds']} s, {row['mb']} MB"
    refused = f"; REFUSED: {', '.join(row['refused'])}" if row["refused"] else ""
    warned = f"; warns of {', '.join(row['warnings'])}" if row["warnings"] else ""
    return counted + refused + warned


def make() -> None:
    """Install what is missing."""
    stamp = VENV / "ready"
    wanted = "\n".join([sys.version, *PACKAGES])
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say(f"making {VENV.name}: {len(PACKAGES)} packages and what they need (a minute or two) …")
    subprocess.run([sys.executable, "-m", "venv", "--clear", VENV], check=True)
    uv = Path(sys.executable).parent / "uv"
    command = [
        *([uv, "pip", "install", "-q", "--compile-bytecode", "--python", PYTHON]
          if uv.exists() else [PYTHON, "-m", "pip", "install", "-q"]),
        *PACKAGES,
    ]  # fmt: skip
    left = ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "PYTHONHOME", "PYTHONPATH")
    env = {key: value for key, value in os.environ.items() if key not in left}
    subprocess.run(command, check=True, env=env | {"UV_SYSTEM_CERTS": "1"})
    stamp.write_text(wanted)


def installed() -> dict[str, str]:
    """Version of each package, as that environment has it."""
    code = (
        f"from importlib.metadata import version\nfor p in {list(PACKAGES)}: print(p, version(p))"
    )
    done = subprocess.run([PYTHON, "-c", code], check=True, capture_output=True, text=True)
    return dict(line.split() for line in done.stdout.splitlines())


def say(line: str) -> None:
    print(f"audit_popular.py: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or list(PACKAGES)))
