"""Migrations: from empty to what the tables say, every refusal with its way out."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect
from sqlmodel import SQLModel

from decnet.db.errors import EXIT_NO_DATABASE, NotMigrated
from decnet.db.migrate import check, current, main, migrate, script_config
from decnet.db.revision import HEAD
from decnet.db.tables import METADATA
from decnet.settings import SettingsError


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite+aiosqlite:///{tmp_path}/folder/decnet.db"


def file_of(url: str) -> str:
    return url.partition(":///")[2]


def test_migrations_from_empty_give_what_the_tables_say(url: str) -> None:
    assert current(url) is None
    assert migrate(url) == (None, HEAD)
    assert current(url) == HEAD
    check(url)
    engine = create_engine(f"sqlite:///{file_of(url)}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, METADATA) == []
        found = set(inspect(connection).get_table_names()) - {"alembic_version", "sqlite_sequence"}
        for table in METADATA.sorted_tables:
            defined = {(i.name, tuple(c.name for c in i.columns)) for i in table.indexes}
            real = {
                (i["name"], tuple(i["column_names"]))
                for i in inspect(connection).get_indexes(table.name)
            }
            assert defined == real
    engine.dispose()
    assert found == set(METADATA.tables)
    assert METADATA is SQLModel.metadata


def test_migrations_head_constant_is_the_last_script() -> None:
    scripts = ScriptDirectory.from_config(script_config())
    assert scripts.get_heads() == [HEAD]


def test_migrations_upgrade_from_every_earlier_revision(tmp_path: Path) -> None:
    scripts = ScriptDirectory.from_config(script_config())
    for script in scripts.walk_revisions():
        url = f"sqlite+aiosqlite:///{tmp_path}/{script.revision}.db"
        migrate(url)
        assert migrate(url) == (HEAD, HEAD)


def test_migrations_run_by_many_at_once_happen_once(url: str) -> None:
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: migrate(url), range(4)))
    assert sorted(results, key=str) == [(HEAD, HEAD)] * 3 + [(None, HEAD)]


def test_migrations_file_is_private(url: str) -> None:
    migrate(url)
    assert Path(file_of(url)).stat().st_mode & 0o777 == 0o600


def test_migrations_missing_database_names_the_command_and_makes_no_file(url: str) -> None:
    with pytest.raises(NotMigrated) as caught:
        check(url)
    assert "decnetctl migrate" in caught.value.hint
    assert caught.value.exit_code == EXIT_NO_DATABASE
    assert not Path(file_of(url)).exists()


def test_migrations_empty_database_names_the_command(tmp_path: Path) -> None:
    (tmp_path / "empty.db").touch()
    with pytest.raises(NotMigrated, match="no tables yet"):
        check(f"sqlite:///{tmp_path}/empty.db")


def test_migrations_newer_database_is_refused(url: str) -> None:
    migrate(url)
    with sqlite3.connect(file_of(url)) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    with pytest.raises(NotMigrated, match="9999"):
        check(url)
    with pytest.raises(NotMigrated, match="does not know"):
        migrate(url)
    assert current(url) == "9999"


def test_migrations_file_that_is_no_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("not a database, but long enough to have a header of its own " * 20)
    before = path.read_bytes()
    for attempt in (migrate, check):
        with pytest.raises(NotMigrated, match="not a database"):
            attempt(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_migrations_unwritable_place_says_what_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SettingsError) as caught:
        migrate(f"sqlite:///{tmp_path}/file/decnet.db")
    assert "DECNET_STATE_DIR" in caught.value.hint


def test_migrations_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DECNET_STATE_DIR", str(tmp_path))
    assert main(["--check"]) == EXIT_NO_DATABASE
    assert "decnetctl migrate" in capsys.readouterr().err
    assert main([]) == 0
    assert f"created at {HEAD}" in capsys.readouterr().out
    assert main([]) == 0
    assert "nothing to do" in capsys.readouterr().out
    assert main(["--check"]) == 0
    assert main(["--frob"]) == 2
