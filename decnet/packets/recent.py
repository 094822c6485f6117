"""Maps that forget: by age, and the oldest first when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


class Budget:
    """So many a second, and some at once: the rest is refused."""

    def __init__(self, per_second: float, most: float) -> None:
        self._per_second = per_second
        self._most = most
        self._left = most
        self._at = 0.0

    def take(self, now: float) -> bool:
        """One of them; False where there is none left."""
        passed = max(0.0, now - self._at) if self._at else 0.0
        self._left = min(self._most, self._left + passed * self._per_second)
        self._at = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


class Recent:
    """Remembers what was told, for `seconds` and for at most `most` of them."""

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._seen: OrderedDict[Hashable, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def is_new(self, key: Hashable, now: float) -> bool:
        """Whether the key was not seen in the last `seconds`; from now on it was.

        A clock that was set back makes everything new.
        """
        before = self._seen.get(key)
        if before is not None and 0 <= now - before < self._seconds:
            return False
        self._seen[key] = now
        self._seen.move_to_end(key)
        while len(self._seen) > self._most:
            self._seen.popitem(last=False)
        return True
