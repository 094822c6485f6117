"""What the web decoy shows: a small appliance's log-in behind a common web server. Pure."""

from __future__ import annotations

import email.utils
import time
from dataclasses import dataclass

from decnet.decoys.looks import Look

REASONS = {
    200: "OK",
    201: "Created",
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


@dataclass(frozen=True)
class Site:
    """One decky's web server."""

    look: Look

    def respond(self, page: Page, *, with_body: bool, keep_alive: bool) -> bytes:
        """The bytes on the wire. For HEAD the length stays, the body does not come."""
        lines = [
            f"HTTP/1.1 {page.status} {REASONS[page.status]}",
            f"Server: {self.look.http}",
            f"Date: {email.utils.formatdate(time.time(), usegmt=True)}",
            f"Content-Type: {page.content_type}",
            f"Content-Length: {len(page.body)}",
            f"Connection: {'keep-alive' if keep_alive else 'close'}",
            *(f"{name}: {value}" for name, value in page.headers),
        ]
        head = "\r\n".join(lines).encode() + b"\r\n\r\n"
        return head + page.body if with_body else head

    def page_for(
        self,
        method: str,
        path: str,
        *,
        tried_form: bool,
        tried_header: bool,
        uploaded: bool = False,
    ) -> Page:
        """Which page answers. Nobody ever gets in; every try is worth another one.

        Args:
            tried_form: the body carried a password.
            tried_header: the Authorization header carried one.
            uploaded: the body was a file.
        """
        if path == "/robots.txt" and method in ("GET", "HEAD"):
            return Page(
                200, b"User-agent: *\nDisallow: /admin/\nDisallow: /backup/\n", "text/plain"
            )
        if uploaded:
            return self.error(201) if method == "PUT" else Page(200, b"OK\n", "text/plain")
        if method not in ("GET", "HEAD", "POST"):
            return self.error(405)
        if tried_form:
            return self.login("Wrong user name or password.")
        if tried_header or path.startswith(BEHIND_BASIC):
            realm = ("WWW-Authenticate", f'Basic realm="{self.look.realm}"')
            return Page(401, self._error_body(401), headers=(realm,))
        if path in FORMS:
            return self.login()
        return self.error(404)

    def login(self, error: str = "") -> Page:
        """The log-in form. `error` is ours: nothing that a visitor sent is ever shown."""
        notice = f'<p class="error" role="alert">{error}</p>' if error else ""
        realm, firmware = self.look.realm, f"4.{self.look.seed % 9}.{self.look.seed >> 8 & 15}"
        body = f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{realm} - Sign in</title>
<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>
<body><main><h1>{realm} administration</h1>{notice}
<form method="post" action="/login">
<label>User name<input name="username" autocomplete="username" autofocus></label>
<label>Password<input name="password" type="password" autocomplete="current-password"></label>
<button>Sign in</button></form><footer>{self.look.host}, version {firmware}</footer></main></body>
</html>
"""
        cookie = ("Set-Cookie", "session=; Path=/; HttpOnly; SameSite=Lax")
        return Page(200, body.encode(), "text/html; charset=utf-8", (cookie,))

    def error(self, status: int) -> Page:
        """A plain page of a status, as the web server itself makes them."""
        return Page(status, self._error_body(status))

    def _error_body(self, status: int) -> bytes:
        title, server = f"{status} {REASONS[status]}", self.look.http
        if server.startswith("Apache"):
            return (
                '<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n'
                f"<title>{title}</title>\n</head><body>\n<h1>{REASONS[status]}</h1>\n<hr>\n"
                f"<address>{server} Server at {self.look.fqdn} Port 80</address>\n</body></html>\n"
            ).encode()
        return (
            f"<html>\r\n<head><title>{title}</title></head>\r\n<body>\r\n<center><h1>{title}</h1>"
            f"</center>\r\n<hr><center>{server}</center>\r\n</body>\r\n</html>\r\n"
        ).encode()
