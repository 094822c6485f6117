"""Whether what a fleet names can be found, without importing or running any of it.

Only the top-level name is looked up with `importlib`; that runs no code of the package. Below it
we look for files ourselves, and only in packages that do nothing unusual with their path: a
package that makes its submodules up (`six.moves`) gets the benefit of the doubt. What slips
through is found when the zygote imports it.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from importlib.machinery import ModuleSpec, all_suffixes
from pathlib import Path
from typing import NamedTuple

from zygote.fleet.values import Fault
from zygote.fleet.words import closest

_UNUSUAL = re.compile(r"__path__|sys\.modules|meta_path|__getattr__|lazy")
_MADE_UP = re.compile(r"globals\(\)|__getattr__|\bexec\(|setattr\(|import \*|sys\.modules")
_READ_MAX = 1_000_000
_UNREAD = "sys.modules"
"""In place of a text that cannot be read: then nothing can be said against it."""


class _Found(NamedTuple):
    """A module: its source file if it has one, its folders if it is a package."""

    file: Path | None
    folders: tuple[Path, ...] | None


class Finder:
    """Looks modules up as a zygote would.

    Args:
        search: folders in front of this interpreter's own: cwd, `path`, PYTHONPATH.
        zygote: whose `path` the hints speak of.
    """

    def __init__(self, search: Sequence[str], zygote: str) -> None:
        self._search = list(dict.fromkeys(folder for folder in search if folder))
        self._zygote = zygote
        importlib.invalidate_caches()

    def check_module(self, name: str, *, run: bool = False) -> None:
        """Refuse a module that is not there.

        Args:
            run: it is to be run as `python -m` does: a package needs a `__main__`.
        Raises:
            Fault: code no-such-module.
        """
        found = self._find(name)
        if not run or found is None or found.folders is None or _unusual(found.file):
            return
        if not any(self._below(folder, "__main__") for folder in found.folders):
            raise Fault(
                f"'{name}' is a package without a __main__, it cannot be run",
                f'add {name.replace(".", "/")}/__main__.py, or name a function: "{name}:main"',
                code="no-such-module",
            )

    def check_function(self, module: str, function: str) -> None:
        """Refuse a function that is surely not defined by its module.

        Raises:
            Fault: code no-such-module or no-such-function.
        """
        found = self._find(module)
        if found is None or found.file is None or found.file.suffix != ".py":
            return
        first = function.partition(".")[0]
        text = _read(found.file)
        names = _names(text)
        if names is None or first in names or _MADE_UP.search(text):
            return
        if found.folders and any(self._below(folder, first) for folder in found.folders):
            return
        guess = closest(first, names)
        raise Fault(
            f"module '{module}' defines no '{first}'",
            (f'did you mean "{module}:{guess}"? ' if guess else "") + f"looked in {found.file}",
            code="no-such-function",
        )

    def _find(self, name: str) -> _Found | None:
        """The module, or None where looking for files cannot tell.

        Raises:
            Fault: it is not there.
        """
        parts = name.split(".")
        found = self._find_top(parts[0])
        for number, part in enumerate(parts[1:], start=1):
            if found is None or _unusual(found.file):
                return None
            above = ".".join(parts[:number])
            if found.folders is None:
                if found.file is None:  # built in, or without source
                    return None
                raise Fault(
                    f"no module '{name}': '{above}' is a module, not a package",
                    f'a function in it is written "{above}:{part}"',
                    code="no-such-module",
                )
            inner = next((hit for each in found.folders if (hit := self._below(each, part))), None)
            if inner is None:
                raise self._missing(name, part, found.folders, f"'{above}'")
            found = inner
        return found

    def _find_top(self, name: str) -> _Found | None:
        spec = self._spec(name)
        if spec is None:
            raise self._missing(name, name, [Path(each) for each in self._search], "")
        file = Path(spec.origin) if spec.has_location and spec.origin else None
        file = file if file and file.suffix == ".py" else None
        if spec.submodule_search_locations is None:
            return _Found(file, None)
        folders = tuple(Path(each) for each in spec.submodule_search_locations)
        if not folders or not all(folder.is_dir() for folder in folders):
            return None  # in a zip file, or made up
        return _Found(file, folders)

    def _spec(self, name: str) -> ModuleSpec | None:
        kept = sys.path[:]
        sys.path[:0] = self._search
        try:
            return importlib.util.find_spec(name)
        except (ValueError, ImportError):
            # `__main__`, or a finder of somebody's that does not like to be asked.
            return ModuleSpec(name, None, origin=None)
        finally:
            sys.path[:] = kept

    @staticmethod
    def _below(folder: Path, part: str) -> _Found | None:
        """A submodule by its file: a package, a module in any form, or a folder of modules."""
        package = folder / part
        for suffix in all_suffixes():
            file = package / f"__init__{suffix}"
            if file.is_file():
                return _Found(file if suffix == ".py" else None, (package,))
        for suffix in all_suffixes():
            file = folder / f"{part}{suffix}"
            if file.is_file():
                return _Found(file if suffix == ".py" else None, None)
        return _Found(None, (package,)) if package.is_dir() else None

    def _missing(self, name: str, part: str, folders: Sequence[Path], inside: str) -> Fault:
        names = {
            entry.name.removesuffix(".py")
            for folder in folders
            if folder.is_dir()
            for entry in folder.iterdir()
            if entry.suffix == ".py" or (entry / "__init__.py").is_file()
        }
        guess = closest(part, names)
        corrected = name.removesuffix(part) + guess
        where = " and ".join(str(folder) for folder in folders) or "the interpreter's folders"
        rest = f"looked in {where}" + (
            f"; install it, or add its folder to `path` of [zygote.{self._zygote}]"
            if not inside
            else ""
        )
        return Fault(
            f"no module '{name}'" + (f": {inside} has no '{part}'" if inside else ""),
            (f'did you mean "{corrected}"? ' if guess else "") + rest,
            code="no-such-module",
        )


def _unusual(file: Path | None) -> bool:
    """Whether a package's own code may make submodules up."""
    return file is not None and bool(_UNUSUAL.search(_read(file)))


def _read(file: Path) -> str:
    try:
        with open(file, encoding="utf-8", errors="replace") as source:
            text = source.read(_READ_MAX + 1)
    except OSError:
        return _UNREAD
    return text if len(text) <= _READ_MAX else _UNREAD


@lru_cache(maxsize=32)
def _names(text: str) -> frozenset[str] | None:
    """The names that a module binds outside of functions; None if it cannot be parsed.

    Kept, for a thousand instances of one template.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    found: set[str] = set()
    todo: list[ast.AST] = [tree]
    while todo:
        for node in ast.iter_child_nodes(todo.pop()):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                found.add(node.name)
                continue
            if isinstance(node, ast.Import | ast.ImportFrom):
                found |= {(each.asname or each.name).partition(".")[0] for each in node.names}
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            todo.append(node)
    return frozenset(found)
