"""Talk to a manager: `Client` (asyncio), `BlockingClient`, and what /proc says of its workers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zygote.client.api import Client
    from zygote.client.blocking import BlockingClient
    from zygote.client.memory import Row, measure

__all__ = ["BlockingClient", "Client", "Row", "measure"]

_HOMES = {
    "BlockingClient": "zygote.client.blocking",
    "Client": "zygote.client.api",
    "Row": "zygote.client.memory",
    "measure": "zygote.client.memory",
}


def __getattr__(name: str) -> Any:
    """Load on first use: `zygotectl run` needs none of this."""
    if name in _HOMES:
        from importlib import import_module

        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
