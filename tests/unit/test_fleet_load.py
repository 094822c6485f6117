"""Good fleet files: what comes of each key, of layers, and of templates."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from tests.support.fleetfile import good_fleet, write_fleet
from zygote.fleet.load import check
from zygote.fleet.model import Fleet, Run, WorkerSpec, ZygoteSpec

HEAD = '[fleet]\nname = "demo"\n[zygote.floor]\n'

EVERY_KEY = """\
[fleet]
name = "demo-2"
runtime_dir = "${RUN:-run}/x"
log_dir = "/var/log/demo"

[zygote.floor]
preload = ["json", "app.floor"]
warm = "app.floor:warm"
env = { PYTHONHASHSEED = "${SEED:-0}" }
cwd = "."
path = ["app"]
bake = ["warm", "freeze"]
bake_timeout = "1min 30s"
allow = { thread = "ends before the fork" }

[worker.a]
run = "app.web:main"

[worker.b]
zygote = "floor"
run = "app.web"
args = ["-x", "${ARG}", "$HOME", "$${A}"]
env = { A = "1", B = "${ARG}" }
cwd = "app"
umask = "0027"
autostart = false
after = ["a"]
type = "notify"
restart = "always"
restart_delay = "100ms"
restart_max_delay = 10
stable_after = "1min"
start_limit = 3
start_limit_interval = "1h"
start_timeout = 7.5
stop_signal = "int"
stop_grace = "0s"
watchdog = "30s"
memory_max = "128M"
memory_high = "96M"
max_private = "24M"
recycle_grace = "1min"
recycle_interval = "1h"
overlap = true
tasks_max = 16
cpu_weight = 200
cpu_max = "50%"
nice = 5
oom_score_adj = 500
cpu_affinity = "0"
rlimits = { nofile = [1024, "infinity"], core = 0, stack = "8M" }
group = 0
groups = [0]
capabilities = ["net_raw", "CAP_KILL"]
no_new_privs = true
private_network = true
private_tmp = true
read_only_paths = ["/etc", "app"]
landlock.read = ["%t/x", "-/no/such", "${EMPTY:-}"]
landlock.write = ["made/"]
landlock.connect = [443, "${P:-5}"]
seccomp = ["@basic-io", "~write"]
address_families = ["unix", "AF_INET", "${EMPTY:-}"]
credentials = { key = "/etc/key", none = "${EMPTY:-}" }
control = "read"
walls = "report"
title = "the second"
log_max_bytes = "1M"
log_keep = 0
"""


def test_fleet_every_key(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, EVERY_KEY, ARG="100%i")
    folder = str(tmp_path)
    env = {"PYTHONHASHSEED": "0"}
    assert fleet.name == "demo-2"
    assert fleet.file == f"{folder}/fleet.toml"
    assert fleet.runtime_dir == f"{folder}/run/x"
    assert fleet.log_dir == "/var/log/demo"
    assert fleet.digest == hashlib.sha256((tmp_path / "fleet.toml").read_bytes()).hexdigest()
    assert fleet.order == ("a", "b")
    assert fleet.templates == {}
    assert fleet.zygotes == {
        "floor": ZygoteSpec(
            name="floor",
            preload=("json", "app.floor"),
            warm=("app.floor:warm",),
            env=env,
            cwd=folder,
            path=(f"{folder}/app",),
            bake=("warm", "freeze"),
            bake_timeout=90.0,
            allow={"thread": "ends before the fork"},
            place="fleet.toml:6",
        )
    }
    assert fleet.workers["a"] == WorkerSpec(
        name="a",
        zygote="floor",
        run=Run("function", "app.web:main"),
        env=env,
        cwd=folder,
        place="fleet.toml:16",
    )
    assert fleet.workers["b"] == WorkerSpec(
        name="b",
        zygote="floor",
        run=Run("module", "app.web"),
        args=("-x", "100%i", "$HOME", "${A}"),
        env={**env, "A": "1", "B": "100%i"},
        cwd=f"{folder}/app",
        umask=0o027,
        autostart=False,
        after=("a",),
        type="notify",
        restart="always",
        restart_delay=0.1,
        restart_max_delay=10.0,
        stable_after=60.0,
        start_limit=3,
        start_limit_interval=3600.0,
        start_timeout=7.5,
        stop_signal="SIGINT",
        stop_grace=0.0,
        watchdog=30.0,
        memory_max=128 * 2**20,
        memory_high=96 * 2**20,
        max_private=24 * 2**20,
        recycle_grace=60.0,
        recycle_interval=3600.0,
        overlap=True,
        tasks_max=16,
        cpu_weight=200,
        cpu_max=0.5,
        nice=5,
        oom_score_adj=500,
        cpu_affinity=(0,),
        rlimits={"nofile": (1024, -1), "core": (0, 0), "stack": (2**23, 2**23)},
        group="0",
        groups=("0",),
        capabilities=("CAP_NET_RAW", "CAP_KILL"),
        no_new_privs=True,
        private_network=True,
        private_tmp=True,
        read_only_paths=("/etc", f"{folder}/app"),
        landlock={
            "read": ("%t/x", "-/no/such"),
            "write": (f"{folder}/made/",),
            "connect": ("443", "5"),
        },
        seccomp=("@basic-io", "~write"),
        address_families=("AF_UNIX", "AF_INET"),
        seccomp_filter=fleet.workers["b"].seccomp_filter,
        seccomp_said=fleet.workers["b"].seccomp_said,
        credentials={"key": "/etc/key"},
        control="read",
        walls="report",
        title="the second",
        log_max_bytes=2**20,
        log_keep=0,
        place="fleet.toml:19",
    )


def test_fleet_goes_through_json_unchanged(tmp_path: Path) -> None:
    text = EVERY_KEY + '[worker."t@"]\nrun = "app.jobs.mail"\n[worker."t@1"]\n'
    fleet = good_fleet(tmp_path, text, ARG="x")
    assert Fleet.from_json(json.loads(json.dumps(fleet.to_json()))) == fleet


def test_fleet_least_file(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, '[fleet]\nname = "x"\n[worker.w]\nrun = "tool"\n')
    assert list(fleet.zygotes) == ["floor"]
    assert fleet.zygotes["floor"].cwd == str(tmp_path)
    assert fleet.workers["w"].zygote == "floor"
    assert (fleet.runtime_dir, fleet.log_dir) == ("", "")


def test_fleet_only_zygote_is_the_default_one(tmp_path: Path) -> None:
    text = '[fleet]\nname = "x"\n[zygote.base]\n[worker.w]\nrun = "tool"\n'
    assert good_fleet(tmp_path, text).workers["w"].zygote == "base"


def test_fleet_floor_is_the_default_of_several(tmp_path: Path) -> None:
    text = HEAD + '[zygote.z]\n[worker.w]\nrun = "tool"\n[worker.v]\nzygote = "z"\nrun = "tool"\n'
    fleet = good_fleet(tmp_path, text)
    assert [spec.zygote for spec in fleet.workers.values()] == ["floor", "z"]


@pytest.mark.parametrize(
    ("run", "kind", "target"),
    [
        ("tool", "module", "tool"),
        ("app.jobs.mail", "module", "app.jobs.mail"),
        ("app.web:Server", "function", "app.web:Server"),
        ("app.web:Server.run", "function", "app.web:Server.run"),
        ("app.jobs.mail:main", "function", "app.jobs.mail:main"),
        ("script.py", "file", "/script.py"),
        ("./script.py", "file", "/script.py"),
        ("app/web.py", "file", "/app/web.py"),
        ("json.tool", "module", "json.tool"),
        ("os.path", "module", "os.path"),
        ("made_up.inner", "module", "made_up.inner"),
        ("late:anything", "function", "late:anything"),
    ],
)
def test_fleet_run_kinds(tmp_path: Path, run: str, kind: str, target: str) -> None:
    fleet = good_fleet(tmp_path, HEAD + f'[worker.w]\nrun = "{run}"\n')
    found = fleet.workers["w"].run
    assert (found.kind, found.target.removeprefix(str(tmp_path))) == (kind, target)


# Layers


LAYERS = (
    HEAD
    + """\
env = { Z = "z", ALL = "zygote" }
[defaults]
restart = "always"
memory_max = "10M"
watchdog = 5
args = ["d"]
env = { D = "d", ALL = "defaults" }
rlimits = { core = 0, nofile = 10 }
[worker."t@"]
run = "app.web:main"
args = ["%i", "%%i", "${V}"]
memory_max = "20M"
cwd = "%i"
title = "t %i"
env = { T = "%i", ALL = "template" }
after = ["plain"]
[worker."t@one"]
memory_max = "30M"
watchdog = "infinity"
env = { ALL = "%i" }
rlimits = { nofile = 20 }
[worker."t@two"]
after = []
[worker.plain]
run = "tool"
title = "100%i"
"""
)


def test_fleet_layers(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, LAYERS, V="5%i")
    one, two, plain = (fleet.workers[name] for name in ("t@one", "t@two", "plain"))
    assert one.args == ("one", "%i", "5%i")
    assert one.env == {"Z": "z", "D": "d", "T": "one", "ALL": "one"}
    assert two.env["ALL"] == "template"
    assert (one.memory_max, two.memory_max) == (30 * 2**20, 20 * 2**20)
    assert (one.watchdog, two.watchdog) == (None, 5.0)
    assert one.rlimits == {"core": (0, 0), "nofile": (20, 20)}
    assert (one.cwd, one.title) == (f"{tmp_path}/one", "t one")
    assert (one.after, two.after) == (("plain",), ())
    assert plain.args == ("d",)
    assert plain.title == "100%i"
    assert plain.env["ALL"] == "defaults"
    assert {spec.restart for spec in fleet.workers.values()} == {"always"}
    assert fleet.order == ("t@two", "plain", "t@one")
    assert one.place == "fleet.toml:20"


def test_fleet_template_makes_the_same_as_a_listed_instance(tmp_path: Path) -> None:
    from zygote.fleet.model import instantiate

    fleet = good_fleet(tmp_path, LAYERS.replace("after = []\n", ""), V="5%i")
    template = fleet.templates["t@"]
    made = instantiate(template, "two")
    listed = fleet.workers["t@two"]
    assert (made.args, made.env, made.cwd, made.run) == (
        listed.args, listed.env, listed.cwd, listed.run,
    )  # fmt: skip


def test_fleet_percent_signs_of_folders_survive_a_template(tmp_path: Path) -> None:
    folder = tmp_path / "50%in"
    folder.mkdir()
    text = HEAD + 'env = { E = "9%i" }\n[worker."t@"]\nrun = "./script.py"\n[worker."t@1"]\n'
    fleet = good_fleet(folder, text)
    spec = fleet.workers["t@1"]
    assert spec.run.target == f"{folder}/script.py"
    assert spec.cwd == str(folder)
    assert spec.env == {"E": "9%i"}


def test_fleet_instance_without_a_template(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + '[worker."t@1"]\nrun = "tool"\nargs = ["%i"]\n')
    assert fleet.workers["t@1"].args == ("1",)


def test_fleet_template_whose_module_depends_on_the_instance(tmp_path: Path) -> None:
    fleet = good_fleet(tmp_path, HEAD + '[worker."t@"]\nrun = "app.%i:main"\n[worker."t@web"]\n')
    assert fleet.workers["t@web"].run.target == "app.web:main"
    assert fleet.templates["t@"].run.target == "app.%i:main"


# Where modules are looked for


@pytest.mark.parametrize(
    "zygote",
    ['path = ["deep"]', 'cwd = "deep"', 'env = { PYTHONPATH = "${HERE}/deep" }'],
)
def test_fleet_modules_are_found_where_the_zygote_would(tmp_path: Path, zygote: str) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "only_here.py").write_text("raise SystemExit('imported')\n")
    text = HEAD + zygote + '\npreload = ["only_here"]\n[worker.w]\nrun = "only_here"\n'
    fleet = good_fleet(tmp_path, text, HERE=str(tmp_path))
    assert fleet.zygotes["floor"].preload == ("only_here",)
    assert "only_here" not in sys.modules


def test_fleet_module_in_the_worker_s_own_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "only_here.py").write_text("")
    good_fleet(tmp_path, HEAD + '[worker.w]\nrun = "only_here"\ncwd = "deep"\n')


def test_fleet_check_runs_no_code(tmp_path: Path) -> None:
    text = (
        HEAD + 'preload = ["boom.inner"]\nwarm = "boom.inner:f"\n[worker.w]\nrun = "boom.inner"\n'
    )
    write_fleet(tmp_path, text)
    (tmp_path / "boom").mkdir()
    marker = tmp_path / "ran"
    code = f"open({str(marker)!r}, 'w')\ndef f(): pass\n"
    for name in ("__init__", "inner"):
        (tmp_path / "boom" / f"{name}.py").write_text(code)
    fleet, errors = check(tmp_path / "fleet.toml", {})
    assert fleet is not None, errors
    assert not marker.exists()


def test_fleet_check_leaves_the_interpreter_as_it_was(tmp_path: Path) -> None:
    before = (sys.path[:], Path.cwd(), dict(os.environ))
    good_fleet(tmp_path, EVERY_KEY, ARG="x")
    assert (sys.path, Path.cwd(), dict(os.environ)) == before


# Warnings
