"""`python -m zygote.install.ended UNIT`: what follows the end of a manager (ExecStopPost=).

Four cases:

- The unit is being stopped, and the manager did not come to stopping its workers (it was killed,
  or took too long): they are ended here, whole cgroups at a time. Stopping stops all.
- The manager crashed and systemd will start it again. Workers live on. Where the unit has no
  DelegateSubgroup= (systemd before 254) the new manager would be put into the unit's own group,
  which gives controllers to the workers' leaves and so may hold no process (219/CGROUP). So the
  controllers are taken back for that moment; the manager gives them again, and writes each limit
  again. What a worker had been charged for before counts no more.
- It was told to end (`down`): the socket unit is stopped as well, or the next call (`ps`) would
  start the whole fleet again. systemd does that by itself only where the unit is being stopped.
- All went well: nothing is left, and nothing to do.
"""

from __future__ import annotations

import os
import subprocess
import sys

from zygote.sys.cgroupfs import Group, group_of

_SYSTEMDS = ".control"
"""Where systemd puts ExecStopPost= and its like of a delegated unit: we are in there ourselves."""


def main(unit: str) -> int:
    """Do what is due; returns an exit code."""
    own = group_of("self")
    if own is None:
        return 0
    base = Group(own.path.parent) if own.path.name == _SYSTEMDS else own
    leaves = [group for group in base.children() if group.path.name != _SYSTEMDS]
    if _is_stopping(unit):
        for group in leaves:
            if pids := group.pids():
                print(f"{group.path.name}: {len(pids)} processes are left, killed", flush=True)
            group.kill()
    elif os.environ.get("EXIT_CODE") == "exited" and os.environ.get("EXIT_STATUS") == "0":
        socket = unit.removesuffix(".service") + ".socket"
        subprocess.run(["systemctl", "stop", "--no-block", socket], check=False)
    elif not _show(unit, "DelegateSubgroup"):
        for name in sorted(base.given()):
            base.write("cgroup.subtree_control", f"-{name}")
    return 0


def _is_stopping(unit: str) -> bool:
    """Somebody asked for it (or for a restart): there is a job. A crash has none."""
    return _show(unit, "Job") not in ("", "0")


def _show(unit: str, what: str) -> str:
    done = subprocess.run(
        ["systemctl", "show", "-P", what, unit], capture_output=True, text=True, check=False
    )
    return done.stdout.strip()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
