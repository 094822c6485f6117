"""The dashboard of a running fleet in Debian's chromium: one browser, a new profile a test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from tests.support.browser import PATIENCE_MS, Browser, Visitor, chromium, why_not
from tests.support.dashboard import Dashboard, dashboard
from tests.support.estate_rows import HOSTILE

pytestmark = [
    pytest.mark.skipif(bool(why_not()), reason=why_not()),
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.timeout(240),
]
VIEWS = {
    "visits": "192.0.2.77",
    "fleet": "profiler",
    "attackers": "192.0.2.77",
    "sessions": "Replay",
    "credentials": HOSTILE,
    "identities": "Identity",
    "campaigns": "Campaign",
    "graph": "192.0.2.77",
    "attack": "Command and Scripting Interpreter: Unix Shell",
    "canaries": HOSTILE,
    "webhooks": "Nobody is told yet.",
    "users": "admin",
    "account": "Change",
}
NOTE_DOWN = """() => {
  window.noted = [];
  const hear = (note) => {
    const shown = note.closest("[role=status]") && note.checkVisibility();
    if (shown) window.noted.push(note.textContent);
  };
  new MutationObserver((changes) => changes.forEach((change) => change.addedNodes.forEach(hear)))
    .observe(document.getElementById("toasts"), { childList: true });
}"""
"""What the page says is gone after four seconds: whoever looks later would not know."""
PHONE = {"width": 360, "height": 780, "is_mobile": True, "has_touch": True}


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fleet(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Dashboard]:
    async with dashboard(tmp_path_factory.mktemp("d")) as running:
        yield running


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Browser]:
    async with chromium(tmp_path_factory.mktemp("c")) as running:
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def ann(fleet: Dashboard, browser: Browser) -> AsyncIterator[Visitor]:
    """An admin who is logged in; the page must not have complained of anything."""
    async with browser.visitor() as person:
        await person.page.goto(fleet.link())
        await expect(person.page.get_by_text("live", exact=True)).to_be_visible()
        yield person
        assert person.complaints == []


def expect(what: Any) -> Any:
    from playwright.async_api import expect as playwright_expect

    return playwright_expect(what)


async def test_dashboard_login_then_a_real_attack_appears_without_reload(
    fleet: Dashboard, browser: Browser
) -> None:
    async with browser.visitor() as person:
        page = person.page
        await page.goto(fleet.url)
        await expect(page.get_by_label("User")).to_be_focused()
        await page.keyboard.type("admin")
        await page.keyboard.press("Tab")
        await page.keyboard.type("not the password")
        await page.keyboard.press("Enter")
        await expect(page.get_by_role("alert")).to_have_text("wrong user name or password")
        await expect(page.get_by_label("Password")).to_be_focused()
        # A refused login is an error of the network's for the browser, and none of the page's.
        assert [c for c in person.complaints if "401" not in c] == []
        person.complaints.clear()
        await page.keyboard.type(fleet.settings.admin_password)
        await page.keyboard.press("Enter")
        await expect(page.get_by_text("live", exact=True)).to_be_visible()
        await page.evaluate("window.loadedOnce = true")
        visit = await fleet.attack("mallory")
        assert visit.exit_code == 0
        row = page.get_by_role("row").filter(has_text="principal=mallory").first
        await expect(row).to_contain_text("decky-01 / ssh")
        await expect(page.get_by_role("row").filter(has_text="uname -a").first).to_be_visible()
        # Its profile and its recording, by links alone.
        await row.get_by_role("link").click()
        await expect(page.get_by_role("heading", level=1)).to_have_text("127.0.0.1")
        await page.get_by_role("link", name="Replay").first.click()
        await expect(page.get_by_label("Terminal")).to_contain_text("Linux")
        assert await page.evaluate("window.loadedOnce")
        assert await page.context.cookies() == [], "no cookie: nothing that a form could forge"
        assert person.complaints == []


async def test_dashboard_restarts_a_worker_and_shows_its_new_pid(
    fleet: Dashboard, ann: Visitor
) -> None:
    page, before = ann.page, (await fleet.worker("profiler")).pid
    await page.get_by_role("link", name="Fleet").click()
    cell = page.get_by_role("row").filter(has_text="profiler").locator("[data-label=PID]")
    await expect(cell).to_have_text(str(before))
    await page.evaluate(NOTE_DOWN)
    await page.get_by_role("button", name="restart profiler").focus()
    await page.keyboard.press("Enter")
    async with asyncio.timeout(PATIENCE_MS / 1000):
        while "profiler: ready" not in (said := await page.evaluate("window.noted")):
            await asyncio.sleep(0.05)
    assert said == ["profiler: ready"]
    await expect(cell).not_to_have_text(str(before))
    after = (await fleet.worker("profiler")).pid
    await expect(cell).to_have_text(str(after))
    assert after != before
    private = (
        page.get_by_role("row").filter(has_text="profiler").locator("[data-label='Private MB']")
    )
    await expect(private).to_have_text(re.compile(r"\d"))
    assert 0 < float(await private.inner_text()) < 128


async def test_dashboard_every_view_opens_by_name_and_runs_nothing_of_what_it_shows(
    fleet: Dashboard, ann: Visitor
) -> None:
    page = ann.page
    await page.reload()  # so that what is older than the stream is there as well
    for view, text in VIEWS.items():
        await page.evaluate(f"location.hash = '#/{view}'")
        await expect(page.locator("main")).to_contain_text(text)
        await expect(page.get_by_role("heading", level=1)).to_have_count(1)
        assert await ann.nameless() == [], view
    uuids = fleet.uuids
    for path in (
        f"attackers/{uuids['attacker']}",
        f"identities/{uuids['identity']}",
        f"campaigns/{uuids['campaign']}",
    ):
        await page.evaluate(f"location.hash = '#/{path}'")
        await expect(page.locator("main")).to_contain_text("T1059.004" if "att" in path else "Seen")
        assert await ann.nameless() == [], path
    await page.evaluate("location.hash = '#/sessions/s1'")
    await expect(page.get_by_label("Terminal")).to_contain_text("onerror")
    await expect(page.get_by_label("Terminal")).not_to_contain_text("not ours")
    assert "owned" not in await page.title()
    assert await page.locator("main img").count() == 0


async def test_dashboard_graph_leads_from_campaign_to_identity_to_address_by_keys(
    fleet: Dashboard, ann: Visitor
) -> None:
    page = ann.page
    await page.evaluate("location.hash = '#/graph'")
    for kind, name in (
        ("campaign", r"campaign \w{8}, 1 identity"),
        ("identity", r"identity \w{8}, 1 address.*1 ja3"),
        ("address", r"address 192\.0\.2\.77"),
    ):
        await expect(page.get_by_role("link", name=re.compile(name))).to_have_class(f"node {kind}")
    await page.get_by_role("link", name=re.compile("address 192")).focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("192.0.2.77")


async def test_dashboard_viewer_sees_no_buttons_and_the_interface_refuses(
    fleet: Dashboard, browser: Browser
) -> None:
    async with browser.visitor() as person:
        page = person.page
        await page.goto(fleet.link("viewer"))
        await expect(page.get_by_role("banner")).to_contain_text("vic")
        await expect(page.get_by_role("link", name="Users")).to_have_count(0)
        for view in ("fleet", "canaries", "webhooks", "attack"):
            await page.evaluate(f"location.hash = '#/{view}'")
            await expect(page.locator("main")).to_contain_text(VIEWS[view])
            assert await page.locator("main form, main td button").count() == 0, view
        refused = await page.evaluate(
            """async () => Promise.all([
              ["POST", "/workers/profiler/restart"], ["POST", "/workers/bus/stop"],
              ["POST", "/canary/tokens"], ["GET", "/users"], ["DELETE", "/webhooks/x"],
            ].map(async ([method, path]) => (await fetch(`/api/v1${path}`, { method, headers: {
              Authorization: `Bearer ${sessionStorage.getItem("decnet-token")}`,
              "Content-Type": "application/json" }, body: method === "POST" ? "{}" : undefined,
            })).status))"""
        )
        assert refused == [403] * 5
        # Nor may anybody without a token, though the page comes from the same place.
        bare = "async () => (await fetch('/api/v1/workers/bus/stop', { method: 'POST' })).status"
        assert await page.evaluate(bare) == 401
        assert (await fleet.worker("bus")).state == "ready"


async def test_dashboard_fits_a_phone(fleet: Dashboard, browser: Browser) -> None:
    size = {key: PHONE[key] for key in ("width", "height")}
    more = {key: PHONE[key] for key in ("is_mobile", "has_touch")}
    async with browser.visitor(**size, **more) as person:
        page = person.page
        await page.goto(fleet.link())
        for view, text in VIEWS.items():
            await page.evaluate(f"location.hash = '#/{view}'")
            await expect(page.locator("main")).to_contain_text(text)
            width = await page.evaluate("document.documentElement.scrollWidth")
            assert width <= PHONE["width"], (view, width)
        assert person.complaints == []


async def test_dashboard_is_walked_by_the_keyboard_alone(fleet: Dashboard, ann: Visitor) -> None:
    page = ann.page
    await page.evaluate("document.activeElement.blur()")
    await ann.tab_to("Skip to the content")
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await page.reload()
    await expect(page.get_by_role("link", name="Fleet")).to_be_visible()
    await ann.tab_to("Fleet")
    outline = "getComputedStyle(document.activeElement).outlineStyle"
    assert await page.evaluate(outline) != "none", "one sees where one is"
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Fleet")
    await expect(page.get_by_role("button", name="stop decoy@ssh")).to_be_visible()
    await ann.tab_to("stop decoy@ssh")
    await page.keyboard.press("Enter")
    await ann.page.get_by_role("button", name="start decoy@ssh").focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("button", name="stop decoy@ssh")).to_be_visible()
    await fleet.manager.until("decoy@ssh", lambda worker: worker.ready)


async def test_dashboard_list_that_renews_itself_leaves_the_keyboard_where_it_is(
    fleet: Dashboard, ann: Visitor
) -> None:
    page = ann.page
    await fleet.attack("nina")
    await page.evaluate("location.hash = '#/attackers'")
    events = page.get_by_role("row").filter(has_text="127.0.0.1").locator("[data-label=Events]")
    before = int(await events.inner_text())
    await page.get_by_role("link", name="192.0.2.77").focus()
    await fleet.attack("oscar")
    await expect(events).not_to_have_text(str(before))
    assert await ann.focused() == "192.0.2.77"


async def test_dashboard_list_asked_for_twice_shows_the_newer_answer_once(ann: Visitor) -> None:
    shown = await ann.page.evaluate(
        """async () => {
          const { pages } = await import("/js/dom.js");
          const answers = [];
          const load = () => new Promise((answer) => answers.push(answer));
          const list = pages(load, [{ label: "Word", cell: (row) => row }], "");
          const again = list.reload();
          answers[1]({ data: ["new"], next: null });
          await again;
          answers[0]({ data: ["old"], next: null });
          await new Promise((later) => setTimeout(later, 0));
          return [...list.querySelectorAll("td")].map((cell) => cell.textContent);
        }"""
    )
    assert shown == ["new"]


async def test_dashboard_admin_makes_and_removes_what_can_be_made(
    fleet: Dashboard, ann: Visitor
) -> None:
    page = ann.page
    await page.evaluate("location.hash = '#/users'")
    await page.get_by_label("User", exact=True).fill("zoe")
    await page.get_by_label("First password (12 or more)").fill("a first password")
    await page.get_by_role("button", name="Add").click()
    await page.get_by_role("button", name="Make admin: zoe").click()
    await page.get_by_role("button", name="Make viewer: zoe").click()
    await page.get_by_role("button", name="Remove: zoe").click()
    await expect(page.get_by_role("row").filter(has_text="zoe")).to_have_count(0)
    await page.evaluate("location.hash = '#/canaries'")
    await page.get_by_label("New token").fill("payroll")
    await page.get_by_role("button", name="Make").click()
    await page.get_by_role("button", name="Revoke payroll").click()
    row = page.get_by_role("row").filter(has_text="payroll")
    await expect(row).to_contain_text("revoked")
    await page.evaluate("location.hash = '#/webhooks'")
    await page.get_by_label("Name").fill("siem")
    await page.get_by_label("URL").fill("https://siem.example.org/in")
    await page.get_by_role("button", name="Subscribe").click()
    await expect(page.get_by_text("The secret of siem")).to_be_visible()
    await page.get_by_role("button", name="Switch off: siem").click()
    await expect(page.get_by_role("row").filter(has_text="siem")).to_contain_text("off")
    await page.get_by_role("button", name="Remove: siem").click()
    await expect(page.get_by_text("Nobody is told yet.")).to_be_visible()
    await page.evaluate("location.hash = '#/attack'")
    await page.get_by_role("button", name="Disable rule R0001").click()
    await page.get_by_role("button", name="Enable rule R0001").click()
    await expect(page.get_by_role("button", name="Disable rule R0001")).to_be_visible()


async def test_dashboard_logs_out_for_good(fleet: Dashboard, browser: Browser) -> None:
    async with browser.visitor() as person:
        page = person.page
        await page.goto(fleet.url)
        await page.get_by_label("User").fill("admin")
        await page.get_by_label("Password").fill(fleet.settings.admin_password)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.get_by_text("live", exact=True)).to_be_visible()
        token = await page.evaluate("sessionStorage.getItem('decnet-token')")
        await page.get_by_role("button", name="Log out").click()
        await expect(page.get_by_role("button", name="Log in")).to_be_visible()
        answer = await page.request.get(
            f"{fleet.url}/api/v1/logs", headers={"Authorization": f"Bearer {token}"}
        )
        assert answer.status == 401


async def test_dashboard_and_the_interface_s_own_page_allow_no_inline_code(
    fleet: Dashboard, browser: Browser
) -> None:
    async with browser.visitor() as person:
        for path in ("/", "/api/docs", "/api/v1/health"):
            answer = await person.page.request.get(fleet.url + path)
            policy = answer.headers["content-security-policy"]
            assert "default-src 'none'" in policy and "unsafe" not in policy, path
        await person.page.goto(f"{fleet.url}/api/docs")
        margin = "getComputedStyle(document.querySelector('td')).verticalAlign"
        assert await person.page.evaluate(margin) == "top", "its own style counts"
        assert person.complaints == []
