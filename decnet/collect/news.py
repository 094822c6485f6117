"""What collect tells the bus after a commit: hints. Who misses one finds the rows."""

from __future__ import annotations

from decnet.bus import topics
from decnet.bus.client import BusClient
from decnet.collect.loot import Mail
from decnet.collect.store import Stored


def publish(bus: BusClient, count: int, stored: Stored) -> None:
    """Tell of a batch of `count` events."""
    if count:
        bus.publish(
            topics.SYSTEM_LOG,
            {"component": "collector", "flushed": count, "position": stored.last_id},
            type="batch",
        )
    for row in stored.credentials:
        payload = {
            name: row[name] for name in ("secret_sha256", "secret_kind", "attacker_ip", "service")
        }
        bus.publish(topics.CREDENTIAL_CAPTURED, {**payload, "decky": row["decky_name"]})
    for mail, counts in stored.kept.mails:
        bus.publish(topics.EMAIL_RECEIVED, email_received(mail, counts))
    for probe in stored.kept.relay_probes:
        bus.publish(topics.SMTP_PROBE_PENDING, probe)
    for end, commands in stored.sessions:
        bus.publish(
            topics.ATTACKER_SESSION_ENDED,
            {
                "session_id": end.session_id,
                "attacker_ip": end.attacker_ip,
                "attacker_uuid": None,
                "decky_id": end.decky,
                "service": end.service,
                "ended_at": end.ended_at.isoformat(),
                "duration_s": end.duration_s,
                "commands": commands,
                "shard_path": end.shard_path,
            },
        )


def email_received(mail: Mail, counts: dict[str, int]) -> dict[str, object]:
    """The payload: hashes, counts, header names and domains; never addresses or texts."""
    return {
        "decky": mail.decky,
        "service": mail.service,
        "attacker_ip": mail.attacker_ip,
        "received_at": mail.received_at.isoformat(),
        "sha256": mail.sha256,
        "body_sha256": mail.body_sha256,
        "size_bytes": mail.size_bytes,
        "rcpt_count": mail.rcpt_count,
        "rcpt_domains": list(mail.rcpt_domains),
        "from_domain": mail.from_domain,
        "header_names": list(mail.header_names),
        "attachment_count": mail.attachment_count,
        "attachments": [
            {
                "sha256": one.sha256,
                "size_bytes": one.size_bytes,
                "extension": one.extension,
                "observation_count": counts.get(one.sha256, 1),
            }
            for one in mail.attachments
        ],
    }
