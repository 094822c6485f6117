"""One worker's way from one generation to another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from zygote.manager.zygote import Zygote


@dataclass(slots=True)
class Passage:
    """What a move asks of a worker, and what came of it.

    Attributes:
        zygote: what its next process is a copy of, while that serves; None: whichever serves.
        holds: its predecessor stays until `Succession.release`, however well the successor does.
        reason: why the predecessor is what runs again; "" as long as it is not.
    """

    zygote: Zygote | None
    holds: bool = False
    reason: str = ""
