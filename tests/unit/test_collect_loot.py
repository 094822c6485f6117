"""What events leave behind: bounties, attachments, mails."""

from __future__ import annotations

import asyncio
import base64
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from decnet.collect import news, store
from decnet.collect.keep import keep
from decnet.collect.loot import attachments_of, extension, loot_of, mail_of
from decnet.collect.record import Record, read_line
from decnet.collect.sessions import session_end
from decnet.db.engine import Database
from decnet.db.migrate import migrate
from decnet.models import EmailReceived, SmtpProbePending
from tests.support.decnet_env import query

NOW = dt.datetime(2026, 11, 24, 12, 0, tzinfo=dt.UTC)
SHA = "ab" * 32
OTHER = "cd" * 32
MAIL = {
    "mail_from": "<boss@evil.example>",
    "rcpt_to": "victim@gmail.example",
    "rcpt_count": "1",
    "rcpt_domains": "gmail.example",
    "subject": "Your invoice",
    "sha256": SHA,
    "size_bytes": "1000",
    "stored_as": "/artifacts/x.bin",
    "header_names": "from,to,subject",
    "attachment_count": "2",
    "attachments": json.dumps(
        [
            {"filename": "Invoice.PDF.exe", "size": 7, "sha256": OTHER},
            {"filename": "no hash", "size": 7, "sha256": "../../etc"},
        ]
    ),
}


def record(event: str, service: str = "x", ip: str = "192.0.2.7", **fields: str) -> Record:
    return Record(NOW, "d", service, event, ip, "-", fields)


@pytest.mark.parametrize(
    ("made", "kinds"),
    [
        (record("tls_client_hello", ja3="a", ja4="b", src_port="1"), ["fingerprint"]),
        (record("tls_client_hello", sni="x"), []),
        (record("jarm_fingerprint", jarm="j", target_port="443"), ["fingerprint"]),
        (record("tls_certificate", cert_sha256=SHA), []),
        (record("tls_certificate", cert_sha256=SHA, target_ip="192.0.2.7"), ["fingerprint"]),
        (record("connect", "ssh", client_version="SSH-2.0-Go"), ["fingerprint"]),
        (record("upload", sha256=SHA, filename="x.sh"), ["artifact"]),
        (record("upload", sha256="short"), []),
        (record("download_attempt", url="http://x/y"), ["artifact"]),
        (record("ipv6_link_local_leak", leaked="fe80::1"), ["ip_leak"]),
        (record("request", x_forwarded_for="198.51.100.1, 10.0.0.1"), ["ip_leak"]),
        (record("request", x_forwarded_for="192.0.2.7"), []),
        (record("request", x_forwarded_for="<script>"), []),
        (record("message_accepted", **MAIL), ["artifact", "probe_relay"]),
        (record("message_accepted", **{**MAIL, "rcpt_count": "40"}), ["artifact"]),
        (record("upload", ip="Unknown", sha256=SHA), []),
        (record("parse_error"), []),
    ],
)
def test_loot_by_event(made: Record, kinds: list[str]) -> None:
    assert [loot.bounty_type for loot in loot_of(made)] == kinds


def test_loot_is_the_same_by_what_it_is_not_by_when() -> None:
    one = record("tls_client_hello", ja3="a", ja4="b", src_port="1")
    two = record("tls_client_hello", ja3="a", ja4="b", src_port="2", dst_port="443")
    other = record("tls_client_hello", ip="192.0.2.8", ja3="a", ja4="b")
    keys = [loot_of(made)[0].key for made in (one, two, other)]
    assert keys[0] == keys[1] != keys[2]
    assert loot_of(one)[0].payload == {
        "fingerprint_type": "tls_client_hello",
        "ja3": "a",
        "ja4": "b",
    }


def test_attachments_of_a_list_that_was_cut() -> None:
    fields = {**MAIL, "attachments": '[{"sha256": "ab', "attachment_sha256": f"{SHA},{OTHER},x"}
    assert [a.sha256 for a in attachments_of(record("message_accepted", **fields))] == [SHA, OTHER]
    assert [extension(n) for n in ("a.EXE", "a", ".bashrc", "x.tar.gz", "c:\\a.b\\c", "a.✓")] == [
        *(".exe", "", "", ".gz", "", "")
    ]


@given(
    st.dictionaries(
        st.sampled_from([*MAIL, "body_sha256", "attachment_sha256", "x_forwarded_for", "ja4"]),
        st.one_of(st.text(max_size=80), st.just("[" * 5000), st.just('[{"sha256": {}}, 1, null]')),
    ),
    st.sampled_from(["message_accepted", "upload", "request", "tls_client_hello", "x_leak"]),
)
def test_loot_of_anything_never_fails(fields: dict[str, str], event: str) -> None:
    made = record(event, **fields)
    loot_of(made)
    mail = mail_of(made)
    assert (mail is None) == (event != "message_accepted")
    if mail is not None:
        EmailReceived.model_validate(news.email_received(mail, {}))


async def test_kept_once_and_counted(tmp_path: Path) -> None:
    file = tmp_path / "x.db"
    await asyncio.to_thread(migrate, f"sqlite:///{file}")
    database = Database(f"sqlite+aiosqlite:///{file}")
    await database.open()
    batch = [
        record("message_accepted", **MAIL),
        record("message_accepted", ip="192.0.2.8", **MAIL),
        record("upload", sha256=OTHER, filename="x.dll"),
        *(record("tls_client_hello", ja3="a", ja4="b", src_port=str(n)) for n in range(250)),
    ]
    try:
        first = await database.write(lambda session: keep(session, batch))
        again = await database.write(lambda session: keep(session, batch))
    finally:
        await database.close()
    assert len(first.relay_probes) == 2
    assert again.relay_probes == (), "told once"
    for probe in first.relay_probes:
        SmtpProbePending.model_validate(probe)
    assert [counts for _, counts in first.mails] == [{OTHER: 3}, {OTHER: 3}]
    payload: dict[str, Any] = news.email_received(*first.mails[0])
    assert EmailReceived.model_validate(payload).attachments[0].observation_count == 3
    text = json.dumps(payload)
    for private in ("boss@", "victim@", "invoice", "Invoice"):
        assert private not in text
    rows = query(file, "SELECT bounty_type, count(*) FROM bounty GROUP BY 1 ORDER BY 1")
    assert rows == [("artifact", 3), ("fingerprint", 1), ("probe_relay", 2)]
    rows = query(
        file,
        "SELECT sha256, observation_count, extensions, first_attacker_ip, first_subject,"
        " mal_hash_match FROM observed_attachments",
    )
    assert rows == [(OTHER, 6, '[".exe",".dll"]', "192.0.2.7", "Your invoice", None)]


def test_credentials_are_bounties_too() -> None:
    secret = base64.b64encode(b"hunter2").decode()
    line = (
        "<134>1 2026-11-24T03:00:00Z d ssh - login_attempt"
        f' [relay@55555 src_ip="192.0.2.7" principal="root" secret_b64="{secret}"]'
    )
    made = read_line(line.encode(), "x", NOW)
    (loot,) = loot_of(made)
    assert loot.bounty_type == "credential"
    assert loot.payload["principal"] == "root"


async def test_commands_of_a_session_are_found_by_time(tmp_path: Path) -> None:
    """Not by going through all that an address ever did."""
    file = tmp_path / "x.db"
    await asyncio.to_thread(migrate, f"sqlite:///{file}")
    database = Database(f"sqlite+aiosqlite:///{file}")
    await database.open()
    seen: list[str] = []
    try:
        async with database.session() as session:
            connection = await session.connection()
            event.listen(
                connection.sync_connection, "before_cursor_execute", lambda *a: seen.append(a[2])
            )
            end = session_end(record("session_recorded", session_id="s", duration_s="1"))
            assert end is not None
            await store._record_session(session, end)
    finally:
        await database.close()
    (statement,) = [text for text in seen if "logs" in text]
    plan = query(file, "EXPLAIN QUERY PLAN " + statement.replace("?", "'1'"))
    assert "ix_logs_timestamp" in plan[0][3]
