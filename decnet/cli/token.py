"""`decnetctl token`: a bearer token for curl and scripts, signed by this machine's secret."""

from __future__ import annotations

from decnet.cli.rest import say
from decnet.settings import Settings


def token(*, hours: float = 1.0) -> None:
    """Print a token for the REST interface (and nothing else, so that $(decnetctl token) works).

    Args:
        hours: how long it is good for.
    """
    from decnet.web.api import auth  # late: --help needs none

    settings = Settings.from_env()
    say(auth.mint(settings.jwt_secret, settings.admin_user, "admin", hours * 3600))
