"""Finding the fleet file and the runtime folder, as clients and the manager do."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from zygote.errors import Exit, ZygoteError
from zygote.fleet import where
from zygote.fleet.expand import expand


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("ZYGOTE_FLEET", "ZYGOTE_RUNTIME_DIR", "XDG_RUNTIME_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def fleet(folder: Path, text: str = '[fleet]\nname = "demo"\n') -> Path:
    path = folder / "fleet.toml"
    path.write_text(text)
    return path


def test_where_file_named_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fleet(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text("")
    monkeypatch.setenv("ZYGOTE_FLEET", str(tmp_path / "fleet.toml"))
    assert where.find_fleet_file("other.toml") == other
    assert where.find_fleet_file(None) == tmp_path / "fleet.toml"


def test_where_file_of_this_folder(tmp_path: Path) -> None:
    path = fleet(tmp_path)
    assert where.find_fleet_file() == path


def test_where_file_in_a_named_folder(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    path = fleet(tmp_path / "sub")
    assert where.find_fleet_file("sub") == path


@pytest.mark.parametrize(
    ("arg", "variable", "hint"),
    [(None, None, "--fleet FILE"), ("gone.toml", None, "name"), (None, "x.toml", "ZYGOTE_FLEET")],
)
def test_where_file_missing(
    arg: str | None, variable: str | None, hint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if variable:
        monkeypatch.setenv("ZYGOTE_FLEET", variable)
    with pytest.raises(ZygoteError) as caught:
        where.find_fleet_file(arg)
    assert caught.value.code == "no-fleet-file"
    assert caught.value.exit_code == Exit.NO_SUCH_WORKER
    assert hint in caught.value.hint


def test_where_runtime_dir_of_the_command_line_needs_no_file(tmp_path: Path) -> None:
    assert where.runtime_dir("/nowhere/fleet.toml", "run") == tmp_path / "run"


def test_where_runtime_dir_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = fleet(tmp_path, '[fleet]\nname = "demo"\nruntime_dir = "${WHERE:-run}/x"\n')
    assert where.runtime_dir(str(path), None) == tmp_path / "run" / "x"
    monkeypatch.setenv("WHERE", "/elsewhere")
    assert where.runtime_dir(str(path), "") == Path("/elsewhere/x")
    monkeypatch.setenv("ZYGOTE_RUNTIME_DIR", "/from/variable")
    assert where.runtime_dir(path) == Path("/from/variable")
    assert where.runtime_dir(path, "/from/option") == Path("/from/option")


def test_where_runtime_dir_by_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert where.choose_runtime_dir("demo", "", environ={}) == Path("/run/zygote/demo")


def test_where_runtime_dir_of_a_session(tmp_path: Path) -> None:
    if os.geteuid() == 0:
        assert where.choose_runtime_dir("d", "", environ={"XDG_RUNTIME_DIR": str(tmp_path)}) == (
            Path("/run/zygote/d")
        )
    else:
        tmp_path.chmod(0o700)
        assert where.choose_runtime_dir(
            "d", "", environ={"XDG_RUNTIME_DIR": str(tmp_path)}
        ) == tmp_path.joinpath("zygote/d")


def test_where_runtime_dir_distrusts_a_session_folder_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = os.geteuid() + 12345
    monkeypatch.setattr(os, "geteuid", lambda: stranger)
    chosen = where.choose_runtime_dir("d", "", environ={"XDG_RUNTIME_DIR": str(tmp_path)})
    assert chosen == Path(f"/tmp/zygote-{stranger}/d")


@pytest.mark.parametrize(
    ("mode", "owner", "says"),
    [(0o775, 0, "chmod go-w"), (0o777, 0, "chmod go-w"), (0o700, 1, "remove it"), (0o700, 0, "")],
)
def test_where_runtime_dir_in_tmp_must_be_ours_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, says: str
) -> None:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(where, "_TMP", folder)
    real = os.geteuid()
    # Root has its place in /run: be somebody else, and own the folder as that one.
    ours = real or 12345
    uid = ours + owner
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    mine = folder / f"zygote-{uid}"
    assert where.choose_runtime_dir("d", "", environ={}) == mine / "d"
    mine.mkdir()
    mine.chmod(mode)
    if real == 0:
        os.chown(mine, ours, ours)
    if not says:
        assert where.choose_runtime_dir("d", "", environ={}) == mine / "d"
        return
    with pytest.raises(ZygoteError) as caught:
        where.choose_runtime_dir("d", "", environ={})
    assert caught.value.code == "runtime-dir-owner"
    assert caught.value.exit_code == Exit.NOT_ALLOWED
    assert says in caught.value.hint
    assert "--runtime-dir" in caught.value.hint


def test_where_socket_path_too_long(tmp_path: Path) -> None:
    with pytest.raises(ZygoteError) as caught:
        where.control_socket("x", "/" + "d" * 100)
    assert caught.value.code == "socket-path-too-long"
    assert "7 bytes shorter" in caught.value.hint
    longest = "/" + "d" * (where.SOCKET_PATH_MAX - len("/" + "/control.sock"))
    assert str(where.control_socket("x", longest)) == longest + "/control.sock"


@pytest.mark.parametrize(
    "broken", ["[worker.web]\nmemory_max = 128M\n", "[worker.web\n", 'x = "\n', "[a]\n[a]\n"]
)
def test_where_a_fault_elsewhere_in_the_file_hides_no_manager(tmp_path: Path, broken: str) -> None:
    path = fleet(tmp_path, f'# mine\n[fleet]\nname = "demo"\nruntime_dir = "run"\n{broken}')
    if broken.startswith("["):
        assert where.runtime_dir(path) == tmp_path / "run"
    else:
        with pytest.raises(ZygoteError, match="at line 5"):
            where.runtime_dir(path)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[fleet]\n", "missing-key"),
        ("name = 'x'\n", "missing-key"),
        ("fleet = 3\n", "missing-key"),
        ("[fleet]\nname = 'No Good'\n", "bad-value"),
        ("[fleet]\nname = '../up'\n", "bad-value"),
        ("[fleet]\nname = 3\n", "bad-value"),
        ("[fleet]\nname = 'x'\nruntime_dir = 3\n", "bad-value"),
        ("[fleet]\nname = 'x'\nruntime_dir = '${NOT_SET_ANYWHERE}'\n", "unset-variable"),
        ("[fleet]\nname = x\n", "toml-syntax"),
        ("", "fleet-file-empty"),
    ],
)
def test_where_head_wrong(tmp_path: Path, text: str, code: str) -> None:
    with pytest.raises(ZygoteError) as caught:
        where.runtime_dir(fleet(tmp_path, text))
    assert caught.value.code == code
    assert caught.value.exit_code == Exit.FLEET_FILE
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("${HOME}/x", "/h/x"),
        ("${GONE:-d}", "d"),
        ("${GONE:-}", ""),
        ("${EMPTY:-d}", "d"),
        ("${EMPTY}", ""),
        ("${HOME:-d}", "/h"),
        ("$HOME costs $5", "$HOME costs $5"),
        ("$${HOME}", "${HOME}"),
        ("$$", "$"),
        ("${PERCENT}", "5%i"),
        ("plain", "plain"),
    ],
)
def test_expand(text: str, filled: str) -> None:
    environ = {"HOME": "/h", "EMPTY": "", "PERCENT": "5%i"}
    assert expand(text, environ) == filled


def test_expand_guards_what_looks_like_an_instance() -> None:
    assert expand("%i-${P}", {"P": "5%i"}, keep_percent=True) == "%i-5%%i"


@pytest.mark.parametrize(
    ("text", "code"),
    [("${GONE}", "unset-variable"), ("${}", "bad-variable"), ("${1A}", "bad-variable"),
     ("${OPEN", "bad-variable"), ("${A:=b}", "bad-variable")],
)  # fmt: skip
def test_expand_refuses(text: str, code: str) -> None:
    with pytest.raises(ZygoteError) as caught:
        expand(text, {})
    assert caught.value.code == code
    assert caught.value.hint


def test_where_runtime_dir_of_the_service_where_one_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A member of `operators` asks the fleet that root runs; his own fleet goes first."""
    path = fleet(tmp_path)
    own, service = tmp_path / "own" / "demo", tmp_path / "system" / "demo"
    monkeypatch.setattr(where, "_SYSTEM", service.parent)
    monkeypatch.setattr(where, "choose_runtime_dir", lambda name, configured: own)
    assert where.runtime_dir(path) == own
    for folder, expected in ((service, service), (own, own)):
        folder.mkdir(parents=True)
        (folder / "control.sock").touch()
        assert where.runtime_dir(path) == expected
    (own / "control.sock").unlink()
    assert where.runtime_dir(path) == service
    assert where.runtime_dir(fleet(tmp_path, '[fleet]\nname = "demo"\nruntime_dir = "r"\n')) == own
