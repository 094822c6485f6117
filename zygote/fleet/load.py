"""A fleet file, checked as a whole: the fleet it describes, or all that is wrong with it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet import checks, isolation, refork, values, where
from zygote.fleet.build import Builder, Layer, Merged, merge
from zygote.fleet.explain import unknown_table, validate
from zygote.fleet.locate import Path as Place
from zygote.fleet.locate import locate
from zygote.fleet.model import Fleet, WorkerSpec, ZygoteSpec
from zygote.fleet.parents import inherit
from zygote.fleet.plan import start_order
from zygote.fleet.problems import Problems
from zygote.fleet.schema import TABLES, FleetTable, WorkerTable, ZygoteTable
from zygote.fleet.source import decode, parse, read_bytes
from zygote.fleet.values import kind_of
from zygote.fleet.words import did_you_mean, listed

_DEFAULT_ZYGOTE = "floor"
_ROLL_KEYS = ("max_surge", "max_unavailable", "min_ready", "memory_reserve")


def check(
    path: Path, environ: Mapping[str, str] = os.environ
) -> tuple[Fleet | None, list[ZygoteError]]:
    """Read and check a fleet file. Nothing that it names is imported or run.

    Args:
        environ: what `${VAR}` is taken from.
    Returns:
        The fleet and no errors; or None and every error, in the file's order.
    """
    path = Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links
    try:
        content = read_bytes(path)
        text = decode(content, path)
    except ZygoteError as error:
        return None, [error]
    fleet, errors = check_text(text, path, environ)
    digest = hashlib.sha256(content, usedforsecurity=False).hexdigest()
    return (replace(fleet, digest=digest), []) if fleet else (None, errors)


def check_text(
    text: str, path: Path, environ: Mapping[str, str] = os.environ
) -> tuple[Fleet | None, list[ZygoteError]]:
    """As `check`, of a text that is to stand at `path`, absolute. The digest is left empty."""
    try:
        data = parse(text, path.name)
    except ZygoteError as error:
        return None, [error]
    problems = Problems(path.name, text, locate(text))
    fleet = _Check(path, data, environ, problems).fleet()
    errors = problems.errors()
    if errors or fleet is None:
        return None, errors
    return replace(fleet, warnings=problems.warnings()), []


@dataclass(slots=True)
class _Check:
    """One file on its way to a fleet. Goes on after a fault, to find the others too."""

    path: Path
    data: dict[str, Any]
    environ: Mapping[str, str]
    problems: Problems
    zygotes: dict[str, ZygoteSpec] = field(default_factory=dict)
    specs: dict[str, WorkerSpec] = field(default_factory=dict)
    """Workers and templates."""
    merged: dict[str, Merged] = field(default_factory=dict)

    def fleet(self) -> Fleet | None:
        """The fleet, as far as it can be made; what is wrong is in `problems`."""
        for name in self.data:
            if name not in TABLES:
                unknown_table(name, self.data[name], self.problems)
        builder = Builder(self.path.parent, self.environ, self.problems)
        head = self._head(builder)
        self._make_zygotes(builder)
        self._make_workers(builder)
        self._check_zygotes()
        workers = {name: spec for name, spec in self.specs.items() if not name.endswith("@")}
        return Fleet(
            file=str(self.path),
            digest="",
            zygotes=self.zygotes,
            workers=workers,
            templates={name: self.specs[name] for name in self.specs if name not in workers},
            order=tuple(self._order(workers)),
            name=head["name"],
            runtime_dir=head["runtime_dir"],
            log_dir=head["log_dir"],
            restart_rate=head["restart_rate"],
            **{key: head[key] for key in _ROLL_KEYS if key in head},
            operators=head["operators"],
            readers=head["readers"],
            pressure_limit=head["pressure_limit"],
            pressure_duration=head["pressure_duration"],
        )

    def _head(self, builder: Builder) -> dict[str, Any]:
        """[fleet]."""
        raw = self.data.get("fleet", {})
        given, broken = validate(FleetTable, raw, ("fleet",), self.problems)
        name = given.get("name", "")
        if "name" not in given:
            if "name" not in broken:
                self.problems.error(
                    ("fleet",), "it has no name" if "fleet" in self.data else "there is no [fleet]",
                    hint=f'[fleet] with name = "{self._name_guess()}"', code="missing-key",
                    about=("fleet",) if "fleet" in self.data else (),
                )  # fmt: skip
        elif not where.FLEET_NAME.fullmatch(name):
            self.problems.error(
                ("fleet", "name"), "a fleet cannot be called so",
                hint="lower-case letters, digits and -, at most 50, such as "
                f'"{_plain_name(name) or self._name_guess()}"',
                code="bad-name", value=name,
            )  # fmt: skip
        rate = given.get("restart_rate")
        head = {"name": name, "restart_rate": _default_rate() if rate is None else float(rate)}
        head |= {key: given[key] for key in _ROLL_KEYS if given.get(key) is not None}
        head |= {key: given.get(key) or "" for key in ("operators", "readers")}
        head["pressure_limit"] = limit = given.get("pressure_limit")
        head["pressure_duration"] = given.get("pressure_duration", 10.0)
        if limit is not None and limit > 1:
            self.problems.error(
                ("fleet", "pressure_limit"), "it cannot be more than all of the time",
                hint='a share: 0.3 or "30%"', code="out-of-range", value=limit,
            )  # fmt: skip
        for key in ("runtime_dir", "log_dir"):
            place = ("fleet", key)
            head[key] = builder.folder(given[key], place) if given.get(key) else ""
        if head["runtime_dir"] or where.FLEET_NAME.fullmatch(name):
            self._check_socket(name, head["runtime_dir"])
        return head

    def _check_socket(self, name: str, configured: str) -> None:
        """The socket's path. What the file says must be good; the default may be overruled."""
        place: Place = ("fleet", "runtime_dir")
        try:
            folder = (
                Path(configured)
                if configured
                else where.choose_runtime_dir(name, "", None, self.environ)
            )
            socket = folder / where.SOCKET_NAME
            where.check_socket_path(socket)
        except ZygoteError as error:
            if configured:
                self.problems.adopt(error, place)
            else:
                self.problems.warn(place, f"{error.message}; {error.hint}")
            return
        left = where.SOCKET_PATH_MAX - where.socket_path_size(socket)
        if left < 8:
            self.problems.warn(
                place, f"the socket's path {socket} is {left} bytes below the kernel's limit"
            )

    def _make_zygotes(self, builder: Builder) -> None:
        for name, raw in self._named("zygote"):
            path: Place = ("zygote", name)
            if not values.ZYGOTE_NAME.fullmatch(name) or len(name) > values.NAME_MAX:
                self._bad_name(path, "letters, digits, - and _")
            given, broken = validate(ZygoteTable, raw, path, self.problems)
            self.zygotes[name] = builder.zygote(name, Layer(path, given, broken))
        if not self.zygotes and "zygote" not in self.data:
            self.zygotes[_DEFAULT_ZYGOTE] = builder.zygote(_DEFAULT_ZYGOTE, Layer((), {}))
        self.zygotes = inherit(self.zygotes, self.problems)

    def _make_workers(self, builder: Builder) -> None:
        layers = {name: self._layer(name, raw) for name, raw in self._named("worker")}
        defaults = Layer(("defaults",), {})
        if "defaults" in self.data:
            raw = self.data["defaults"]
            given, broken = validate(WorkerTable, raw, ("defaults",), self.problems)
            defaults = Layer(("defaults",), given, broken)
        named = dict(self.zygotes)
        shared = named.get(_DEFAULT_ZYGOTE)
        if len(self.zygotes) == 1:
            (shared,) = self.zygotes.values()
        for name, layer in layers.items():
            stem, at, instance = name.partition("@")
            template = layers.get(stem + at) if at and instance else None
            merged = merge([defaults, template, layer] if template else [defaults, layer])
            self.merged[name] = merged
            spec = builder.worker(name, merged, named, shared)
            if spec is None:
                continue
            self.specs[name] = spec = isolation.place(spec, self.zygotes)
            checks.check_worker(spec, merged, self.problems)
            checks.check_umask(spec, merged, self.problems)
            refork.check(spec, merged.place("refork"), self.problems)
            checks.check_run(spec, merged, self.zygotes[spec.zygote], self.problems)

    def _layer(self, name: str, raw: Any) -> Layer:
        path: Place = ("worker", name)
        if not values.WORKER_NAME.fullmatch(name) or len(name) > values.NAME_MAX:
            self._bad_name(path, "letters, digits, - _ . and one @ before an instance's name")
        elif name.startswith("zygote."):
            self.problems.error(path, "names that begin with zygote. are those of zygotes' logs",
                                hint=f"[worker.{name.removeprefix('zygote.') or 'web'}]",
                                code="bad-name")  # fmt: skip
        given, broken = validate(WorkerTable, raw, path, self.problems)
        return Layer(path, given, broken)

    def _check_zygotes(self) -> None:
        for name, spec in self.zygotes.items():
            if not isolation.is_of_class(name):  # made like one that is checked
                checks.check_zygote(spec, ("zygote", name), self.problems)
        if "zygote" in self.data and self.specs:
            used = {spec.zygote for spec in self.specs.values() if spec.is_copy}
            used |= {spec.parent for spec in self.zygotes.values()}
            checks.check_unused(self.zygotes, used, self.problems)

    def _order(self, workers: Mapping[str, WorkerSpec]) -> list[str]:
        """The start order, all that `after` names checked."""
        known = [name for name in self.merged if not name.endswith("@")]
        for name, spec in self.specs.items():
            place = self.merged[name].place("after")
            for index, other in enumerate(spec.after):
                if other in known or (name.endswith("@") and "%" in other):
                    continue
                self.problems.error(
                    (*place, index), "there is no such worker", value=other,
                    hint=self._after_hint(other, known), code="unknown-worker",
                )  # fmt: skip
        order, cycles = start_order({name: spec.after for name, spec in workers.items()})
        for cycle in cycles:
            way = " → ".join(cycle)
            self.problems.error(
                self.merged[cycle[0]].place("after"),
                "it comes after itself" if len(cycle) == 2 else f"a cycle: {way}",
                hint=f"each waits for the next to be ready; take one `after` of {way} away",
                code="cycle",
            )
        return order

    def _after_hint(self, name: str, known: Iterable[str]) -> str:
        stem, at, _ = name.partition("@")
        if name.endswith("@") and name in self.merged:
            return f'a template cannot be waited for; name an instance: "{name}one"'
        if at and stem + at in self.merged:
            return f'add the instance to the file: [worker."{name}"]'
        return did_you_mean(name, known, f"the file has {listed(known) or 'none'}")

    def _named(self, kind: str) -> Iterable[tuple[str, Any]]:
        """The tables [kind.NAME]."""
        raw = self.data.get(kind, {})
        if isinstance(raw, dict) and all(isinstance(each, dict) for each in raw.values()):
            return raw.items()
        keys = TABLES[kind].model_fields
        entries = raw.items() if isinstance(raw, dict) else ()
        wrong = [(name, each) for name, each in entries if not isinstance(each, dict)]
        if not isinstance(raw, dict):
            self.problems.error(
                (kind,), f"a table is wanted, not {kind_of(raw)}",
                hint=f"each has a name, in single brackets: [{kind}.NAME]",
                code="wrong-type",
            )  # fmt: skip
        for name, each in wrong:
            hint = f"[{kind}.{name}] on a line of its own, its keys below"
            if name in keys:
                hint = f"each {kind} has a name: [{kind}.NAME], with {name} below it"
            self.problems.error((kind, name), f"a table is wanted, not {kind_of(each)}", hint=hint,
                                code="wrong-type", value=each)  # fmt: skip
        return [(name, each) for name, each in entries if isinstance(each, dict)]

    def _bad_name(self, path: Place, allowed: str) -> None:
        self.problems.error(
            path, f"a {path[0]} cannot be called so",
            hint=f"{allowed}; the first one a letter or digit, at most {values.NAME_MAX} in all",
            code="bad-name",
        )  # fmt: skip

    def _name_guess(self) -> str:
        return _plain_name(self.path.parent.name) or "my-fleet"


def _default_rate() -> float:
    """Restarts a second that leave the CPUs room for others."""
    return 25.0 * len(os.sched_getaffinity(0))


def _plain_name(text: str) -> str:
    """The nearest name that a fleet may have."""
    plain = "".join(c if c.isascii() and c.isalnum() else "-" for c in text.lower()).strip("-")
    return plain[:50].strip("-")
