"""What /ttp shows, and takes."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

from pydantic import AwareDatetime, BaseModel, Field

from decnet.web.api.paging import Shape


class Tag(Shape):
    """One technique seen in one source by one rule."""

    uuid: str
    source_kind: str
    source_id: str
    attacker_uuid: str | None
    identity_uuid: str | None
    session_id: str | None
    decky_id: str | None
    tactic: str
    technique_id: str
    sub_technique_id: str | None
    confidence: float
    rule_id: str
    rule_version: int
    evidence: dict[str, Any]
    attack_release: str
    mitre_url: str
    observed_at: dt.datetime


class Technique(BaseModel):
    """A technique and how much was seen of it."""

    technique_id: str
    sub_technique_id: str | None
    name: str
    url: str
    tactics: list[str]
    count: int
    attackers: int
    confidence: float
    last_seen: dt.datetime


class Cell(BaseModel):
    """A technique in a column of the matrix."""

    technique_id: str
    name: str
    url: str
    count: int
    attackers: int


class Column(BaseModel):
    """A tactic, with what was seen of it."""

    tactic: str
    name: str
    short: str
    techniques: list[Cell]


class Rule(Shape):
    """A rule that the worker has loaded, and what was decided of it."""

    rule_id: str
    rule_version: int
    name: str
    source_path: str
    techniques: list[str]
    loaded_at: dt.datetime
    state: str = "enabled"
    confidence_max: float | None = None
    expires_at: dt.datetime | None = None
    reason: str = ""
    set_by: str = ""


class Decision(BaseModel):
    """What is to be done with a rule."""

    state: Literal["enabled", "disabled", "clipped"]
    confidence_max: float | None = Field(None, ge=0, le=1)
    expires_at: AwareDatetime | None = None
    reason: str = Field("", max_length=500)
