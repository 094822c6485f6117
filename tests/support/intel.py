"""A stub of the three services: one local HTTP server that answers as it is told, and counts."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

REASONS = {200: "OK", 404: "Not Found", 429: "Too Many Requests", 500: "Oops", 401: "No"}


class Services:
    """`mode` decides how all of them answer."""

    def __init__(self) -> None:
        self.url = ""
        self.mode = "bad"
        self.asked: Counter[str] = Counter()
        self.seen: list[str] = []
        self.keys: set[str] = set()

    def answer(self, path: str, head: str, body: str) -> tuple[int, Any, str]:
        """Status, JSON, more headers."""
        name = "greynoise" if "community" in path else "abuseipdb" if "check" in path else ""
        name = name or "threatfox"
        self.asked[name] += 1
        self.seen.append(path + body)
        for line in head.lower().split("\r\n"):
            if line.startswith(("key:", "auth-key:")):
                self.keys.add(line.partition(":")[2].strip())
        if self.mode == "down":
            return 500, {}, ""
        if self.mode == "limit":
            return 429, {}, "Retry-After: 120\r\n"
        if self.mode == "nonsense":
            return 200, {"classification": 7, "data": "x", "query_status": []}, ""
        if self.mode == "unknown":
            return self.unknown(name)
        return 200, self.bad(name), ""

    @staticmethod
    def unknown(name: str) -> tuple[int, Any, str]:
        """Nothing is known."""
        if name == "greynoise":
            return 404, {"message": "IP not observed"}, ""
        if name == "abuseipdb":
            return 200, {"data": {"abuseConfidenceScore": 0, "totalReports": 0}}, ""
        return 200, {"query_status": "no_result", "data": "Your search did not yield any"}, ""

    @staticmethod
    def bad(name: str) -> Any:
        """The worst is known."""
        if name == "greynoise":
            return {"noise": True, "riot": False, "classification": "malicious", "name": "Bot\x07"}
        if name == "abuseipdb":
            reports = [{"categories": [22, 18]}, {"categories": [18]}]
            data = {"abuseConfidenceScore": 100, "totalReports": 9, "reports": reports}
            return {"data": data}
        ioc = {"malware_printable": "Mirai", "threat_type": "botnet_cc", "confidence_level": 90}
        return {"query_status": "ok", "data": [{**ioc, "confidence_level": 10}, ioc]}


@contextlib.asynccontextmanager
async def services() -> AsyncIterator[Services]:
    """The stub, on a port that the kernel chose."""
    stub = Services()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        # Python 3.11's streams take a cancelled handler for a fault: it ends in good order.
        with contextlib.suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                size = 0
                for line in head.lower().split("\r\n"):
                    if line.startswith("content-length:"):
                        size = int(line.partition(":")[2])
                body = (await reader.readexactly(size)).decode()
                status, data, more = stub.answer(head.split()[1], head, body)
                if stub.mode == "silent":
                    await asyncio.sleep(3600)
                text = json.dumps(data)
                writer.write(
                    f"HTTP/1.1 {status} {REASONS[status]}\r\n{more}"
                    f"Content-Length: {len(text)}\r\n\r\n{text}".encode()
                )
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    stub.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield stub
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def environment(stub: Services, **more: str) -> dict[str, str]:
    """What points enrich at the stub."""
    return {
        "DECNET_INTEL_ENABLED": "true",
        "DECNET_INTEL_RETRY": "1",
        # The stub is the test's own process: that it was held up is no failed service.
        "DECNET_INTEL_TIMEOUT": "100",
        **{f"DECNET_{n}_URL": stub.url for n in ("GREYNOISE", "ABUSEIPDB", "THREATFOX")},
        **{f"DECNET_{n}_API_KEY": f"key-{n.lower()}" for n in ("ABUSEIPDB", "THREATFOX")},
        **more,
    }
