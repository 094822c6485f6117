"""Settings: defaults, every refusal with its way out, secrets made once."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from decnet.settings import (
    EXIT_CONFIG,
    Settings,
    SettingsError,
    async_url,
    secret_file,
    sqlite_file,
)


def test_settings_defaults_live_in_the_xdg_state_folder(tmp_path: Path) -> None:
    settings = Settings.from_env({"XDG_STATE_HOME": str(tmp_path)})
    assert settings.state_dir == tmp_path / "decnet"
    assert settings.db_url == f"sqlite+aiosqlite:///{tmp_path}/decnet/decnet.db"
    assert settings.db_file == tmp_path / "decnet/decnet.db"
    assert settings.bus_socket == tmp_path / "decnet/bus.sock"
    assert settings.json_file == tmp_path / "decnet/decnet.json"
    assert stat.S_IMODE(settings.state_dir.stat().st_mode) == 0o700
    assert settings.spool_dir.is_dir()


def test_settings_home_is_used_where_xdg_is_unset_or_relative(tmp_path: Path) -> None:
    for env in ({}, {"XDG_STATE_HOME": "relative"}):
        settings = Settings.from_env({"HOME": str(tmp_path), **env})
        assert settings.state_dir == tmp_path / ".local/state/decnet"


def test_settings_bus_socket_follows_the_manager(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "ZYGOTE_RUNTIME_DIR": "/run/nowhere/decnet"}
    assert Settings.from_env(env).bus_socket == Path("/run/nowhere/decnet/bus.sock")
    env["DECNET_BUS_SOCKET"] = "/elsewhere/bus.sock"
    assert Settings.from_env(env).bus_socket == Path("/elsewhere/bus.sock")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("API_PORT", "80000"),
        ("API_PORT", "http"),
        ("API_PORT", "-1"),
        ("API_PORT", "9" * 5000),
        ("BUS_ENABLED", "maybe"),
        ("BATCH_SIZE", "0"),
        ("BUS_CONTROL_UIDS", "998,decnet"),
        ("DB_URL", "mysql://host/db"),
        ("DB_URL", "decnet.db"),
        ("JWT_SECRET", "short"),
        ("ADMIN_PASSWORD", "admin"),
    ],
)
def test_settings_refuse_a_bad_value_by_name(tmp_path: Path, name: str, value: str) -> None:
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"DECNET_STATE_DIR": str(tmp_path), f"DECNET_{name}": value})
    assert f"DECNET_{name}" in caught.value.message
    assert caught.value.hint
    assert caught.value.exit_code == EXIT_CONFIG


def test_settings_state_folder_that_is_a_file_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("")
    with pytest.raises(SettingsError) as caught:
        Settings.from_env({"DECNET_STATE_DIR": str(tmp_path / "taken")})
    assert "DECNET_STATE_DIR" in caught.value.hint


def test_settings_secret_is_made_once_and_private(tmp_path: Path) -> None:
    settings = Settings.from_env({"DECNET_STATE_DIR": str(tmp_path)})
    with ThreadPoolExecutor(8) as pool:
        made = set(pool.map(lambda _: secret_file(tmp_path / "jwt-secret"), range(32)))
    assert made == {settings.jwt_secret}
    assert len(settings.jwt_secret) >= 32
    assert stat.S_IMODE((tmp_path / "jwt-secret").stat().st_mode) == 0o600
    left = [p.name for p in tmp_path.iterdir() if p.name.startswith(".jwt-")]
    assert left == []


def test_settings_secret_from_the_environment_makes_no_file(tmp_path: Path) -> None:
    env = {"DECNET_STATE_DIR": str(tmp_path), "DECNET_JWT_SECRET": "x" * 40}
    settings = Settings.from_env(env)
    assert settings.jwt_secret == "x" * 40
    assert not (tmp_path / "jwt-secret").exists()
    assert "x" * 40 not in repr(settings)


def test_settings_urls_get_the_asyncio_driver() -> None:
    assert async_url("sqlite:////var/x.db") == "sqlite+aiosqlite:////var/x.db"
    assert async_url("postgresql://u@h/n") == "postgresql+asyncpg://u@h/n"
    assert sqlite_file("sqlite+aiosqlite:////var/x.db?timeout=3") == Path("/var/x.db")
    assert sqlite_file("sqlite+aiosqlite://") is None
    assert sqlite_file("postgresql+asyncpg://u@h/n") is None
