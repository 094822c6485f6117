"""What crosses the bus: the models agree with what workers send, and refuse nonsense."""

from __future__ import annotations

import datetime as dt
import json
import mmap
import os

import pytest
from pydantic import BaseModel, ValidationError

from decnet import health, models
from decnet.bus.client import BusClient
from decnet.models import (
    AttackerFingerprinted,
    AttackerObserved,
    AttackerScored,
    CanaryPlaced,
    CanaryRevoked,
    CanaryTriggered,
    Command,
    Control,
    CredentialCaptured,
    DeckyTraffic,
    EmailReceived,
    FingerprintRotated,
    Health,
    IntelEnriched,
    LogStored,
    MailAttachment,
    ObservationMade,
    SessionEnded,
    SmtpProbePending,
    SpoolHint,
    TtpRuleFired,
    TtpRuleNews,
    TtpTagged,
    Window,
)

NOW = dt.datetime(2026, 11, 24, 3, 0, tzinfo=dt.UTC)
EXAMPLES = [
    models.IdentityObserved(identity_uuid="i", observation_uuids=["a", "b"]),
    models.IdentityAssigned(identity_uuid="i", campaign_uuid="c"),
    models.CampaignJoined(campaign_uuid="c", identity_uuids=["i", "j"]),
    models.Merged(winner_uuid="a", loser_uuid="b"),
    models.Unmerged(resurrected_uuid="b", former_winner_uuid="a"),
    models.CredentialReused(
        secret_sha256="0" * 64,
        secret_kind="plaintext",
        target_count=2,
        attempt_count=2,
        confidence=1.0,
        first_seen=NOW,
        last_seen=NOW,
    ),
    models.AttributionChanged(
        identity_uuid="i",
        primitive="motor.cadence",
        old_state="unknown",
        new_state="stable",
        confidence=0.8,
        ts=NOW,
    ),
    models.AttributionSuspected(identity_uuid="i", primitives=["a", "b"], confidence=0.6, ts=NOW),
    Health(worker="bus", ts=1.0, pid=1, uptime_sec=0.0),
    Control(action="stop", requested_by="api", ts=1.0),
    SpoolHint(decoy="decoy@ssh"),
    TtpTagged(attacker_uuid="a", tag_uuids=["t"], techniques_added=["T1110.001"]),
    TtpRuleFired(technique_id="T1110", sub_technique_ids=["T1110.001"], rule_ids=["R0202"]),
    TtpRuleNews(rule_id="R0202", state="clipped", confidence_max=0.3, expires_at=NOW),
    LogStored(component="collector", flushed=3, position=17),
    SessionEnded(
        session_id="s1",
        attacker_ip="192.0.2.1",
        decky_id="decky-01",
        service="ssh",
        ended_at=NOW,
        duration_s=1.5,
        commands=[Command(command_text="id", ts=NOW)],
    ),
    AttackerObserved(
        attacker_ip="192.0.2.1", decky="d", service="ssh", event_type="connect", first_seen=NOW
    ),
    AttackerScored(attacker_ip="192.0.2.1", event_count=1, service_count=1, decky_count=1),
    CredentialCaptured(
        secret_sha256="0" * 64,
        secret_kind="plaintext",
        attacker_ip="192.0.2.1",
        decky="d",
        service="ssh",
    ),
    MailAttachment(sha256="0" * 64, size_bytes=1, extension=".exe"),
    EmailReceived(
        decky="d",
        service="smtp",
        attacker_ip="192.0.2.1",
        received_at=NOW,
        sha256="0" * 64,
        rcpt_count=1,
        rcpt_domains=["example.org"],
        header_names=["from", "to"],
        attachment_count=1,
        attachments=[MailAttachment(sha256="0" * 64)],
    ),
    SmtpProbePending(decky="d", attacker_ip="192.0.2.1", stored_as="/x", rcpt_to="a@example.org"),
    CanaryPlaced(token_id="t", kind="http"),
    CanaryTriggered(token_id="t", trigger_id=1, src_ip="192.0.2.1", request_path="/c/x"),
    CanaryRevoked(token_id="t", reason="by hand"),
    DeckyTraffic(src_ip="192.0.2.1", dst_port=2222, service="ssh"),
    AttackerFingerprinted(
        attacker_ip="192.0.2.1",
        attacker_uuid="u1",
        port=443,
        probe_type="jarm",
        hash="0" * 62,
        result={"jarm": "0" * 62},
    ),
    FingerprintRotated(
        attacker_ip="192.0.2.1",
        attacker_uuid="u1",
        port=443,
        probe_type="jarm",
        old_hash="a",
        new_hash="b",
        rotation_count=1,
    ),
    Window(start_ts=NOW, end_ts=NOW),
    ObservationMade(
        id="o1",
        ts=NOW,
        primitive="motor.input_modality",
        value="typed",
        confidence=0.8,
        window=Window(start_ts=NOW, end_ts=NOW),
        evidence_ref="session:s1",
        attacker_uuid="a1",
    ),
    IntelEnriched(
        attacker_uuid="a1",
        attacker_ip="192.0.2.1",
        aggregate_verdict="malicious",
        providers={"feodo": "malicious", "greynoise": "failed"},
        feodo_listed=True,
    ),
]


@pytest.mark.parametrize("payload", EXAMPLES, ids=lambda p: type(p).__name__)
def test_models_survive_the_bus(payload: BaseModel) -> None:
    crossed = json.loads(json.dumps(payload.model_dump(mode="json")))
    assert type(payload).model_validate(crossed) == payload
    # A newer publisher may say more.
    assert type(payload).model_validate({**crossed, "new_field": 1})


def test_models_every_payload_has_an_example() -> None:
    defined = {
        kind
        for kind in vars(models).values()
        if isinstance(kind, type)
        and issubclass(kind, BaseModel)
        and kind not in (BaseModel, models.Payload, Command)
    }
    assert defined == {type(example) for example in EXAMPLES}


@pytest.mark.parametrize(
    ("kind", "payload"),
    [
        (Control, {"action": "start"}),
        (Control, {}),
        (Health, {"worker": "x", "ts": 1, "pid": 0, "uptime_sec": 0}),
        (Health, {"worker": "x" * 256, "ts": 1, "pid": 1, "uptime_sec": 0}),
        (LogStored, {"component": "c", "flushed": -1, "position": 0}),
        (CredentialCaptured, {**EXAMPLES[-1].model_dump(), "secret_sha256": "hunter2"}),
        (SessionEnded, {**EXAMPLES[4].model_dump(), "ended_at": "2026-11-24T03:00:00"}),
    ],
)
def test_models_refuse_nonsense(kind: type[BaseModel], payload: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        kind.model_validate(payload)


def test_health_heartbeat_is_what_the_model_says() -> None:
    clock = [100.0]
    pulse = health.Pulse("collect", clock=lambda: clock[0])
    clock[0] = 112.5
    beat = Health.model_validate(pulse.payload(3, {"queue": 7}))
    assert (beat.worker, beat.pid, beat.uptime_sec, beat.dropped) == (
        "collector",
        os.getpid(),
        12.5,
        3,
    )
    assert beat.private_kib > 1000
    assert beat.model_extra == {"queue": 7}


def test_health_private_memory_is_measured_once_a_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, reads = [0.0], []
    monkeypatch.setattr(health, "read_private_kib", lambda: reads.append(clock[0]) or len(reads))
    pulse = health.Pulse("w", clock=lambda: clock[0])
    for _ in range(13):
        last = pulse.payload(0, {})["private_kib"]
        clock[0] += 10
    assert reads == [0.0, 60.0, 120.0]
    assert last == 3


def test_health_private_memory_grows_with_what_is_touched() -> None:
    for _ in range(20):
        before = health.read_private_kib()
        with mmap.mmap(-1, 8 << 20) as area:
            area.write(b"x" * (8 << 20))
            grown = health.read_private_kib() - before
        if 7_500 < grown < 17_500:
            break
        # A page of a library is ours alone until another process loads the same: measure again.
    assert 7_500 < grown < 17_500, "8 MiB touched, and perhaps the buffer they came from"


async def test_bus_client_never_raises_on_publish(tmp_path) -> None:  # type: ignore[no-untyped-def]
    for enabled in (True, False):
        client = BusClient(tmp_path / "none.sock", "x", enabled=enabled)
        assert not await client.connect()
        assert not client.publish("not a topic", {"a": object()})
        assert not client.publish("a.b", EXAMPLES[0])
        assert client.dropped == (2 if enabled else 0)
        assert not await client.flush()
        await client.close()
