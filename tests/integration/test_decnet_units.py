"""decnet's workers as units of systemd's own: those that can run, and those that say why not."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_service_exec import Bed, base
from tests.support.managers import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
SECRET = "a secret of the operator's, long enough"
pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or base() is None,
    reason="root and a cgroup v2 that can be written are needed",
)


def fleet_text(folder: Path) -> str:
    """decnet's own fleet file, in a runtime folder of its own, its floors only frozen."""
    text = (ROOT / "decnet" / "fleet.toml").read_text()
    text = re.sub(r"(?m)^warm = .*$", 'bake = ["freeze"]', text)
    return text.replace('name = "decnet"', f'name = "decnet"\nruntime_dir = "{folder / "run"}"')


@pytest.fixture(scope="module")
def bed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bed]:
    folder = tmp_path_factory.mktemp("units")
    env = {
        "DECNET_STATE_DIR": str(folder / "state"), "DECNET_JWT_SECRET": SECRET,
        "DECNET_BUS_GROUP": "root",
    }  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        for name, value in env.items():
            patch.setenv(name, value)
        from decnet.run.prepare import prepare

        prepare()
    made = Bed(folder, fleet_text(folder), env, ("-m", "decnet.run.service"))
    yield made
    made.close()


def start(bed: Bed, name: str) -> int:
    """Start one as its unit does; the pid of the clone."""
    with bed.start(bed.worker, [*bed.starter, "zygote.service.exec", name]) as asker:
        pid = int(bed.until("MAINPID=").split("=")[1].split()[0])
        bed.until("BARRIER=1")
        assert asker.wait(PATIENCE) == 0
    return pid


def ended(pid: int) -> int:
    """The exit code of a clone, which is our child as a unit's would be PID 1's."""
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


def test_units_workers_do_their_job_and_one_that_cannot_says_why(bed: Bed) -> None:
    pids = []
    for name in ("bus", "profiler"):
        pids.append(start(bed, name))
        bed.until("READY=1")
    assert (bed.folder / "run" / "bus" / "bus.sock").is_socket()
    for pid in pids:
        assert SECRET.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    assert (bed.folder / "state" / "given" / "jwt-secret").read_text() == SECRET
    for name in ("reconciler", "mutate"):
        pid = start(bed, name)
        assert "it acts on decoys through a manager, and" in bed.until("STATUS=it acts")
        assert ended(pid) == 78
    for pid in reversed(pids):
        os.kill(pid, signal.SIGTERM)
        assert ended(pid) == 0
