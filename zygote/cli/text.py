"""Text of others made fit for a terminal.

A worker chooses its status line and its log lines, and what a worker says may come from an
attacker. Sent to a terminal as it is, it could move the cursor, rewrite what stands above, set
the window's title, or make the terminal type.
"""

from __future__ import annotations

import re

_SEQUENCES = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # CSI: colours, cursor
    r"|(?:\x1b[\]PX^_]|[\x9d\x90\x98\x9e\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # OSC, DCS, …
    r"|\x1b[ -/]*[0-~]"  # two-character ones
    r"|\x9b[0-?]*[ -/]*[@-~]"
)

_SPACES = "\xa0\u2009\u202f\u3000"
"""Spaces that are no control characters, though Python does not call them printable."""


def clean(text: str, *, keep_lines: bool = False) -> str:
    """Without terminal sequences; any other control or invisible character becomes \\xNN.

    Args:
        keep_lines: line ends stay; they are escaped otherwise. Tabs become a space.
    """
    if text.isprintable():
        return text
    if keep_lines:
        return "\n".join(clean(line) for line in text.split("\n"))
    text = _SEQUENCES.sub("", text).replace("\t", " ")
    return "".join(c if c.isprintable() or c in _SPACES else _escape(c) for c in text)


def _escape(char: str) -> str:
    number = ord(char)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"
