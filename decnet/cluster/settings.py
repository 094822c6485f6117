"""What an operator may say of the clusterers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from decnet.settings import Reader


@dataclass(frozen=True)
class ClusterSettings:
    """`bucket_most`: a key shown by more addresses than this is a tool's and links nobody."""

    bucket_most: int = 1000
    poll_seconds: int = 60

    @classmethod
    def from_env(cls, env: Mapping[str, str] | None = None) -> ClusterSettings:
        """Read DECNET_CLUSTER_BUCKET_MOST and DECNET_CLUSTER_POLL_S.

        Raises:
            SettingsError: a value is out of range.
        """
        read = Reader(os.environ if env is None else env)
        return cls(
            bucket_most=read.number("CLUSTER_BUCKET_MOST", 1000, 2, 10_000),
            poll_seconds=read.number("CLUSTER_POLL_S", 60, 1, 3600),
        )
