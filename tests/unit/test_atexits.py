"""The record of atexit registrations."""

from __future__ import annotations

import atexit
from collections.abc import Iterator

import pytest

from zygote.audit import atexits


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    atexits.RECORDED.clear()  # what another test's import registered
    atexits.record()
    yield
    atexits.stop()
    for entry in atexits.RECORDED:
        atexit.unregister(entry.function)
    atexits.RECORDED.clear()


def mine(*_args: object, **_kwargs: object) -> None:
    pass


def test_atexits_record_function_arguments_and_module() -> None:
    assert atexit.register(mine, 1, key=2) is mine
    [entry] = atexits.RECORDED
    assert (entry.function, entry.args, entry.kwargs) == (mine, (1,), {"key": 2})
    assert entry.module == __name__
    assert not entry.standard


def test_atexits_know_the_standard_librarys_own() -> None:
    import logging

    exec(
        "import atexit\natexit.register(function)",
        {"__name__": "logging", "function": logging.shutdown},
    )
    assert atexits.RECORDED[-1].standard


def test_atexits_of_a_library_through_the_standard_library_are_not_standard() -> None:
    exec("import atexit\natexit.register(function)", {"__name__": "weakref", "function": mine})
    assert not atexits.RECORDED[-1].standard


def test_atexits_forget_what_was_unregistered() -> None:
    atexit.register(mine)
    atexit.unregister(mine)
    assert atexits.RECORDED == []


def test_atexits_really_register() -> None:
    before = atexit._ncallbacks()
    atexit.register(mine)
    assert atexit._ncallbacks() == before + 1


def test_atexits_after_the_end_only_pass_on() -> None:
    kept = atexit.register
    atexits.stop()
    assert atexit.register is not kept
    kept(mine)
    assert atexits.RECORDED == []
    atexit.unregister(mine)
