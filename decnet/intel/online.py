"""Providers in the network: GreyNoise (community), AbuseIPDB, ThreatFox. One question an address.

Answers are foreign: bounded in size, checked by a model, cut to what the columns hold. Whatever
is not a well-formed answer is a failure and no finding.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import httpx2
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from decnet.collect.text import clean
from decnet.intel.provider import BENIGN, MALICIOUS, SUSPICIOUS, UNKNOWN, Finding, ProviderError

ANSWER_MOST = 1 << 20
ABUSE_MALICIOUS, ABUSE_SUSPICIOUS = 75, 25
"""Scores (0 to 100) from which an address counts as that."""
FOX_MALICIOUS = 50


def _short(value: Any) -> Any:
    return clean(value[:256]) if isinstance(value, str) else value


Text = Annotated[str | None, BeforeValidator(_short)]


class _Answer(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Online:
    """What the services have in common.

    Args:
        client: shared; carries the time-outs.
        url: without a slash at its end.
        key: the API key, "" for none.
    """

    name = ""
    is_online = True
    needs_key = False

    def __init__(self, client: httpx2.AsyncClient, url: str, key: str) -> None:
        self._client = client
        self._url = url
        self._key = key

    async def ask(self, address: str) -> Finding:
        """See `Provider.ask`."""
        try:
            return self.read(await self._answer(address))
        except ValidationError as error:
            raise ProviderError(f"an answer that makes no sense ({error.error_count()})") from None

    async def _answer(self, address: str) -> bytes | None:
        """The body; None where the service does not know the address."""
        try:
            async with self._client.stream(**self.request(address)) as answer:
                self._check(answer)
                if answer.status_code == 404:
                    return None
                body = b""
                async for piece in answer.aiter_bytes():
                    body += piece
                    if len(body) > ANSWER_MOST:
                        raise ProviderError("an answer without end")
                return body
        except httpx2.HTTPError as error:
            raise ProviderError(f"{type(error).__name__}: {error}"[:200]) from error

    def _check(self, answer: httpx2.Response) -> None:
        status = answer.status_code
        if status in (200, 404):
            return
        after = answer.headers.get("retry-after", "")
        wait = float(after) if after.isascii() and after.isdigit() and len(after) < 6 else 0.0
        if status in (401, 403):
            # It will not get better by asking again soon.
            raise ProviderError(f"refused: {status}; is its API key right?", wait or 3600.0)
        raise ProviderError(f"status {status}", wait or (300.0 if status == 429 else 0.0))

    def request(self, address: str) -> dict[str, Any]:
        """The question: arguments of the client's `stream`."""
        raise NotImplementedError

    def read(self, body: bytes | None) -> Finding:
        """The answer's meaning.

        Raises:
            ValidationError: it has none.
        """
        raise NotImplementedError


class _Noise(_Answer):
    noise: bool | None = None
    riot: bool | None = None
    classification: Literal["malicious", "suspicious", "benign", "unknown"] | None = None
    name: Text = None


class GreyNoise(Online):
    """Who scans the whole internet, and who is a known service."""

    name = "greynoise"

    def request(self, address: str) -> dict[str, Any]:
        headers = {"key": self._key} if self._key else {}
        return {"method": "GET", "url": f"{self._url}/v3/community/{address}", "headers": headers}

    def read(self, body: bytes | None) -> Finding:
        found = _Noise() if body is None else _Noise.model_validate_json(body)
        columns = {
            "greynoise_classification": found.classification,
            "greynoise_noise": found.noise if body is not None else False,
            "greynoise_riot": found.riot if body is not None else False,
            "greynoise_name": found.name,
        }
        return Finding(found.classification or (BENIGN if found.riot else UNKNOWN), columns)


class _Report(_Answer):
    categories: list[int] = []


class _Abuse(_Answer):
    score: Annotated[int, Field(ge=0, le=100, alias="abuseConfidenceScore")]
    total: Annotated[int, Field(ge=0, le=2**31 - 1, alias="totalReports")] = 0
    whitelisted: Annotated[bool | None, Field(alias="isWhitelisted")] = None
    reports: Annotated[list[_Report], BeforeValidator(lambda v: (v or [])[:1000])] = []


class _AbuseBody(_Answer):
    data: _Abuse


class AbuseIpdb(Online):
    """What others reported of the address."""

    name = "abuseipdb"
    needs_key = True

    def request(self, address: str) -> dict[str, Any]:
        return {
            "method": "GET",
            "url": f"{self._url}/api/v2/check",
            "params": {"ipAddress": address, "maxAgeInDays": "90", "verbose": ""},
            "headers": {"Key": self._key, "Accept": "application/json"},
        }

    def read(self, body: bytes | None) -> Finding:
        if body is None:
            return Finding(UNKNOWN, self._columns(None, [], None))
        found = _AbuseBody.model_validate_json(body).data
        categories = sorted({c for report in found.reports for c in report.categories[:32]})[:32]
        verdict = UNKNOWN
        if found.whitelisted:
            verdict = BENIGN
        elif found.score >= ABUSE_MALICIOUS:
            verdict = MALICIOUS
        elif found.score >= ABUSE_SUSPICIOUS:
            verdict = SUSPICIOUS
        return Finding(verdict, self._columns(found.score, categories, found.total))

    @staticmethod
    def _columns(score: int | None, categories: list[int], reports: int | None) -> dict[str, Any]:
        return {
            "abuseipdb_score": score,
            "abuseipdb_categories": categories,
            "abuseipdb_reports": reports,
        }


class _Ioc(_Answer):
    threat_type: Text = None
    malware_printable: Text = None
    confidence_level: Annotated[int, Field(ge=0, le=100)] = 0


class _FoxBody(_Answer):
    query_status: str
    data: Annotated[list[_Ioc], BeforeValidator(lambda v: v[:200] if isinstance(v, list) else [])]


class ThreatFox(Online):
    """Indicators of malware; its worst of this address counts."""

    name = "threatfox"
    needs_key = True

    def request(self, address: str) -> dict[str, Any]:
        return {
            "method": "POST",
            "url": f"{self._url}/api/v1/",
            "json": {"query": "search_ioc", "search_term": address},
            "headers": {"Auth-Key": self._key},
        }

    def read(self, body: bytes | None) -> Finding:
        found = None if body is None else _FoxBody.model_validate_json(body)
        if found is not None and found.query_status not in ("ok", "no_result"):
            raise ProviderError(f"it says {clean(found.query_status[:60])!r}")
        iocs = found.data if found is not None and found.query_status == "ok" else []
        worst = max(iocs, key=lambda ioc: ioc.confidence_level, default=None)
        columns = {
            "threatfox_listed": worst is not None,
            "threatfox_malware": worst.malware_printable if worst else None,
            "threatfox_threat_type": worst.threat_type if worst else None,
            "threatfox_confidence": worst.confidence_level if worst else None,
        }
        if worst is None:
            return Finding(UNKNOWN, columns)
        is_sure = worst.confidence_level >= FOX_MALICIOUS
        return Finding(MALICIOUS if is_sure else SUSPICIOUS, columns)


KINDS: dict[str, type[Online]] = {kind.name: kind for kind in (GreyNoise, AbuseIpdb, ThreatFox)}
