"""The dashboard in Debian's chromium: login by keys, live events, hostile text, roles, a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlmodel import Session, create_engine

from decnet.db.tables import Log
from decnet.web.api import auth
from tests.support.api import NOW, Api, running_api
from tests.support.browser import CHROMIUM, Browser, browser
from tests.support.estate_rows import HOSTILE, fill
from tests.support.web import Web, running_web

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's package chromium")
VIEWS = {
    "fleet": "without a manager",
    "attackers": "192.0.2.77",
    "sessions": "Replay",
    "credentials": HOSTILE,
    "identities": "Identity",
    "campaigns": "Campaign",
    "attack": "Command and Scripting Interpreter: Unix Shell",
    "canaries": HOSTILE,
    "webhooks": "Nobody is told yet.",
    "account": "Change",
}


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Web, Api]]:
    folder: Path = tmp_path_factory.mktemp("dashboard")
    with running_api(folder) as api:
        fill(api)
        port = api.client.base_url.port
        assert port is not None
        with running_web(folder, port) as web, browser(folder) as window:
            yield window, web, api


def add_hostile_log(api: Api) -> None:
    engine = create_engine(f"sqlite:///{api.settings.db_file}")
    with Session(engine) as session:
        session.add(
            Log(
                timestamp=NOW,
                decky="decky-01",
                service="ssh",
                event_type="login_attempt",
                attacker_ip="192.0.2.77",
                raw_line="-",
                fields={"principal": HOSTILE},
            )
        )
        session.commit()
    engine.dispose()


def test_dashboard_login_by_keyboard_then_events_arrive_live_as_text(
    page: tuple[Browser, Web, Api],
) -> None:
    window, web, api = page
    window.size(1280, 860)
    window.open(web.url)
    window.until("document.activeElement.name === 'username'")
    window.type("admin")
    window.press("Tab")
    window.type(api.settings.admin_password)
    window.press("Enter")
    window.until("document.querySelector('.live.on')")
    add_hostile_log(api)
    window.until("document.querySelector('tbody tr')")
    assert HOSTILE in window.text()
    assert window.run("document.querySelectorAll('main img').length") == 0


def test_dashboard_every_view_shows_its_rows_and_runs_nothing_of_them(
    page: tuple[Browser, Web, Api],
) -> None:
    window, web, api = page
    token = auth.mint(api.settings.jwt_secret, "admin", "admin")
    window.open(f"{web.url}/#token={token}")
    window.until("document.querySelector('.live.on') && !location.hash.includes('token')")
    for view, text in VIEWS.items():
        window.run(f"location.hash = '#/{view}'")
        quoted = text.replace("\\", "\\\\").replace("`", "")
        window.until(f"document.querySelector('main').innerText.includes(`{quoted}`)")
    window.run("location.hash = '#/attackers/ip/192.0.2.77'")
    window.until("document.querySelector('main').innerText.includes('malicious')")
    window.run("location.hash = '#/sessions/s1'")
    window.until("document.querySelector('.terminal').innerText.includes('onerror')")
    assert "not ours" not in window.run("document.querySelector('.terminal').innerText")
    assert "owned" not in window.run("document.title")
    assert window.run("document.querySelectorAll('main img').length") == 0
    assert window.errors == []


def test_dashboard_viewer_gets_no_buttons_of_admins(page: tuple[Browser, Web, Api]) -> None:
    window, web, api = page
    token = auth.mint(api.settings.jwt_secret, "ann", "viewer")
    window.open(f"{web.url}/#token={token}")
    window.until("document.querySelector('header').innerText.includes('ann')")
    assert "Users" not in window.run("document.querySelector('nav').innerText")
    window.run("location.hash = '#/canaries'")
    window.until("document.querySelector('main').innerText.includes('onerror')")
    assert window.run("document.querySelectorAll('main form, main td button').length") == 0


def test_dashboard_fits_a_phone(page: tuple[Browser, Web, Api]) -> None:
    window, _, _ = page
    window.size(360, 780, mobile=True)
    for view in ("visits", "attackers", "credentials"):
        window.run(f"location.hash = '#/{view}'")
        window.until("document.querySelector('tbody tr')")
        assert window.run("document.documentElement.scrollWidth") <= 360, view
