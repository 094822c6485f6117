"""CPython's own tests in a worker of a baked zygote come out as in a cold process.

A selection of quick modules; benchmarks/regression.py has the whole list.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from benchmarks.regression import reason
from benchmarks.support.regrtest import Outcome, Runner, differences
from zygote.fleet.model import ZygoteSpec
from zygote.inspect.lone import LoneZygote, environment

FLOOR = """
import asyncio, decimal, sqlite3, ssl, sys
import pydantic, sqlalchemy.ext.asyncio

# regrtest looks into all modules, and into some that import others when they are looked into.
for module in list(sys.modules.values()):
    getattr(module, "__warningregistry__", None)
"""
MODULES = (
    "test_dict", "test_list", "test_gc", "test_weakset", "test_finalization", "test_code",
    "test_funcattrs", "test_descr", "test_type_cache", "test_opcache", "test_monitoring",
    "test_generators", "test_coroutines", "test_contextlib", "test_functools", "test_typing",
)  # fmt: skip


@pytest.mark.skipif(
    importlib.util.find_spec("test.libregrtest") is None,
    reason="this interpreter does not ship its own tests",
)
def test_cpython_tests_come_out_the_same_in_a_worker(tmp_path: Path) -> None:
    modules = [name for name in MODULES if importlib.util.find_spec(f"test.{name}")]
    spec = ZygoteSpec("regression", ("regression_floor",), cwd=str(tmp_path))
    env = environment(spec)
    cold = Runner(tmp_path, env).run(*modules)
    (tmp_path / "regression_floor.py").write_text(FLOOR)
    with LoneZygote(spec, env) as zygote:
        for _ in range(2):
            baked = Runner(tmp_path, env, zygote).run(*modules)
            found = unexplained(cold, baked)
            if not found:
                break
            # Some measure times, and fail here or there on a busy machine: not twice the same.
            cold = Runner(tmp_path, env).run(*modules)
    assert cold.count("passed") > 1500
    assert not found, baked.output


def unexplained(cold: Outcome, baked: Outcome) -> dict[str, list[str]]:
    """What differs, and is not among what is known to."""
    return {t: pair for t, pair in differences(cold, baked).items() if not reason(t)}
