"""The command line's way to the REST interface: its place, a token, errors that help.

The HTTP client is imported when something is asked: many commands only print.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from decnet.settings import Settings
from zygote.errors import Exit, ZygoteError

if TYPE_CHECKING:
    import httpx2

TOKEN_SECONDS = 3600.0


def connect(url: str | None = None, timeout: float | None = 30.0) -> httpx2.Client:
    """A client of the interface with a token minted from this machine's secret file.

    Args:
        url: "http://HOST:PORT"; default: where DECNET_API_HOST and DECNET_API_PORT say.
        timeout: seconds; None waits for ever (streams).
    """
    import httpx2

    from decnet.web.api import auth

    settings = Settings.from_env()
    base = url or f"http://{settings.api_host}:{settings.api_port}"
    token = auth.mint(settings.jwt_secret, settings.admin_user, "admin", TOKEN_SECONDS)
    return httpx2.Client(
        base_url=f"{base.rstrip('/')}/api/v1",
        headers={"Authorization": f"Bearer {token}"},
        timeout=httpx2.Timeout(timeout, connect=5.0),
        trust_env=False,
    )


def unreachable(client: httpx2.Client, error: Exception) -> ZygoteError:
    """What to say when the interface does not answer."""
    return ZygoteError(
        f"no REST interface answers at {client.base_url}: {error}",
        code="no-api",
        hint="is the fleet up (decnetctl ps api)? was it started with another DECNET_API_PORT?",
        exit_code=Exit.NOT_RUNNING,
    )


def get(path: str, url: str | None = None, **params: Any) -> Any:
    """The JSON at a path.

    Raises:
        ZygoteError: not reachable (exit code 3), or refused (5).
    """
    import httpx2

    with connect(url) as client:
        try:
            answer = client.get(path, params={k: v for k, v in params.items() if v is not None})
        except httpx2.TransportError as error:
            raise unreachable(client, error) from error
        check(answer)
        return answer.json()


def check(answer: httpx2.Response) -> None:
    """Raise what a refusal means.

    Raises:
        ZygoteError: the interface answered with an error.
    """
    if answer.is_success:
        return
    answer.read()
    refused = answer.status_code in (401, 403)
    raise ZygoteError(
        f"the REST interface refused: {answer.status_code} {answer.text[:200]}",
        code="api-refused",
        hint="is DECNET_STATE_DIR the state folder of that fleet? its secret file signs the token"
        if refused
        else "",
        exit_code=Exit.NOT_ALLOWED if refused else Exit.FAILED,
    )


def printable(text: object) -> str:
    """Attackers choose much of what is shown: no control character reaches a terminal."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(text))


def say(line: str) -> None:
    """One line on stdout, at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
