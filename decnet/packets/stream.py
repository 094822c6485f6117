"""The first bytes of one direction of a connection, put in order. Bounded."""

from __future__ import annotations

HEAD_MOST = 16 << 10
"""Bytes kept of a direction: a hello, an offer, a request's head is shorter."""
WAITING_MOST = 8
"""Segments kept that came before their turn."""
_WRAP = 1 << 32


class Stream:
    """Bytes from the first on, until `close`. What comes later than `HEAD_MOST` is not kept."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.is_open = True
        self._next: int | None = None
        self._waiting: dict[int, bytes] = {}

    @property
    def size(self) -> int:
        """Bytes held."""
        return len(self.data) + sum(map(len, self._waiting.values()))

    def begin(self, seq: int) -> None:
        """The sequence number of the first byte, from a SYN."""
        if self._next is None:
            self._next = seq % _WRAP

    def add(self, seq: int, payload: bytes) -> bool:
        """A segment's bytes; True where there is more in `data` now."""
        if not self.is_open or not payload:
            return False
        if self._next is None:  # we came in the middle
            self._next = seq
        ahead = (seq - self._next) % _WRAP
        if ahead >= _WRAP // 2:  # old: its tail may be new
            behind = _WRAP - ahead
            if behind >= len(payload):
                return False
            payload, ahead = payload[behind:], 0
        if ahead:
            if ahead < HEAD_MOST and len(self._waiting) < WAITING_MOST:
                self._waiting.setdefault(seq, payload[:HEAD_MOST])
            return False
        self._take(payload)
        while (due := self._due()) is not None:
            self._take(self._waiting.pop(due)[(self._next - due) % _WRAP :])
        if len(self.data) >= HEAD_MOST:
            del self.data[HEAD_MOST:]
        return True

    def is_full(self) -> bool:
        """Whether nothing more will be kept."""
        return len(self.data) >= HEAD_MOST

    def close(self) -> None:
        """All that was wanted is read: let go of the bytes."""
        self.is_open = False
        self.data = bytearray()
        self._waiting = {}

    def _take(self, payload: bytes) -> None:
        assert self._next is not None
        self.data += payload[:HEAD_MOST]
        self._next = (self._next + len(payload)) % _WRAP

    def _due(self) -> int | None:
        assert self._next is not None
        for seq in self._waiting:
            if (self._next - seq) % _WRAP < _WRAP // 2:
                return seq
        return None
