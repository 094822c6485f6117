"""Rules `shared-memory`, `allocator`, `fork-handler`, `huge-pages`: what /proc/self/maps tells.

Memory that is mapped as shared stays shared in a clone: all workers write to the same bytes. An
allocator other than libc's has locks and threads of its own. And a library that asked libc for
handlers around fork(2) is not called around clone3(2): what it would have set right is not.
"""

from __future__ import annotations

import ctypes
import gc
import mmap
import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from zygote.audit import known
from zygote.audit.owners import module_of, owners
from zygote.audit.report import Finding

_LINE = re.compile(
    r"^(?P<start>[0-9a-f]+)-[0-9a-f]+ (?P<rights>\S{4}) \S+ \S+ \d+ *(?P<path>.*)$", re.M
)
_ALLOCATORS = ("jemalloc", "tcmalloc", "mimalloc")
_ASKS = b"__register_atfork"
"""What a call of pthread_atfork(3) becomes in a shared library (glibc)."""
_HARMLESS = ("libc.so", "libc-", "libpthread", "libpython", "ld-", "libcrypto", "libnss_")
"""libc itself, and libraries whose handlers matter only where other threads run."""
_MAX_BYTES = 64 * 2**20


def look() -> list[Finding]:
    """Shared mappings, allocators, huge pages. One short file is read."""
    shared, libraries = {}, set()
    for line in _LINE.finditer(_read("/proc/self/maps")):
        path, rights = line["path"], line["rights"]
        if rights[1] == "w" and rights[3] == "s":
            shared[int(line["start"], 16)] = path
        elif path.startswith("/"):
            libraries.add(path)
    found = _shared(shared) if shared else []
    for path in sorted(libraries):
        name = os.path.basename(path)  # noqa: PTH119
        if any(word in name for word in _ALLOCATORS):
            what = f"the allocator of {name}{_version(path)}"
            found.append(Finding("allocator", what, remedy=known.remedy(f"comm:{name}")))
    huge = re.search(r"^AnonHugePages: +(\d+) kB", _read("/proc/self/smaps_rollup"), re.M)
    if huge and int(huge[1]) and "[always]" in _read("/sys/kernel/mm/transparent_hugepage/enabled"):
        found.append(Finding("huge-pages", f"{int(huge[1]) / 1000:.1f} MB in huge pages"))
    return found


def _shared(mappings: dict[int, str]) -> list[Finding]:
    """One finding a mapping, blamed on who holds the `mmap` object over it, if one does."""
    objects: dict[int, Any] = {}
    for thing in gc.get_objects():
        if type(thing) is mmap.mmap:
            with suppress(ValueError, TypeError):  # closed, or not for writing
                objects[ctypes.addressof(ctypes.c_char.from_buffer(thing))] = thing
    places = owners([objects[start] for start in mappings if start in objects])
    found = []
    for start, path in mappings.items():
        place = places.get(id(objects.get(start)), "")
        held = f", held by {place}" if place else ""
        what = f"memory shared for writing ({path or 'anonymous'}){held}"
        found.append(Finding("shared-memory", what, module=module_of(place)))
    return found


def fork_handlers() -> list[Finding]:
    """Libraries that ask libc to be called around fork. Each is read as a whole: not in a bake."""
    asking = []
    for path in sorted({line["path"] for line in _LINE.finditer(_read("/proc/self/maps"))}):
        name = os.path.basename(path)  # noqa: PTH119
        if ".so" in name and not name.startswith(_HARMLESS) and _asks(path):
            asking.append(name)
    if not asking:
        return []
    return [Finding("fork-handler", f"fork handlers of native libraries: {', '.join(asking)}")]


def _asks(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            if os.fstat(file.fileno()).st_size > _MAX_BYTES:
                return False
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return data.find(_ASKS) >= 0
    except (OSError, ValueError):
        return False


def _version(path: str) -> str:
    """jemalloc tells its version; 5.2 and older have deadlocked at forks (jemalloc#2019, #2402)."""
    try:
        library = ctypes.CDLL(path)
        text, size = ctypes.c_char_p(), ctypes.c_size_t(ctypes.sizeof(ctypes.c_char_p))
        if library.mallctl(b"version", ctypes.byref(text), ctypes.byref(size), None, 0) == 0:
            return f" {(text.value or b'').decode().partition('-')[0]}"
    except (OSError, AttributeError):
        pass
    return ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
