"""Bait that is made: files that look as if somebody needed them, each with its token in it.

The same token always gives the same file (but for the check numbers in a private key): a file
that was deleted can be put back. No name or number in them belongs to anybody.
"""

from __future__ import annotations

import hashlib
import html
import random
from collections.abc import Callable
from dataclasses import dataclass

from decnet.db.tables import CanaryToken

_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_MIXED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FIRST = ("anna", "jonas", "mira", "tomas", "lena", "pavel", "ines", "karim", "olga", "david")
_LAST = ("berg", "novak", "silva", "haas", "moreau", "lind", "costa", "weber", "ito", "kaya")


@dataclass(frozen=True)
class Call:
    """How a token calls home. `name` is "" where there is no DNS zone."""

    url: str
    name: str
    nonce: str
    mint: str

    @property
    def host(self) -> str:
        """What a file gives as a server: the DNS name, or where there is none the URL's host."""
        return self.name or self.url.partition("://")[2].partition("/")[0].partition(":")[0]


@dataclass(frozen=True)
class File:
    """A rendered file."""

    filename: str
    content_type: str
    data: bytes


def make_call(token: CanaryToken, http_base: str, dns_zone: str) -> Call:
    """The addresses of a token."""
    name = f"{token.callback_token}.{dns_zone}" if dns_zone else ""
    url = f"{http_base}/c/{token.callback_token}"
    return Call(url, name, token.fingerprint_nonce, token.uuid)


def generate(generator: str, call: Call) -> File:
    """A file of a kind of `GENERATORS`.

    Raises:
        KeyError: no such kind.
    """
    seed = hashlib.sha256(f"{generator}|{call.mint}|{call.nonce}".encode()).digest()
    return GENERATORS[generator](call, random.Random(seed))


def _aws(call: Call, chance: random.Random) -> File:
    key = "AKIA" + _word(chance, _UPPER, 16)
    # The endpoint makes every command with this profile call home.
    text = (
        "[default]\n"
        f"aws_access_key_id = {key}\n"
        f"aws_secret_access_key = {_word(chance, _MIXED + '/+', 40)}\n"
        "region = eu-central-1\n"
        f"endpoint_url = {call.url}\n"
    )
    return File("credentials", "text/plain", text.encode())


def _env(call: Call, chance: random.Random) -> File:
    text = (
        "APP_ENV=production\n"
        f"APP_KEY=base64:{_word(chance, _MIXED, 43)}=\n"
        "DB_CONNECTION=mysql\n"
        f"DB_HOST={call.host}\n"
        "DB_PORT=3306\n"
        "DB_DATABASE=billing\n"
        "DB_USERNAME=billing_rw\n"
        f"DB_PASSWORD={_word(chance, _MIXED, 20)}\n"
        f"WEBHOOK_URL={call.url}\n"
        f"SESSION_SECRET={_word(chance, _MIXED, 32)}\n"
    )
    return File(".env", "text/plain", text.encode())


def _git(call: Call, chance: random.Random) -> File:
    text = (
        "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n"
        '[remote "origin"]\n'
        f"\turl = {call.url}/infra.git\n"
        "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
        '[branch "main"]\n\tremote = origin\n\tmerge = refs/heads/main\n'
        f"[user]\n\tname = {_person(chance)[0]}\n"
    )
    return File("config", "text/plain", text.encode())


def _ssh(call: Call, chance: random.Random) -> File:
    from cryptography.hazmat.primitives import serialization  # late: the worker never needs it
    from cryptography.hazmat.primitives.asymmetric import ed25519  # late: the same

    key = ed25519.Ed25519PrivateKey.from_private_bytes(chance.randbytes(32))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    # A reader of PEM skips what stands before the key; a person does not.
    head = f"# deploy@{call.host}\n# {public.decode()} deploy@{call.host}\n"
    return File("id_ed25519", "application/x-pem-file", head.encode() + private)


def _html(call: Call, chance: random.Random) -> File:
    rows = "".join(
        f"<tr><td>{name}</td><td>{mail}</td><td>{_word(chance, _MIXED, 12)}</td></tr>\n"
        for name, mail in (_person(chance) for _ in range(6))
    )
    page = (
        "<!DOCTYPE html>\n<html><head><meta charset=utf-8><title>VPN accounts, internal</title>"
        "</head>\n<body><h1>VPN accounts</h1>\n<p>Do not forward.</p>\n"
        f"<table>\n<tr><th>Name</th><th>Account</th><th>First password</th></tr>\n{rows}"
        f'</table>\n<img src="{html.escape(call.url)}.gif" width=1 height=1 alt="">\n'
        f"{fingerprint_script(call)}</body></html>\n"
    )
    return File("vpn-accounts.html", "text/html", page.encode())


def _mysql(call: Call, chance: random.Random) -> File:
    values = ",\n".join(
        f"({n},'{name}','{mail}','$2y$10${_word(chance, _MIXED + './', 53)}')"
        for n, (name, mail) in enumerate((_person(chance) for _ in range(12)), 1)
    )
    text = (
        "-- MySQL dump 10.19  Distrib 10.3.39-MariaDB, for debian-linux-gnu (x86_64)\n--\n"
        f"-- Host: {call.host}    Database: customers\n"
        f"-- restored from {call.url}/customers.sql.gz\n"
        "-- ------------------------------------------------------\n"
        "DROP TABLE IF EXISTS `users`;\n"
        "CREATE TABLE `users` (\n  `id` int(11) NOT NULL AUTO_INCREMENT,\n"
        "  `name` varchar(64) NOT NULL,\n  `email` varchar(128) NOT NULL,\n"
        "  `password` varchar(80) NOT NULL,\n  PRIMARY KEY (`id`)\n) ENGINE=InnoDB;\n"
        f"INSERT INTO `users` VALUES\n{values};\n"
        f"-- CHANGE MASTER TO MASTER_HOST='{call.host}', MASTER_USER='repl',"
        f" MASTER_PASSWORD='{_word(chance, _MIXED, 16)}';\n"
    )
    return File("customers.sql", "application/sql", text.encode())


def _svg(call: Call, chance: random.Random) -> File:
    boxes = "".join(
        f'<rect x="{20 + 120 * n}" y="{chance.randrange(20, 90)}" width="90" height="40" '
        f'fill="none" stroke="#345"/><text x="{30 + 120 * n}" y="140">net-{n}</text>\n'
        for n in range(4)
    )
    text = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" width="520" height="160">\n'
        f'<title>network plan</title>\n{boxes}<image xlink:href="{html.escape(call.url)}.gif" '
        'width="1" height="1"/>\n</svg>\n'
    )
    return File("network-plan.svg", "image/svg+xml", text.encode())


def fingerprint_script(call: Call) -> str:
    """A script that tells of the browser in one picture request (see `fingerprint`)."""
    return (
        "<script>(function(){try{var n=navigator,s=screen,c=document.createElement('canvas'),"
        "x=c.getContext('2d');x.fillText('\\u2603 Quiz',2,10);var g={nonce:'"
        f"{call.nonce}',mint:'{call.mint}',"
        "nav:{ua:n.userAgent,lang:n.languages,plat:n.platform},"
        "screen:[s.width,s.height,s.colorDepth],"
        "tz:{off:new Date().getTimezoneOffset(),"
        "name:Intl.DateTimeFormat().resolvedOptions().timeZone},"
        "hw:{cpu:n.hardwareConcurrency,mem:n.deviceMemory,touch:n.maxTouchPoints},"
        "canvas:c.toDataURL().slice(-64),page:location.href};"
        "var t=btoa(unescape(encodeURIComponent(JSON.stringify(g))))"
        ".replace(/\\+/g,'-').replace(/\\//g,'_').replace(/=+$/,'');"
        f"new Image().src='{call.url}.gif?d='+t}}catch(e){{}}}})()</script>\n"
    )


def _word(chance: random.Random, letters: str, length: int) -> str:
    return "".join(chance.choice(letters) for _ in range(length))


def _person(chance: random.Random) -> tuple[str, str]:
    first, last = chance.choice(_FIRST), chance.choice(_LAST)
    return f"{first.title()} {last.title()}", f"{first}.{last}@corp.example"


GENERATORS: dict[str, Callable[[Call, random.Random], File]] = {
    "aws": _aws,
    "env": _env,
    "git": _git,
    "ssh": _ssh,
    "html": _html,
    "mysql": _mysql,
    "svg": _svg,
}
"""Kind -> its maker; `decnetctl canary add NAME --make KIND`."""
