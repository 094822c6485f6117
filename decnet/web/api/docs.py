"""`/api/docs`: the interface as one plain page, from its own OpenAPI document. Works offline."""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import Any

_STYLE = (
    "body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}"
    "table{border-collapse:collapse;width:100%}td{padding:.3rem .8rem .3rem 0;vertical-align:top}"
    "tr{border-top:1px solid #8884}code{font-size:.9em}.m{font-weight:600}"
)

_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_HASH}'; img-src 'self'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'"
)
"""Content-Security-Policy of the page: its own style and nothing else."""


def page(document: dict[str, Any]) -> str:
    """HTML of an OpenAPI document: a row an operation, with its parameters."""
    rows = []
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            names = ", ".join(p["name"] for p in operation.get("parameters", []))
            text = operation.get("description") or operation.get("summary", "")
            rows.append(
                f"<tr><td class=m>{escape(method.upper())}<td><code>{escape(path)}</code>"
                f"<td>{escape(text.partition(chr(10))[0])}<td><code>{escape(names)}</code>"
            )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>DECNET API</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        "<h1>DECNET API</h1><p>Send <code>Authorization: Bearer TOKEN</code>; the token comes from "
        "<code>POST /api/v1/auth/login</code> or <code>decnetctl token</code>. "
        "The whole description is <a href=/api/openapi.json>/api/openapi.json</a>."
        f"<table>{''.join(rows)}</table>"
    )
