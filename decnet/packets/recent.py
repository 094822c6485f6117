"""Maps that forget: by age, and the oldest first when there are too many."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable


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
