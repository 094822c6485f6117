"""web: the dashboard's files, and a proxy to the REST interface beside it. No database."""

from __future__ import annotations

from decnet.context import Context, run_worker
from decnet.web.front.app import Front
from decnet.web.front.files import Files
from decnet.web.front.proxy import Proxy
from decnet.web.front.settings import WebSettings
from decnet.web.serving import listen, serve

DATABASE = False


async def main(ctx: Context) -> None:
    """Serve until told to stop.

    Raises:
        WorkerError: the port is taken, or the files are missing (78).
    """
    settings = WebSettings.from_env(ctx.settings)
    files = Files.load()
    sock = listen(settings.host, settings.port, "DECNET_WEB_PORT")
    proxy = Proxy(settings)
    ctx.reports.append(proxy.report)
    host, port = sock.getsockname()[:2]
    try:
        await serve(ctx, Front(files, proxy), sock, f"http://{host}:{port}/", proxy_headers=False)
    finally:
        sock.close()
        await proxy.close()


def run() -> None:
    """The worker, under the zygote or alone."""
    run_worker("web", main, database=DATABASE)


if __name__ == "__main__":
    run()
