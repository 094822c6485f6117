"""From checked tables to the model: defaults, templates and instances merged, names resolved."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from zygote.errors import ZygoteError
from zygote.fleet.expand import expand
from zygote.fleet.locate import Path as Place
from zygote.fleet.model import Run, WorkerSpec, ZygoteSpec, instantiate
from zygote.fleet.problems import Problems
from zygote.fleet.values import Fault
from zygote.fleet.walls import compiled, filled, spelled
from zygote.fleet.words import AUDIT_RULES, BAKE_STAGES, did_you_mean, listed

_JOINED = ("env", "rlimits", "landlock", "credentials")
"""Tables in a table: those of the layers are joined, all else is replaced."""


@dataclass(frozen=True, slots=True)
class Layer:
    """One table of the file, checked: its good values, and the keys whose values are bad."""

    path: Place
    values: Mapping[str, Any]
    broken: frozenset[str] = frozenset()


@dataclass(slots=True)
class Merged:
    """A worker's layers in one; `origin` tells the place in the file of each key."""

    path: Place
    values: dict[str, Any] = field(default_factory=dict)
    origin: dict[str, Place] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    joined: dict[tuple[str, str], Place] = field(default_factory=dict)

    def place(self, key: str, inner: str = "") -> Place:
        """Where a key was given, or the worker's header."""
        return self.joined.get((key, inner)) or self.origin.get(key) or self.path


def merge(layers: Iterable[Layer]) -> Merged:
    """Later layers win; the last one is the worker's own."""
    merged = Merged(())
    for layer in layers:
        merged.path = layer.path
        for key, value in layer.values.items():
            if key in _JOINED:
                merged.values[key] = {**merged.values.get(key, {}), **value}
                merged.joined.update({(key, name): (*layer.path, key, name) for name in value})
            else:
                merged.values[key] = value
            merged.origin[key] = (*layer.path, key)
        # A good value over a bad one mends it, a bad one over a good one breaks it.
        merged.broken = (merged.broken - set(layer.values)) | layer.broken
    return merged


class Builder:
    """Makes zygotes and workers; what is wrong goes into `problems`.

    Args:
        folder: the fleet file's; relative paths start there.
        environ: what `${VAR}` is taken from.
    """

    def __init__(self, folder: Path, environ: Mapping[str, str], problems: Problems) -> None:
        self._folder = folder
        self._environ = environ
        self._problems = problems

    def zygote(self, name: str, layer: Layer) -> ZygoteSpec:
        """[zygote.NAME]."""
        given = dict(layer.values)
        path = layer.path
        for rule, reason in given.get("allow", {}).items():
            self._check_allow((*path, "allow", rule), rule, reason)
        for index, stage in enumerate(given.get("bake", ())):
            self._check_stage((*path, "bake", index), stage)
        given["env"] = self._expand_env(
            {k: (v, (*path, "env", k)) for k, v in given.get("env", {}).items()}
        )
        given["cwd"] = self.existing_folder(given.get("cwd", "."), (*path, "cwd"))
        given["user"] = self._expand(given.get("user") or "", (*path, "user")) or None
        given["path"] = tuple(
            self.existing_folder(each, (*path, "path", index))
            for index, each in enumerate(given.get("path", ()))
        )
        given["python"] = self._interpreter(given.get("python", ""), (*path, "python"))
        return ZygoteSpec(name=name, place=self._problems.place(path), **given)

    def worker(
        self,
        name: str,
        merged: Merged,
        zygotes: Mapping[str, ZygoteSpec],
        fleet_wide: ZygoteSpec | None,
    ) -> WorkerSpec | None:
        """A worker, template or instance; None if it has no zygote or nothing to run.

        Args:
            fleet_wide: the zygote of those that name none.
        """
        given = dict(merged.values)
        zygote = self._zygote_of(merged, zygotes, fleet_wide)
        if "run" not in given:
            if "run" not in merged.broken:
                self._problems.error(
                    merged.path, "nothing to run",
                    hint='run = "package.module", "package.module:function" or "./file.py"',
                    code="missing-key",
                )  # fmt: skip
            return None
        if zygote is None:
            return None
        # In a template and its instances, %i is replaced after the variables.
        percent = "@" in name
        own_env = {k: (v, merged.place("env", k)) for k, v in given.pop("env", {}).items()}
        given["env"] = {
            **{k: _guard(v) if percent else v for k, v in zygote.env.items()},
            **self._expand_env(own_env, percent),
        }
        given["args"] = tuple(
            self._expand(each, (*merged.place("args"), index), percent)
            for index, each in enumerate(given.get("args", ()))
        )
        if cwd := given.get("cwd"):
            cwd = self._expand(cwd, merged.place("cwd"), percent)
            given["cwd"] = self._resolve(cwd, merged.place("cwd"), percent)
        else:
            given["cwd"] = _guard(zygote.cwd) if percent else zygote.cwd
        kind, target = given.pop("run")
        if kind == "file":
            target = self._resolve(target, merged.place("run"), percent)
        given["zygote"] = zygote.name
        spec = WorkerSpec(
            name=name, run=Run(kind, target), place=self._problems.place(merged.path), **given
        )
        spec = self._walled(spec, merged, percent)
        stem, at, instance = name.partition("@")
        if at and instance:
            return replace(instantiate(replace(spec, name=stem + at), instance), name=name)
        return spec

    def _walled(self, spec: WorkerSpec, merged: Merged, percent: bool) -> WorkerSpec:
        """The keys of `zygote.fleet.walls` with their variables replaced, the filter compiled."""

        def place(key: str, at: Place) -> Place:
            inner = str(at[0]) if at and isinstance(at[0], str) else ""
            return (*merged.place(key, inner), *(at[1:] if inner else at))

        def fill(text: str, key: str, at: Place) -> str:
            return self._expand(text, place(key, at), percent)

        def resolve(text: str, key: str, at: Place) -> str:
            found = fill(text, key, at)
            return (
                found if found.startswith("%t") else self._resolve(found, place(key, at), percent)
            )

        try:
            spec = compiled(replace(spec, **filled(spec, fill, resolve)))
        except Fault as fault:
            key = str(fault.at[0]) if fault.at else "seccomp"
            self._problems.error(
                place(key, fault.at[1:]), fault.message, hint=fault.hint, code=fault.code
            )
        return replace(spec, seccomp_said=spelled(spec))

    def folder(self, text: str, place: Place) -> str:
        """An absolute path; `text` may hold variables and be relative to the file."""
        return self._resolve(self._expand(text, place), place)

    def existing_folder(self, text: str, place: Place) -> str:
        """The same, of a folder that must be there."""
        path = self.folder(text, place)
        if path and not Path(path).is_dir():
            what = "it is a file" if Path(path).exists() else "no such folder"
            self._problems.error(
                place, what, hint=f"it stands for {path}: make it, or correct the name",
                code="no-such-folder", value=text,
            )  # fmt: skip
        return path

    def _zygote_of(
        self, merged: Merged, zygotes: Mapping[str, ZygoteSpec], fleet_wide: ZygoteSpec | None
    ) -> ZygoteSpec | None:
        if "zygote" in merged.broken:
            return None
        wanted = merged.values.get("zygote")
        if wanted is None:
            if fleet_wide is None:
                self._problems.error(
                    merged.path, "it names no zygote, and there are several",
                    hint=f'zygote = "…" here or in [defaults]: one of {listed(zygotes)}',
                    code="missing-key",
                )  # fmt: skip
            return fleet_wide
        if wanted not in zygotes:
            listing = f"the file has {listed(zygotes)}" if zygotes else "the file has none"
            self._problems.error(
                merged.place("zygote"), "no such zygote",
                hint=did_you_mean(wanted, zygotes, f"{listing}; add [zygote.{wanted}]"),
                code="unknown-zygote", value=wanted,
            )  # fmt: skip
            return None
        return zygotes[wanted]

    def _check_allow(self, place: Place, rule: str, reason: str) -> None:
        if rule not in AUDIT_RULES:
            self._problems.error(
                place, "the audit has no such rule",
                hint=did_you_mean(rule, AUDIT_RULES, f"one of {listed(AUDIT_RULES)}"),
                code="unknown-key", value=reason,
            )  # fmt: skip
        elif not reason.strip():
            self._problems.error(
                place, "a reason is wanted", hint=f'{rule} = "why this is safe"',
                code="bad-value", value=reason,
            )  # fmt: skip

    def _check_stage(self, place: Place, stage: str) -> None:
        if stage not in BAKE_STAGES:
            self._problems.error(
                place, "the bake has no such stage",
                hint=did_you_mean(stage, BAKE_STAGES, f"any of {listed(BAKE_STAGES)}"),
                code="bad-value", value=stage,
            )  # fmt: skip

    def _interpreter(self, text: str, place: Place) -> str:
        if not text:
            return ""
        expanded = self._expand(text, place)
        path = self._resolve(expanded, place) if "/" in expanded else shutil.which(expanded)
        if not path or not os.access(path, os.X_OK) or Path(path).is_dir():
            self._problems.error(
                place, "no such interpreter" if not path or not Path(path).exists()
                else "it cannot be executed",
                hint="a path to a Python that has this package, or a name in PATH; leave it out "
                "for the manager's own",
                code="no-such-interpreter", value=text,
            )  # fmt: skip
        return path or text

    def _expand_env(
        self, given: Mapping[str, tuple[str, Place]], percent: bool = False
    ) -> dict[str, str]:
        return {name: self._expand(v, place, percent) for name, (v, place) in given.items()}

    def _expand(self, text: str, place: Place, percent: bool = False) -> str:
        try:
            return expand(text, self._environ, keep_percent=percent)
        except ZygoteError as error:
            self._problems.adopt(error, place, text)
            return text

    def _resolve(self, text: str, place: Place, percent: bool = False) -> str:
        if text.startswith("~"):
            self._problems.error(
                place, "~ has no meaning here", hint=f'write "${{HOME}}{text[1:]}"',
                code="bad-value", value=text,
            )  # fmt: skip
        folder = str(self._folder)
        folder = _guard(folder) if percent else folder
        return os.path.abspath(os.path.join(folder, text)) if text else ""  # noqa: PTH100, PTH118


def _guard(text: str) -> str:
    """Keep a `%` through the replacement of `%i`."""
    return text.replace("%", "%%")
