"""What the ttp worker found, read again and exported: backfill, lists, STIX, layers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from decnet.cli import ttp as cli
from decnet.cli import ttp_files as files
from decnet.db.engine import Database
from decnet.ttp.backfill import backfill
from decnet.ttp.catalogue import Catalogue
from decnet.ttp.shared import load_shared
from tests.support.decnet_env import migrated
from tests.support.ttp import (
    RULE,
    decnetctl,
    query_write,
    seed,
    tag_all,
    tags,
    visits,
)
from zygote.errors import ZygoteError


async def test_ttp_backfill_says_what_live_said(tmp_path: Path) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    seed(file, visits(600, seed=3))
    live = await tag_all(tmp_path, file)
    assert live
    query_write(file, "DELETE FROM ttp_tag")
    database = Database(f"sqlite+aiosqlite:///{file}")
    await database.open()
    try:
        catalogue = Catalogue(load_shared())
        dry = await backfill(database, catalogue, dry_run=True, batch_size=50)
        assert tags(file) == [] and dry.new == dry.tags == len(live)
        commands = await backfill(database, catalogue, source="command")
        assert 0 < commands.new < len(live)
        done = await backfill(database, catalogue, batch_size=77)
        assert done.new == len(live) - commands.new
        again = await backfill(database, catalogue, since_days=1)
        assert again.new == 0 and again.events > 0
        assert (await backfill(database, catalogue, since_days=0)).events == 0
        with pytest.raises(ValueError, match="no source 'nonsense'"):
            await backfill(database, catalogue, source="nonsense")
    finally:
        await database.close()
    assert tags(file) == live


async def test_ttp_command_line_lists_and_exports(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = await asyncio.to_thread(migrated, tmp_path)
    seed(file, visits(200, seed=9))
    found = await tag_all(tmp_path, file)
    monkeypatch.setenv("DECNET_STATE_DIR", str(tmp_path))

    async def shown(verb: Any, *words: Any, **options: Any) -> str:
        capsys.readouterr()
        await asyncio.to_thread(verb, *words, **options)
        return capsys.readouterr().out

    async def said(verb: Any, **options: Any) -> Any:
        return json.loads(await shown(verb, **options))

    assert len(await said(cli.rules, as_json=True)) == len(load_shared().rules)
    listed = await said(cli.tags, as_json=True, limit=1000)
    assert {tag["uuid"] for tag in listed} == {row[0] for row in found}
    only = await said(cli.tags, as_json=True, technique="T1070")
    assert {tag["technique_id"] for tag in only} == {"T1070"}
    counts = await said(cli.techniques, as_json=True)
    assert sum(one["tags"] for one in counts) == len(found)
    layer = await said(files.navigator)
    assert layer["domain"] == "enterprise-attack" and layer["versions"]["layer"] == "4.5"
    assert {t["techniqueID"] for t in layer["techniques"]} == {c["technique"] for c in counts}
    bundle = await said(files.stix)
    assert bundle == await said(files.stix), "ids follow from what they stand for"
    check_stix(bundle)
    one = await said(files.stix, attacker="192.0.2.1")
    assert {o["value"] for o in one["objects"] if o["type"] == "ipv4-addr"} == {"192.0.2.1"}
    with pytest.raises(ZygoteError, match="no rule R7777"):
        await asyncio.to_thread(cli.disable, "R7777")
    with pytest.raises(ZygoteError, match="from 0 to 1"):
        await asyncio.to_thread(cli.disable, "R0001", confidence_max=3.0)
    assert (await said(files.backfill, as_json=True))["new"] == 0
    own = tmp_path / "own.yaml"
    own.write_text(RULE % "x" + "  fires: [y]\n")
    assert "does not fire on y" in await shown(files.check, own)
    assert "Clear Command History" in decnetctl(tmp_path, "ttp", "techniques").stdout


def check_stix(bundle: dict[str, Any]) -> None:
    """What STIX 2.1 asks of a bundle: ids by type, references that lead somewhere."""
    ids = {o["id"] for o in bundle["objects"]}
    assert len(ids) == len(bundle["objects"])
    for o in bundle["objects"]:
        assert o["id"].startswith(f"{o['type']}--") and o["spec_version"] == "2.1"
        references = [value for key, value in o.items() if key.endswith("_ref")]
        references += [v for key, value in o.items() if key.endswith("_refs") for v in value]
        assert set(references) <= ids
        if o["type"] == "sighting":
            assert o["first_seen"] <= o["last_seen"] and 0 <= o["confidence"] <= 100
