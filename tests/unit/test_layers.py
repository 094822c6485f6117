"""Who may import whom: the table of ARCHITECTURE.md, held by an AST walk of every import."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# package -> what it may import of ours, and which third-party packages, besides the stdlib
OURS: dict[str, set[str]] = {
    "zygote": set(),
    "zygote.errors": set(),
    "zygote.units": {"errors"},
    "zygote.notify": set(),
    "zygote.sockets": {"notify"},
    "zygote.memory": {"sys"},
    "zygote.warming": set(),
    "zygote.mold": set(),
    "zygote.sys": {"errors"},
    "zygote.wire": {"sys", "errors"},
    "zygote.bake": {"audit", "wire", "sys", "errors", "fleet.model"},
    "zygote.audit": {"bake.selftest", "sys", "errors", "fleet.model"},
    "zygote.child": {"wire", "sys", "errors", "memory", "audit.atexits"},
    "zygote.forkserver": {
        "wire",
        "bake",
        "audit",
        "child",
        "sys",
        "errors",
        "fleet.model",
        "warming",
    },
    "zygote.fleet": {"errors", "units", "sys"},
    "zygote.fleet.model": {"errors", "units"},
    "zygote.control": {"errors"},
    "zygote.manager": {
        *("wire", "sys", "fleet.model", "fleet.where"),
        *("control", "notify", "errors", "units"),
    },
    "zygote.client": {"control", "fleet.where", "fleet.model", "sys", "errors", "units"},
    "zygote.inspect": {
        *("client", "control", "wire", "sys", "fleet.model", "fleet.words", "errors", "units"),
    },
    "zygote.draft": {"fleet", "audit.known", "errors", "units"},
    "zygote.install": {"fleet.model", "manager.walls", "sys", "errors"},
    "zygote.service": {"wire", "fleet.model", "manager.walls", "notify", "sys", "errors"},
    "zygote.cli": {
        *("install",),
        *("client", "control", "fleet", "inspect", "audit", "draft", "sys", "errors", "units"),
    },
}
THIRD: dict[str, set[str]] = {
    "zygote.child": {"setproctitle", "numpy", "torch"},
    "zygote.fleet": {"pydantic", "pydantic_core"},
    "zygote.control": {"asyncvarlink"},
    "zygote.manager": {"asyncvarlink", "setproctitle"},
    "zygote.client": {"asyncvarlink", "psutil"},
    "zygote.inspect": {"matplotlib"},
    "zygote.cli": {"cyclopts", "rich", "asyncvarlink"},
}
LAZY = (
    "zygote.install",
    "zygote.service",
    *("zygote.cli", "zygote.client", "zygote.fleet", "zygote.inspect"),
    *("decnet.cli", "decnet.run", "decnet.doctor"),
)
"""Client programs and one-shot tools: a late import is paid by nobody after a fork."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def rule_for(module: str, table: dict[str, set[str]]) -> set[str]:
    best = max((p for p in table if module == p or module.startswith(p + ".")), key=len, default="")
    return table.get(best, set())


def imports(path: Path) -> list[tuple[int, str, bool]]:
    """Each import as (line, absolute module, inside a function?), TYPE_CHECKING blocks left out."""
    tree = ast.parse(path.read_text())
    module, found = name_of(path), []
    package = module if path.name == "__init__.py" else module.rpartition(".")[0]

    def walk(node: ast.AST, inside: bool) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                for other in child.orelse:
                    walk(other, inside)
                continue
            if isinstance(child, ast.Import):
                found.extend((child.lineno, alias.name, inside) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                base = child.module or ""
                if child.level:
                    up = package.split(".")[: len(package.split(".")) - child.level + 1]
                    base = ".".join([*up, base] if base else up)
                found.extend(
                    (child.lineno, f"{base}.{alias.name}", inside) for alias in child.names
                )
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef)
            walk(child, deeper)

    walk(tree, False)
    return found


@pytest.mark.parametrize("path", modules("zygote"), ids=name_of)
def test_layers_zygote_imports_only_what_its_row_allows(path: Path) -> None:
    module = name_of(path)
    ours, third = rule_for(module, OURS), rule_for(module, THIRD)
    own = ".".join(module.split(".")[:2])
    wrong = []
    for line, name, _ in imports(path):
        top = name.split(".")[0]
        if top == "decnet":
            wrong.append(f"{line}: {name}: the product knows nothing of its tenant")
        elif top == "zygote":
            inner = name.removeprefix("zygote.")
            allowed = (
                name.startswith(own + ".")
                or name == own
                or inner == "__version__"
                or any(inner == a or inner.startswith(a + ".") for a in ours)
            )
            if not allowed:
                wrong.append(f"{line}: {name}")
        elif top not in sys.stdlib_module_names and top not in third:
            wrong.append(f"{line}: {name}")
    assert not wrong, f"{path.relative_to(ROOT)} imports what its row of the table does not allow"


@pytest.mark.parametrize("path", modules("decnet"), ids=name_of)
def test_layers_decnet_uses_public_names_only(path: Path) -> None:
    public = (
        "zygote.notify",
        "zygote.sockets",
        "zygote.memory",
        "zygote.warming",
        "zygote.mold",
        "zygote.client",
        "zygote.cli",
        "zygote.errors",
        "zygote.units",
    )
    reading = ("zygote.fleet.where", "zygote.sys.procfs", "zygote.control.interface")
    wrong = [
        f"{line}: {name}"
        for line, name, _ in imports(path)
        if name.split(".")[0] == "zygote"
        and not any(name == p or name.startswith(p + ".") for p in (*public, *reading))
        and name != "zygote.__version__"
    ]
    assert not wrong, f"{path.relative_to(ROOT)} reaches into the product"


@pytest.mark.parametrize("path", [*modules("zygote"), *modules("decnet")], ids=name_of)
def test_layers_no_import_inside_a_function_where_a_fork_would_pay(path: Path) -> None:
    if name_of(path).startswith(LAZY):
        return
    late = [
        f"{line}: {name}"
        for line, name, inside in imports(path)
        if inside and "# late:" not in path.read_text().splitlines()[line - 1]
    ]
    assert not late, (
        f"{path.relative_to(ROOT)}: imported after the fork, once per child; move it to the top "
        "or say why not in a comment `# late: reason` on its line"
    )


def test_layers_the_machines_memory_is_read_in_one_place() -> None:
    """By `zygote.sys.procfs.read_meminfo_kib`; the decoys' shell shows one that it made up."""
    files = (path for package in ("zygote", "decnet", "benchmarks") for path in modules(package))
    own = [name_of(path) for path in files if '"/proc/meminfo"' in path.read_text()]
    assert own == ["decnet.decoys.shell.host"]


def loaded_after(code: str) -> set[str]:
    """Top-level modules in a fresh interpreter after `code`."""
    out = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(*sorted(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
    )
    return set(out.stdout.split())


def test_layers_manager_loads_no_heavy_module() -> None:
    loaded = loaded_after("import zygote.manager.__main__")
    heavy = {
        "ssl",
        "pydantic",
        "psutil",
        "rich",
        "cyclopts",
        "argparse",
        "multiprocessing",
    }
    assert not {m for m in loaded if m.split(".")[0] in heavy and m != "ssl"}
    third = {m.split(".")[0] for m in loaded} - set(sys.stdlib_module_names)
    assert third <= {"zygote", "asyncvarlink", "setproctitle", "__main__", "_virtualenv"} | {
        m for m in third if m.startswith(("_", "sitecustomize", "usercustomize", "distutils"))
    }


def test_layers_zygote_process_loads_no_third_party_module_of_its_own() -> None:
    loaded = loaded_after("import zygote.forkserver.__main__")
    third = {m.split(".")[0] for m in loaded} - set(sys.stdlib_module_names)
    assert {m for m in third if not m.startswith("_")} <= {
        "zygote",
        "setproctitle",
        "sitecustomize",
    }
    assert "ssl" not in loaded or sys.version_info >= (3, 15), (
        "the floor decides whether ssl is loaded"
    )
