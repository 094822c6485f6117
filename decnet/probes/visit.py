"""All probes of one port, in the order of their weight; serial, polite."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from decnet.collect.text import clean
from decnet.probes.syn import NotAllowed, read_stack
from decnet.probes.talk import (
    Closed,
    Result,
    Silent,
    Wire,
    is_open,
    read_banner,
    read_certificate,
    read_hassh,
    read_jarm,
)

Probe = Callable[[Wire], Awaitable[Result]]
PROBES: Mapping[str, Probe] = {
    "jarm": read_jarm,
    "hassh": read_hassh,
    "tcpfp": read_stack,
    "tls": read_certificate,
    "banner": read_banner,
}
ERROR = "prober_error"
PORT_SECONDS = 90.0
"""For all probes of one port together."""


async def visit_port(wire: Wire, probes: list[str], allowed: set[str]) -> list[Result]:
    """What a port shows; [] where it is closed.

    Args:
        probes: their names.
        allowed: those that can be done here; the raw one is taken out where it cannot.
    """
    results: list[Result] = []
    if not await is_open(wire):
        return results
    try:
        async with asyncio.timeout(PORT_SECONDS):
            for name in probes:
                if name in allowed:
                    await _one(name, wire, results, allowed)
    except TimeoutError:
        results.append(_error("port", "the probes took too long"))
    return results


async def _one(name: str, wire: Wire, results: list[Result], allowed: set[str]) -> None:
    try:
        results.append(await PROBES[name](wire))
    except Silent:
        pass  # another service than the probe is for: nothing to tell
    except Closed as error:
        results.append(_error(name, str(error)))
    except NotAllowed:
        allowed.discard(name)
    except Exception as error:
        # What a hostile server made of it; the others' turn.
        results.append(_error(name, f"{type(error).__name__}: {error}"))


def _error(probe: str, text: str) -> Result:
    return Result(probe, ERROR, "", {"probe": probe, "error": clean(text)[:200]})
