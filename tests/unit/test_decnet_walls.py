"""What decnet's launcher prepares for the walls of its workers: variables, and secrets put away."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from decnet.run.stash import stash
from decnet.run.variables import variables
from decnet.settings import Settings


def test_variables_say_where_things_are(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_SPOOL_DIR": "/srv/spool"}
    found = variables(env)
    assert found["DECNET_WALL_DB"] == f"{tmp_path}/db"
    assert found["DECNET_WALL_SPOOL"] == "/srv/spool"
    assert "DECNET_WALL_INET" not in found
    there = variables(env | {"DECNET_DB_URL": f"sqlite:///{tmp_path}/other/x.db"})
    assert there["DECNET_WALL_DB"] == f"{tmp_path}/other"
    far = variables(env | {"DECNET_DB_URL": "postgresql://u@db.example:6543/decnet"})
    assert (far["DECNET_WALL_INET"], far["DECNET_WALL_DB_PORT"]) == ("AF_INET", "6543")
    files = variables(env | {"DECNET_COLLECT_FILES": "/var/log/a/*.log:/var/log/b.log"})
    assert files["DECNET_WALL_COLLECT"] == "/var/log"


def test_stash_takes_secrets_out_of_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    env = {
        "DECNET_STATE_DIR": str(tmp_path),
        "DECNET_JWT_SECRET": "j" * 40,
        "DECNET_GREYNOISE_API_KEY": "grey",
        "DECNET_DB_URL": "postgresql://user:p%40ss:word@db/decnet",
    }
    stash(env)
    assert not [name for name, value in env.items() if "jjj" in value or "grey" in value]
    assert env["DECNET_DB_URL"] == "postgresql://user@db/decnet"
    assert "DECNET_ADMIN_PASSWORD" not in env
    kept = Path(env["DECNET_DB_PASSWORD_FILE"])
    assert kept.read_text() == "p@ss:word"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert variables(env)["DECNET_WALL_JWT"] == env["DECNET_WALL_JWT"]
    assert Path(env["DECNET_WALL_JWT"]).read_text() == "j" * 40
    # In a worker they come back as credentials.
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "db-password").write_text("p@ss:word")
    (folder / "jwt-secret").write_text("j" * 40)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    settings = Settings.from_env(env)
    assert settings.db_url == "postgresql+asyncpg://user:p%40ss%3Aword@db/decnet"
    assert settings.jwt_secret == "j" * 40
    assert not (tmp_path / "jwt-secret").exists()


def test_stash_leaves_alone_what_holds_no_secret(tmp_path: Path) -> None:
    for url in ("sqlite:////srv/x.db", "postgresql://u@h/d", "postgresql:///d?host=/run/pg"):
        env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_DB_URL": url}
        stash(env)
        assert env == {"DECNET_STATE_DIR": str(tmp_path), "DECNET_DB_URL": url}
    assert not (tmp_path / "given").exists()
