"""The worker's own settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from decnet.settings import Reader


@dataclass(frozen=True)
class TtpSettings:
    """`rules_dir`: the operator's rule files. `batch_size`: rows of a table in one turn."""

    rules_dir: Path | None = None
    batch_size: int = 200

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> TtpSettings:
        """DECNET_TTP_RULES_DIR (default: none), DECNET_TTP_BATCH_SIZE (1 to 2000).

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        folder = read.text("TTP_RULES_DIR", "")
        return cls(
            rules_dir=Path(folder).expanduser().absolute() if folder else None,
            batch_size=read.number("TTP_BATCH_SIZE", 200, 1, 2_000),
        )
