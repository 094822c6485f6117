"""What becomes of a hit: known or not, too many or not, with a fingerprint or without."""

from __future__ import annotations

import datetime as dt
from collections import Counter, deque
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from decnet.canary.fingerprint import Assembler, Rate, decode, judge
from decnet.canary.hit import AGENT_MOST, PATH_MOST, Hit, shown, shown_headers
from decnet.canary.journal import Journal
from decnet.canary.store import Known

HITS_MOST = 120
"""Hits a minute that are stored of one token from one address; more are counted."""
STRANGERS_MOST = 256
"""Hits on slugs that we do not know, until we have looked whether they are new tokens."""


class Bell:
    """Takes hits from the servers. `rang` is called when there is something to store."""

    def __init__(self, journal: Journal, rang: Callable[[], None]) -> None:
        self.known: Mapping[str, Known] = {}
        self.counts: Counter[str] = Counter()
        self._journal = journal
        self._rang = rang
        self._strangers: deque[Hit] = deque(maxlen=STRANGERS_MOST)
        self._rate = Rate(HITS_MOST)
        self._fingerprints = Rate()
        self._assembler = Assembler()

    def http(self, slug: str, ip: str, path: str, query: str, headers: Mapping[str, str]) -> None:
        """A request for a slug."""
        agent = headers.get("user-agent")
        hit = Hit(
            slug=slug,
            src_ip=ip,
            at=dt.datetime.now(dt.UTC),
            user_agent=None if agent is None else shown(agent, AGENT_MOST),
            path=shown(path, PATH_MOST),
            headers=shown_headers(headers),
        )
        token = self.known.get(slug)
        if token is not None and query and not token.revoked:
            told = self._fingerprint(token, hit, query)
            if told is None:
                return
            hit = told
        self._hit(hit)

    def dns(self, slug: str, ip: str, qname: str) -> None:
        """A query for a slug."""
        at = dt.datetime.now(dt.UTC)
        self._hit(Hit(slug=slug, src_ip=ip, at=at, qname=shown(qname, 255)))

    def renew(self, known: Mapping[str, Known]) -> None:
        """The tokens as they are now; hits on new ones are taken after all."""
        self.known = known
        while self._strangers:
            hit = self._strangers.popleft()
            if hit.slug in known:
                self._hit(hit)
            else:
                self.counts["unknown"] += 1

    def health(self) -> dict[str, Any]:
        """For the heartbeat."""
        return {"hits": dict(self.counts), "tokens": len(self.known)}

    def _hit(self, hit: Hit) -> None:
        token = self.known.get(hit.slug)
        if token is None:
            if len(self._strangers) == STRANGERS_MOST:
                self.counts["unknown"] += 1
            self._strangers.append(hit)
            return
        if token.revoked:
            self.counts["after_revoked"] += 1
        elif hit.fingerprint is None and not self._rate.allows(hit.slug, hit.src_ip):
            self.counts["too_many"] += 1
        else:
            self.counts["taken"] += 1
            self._journal.add(hit)
            self._rang()

    def _fingerprint(self, token: Known, hit: Hit, query: str) -> Hit | None:
        """The hit, with its fingerprint if it brought a good one; None for a piece of one."""
        if not any(part.startswith(("d=", "o=")) for part in query.split("&")):
            return hit
        if not self._fingerprints.allows(hit.slug, hit.src_ip):
            self.counts["fingerprints_too_many"] += 1
            return None
        payload = self._assembler.take(hit.slug, hit.src_ip, query)
        if payload is None:
            self.counts["fingerprint_pieces"] += 1
            return None
        found = decode(payload)
        groups = judge(found, token.nonce, token.uuid) if found is not None else None
        if groups is None:
            self.counts["fingerprints_bad"] += 1
            return hit
        self.counts["fingerprints"] += 1
        return replace(hit, fingerprint=groups)
