"""What single workers need: capabilities, interfaces, certificates, data files, ports."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Collection, Iterator

from decnet.canary.settings import CanarySettings
from decnet.decoys.catalogue import KINDS, UnknownDecoy, parse_instance
from decnet.doctor.finding import Finding, missing, note, ok
from decnet.geo.where import GeoSettings
from decnet.packets.rights import CAP_NET_RAW, has
from decnet.packets.settings import SnifferSettings
from decnet.probes.settings import ProbeSettings
from decnet.settings import Reader, Settings
from decnet.ship.options import ShipOptions
from decnet.ttp.settings import TtpSettings
from decnet.web.api.settings import refuse_weak
from decnet.web.front.settings import WebSettings
from zygote.cli.ports import Port, try_bind
from zygote.errors import ZygoteError

NET_RAW = "run the fleet as root, or give the manager CAP_NET_RAW"
BUNDLE = ("ca.crt", "worker.crt", "worker.key")


def packets() -> Iterator[Finding]:
    """sniffer and probe: raw sockets, and the interface."""
    settings = SnifferSettings.from_env()
    if not has(CAP_NET_RAW):
        yield missing("sniffer", "CAP_NET_RAW: it waits, and sees no packet", NET_RAW)
        yield note("probe", "CAP_NET_RAW: no fingerprint by raw SYN", NET_RAW)
    else:
        yield ok("probe", "CAP_NET_RAW")
    try:
        socket.if_nametoindex(settings.interface)
    except OSError:
        there = ", ".join(name for _, name in socket.if_nameindex())
        yield missing("sniffer", f"interface {settings.interface}: there is none of that name",
                      f"set DECNET_SNIFFER_IFACE to one of: {there}")  # fmt: skip
    else:
        yield ok("sniffer", f"interface {settings.interface}")
    if not ProbeSettings.from_env().targets:
        yield note("probe", "visits nobody", "DECNET_PROBE_TARGETS names the networks it may visit")


def certificates(settings: Settings) -> Iterator[Finding]:
    """forwarder and listener: the files of their bundles."""
    options = ShipOptions.from_env(settings)
    for worker, folder in (
        ("listener", options.master_bundle),
        ("forwarder", options.agent_bundle),
    ):
        absent = [name for name in BUNDLE if not os.access(folder / name, os.R_OK)]
        if not absent:
            yield ok(worker, f"certificates in {folder}")
        elif options.folder.exists() and (options.folder / "ca" / "ca.key").exists():
            yield missing(worker, f"{folder}: no {', '.join(absent)}",
                          f"decnetctl ca issue NAME --out {folder}")  # fmt: skip
        else:
            yield note(worker, f"{folder}: no certificates yet",
                       "`decnetctl up` makes them, or: decnetctl ca init")  # fmt: skip


def secrets(settings: Settings) -> Iterator[Finding]:
    """api: what it refuses to serve with."""
    try:
        refuse_weak(settings)
    except ZygoteError as error:
        yield missing("api", error.message, error.hint)
    else:
        yield ok("api", "secrets are strong enough")


def data(settings: Settings) -> Iterator[Finding]:
    """profiler, enrich, ttp, canary: files that make them know more."""
    geo = GeoSettings.from_env()
    if geo.enabled and not geo.file.exists():
        yield note("profiler", f"no table of countries and networks in {geo.root}",
                   "put the registries' files there: decnetctl geo build")  # fmt: skip
    lists = Reader(os.environ).path("INTEL_ROOT", settings.state_dir / "intel")
    if not any(lists.glob("blocklists/*")) and not (lists / "feodo.csv").exists():
        yield note("enrich", f"no lists in {lists}",
                   "put block lists into its folder blocklists, one address a line")  # fmt: skip
    rules = TtpSettings.from_env().rules_dir
    if rules is not None and not rules.is_dir():
        yield missing("ttp", f"DECNET_TTP_RULES_DIR={rules}: no such folder",
                      "make it, or unset the variable")  # fmt: skip
    canary = CanarySettings.from_env(settings.state_dir)
    if "127.0.0.1" in canary.http_base or "localhost" in canary.http_base:
        yield note("canary", f"bait calls home to {canary.http_base}: from this machine only",
                   "DECNET_CANARY_HTTP_BASE=http://NAME:8088, and DECNET_CANARY_BIND")  # fmt: skip


def ports(settings: Settings, workers: Collection[str], ready: set[str]) -> Iterator[Finding]:
    """Every port that the fleet's workers listen on.

    Args:
        workers: names in the fleet file.
        ready: workers that run now: their ports are theirs.
    """
    free = 0
    for port in wanted_ports(settings, workers):
        if port.worker in ready or not port.number:
            continue
        fault = try_bind(port)
        if not fault:
            free += 1
        elif fault == errno.EACCES:
            yield missing(port.worker, f"port {port.number}: only root may listen below 1024",
                          f"{port.setting}=PORT, or CAP_NET_BIND_SERVICE")  # fmt: skip
        elif fault == errno.EADDRINUSE:
            who = f"ss -ltnup 'sport = :{port.number}' tells which"
            yield missing(port.worker, f"port {port.number}: another program listens there",
                          f"{port.setting}=PORT; {who}")  # fmt: skip
        else:
            yield missing(port.worker, f"{port.host}:{port.number}: {os.strerror(fault)}",
                          f"see {port.setting} and its HOST")  # fmt: skip
    held = f", {len(ready)} workers of this fleet hold theirs" if ready else ""
    yield ok("all", f"{free} ports are free{held}")


def wanted_ports(settings: Settings, workers: Collection[str]) -> Iterator[Port]:
    """Where the workers of these names will listen."""
    web, canary = WebSettings.from_env(settings), CanarySettings.from_env(settings.state_dir)
    ship = ShipOptions.from_env(settings)
    found = [
        Port("api", settings.api_host, settings.api_port, "DECNET_API_PORT"),
        Port("web", web.host, web.port, "DECNET_WEB_PORT"),
        Port("canary", canary.bind, canary.port, "DECNET_CANARY_PORT"),
        Port("listener", ship.listen_host, ship.port, "DECNET_SWARM_SYSLOG_PORT"),
    ]
    if canary.dns_zone:
        variable = "DECNET_CANARY_DNS_PORT"
        found.append(Port("canary", canary.dns_bind, canary.dns_port, variable, udp=True))
    yield from (port for port in found if port.worker in workers)
    for name in workers:
        try:
            instance = parse_instance(name, settings.decky_name)
            number = settings.decoy_port(instance.kind, instance.number)
        except UnknownDecoy:
            continue
        yield Port(name, settings.decoy_host, number, KINDS[instance.kind].variable)
