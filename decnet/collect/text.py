"""Hostile text made harmless: one line, printable, of bounded length.

What an attacker sends ends in log files, on terminals and in pages. Here, once and for all,
every character that could end a line, move a cursor, reverse the reading direction or hide
becomes a visible escape (`\\x0a`, `\\u202e`). That loses nothing that counts: where exact bytes
matter (secrets) they travel as base64 beside it.
"""

from __future__ import annotations

MARK = "…"
"""Ends a text that was cut."""


def clean(text: str) -> str:
    """The text with each unprintable character as an escape; twice gives the same.

    Unprintable is what `str.isprintable` says: controls (C0, C1, DEL), line and paragraph
    separators, direction marks, surrogates, unassigned code points, spaces other than " ".
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escape(ord(c)) for c in text)


def clean_bytes(data: bytes) -> str:
    """Bytes of any kind as clean text; what is no UTF-8 becomes `\\xNN`."""
    return clean(data.decode("utf-8", "backslashreplace"))


def cut(text: str, most: int) -> tuple[str, bool]:
    """At most `most` characters, and whether some are gone (then it ends in "…")."""
    if len(text) <= most:
        return text, False
    return text[: most - 1] + MARK, True


def ascii_only(data: bytes) -> str:
    """The bytes as printable ASCII, all others as "?": DECNET's `secret_printable`."""
    return "".join(chr(b) if 0x20 <= b < 0x7F else "?" for b in data)


def _escape(code: int) -> str:
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, by errors="surrogateescape"
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
