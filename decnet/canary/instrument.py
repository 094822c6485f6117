"""Bait out of a file that somebody has: its text and looks stay, a call home comes into it.

What is given is an operator's file and still taken for hostile: sizes are bounded, an archive is
never unpacked to disk, what it declares is not believed.
"""

from __future__ import annotations

import html
import io
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable

from decnet.canary.bait import Call

FILE_MOST = 10 << 20
MEMBERS_MOST = 500
UNPACKED_MOST = 64 << 20
"""Bytes of all members of an archive together."""
PART_MOST = 16 << 20
"""Bytes of a member that is changed."""
_DOCUMENT, _LINKS = "word/document.xml", "word/_rels/document.xml.rels"
_PICTURE = (
    '<w:p><w:r><w:drawing><wp:inline xmlns:wp="http://schemas.openxmlformats.org/drawingml/2006/'
    'wordprocessingDrawing" distT="0" distB="0" distL="0" distR="0"><wp:extent cx="9525" '
    'cy="9525"/><wp:docPr id="{number}" name="Picture {number}"/><a:graphic '
    'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"><a:graphicData '
    'uri="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:pic '
    'xmlns:pic="http://schemas.openxmlformats.org/drawingml/2006/picture"><pic:nvPicPr>'
    '<pic:cNvPr id="{number}" name="p"/><pic:cNvPicPr/></pic:nvPicPr><pic:blipFill><a:blip '
    'xmlns:r="http://schemas.openxmlformats.org/officeDocument/2006/relationships" '
    'r:link="{link}"/><a:stretch><a:fillRect/></a:stretch></pic:blipFill><pic:spPr><a:xfrm>'
    '<a:off x="0" y="0"/><a:ext cx="9525" cy="9525"/></a:xfrm><a:prstGeom prst="rect"><a:avLst/>'
    "</a:prstGeom></pic:spPr></pic:pic></a:graphicData></a:graphic></wp:inline></w:drawing>"
    "</w:r></w:p>"
)
_RELATION = (
    '<Relationship Id="{link}" Type="http://schemas.openxmlformats.org/officeDocument/2006/'
    'relationships/image" Target="{url}" TargetMode="External"/>'
)
_LAST_SECTION = re.compile(rb"<w:sectPr[ >/](?!.*<w:sectPr[ >/])", re.DOTALL)


_BROKEN = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError),
    *(ValueError, IndexError, RuntimeError),
)
"""What `zipfile` raises on a broken archive (NotImplementedError is a RuntimeError)."""


class BadFile(ValueError):
    """The file cannot be baited; says why."""


def instrument(kind: str, data: bytes, call: Call) -> bytes:
    """The file with the call home in it.

    Raises:
        BadFile: not such a file, or beyond the bounds.
        KeyError: no such kind.
    """
    maker = INSTRUMENTERS[kind]
    if len(data) > FILE_MOST:
        raise BadFile(f"the file has {len(data)} bytes, {FILE_MOST} is the most")
    return maker(data, call)


def kind_of(filename: str) -> str:
    """The kind for a file's name; "" where there is none."""
    ending = filename.rpartition(".")[2].lower()
    return {"htm": "html", "html": "html", "docx": "docx", "svg": "svg"}.get(
        ending, "text" if ending in ("txt", "md", "csv", "cfg", "conf", "ini", "log") else ""
    )


def _html(data: bytes, call: Call) -> bytes:
    picture = f'<img src="{html.escape(call.url)}.gif" width="1" height="1" alt="">'.encode()
    at = data.lower().rfind(b"</body")
    return data + picture + b"\n" if at < 0 else data[:at] + picture + data[at:]


def _svg(data: bytes, call: Call) -> bytes:
    at = data.rfind(b"</svg")
    if at < 0:
        raise BadFile("no </svg> in it")
    picture = (
        f'<image xmlns:xlink="http://www.w3.org/1999/xlink" xlink:href="{html.escape(call.url)}'
        '.gif" width="1" height="1"/>'
    )
    return data[:at] + picture.encode() + data[at:]


def _text(data: bytes, call: Call) -> bytes:
    """A line that makes somebody look it up; text alone calls nowhere."""
    if b"\0" in data[:4096]:
        raise BadFile("not a text file")
    end = b"\r\n" if b"\r\n" in data[:4096] else b"\n"
    lines = [f"full copy: {call.url}"]
    if call.name:
        lines.append(f"server: {call.name}")
    separator = b"" if not data or data.endswith(b"\n") else end
    return data + separator + end.join(line.encode() for line in lines) + end


def _docx(data: bytes, call: Call) -> bytes:
    """A picture of one pixel that lies at the URL: loaded when the document is opened."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = _checked(archive)
            document = _part(archive, _DOCUMENT)
            links = _part(archive, _LINKS)
            link = f"rId{1 + max([999, *map(int, re.findall(rb'rId([0-9]{1,6})', links))])}"
            changed = {
                _DOCUMENT: _with_picture(document, link),
                _LINKS: _with_link(links, link, call.url),
            }
            return _rewritten(archive, members, changed)
    except BadFile:
        raise
    except _BROKEN as error:
        raise BadFile(f"not a .docx file: {error}") from error


def _checked(archive: zipfile.ZipFile) -> list[zipfile.ZipInfo]:
    members = archive.infolist()
    if len(members) > MEMBERS_MOST:
        raise BadFile(f"the archive has {len(members)} members, {MEMBERS_MOST} is the most")
    if len({member.filename for member in members}) != len(members):
        raise BadFile("the archive has two members of one name")
    if any(member.flag_bits & 1 for member in members):
        raise BadFile("the document is encrypted")
    if sum(member.file_size for member in members) > UNPACKED_MOST:
        raise BadFile(f"unpacked it has more than {UNPACKED_MOST} bytes")
    return members


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        found = archive.getinfo(name)
    except KeyError:
        raise BadFile(f"not a .docx file: no {name} in it") from None
    return _read(archive, found, PART_MOST)


def _read(archive: zipfile.ZipFile, member: zipfile.ZipInfo, most: int) -> bytes:
    with archive.open(member) as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise BadFile(f"{member.filename[:80]} has more than {most} bytes")
    return data


def _with_picture(document: bytes, link: str) -> bytes:
    end = document.rfind(b"</w:body>")
    if end < 0:
        raise BadFile("no </w:body> in the document")
    section = _LAST_SECTION.search(document, 0, end)
    # The section's properties are the body's last child, if they are not a paragraph's.
    at = section.start() if section and b"</w:p>" not in document[section.start() : end] else end
    return document[:at] + _PICTURE.format(number=9001, link=link).encode() + document[at:]


def _with_link(links: bytes, link: str, url: str) -> bytes:
    end = links.rfind(b"</Relationships>")
    if end < 0:
        raise BadFile(f"no </Relationships> in {_LINKS}")
    relation = _RELATION.format(link=link, url=html.escape(f"{url}.png"))
    return links[:end] + relation.encode() + links[end:]


def _rewritten(
    archive: zipfile.ZipFile, members: list[zipfile.ZipInfo], changed: dict[str, bytes]
) -> bytes:
    out, room = io.BytesIO(), UNPACKED_MOST
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as copy:
        for member in members:
            content = changed.get(member.filename)
            if content is None:
                content = _read(archive, member, room)
                room -= len(content)
            # The old entry's date and attributes; its declared sizes are not copied.
            entry = zipfile.ZipInfo(member.filename, member.date_time)
            entry.external_attr = member.external_attr
            entry.compress_type = zipfile.ZIP_DEFLATED
            copy.writestr(entry, content)
    return out.getvalue()


INSTRUMENTERS: dict[str, Callable[[bytes, Call], bytes]] = {
    "html": _html,
    "svg": _svg,
    "text": _text,
    "docx": _docx,
}
"""Kind -> what puts a call into such a file."""
