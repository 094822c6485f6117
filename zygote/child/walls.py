"""Walls around this process that a uid does not give: namespaces, landlock, seccomp.

What each forbids stands in `zygotectl help walls`. A wall that this kernel, or this user, cannot
have ends the worker; where the fleet file says `walls = "report"` it is left out, and told.
"""

from __future__ import annotations

import base64
import os
import sys
from typing import Any

from zygote.child.request import Request
from zygote.sys import caps, landlock, namespaces, seccomp

_SYS_ADMIN = 21
_TMP = ("/tmp", "/var/tmp")
_SYSTEM = (
    "/usr", "/lib", "/lib64", "/bin", "/sbin", "/proc", "/sys/devices/system/cpu",
    "/dev/urandom", "/dev/random", "/dev/zero", "/etc/ld.so.cache", "/etc/localtime",
    "/etc/timezone", "/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/hostname",
    "/etc/nsswitch.conf", "/etc/gai.conf", "/etc/passwd", "/etc/group", "/etc/services",
    "/etc/protocols", "/etc/mime.types", "/etc/ssl", "/etc/ca-certificates", "/etc/pki",
    "/etc/alternatives", "/run/systemd/resolve",
)  # fmt: skip
"""What any program may read under landlock: programs and libraries, names, no secrets."""
_DEVICES = ("/dev/null", "/dev/full")


def leave_namespaces(request: Request) -> None:
    """Have a network, temporary folders and read-only paths of its own.

    Raises:
        OSError: EPERM, ENOSPC: see `zygote.sys.namespaces`.
    """
    walls = request.walls
    if walls is None or not (walls["network"] or walls["tmp"] or walls["read_only"]):
        return
    flags = namespaces.NEWNET if walls["network"] else 0
    if walls["tmp"] or walls["read_only"]:
        flags |= namespaces.NEWNS
    privileged = caps.read().effective >> _SYS_ADMIN & 1
    if not privileged:
        # What the new user namespace is about to give us; there was none of it before.
        request.capabilities = []
    namespaces.unshare(flags, as_user=not privileged)
    if walls["network"]:
        namespaces.lo_up()
        walls["stands"].append("network of its own")
    if walls["tmp"]:
        _own_tmp(walls["keep"])
        walls["stands"].append("/tmp of its own")
    for path in walls["read_only"]:
        namespaces.read_only(path)
    if walls["read_only"]:
        walls["stands"].append("read-only: " + " ".join(walls["read_only"]))


def _own_tmp(keep: list[str]) -> None:
    """Empty /tmp and /var/tmp, but for paths in them that the worker is to have."""
    kept = []
    for path in keep:
        try:
            kept.append((path, os.open(path, os.O_PATH | os.O_CLOEXEC)))
        except OSError:
            continue
    try:
        for folder in _TMP:
            namespaces.empty(folder, 0o1777)
        for path, descriptor in kept:
            os.makedirs(path, 0o711, exist_ok=True)  # noqa: PTH103 - as in zygote.child.identity
            namespaces.show(descriptor, path)
    finally:
        for _, descriptor in kept:
            os.close(descriptor)


def set_landlock(request: Request) -> None:
    """Give up all files, and TCP ports, but those named.

    Raises:
        OSError: ENOSYS, EOPNOTSUPP, a kernel without it; of a path that cannot be granted.
    """
    asked = request.walls and request.walls["landlock"]
    if not asked:
        return
    version = landlock.abi()
    if not version:
        raise OSError(95, os.strerror(95))
    ports = sum(right for name, right in _PORTS.items() if asked.get(name) is not None)
    rules = landlock.Ruleset(version, ports)
    try:
        _grant(rules, version, asked, request)
        rules.enforce()
    except BaseException:
        rules.close()
        raise
    assert request.walls
    request.walls["stands"].append(f"landlock (ABI {version})")
    if ports and version < _PORTS_SINCE:
        tell_gap(request, "landlock", "this kernel knows no ports (ABI 4, Linux 6.7)")
    if version < _SIGNALS_SINCE:
        tell_gap(request, "landlock", "this kernel lets it signal others (ABI 6, Linux 6.12)")


_PORTS_SINCE, _SIGNALS_SINCE = 4, 6
"""ABI."""
_PORTS = {"bind": landlock.BIND, "connect": landlock.CONNECT}


def _grant(rules: landlock.Ruleset, version: int, asked: dict[str, Any], request: Request) -> None:
    python = {sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path}
    landlock.grant_each(rules, (*_SYSTEM, *(p for p in python if p)), landlock.READ)
    landlock.grant_each(rules, _DEVICES, landlock.READ | landlock.WRITE_FILE)
    own = [request.script, request.env.get("CREDENTIALS_DIRECTORY", "")]
    landlock.grant_each(rules, filter(None, own), landlock.READ)
    if request.walls and request.walls["tmp"]:
        landlock.grant_each(rules, _TMP, landlock.WRITE)
    for name, rights in _RIGHTS.items():
        for path in asked.get(name, ()):
            # One with a / at its end is a folder, and made where it is missing; with a - before it
            # it may be missing, as in systemd.
            if path.startswith("-"):
                landlock.grant_each(rules, (path[1:],), rights)
                continue
            if path.endswith("/") and rights == landlock.WRITE:
                os.makedirs(path, 0o700, exist_ok=True)  # noqa: PTH103 - as above
            rules.grant(path, rights)
    for name, right in _PORTS.items() if version >= _PORTS_SINCE else ():
        for port in asked.get(name) or ():
            rules.grant_port(port, right)


_RIGHTS = {"read": landlock.READ, "write": landlock.WRITE, "execute": landlock.RUN}


def set_seccomp(request: Request) -> None:
    """Give up all system calls but those allowed. After it, only what is allowed can be done.

    Raises:
        OSError: EINVAL, a kernel without filters.
    """
    walls = request.walls
    if walls:
        walls["stands"][:0] = _who(request)  # afterwards even asking may be forbidden
    if walls and walls["seccomp"]:
        seccomp.load(base64.b64decode(walls["seccomp"]))
        walls["stands"].append(walls["seccomp_words"])


def stands(request: Request) -> dict[str, list[str]]:
    """What stands around this process, and what should and does not: for the report."""
    walls = request.walls
    return {"walls": walls["stands"], "gaps": walls["gaps"]} if walls else {}


def _who(request: Request) -> list[str]:
    who = [f"uid {os.getuid()}"] if request.uid is not None and os.getuid() == request.uid else []
    if request.capabilities is not None:
        left = caps.read().permitted
        names = [name for number, name in enumerate(caps.NAMES) if left >> number & 1]
        who.append(f"capabilities: {' '.join(names) or 'none'}")
    if request.no_new_privs:
        who.append("no new privileges")
    return who


def tell_gap(request: Request, name: str, why: str) -> None:
    """Note a wall, or a part of one, that does not stand."""
    if request.walls:
        request.walls["gaps"].append(f"{name}: {why}")
