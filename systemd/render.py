"""Writes the unit files beside it: what `install --systemd` would write for decnet in /opt/decnet.

    .venv/bin/python systemd/render.py

They are here to be read and packaged; a test holds them equal to what the installer makes.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from decnet.cli.app import FLEET, tenant
from zygote.fleet.load import check
from zygote.install import perworker, plan, units

HERE = Path(__file__).resolve().parent
PYTHON = "/opt/decnet/venv/bin/python"
FILE = "/opt/decnet/venv/lib/python3/site-packages/decnet/fleet.toml"
OLDEST = 252
"""Written for this systemd: a newer one gets DelegateSubgroup=, too, when it is installed there."""


def render() -> dict[str, str]:
    """Name -> text."""
    ours = plan.Tenant(**tenant("decnet"))
    assert ours.environ is not None
    fleet, errors = check(FLEET, ours.environ)
    assert fleet is not None, errors
    made = plan.make(fleet, systemd=OLDEST, tenant=ours)
    made = replace(made, python=PYTHON, shares_tmp=False, fleet=replace(fleet, file=FILE))
    found = {f"{path.parent.name}/{path.name}": text for path, text in units.files(made).items()}
    shared = perworker.shared_files(made)
    found |= {f"{path.parent.name}/{path.name}": text for path, text in shared.items()}
    return {name.replace("system/", ""): text for name, text in found.items()}


if __name__ == "__main__":
    for name, text in render().items():
        path = HERE / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(path.relative_to(HERE.parent))
