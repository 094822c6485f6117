"""What the web decoy shows: a small appliance's log-in behind a common web server. Pure."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass

SERVER = "nginx/1.22.1"
REALM = "Gateway"
REASONS = {
    200: "OK",
    302: "Moved Temporarily",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Not Allowed",
    408: "Request Time-out",
    413: "Request Entity Too Large",
    414: "Request-URI Too Large",
    431: "Request Header Fields Too Large",
    501: "Not Implemented",
    505: "HTTP Version Not Supported",
}
BEHIND_BASIC = ("/manager", "/api", "/cgi-bin", "/config", "/backup", "/status")
FORMS = ("/", "/login", "/index.html", "/index.php", "/admin", "/admin/login", "/wp-login.php")

_STYLE = """body{margin:0;background:#eef1f4;font:15px/1.5 system-ui,sans-serif;color:#243240}
main{max-width:20rem;margin:12vh auto;padding:2rem;background:#fff;border-radius:6px;
box-shadow:0 1px 6px #0002}h1{font-size:1.2rem;margin:0 0 1.2rem}label{display:block;margin:.8rem 0}
input{width:100%;box-sizing:border-box;padding:.5rem;border:1px solid #b8c2cc;border-radius:4px}
button{width:100%;margin-top:1rem;padding:.6rem;border:0;border-radius:4px;background:#1f5f99;
color:#fff}p.error{color:#a4262c}footer{margin-top:1.5rem;font-size:.75rem;color:#76838f}"""


@dataclass(frozen=True)
class Page:
    """A response: status, body and headers of its own."""

    status: int
    body: bytes
    content_type: str = "text/html"
    headers: tuple[tuple[str, str], ...] = ()


def respond(page: Page, *, with_body: bool, keep_alive: bool) -> bytes:
    """The bytes on the wire. For HEAD the length stays, the body does not come."""
    lines = [
        f"HTTP/1.1 {page.status} {REASONS[page.status]}",
        f"Server: {SERVER}",
        f"Date: {email.utils.formatdate(time.time(), usegmt=True)}",
        f"Content-Type: {page.content_type}",
        f"Content-Length: {len(page.body)}",
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in page.headers),
    ]
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    return head + page.body if with_body else head


def page_for(method: str, path: str, *, tried_form: bool, tried_header: bool) -> Page:
    """Which page answers. Nobody ever gets in; every try is worth another one.

    Args:
        tried_form: the body carried a password.
        tried_header: the Authorization header carried one.
    """
    if path == "/robots.txt":
        return Page(200, b"User-agent: *\nDisallow: /admin/\nDisallow: /backup/\n", "text/plain")
    if method not in ("GET", "HEAD", "POST"):
        return error_page(405)
    if tried_form:
        return login_page("Wrong user name or password.")
    if tried_header or path.startswith(BEHIND_BASIC):
        return Page(
            401,
            _error_body(401),
            headers=(("WWW-Authenticate", f'Basic realm="{REALM}"'),),
        )
    if path in FORMS:
        return login_page()
    return error_page(404)


def login_page(error: str = "") -> Page:
    """The log-in form. `error` is ours: nothing that a visitor sent is ever shown."""
    notice = f'<p class="error" role="alert">{error}</p>' if error else ""
    body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Gateway - Sign in</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>
<body><main><h1>Gateway administration</h1>{notice}
<form method="post" action="/login">
<label>User name<input name="username" autocomplete="username" autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button></form><footer>Firmware 4.2.1-18</footer></main></body></html>
"""
    cookie = ("Set-Cookie", "session=; Path=/; HttpOnly; SameSite=Lax")
    return Page(200, body.encode(), "text/html; charset=utf-8", (cookie,))


def error_page(status: int) -> Page:
    """A plain error page, as the web server itself makes them."""
    return Page(status, _error_body(status))


def _error_body(status: int) -> bytes:
    title = f"{status} {REASONS[status]}"
    return (
        f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
        f"</center>\r\n<hr><center>{SERVER}</center>\r\n</body>\r\n</html>\r\n"
    ).encode()
