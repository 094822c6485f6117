"""The values of the keys that put walls around a worker, and what this machine says to them."""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from zygote.fleet import seccomp
from zygote.fleet.model import WorkerSpec
from zygote.fleet.syscalls import NUMBERS
from zygote.fleet.values import Fault, kind_of, text, texts
from zygote.fleet.words import did_you_mean, listed

PATHS = ("read", "write", "execute")
PORTS = ("bind", "connect")
ANY = "any"
"""In place of a list of ports: undoes what [defaults] says."""


def landlock(value: Any) -> dict[str, tuple[str, ...]]:
    """`{ read = ["/srv"], write = ["data/"], connect = [443] }`; ports as text from here on."""
    if not isinstance(value, dict):
        raise Fault(f"a table is wanted, not {kind_of(value)}", 'landlock = { write = ["data/"] }',
                    code="wrong-type")  # fmt: skip
    found = {}
    for name, each in value.items():
        if name not in (*PATHS, *PORTS):
            hint = did_you_mean(name, (*PATHS, *PORTS), f"one of {listed((*PATHS, *PORTS))}")
            raise Fault("landlock has no such key", hint, code="unknown-key", at=(name,))
        try:
            found[name] = texts(each) if name in PATHS else _ports(each)
        except Fault as fault:
            raise Fault(fault.message, fault.hint, code=fault.code, at=(name, *fault.at)) from None
    return found


def _ports(value: Any) -> tuple[str, ...]:
    if value == ANY:
        return (ANY,)
    ports = []
    for index, item in enumerate(value if isinstance(value, list) else [value]):
        at = (index,) if isinstance(value, list) else ()
        if isinstance(item, str) and "${" in item:
            ports.append(text(item))
        elif isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= 65535:
            ports.append(str(item))
        else:
            hint = 'a number from 0 to 65535, "${VARIABLE}", or "any" in place of the list'
            raise Fault("not a TCP port", hint, at=at)
    return tuple(ports)


def credentials(value: Any) -> dict[str, str]:
    """`{ "api-key" = "/etc/shop/key" }`: names as systemd takes them, and files."""
    if not isinstance(value, dict):
        raise Fault(f"a table is wanted, not {kind_of(value)}",
                    'credentials = { api-key = "/etc/shop/key" }', code="wrong-type")  # fmt: skip
    for name, each in value.items():
        if not name or "/" in name or name in (".", "..") or len(name) > 255:
            raise Fault("no credential can be called so", "a name of a file, without /", at=(name,))
        text(each, (name,))
    return value


def filled(
    spec: WorkerSpec,
    fill: Callable[[str, str, tuple[str | int, ...]], str],
    resolve: Callable[[str, str, tuple[str | int, ...]], str],
) -> dict[str, Any]:
    """The keys of this page with their variables replaced: what the worker's spec takes over.

    A text that is empty then is left out, so that a variable may add to a list.

    Args:
        fill: of a text, its key and where in it: the same without variables.
        resolve: the same for a path: absolute, too.
    Raises:
        Fault: `at` is the key and what is in it.
    """
    changed: dict[str, Any] = {}
    if spec.landlock is not None:
        changed["landlock"] = {}
        for name, items in spec.landlock.items():
            work = _path(resolve) if name in PATHS else fill
            kept = [work(item, "landlock", (name, i)) for i, item in enumerate(items)]
            changed["landlock"][name] = tuple(item for item in kept if item)
            if name in PORTS:
                _check_ports(kept, name)
    if spec.address_families is not None:
        kept = [fill(f, "address_families", (i,)) for i, f in enumerate(spec.address_families)]
        # One that could not be filled in has been told of.
        pairs = zip(kept, spec.address_families, strict=True)
        kept = ["" if "${" in item and item == given else item for item, given in pairs]
        changed["address_families"] = _families(kept)
    paths = [resolve(p, "read_only_paths", (i,)) for i, p in enumerate(spec.read_only_paths)]
    changed["read_only_paths"] = tuple(p for p in paths if p)
    work = _path(resolve)
    files = {name: work(p, "credentials", (name,)) for name, p in spec.credentials.items()}
    changed["credentials"] = {name: path for name, path in files.items() if path}
    for key in ("user", "group"):
        if given := getattr(spec, key):
            changed[key] = fill(given, key, ()) or None
    return changed


def _families(items: list[str]) -> tuple[str, ...]:
    try:
        return seccomp.families(items, filled=True)
    except Fault as fault:
        raise Fault(fault.message, fault.hint, at=("address_families", *fault.at)) from None


def _path(
    resolve: Callable[[str, str, tuple[str | int, ...]], str],
) -> Callable[[str, str, tuple[str | int, ...]], str]:
    """A path may have a - before it (it may be missing) and a / at its end (make it)."""

    def work(item: str, key: str, at: tuple[str | int, ...]) -> str:
        plain = item.removeprefix("-")
        found = resolve(plain, key, at)
        if not found:
            return ""
        end = "/" if plain.endswith("/") and found != "/" else ""
        return "-" * item.startswith("-") + found + end

    return work


def _check_ports(items: list[str], name: str) -> None:
    for index, item in enumerate(items):
        if item and items != [ANY] and not (item.isdecimal() and int(item) <= 65535):
            raise Fault("not a TCP port", "a number from 0 to 65535", at=("landlock", name, index))


def compiled(spec: WorkerSpec) -> WorkerSpec:
    """With the filter that `seccomp` and `address_families` come to.

    Raises:
        Fault: this machine's system calls are not known.
    """
    if spec.seccomp is None and spec.address_families is None:
        return spec
    program = seccomp.program(spec.seccomp, spec.address_families)
    return replace(spec, seccomp_filter=base64.b64encode(program).decode())


def spelled(spec: WorkerSpec) -> str:
    """`seccomp: 214 calls, sockets AF_UNIX`."""
    parts = []
    if spec.seccomp is not None:
        table = NUMBERS.get(os.uname().machine, {})
        parts.append(f"{sum(n in table for n in seccomp.calls(spec.seccomp))} calls")
    if spec.address_families is not None:
        parts.append("sockets " + (" ".join(spec.address_families) or "none"))
    return "seccomp: " + ", ".join(parts) if parts else ""


class Machine:
    """What this machine gives to this user.

    Args:
        answers: wall -> why not, "" if it does; asked of the kernel by default.
    """

    def __init__(self, answers: Mapping[str, str] | None = None) -> None:
        self._answers = dict(answers) if answers is not None else _ask()

    def why_not(self, spec: WorkerSpec) -> Iterator[tuple[str, str]]:
        """Each key of a worker that cannot be had in full here, and why."""
        no = self._answers
        for key in ("private_network", "private_tmp", "read_only_paths"):
            if getattr(spec, key) and no["namespaces"]:
                yield key, no["namespaces"]
        if spec.landlock is not None:
            asked_ports = any(spec.landlock.get(name, (ANY,)) != (ANY,) for name in PORTS)
            if no["landlock"]:
                yield "landlock", no["landlock"]
            elif asked_ports and no["ports"]:
                yield "landlock", no["ports"]
            elif no["signals"]:
                yield "landlock", no["signals"]
        if spec.seccomp_filter and no["seccomp"]:
            yield "seccomp" if spec.seccomp is not None else "address_families", no["seccomp"]


def _ask() -> dict[str, str]:
    # Late: only where a file asks for a wall is the kernel asked.
    from zygote.sys import landlock as kernel
    from zygote.sys import seccomp as filters

    version = kernel.abi()
    return {
        "namespaces": _namespaces(),
        "landlock": "" if version else "this kernel has no landlock, or it is switched off",
        "ports": "" if version >= 4 else "landlock knows no ports here (Linux 6.7)",
        "signals": "" if version >= 6 else "landlock lets it signal others here (Linux 6.12)",
        "seccomp": "" if filters.available() else "this kernel has no seccomp filters",
    }


def _namespaces() -> str:
    """Tried in a child: there is no other way to know."""
    from zygote.sys import namespaces

    pid = os.fork()
    if pid == 0:
        try:
            namespaces.unshare(namespaces.NEWNS | namespaces.NEWNET, as_user=os.geteuid() != 0)
            namespaces.empty("/tmp", 0o1777)
            os._exit(0)
        except BaseException:
            os._exit(1)
    _, status = os.waitpid(pid, 0)
    return "" if status == 0 else "namespaces are not allowed to this user here"
