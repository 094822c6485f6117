"""Markdown of our own pages as manual pages, man(7): headings, paragraphs, lists, code, tables."""

from __future__ import annotations

import re

_LINK = re.compile(r"\[([^\]]+)\]\([^)]*\)")
_INLINE = re.compile(r"(`+)(.+?)\1|\*\*(.+?)\*\*|(?<!\w)\*(\S[^*]*?)\*(?!\w)")


_BEGINS = re.compile(r"#|\||```|\s*- ")


def escape(text: str) -> str:
    """Text as roff takes it literally."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq")
    text = text.replace("`", "\\(ga").replace("^", "\\(ha").replace("~", "\\(ti")
    text = "".join(c if c.isascii() else f"\\[u{ord(c):04X}]" for c in text)
    return f"\\&{text}" if text.startswith(".") else text


def inline(text: str) -> str:
    """A line with `code`, **strong**, *emphasis* and links."""
    text = _LINK.sub(r"\1", text)
    parts, at = [], 0
    for match in _INLINE.finditer(text):
        parts.append(escape(text[at : match.start()]))
        _, code, strong, soft = match.groups()
        font = "B" if code or strong else "I"
        parts.append(f"\\f{font}{escape(code or strong or soft)}\\fR")
        at = match.end()
    parts.append(escape(text[at:]))
    whole = "".join(parts)
    return whole if not whole.startswith("\\(aq") else f"\\&{whole}"


def head(name: str, section: int, date: str, source: str, about: str) -> str:
    """The beginning of a page."""
    title = f'.TH "{name.upper()}" "{section}" "{date}" "{source}"'
    return f"{title}\n.SH NAME\n{escape(name)} \\- {inline(about)}\n"


def convert(markdown: str, *, first: int = 2) -> str:
    """Sections of Markdown; headings of level `first` become .SH, deeper ones .SS.

    Args:
        first: a heading above that level is left out.
    """
    out: list[str] = []
    lines = markdown.split("\n")
    at = 0
    while at < len(lines):
        line = lines[at]
        if match := re.match(r"(#+) +(.*)", line):
            level = len(match[1])
            if level >= first:
                text = inline(match[2])
                out.append(f".SH {text.upper()}" if level == first else f".SS {text}")
            at += 1
        elif line.startswith("```") or (re.match(r" {4}\S", line) and not _in_list(out)):
            at = _code(lines, at, out)
        elif line.startswith("|"):
            at = _table(lines, at, out)
        elif match := re.match(r"(\s*)- +(.*)", line):
            at = _item(lines, at, out)
        elif line.strip():
            out += [".PP", inline(line.strip())]
            at += 1
            while at < len(lines) and lines[at].strip() and not _BEGINS.match(lines[at]):
                out.append(inline(lines[at].strip()))
                at += 1
        else:
            at += 1
    return "\n".join(out) + "\n"


def _in_list(out: list[str]) -> bool:
    return bool(out) and out[-1].startswith(".IP")


def _code(lines: list[str], at: int, out: list[str]) -> int:
    """A block of code, fenced or indented."""
    out += [".PP", ".RS 4", ".nf"]
    if lines[at].startswith("```"):
        at += 1
        while at < len(lines) and not lines[at].startswith("```"):
            out.append(escape(lines[at]) or "\\&")
            at += 1
        at += 1
    else:
        while at < len(lines) and lines[at].startswith("    "):
            out.append(escape(lines[at][4:]))
            at += 1
    out += [".fi", ".RE"]
    return at


def _table(lines: list[str], at: int, out: list[str]) -> int:
    """A table as a list of its rows: the first cell, then the others."""
    rows = []
    while at < len(lines) and lines[at].startswith("|"):
        cells = [each.strip() for each in re.split(r"(?<!\\)\|", lines[at].strip().strip("|"))]
        if not all(re.fullmatch(r":?-+:?|", cell) for cell in cells):
            rows.append(cells)
        at += 1
    for cells in rows[1:] if len(rows) > 1 else rows:
        rest = "; ".join(inline(cell) for cell in cells[1:] if cell)
        out += [".TP", inline(cells[0]) or "\\&", rest or "\\&"]
    return at


def _item(lines: list[str], at: int, out: list[str]) -> int:
    """One item of a list, with the lines that go on with it."""
    text = [re.sub(r"^\s*- +", "", lines[at]).rstrip()]
    at += 1
    while at < len(lines) and re.match(r"\s+\S", lines[at]) and not re.match(r"\s*- ", lines[at]):
        text.append(lines[at].strip())
        at += 1
    # An entry of a reference: its key on a line of its own, then what it means.
    if text[0].startswith("`") and text[0].endswith(".") and len(text) > 1:
        out += [".TP", inline(text[0]), *(inline(each) for each in text[1:])]
    else:
        out += ['.IP "\\(bu" 2', *(inline(each) for each in text)]
    return at
