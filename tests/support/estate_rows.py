"""A row of each kind that the REST interface shows, with text that no page may ever run."""

from __future__ import annotations

import json

from sqlmodel import Session, create_engine

from decnet.db.tables import (
    Attacker,
    AttackerBehavior,
    AttackerIdentity,
    AttackerIntel,
    AttributionState,
    Bounty,
    Campaign,
    CanaryToken,
    CanaryTrigger,
    Credential,
    CredentialReuse,
    FleetDecky,
    Observation,
    OrchestratorEvent,
    SessionRecording,
    TtpRule,
    TtpTag,
)
from decnet.settings import Settings
from tests.support.api import NOW

HOSTILE = "<img src=x onerror=\"document.title='owned'\">'; DROP TABLE users; --"


def fill(settings: Settings) -> dict[str, str]:
    """Store them; gives the uuids."""
    engine = create_engine(f"sqlite:///{settings.db_file}")
    shard = write_shard(settings)
    with Session(engine, expire_on_commit=False) as session:
        campaign = Campaign(
            first_seen_at=NOW, last_seen_at=NOW, identity_count=1, notes=HOSTILE, confidence=0.5
        )
        session.add(campaign)
        session.flush()
        identity = AttackerIdentity(
            first_seen_at=NOW, last_seen_at=NOW, campaign_id=campaign.uuid, ja3_hashes=["a" * 32]
        )
        session.add(identity)
        session.flush()
        merged = AttackerIdentity(
            first_seen_at=NOW, last_seen_at=NOW, merged_into_uuid=identity.uuid
        )
        attacker = Attacker(
            ip="192.0.2.77",
            identity_id=identity.uuid,
            first_seen=NOW,
            last_seen=NOW,
            event_count=3,
            services=["ssh"],
            ptr_record=HOSTILE,
        )
        session.add_all([merged, attacker])
        session.flush()
        uuid = attacker.uuid
        token = CanaryToken(name=HOSTILE, kind="http", callback_token="slug", fingerprint_nonce="n")
        session.add(token)
        session.flush()
        session.add_all(
            [
                AttackerBehavior(
                    attacker_uuid=uuid, behavior_class="interactive", tool_guesses=[HOSTILE]
                ),
                AttackerIntel(
                    attacker_uuid=uuid,
                    attacker_ip=attacker.ip,
                    aggregate_verdict="malicious",
                    cached_at=NOW,
                    expires_at=NOW,
                ),
                Observation(
                    id="o1",
                    attacker_uuid=uuid,
                    primitive="motor.input_modality",
                    value="typed",
                    confidence=0.9,
                    window_start_ts=NOW,
                    window_end_ts=NOW,
                    source="profiler",
                    evidence_ref="s1",
                ),
                AttributionState(
                    identity_uuid=identity.uuid, primitive="motor.input_modality", state="stable"
                ),
                Credential(
                    attacker_ip=attacker.ip,
                    attacker_uuid=uuid,
                    decky_name="decky-01",
                    service="ssh",
                    principal=HOSTILE,
                    secret_sha256="b" * 64,
                    secret_b64="YQ==",
                    secret_printable=HOSTILE,
                    first_seen=NOW,
                    last_seen=NOW,
                ),
                CredentialReuse(
                    secret_sha256="b" * 64,
                    secret_kind="plaintext",
                    target_count=2,
                    attempt_count=3,
                    first_seen=NOW,
                    last_seen=NOW,
                ),
                Bounty(
                    timestamp=NOW,
                    decky="decky-01",
                    service="ssh",
                    attacker_ip=attacker.ip,
                    bounty_type="artifact",
                    payload={"name": HOSTILE},
                ),
                SessionRecording(
                    session_id="s1",
                    decky="decky-01",
                    service="ssh",
                    attacker_ip=attacker.ip,
                    principal=HOSTILE,
                    started_at=NOW,
                    ended_at=NOW,
                    duration_s=2,
                    shard_path=shard,
                    commands=[{"command_text": HOSTILE, "ts": NOW.isoformat()}],
                ),
                SessionRecording(
                    session_id="outside",
                    decky="decky-01",
                    service="ssh",
                    attacker_ip=attacker.ip,
                    started_at=NOW,
                    ended_at=NOW,
                    duration_s=2,
                    shard_path=str(settings.state_dir / "jwt-secret"),
                ),
                TtpTag(
                    uuid="t1",
                    source_kind="command",
                    source_id="1",
                    attacker_uuid=uuid,
                    session_id="s1",
                    tactic="execution",
                    technique_id="T1059",
                    sub_technique_id="T1059.004",
                    confidence=0.8,
                    rule_id="R0001",
                    rule_version=1,
                    evidence={"command": HOSTILE},
                    attack_release="18.1",
                    mitre_url="https://attack.mitre.org/techniques/T1059/004",
                    observed_at=NOW,
                ),
                TtpRule(
                    rule_id="R0001",
                    rule_version=1,
                    name="a shell",
                    source_path="x",
                    yaml_content="",
                ),
                CanaryTrigger(
                    hit_id="h1",
                    token_uuid=token.uuid,
                    occurred_at=NOW,
                    src_ip="192.0.2.77",
                    user_agent=HOSTILE,
                ),
                FleetDecky(host_uuid="host", name="decky-01", services=["ssh"], state="running"),
                OrchestratorEvent(kind="file", action="create", dst="decky-01"),
            ]
        )
        session.commit()
        uuids = {
            "attacker": uuid,
            "identity": identity.uuid,
            "merged": merged.uuid,
            "campaign": campaign.uuid,
            "token": token.uuid,
        }
    engine.dispose()
    return uuids


def write_shard(settings: Settings) -> str:
    """A day's recordings: ours between another session's lines, a torn one and a made-up one."""
    folder = settings.artifacts_dir / "decky-01" / "ssh" / "transcripts"
    folder.mkdir(parents=True)
    path = folder / "sessions-2026-11-24.jsonl"
    lines = [
        {"sid": "s1", "version": 2, "timestamp": 1, "width": 80, "height": 24},
        {"sid": "other", "event": [0.1, "o", "not ours"]},
        {"sid": "s1", "event": [0.1, "o", "$ "]},
        {"sid": "s1", "event": [0.5, "i", "id\r"]},
        {"sid": "s1", "event": [0.6, "o", f"{HOSTILE}\udcff\r\n"]},
        {"sid": "s1", "event": "nonsense"},
        {"sid": "s1", "event": [1.0, "x", ""]},
        {"sid": "s1", "event": [2.0, "o", "after the end"]},
    ]
    made = [json.dumps(line, separators=(",", ":")) for line in lines]
    made.insert(3, '{"sid":"s1","event":[0.2,"o"')
    path.write_text("\n".join(made) + "\n")
    return str(path)
