"""Debian's chromium, driven by Playwright; what its pages complained of is kept."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
DRIVER = importlib.util.find_spec("playwright") is not None
PATIENCE_MS = 60_000
FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
"""--no-sandbox: the tests may run as root, whom chromium refuses otherwise."""
VIOLATIONS = """
document.addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""


def why_not() -> str:
    """Why no browser can be driven here; "" where one can."""
    if CHROMIUM is None:
        return "needs Debian's package chromium"
    return "" if DRIVER else "needs playwright, which .ci/clients installs"


class Visitor:
    """A person at a browser of their own: one page, its complaints, its requests."""

    def __init__(self, page: Any) -> None:
        self.page = page
        self.complaints: list[str] = []
        """Errors on the console, exceptions of scripts, violations of the policy."""
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: dialog.accept())

    def _hear(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def nameless(self) -> list[str]:
        """Controls that a screen reader could not name."""
        session = await self.page.context.new_cdp_session(self.page)
        tree = (await session.send("Accessibility.getFullAXTree"))["nodes"]
        await session.detach()
        roles = {"button", "link", "textbox", "searchbox", "combobox", "slider", "img", "checkbox"}
        return [
            f"{role} {node['nodeId']}"
            for node in tree
            if (role := node.get("role", {}).get("value")) in roles
            and not node.get("ignored")
            and not node.get("name", {}).get("value", "").strip()
        ]

    async def focused(self) -> str:
        """The name of what has the keyboard."""
        script = (
            "(() => { const e = document.activeElement; return e.getAttribute('aria-label') "
            "|| e.labels?.[0]?.innerText || e.innerText || e.id || e.tagName; })()"
        )
        return str(await self.page.evaluate(script)).strip()

    async def tab_to(self, name: str, most: int = 80) -> None:
        """Press Tab until something of that name has the keyboard."""
        seen = []
        for _ in range(most):
            await self.page.keyboard.press("Tab")
            seen.append(await self.focused())
            if seen[-1] == name:
                return
        raise AssertionError(f"the Tab key never came to {name!r}: {seen}")


class Browser:
    """A running chromium."""

    def __init__(self, browser: Any) -> None:
        self._browser = browser

    @contextlib.asynccontextmanager
    async def visitor(
        self, width: int = 1280, height: int = 860, **kind: Any
    ) -> AsyncIterator[Visitor]:
        """A person with an empty profile."""
        context = await self._browser.new_context(
            viewport={"width": width, "height": height}, **kind
        )
        context.set_default_timeout(PATIENCE_MS)
        await context.add_init_script(VIOLATIONS)
        try:
            yield Visitor(await context.new_page())
        finally:
            await context.close()


@contextlib.asynccontextmanager
async def chromium(folder: Path) -> AsyncIterator[Browser]:
    """A headless browser; nothing of it is left behind."""
    from playwright.async_api import async_playwright, expect

    expect.set_options(timeout=PATIENCE_MS)
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(
            executable_path=CHROMIUM,
            args=list(FLAGS),
            env={**os.environ, "HOME": str(folder), "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
            timeout=PATIENCE_MS,
        )
        try:
            yield Browser(browser)
        finally:
            await browser.close()
