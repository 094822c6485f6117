"""What the witness knows of the objects of the process that it runs in: here, this one."""

from __future__ import annotations

import ctypes
import gc
import sys
from collections.abc import Iterator
from typing import ClassVar

import pytest

from zygote.inspect import layout
from zygote.inspect.witness import Census

HERE = __name__
TABLE = {"first": ["an", "item"]}
NESTED = [[{"deep": {"deeper": ("down", object())}}]]
BYTES = b"nobody else has these bytes"


class Shelf:
    """Holds things in a class and in an instance."""

    books: ClassVar[list[str]] = ["a list in a class"]

    def __init__(self) -> None:
        self.pages = ["a list in an instance"]


SHELF = Shelf()


def function(argument: tuple[str, ...] = ("a", "default")) -> object:
    return "a constant of this function", argument


@pytest.fixture
def census() -> Iterator[Census]:
    enabled = gc.isenabled()
    yield Census()
    if enabled:
        gc.enable()


def word(address: int) -> int:
    return ctypes.c_uint64.from_address(address).value


def test_witness_names_things_by_the_way_to_them(census: Census) -> None:
    default = function.__defaults__
    assert default
    wanted = {
        id(TABLE["first"]): (HERE, "TABLE"),
        id(NESTED[0]): (HERE, "NESTED"),
        id(NESTED[0][0]["deep"]["deeper"]): (HERE, "NESTED"),
        id(BYTES): (HERE, "BYTES"),
        id(Shelf.books): (HERE, "Shelf.books"),
        id(default): (HERE, "function"),
        id(function.__code__.co_consts): (HERE, "function"),
    }
    found = census.find(wanted)
    assert {address: named[1:] for address, named in found.items()} == wanted


def test_witness_names_the_owners_of_blocks(census: Census) -> None:
    keys, items = word(id(TABLE) + layout.DICT_KEYS), word(id(NESTED) + layout.LIST_ITEMS)
    found = census.find([keys, items])
    assert found[keys] == ("keys of dict", HERE, "TABLE")
    assert found[items] == ("items of list", HERE, "NESTED")


def test_witness_names_what_an_instance_holds(census: Census) -> None:
    module, name = census.find([id(SHELF.pages)])[id(SHELF.pages)][1:]
    assert module == HERE
    assert name.startswith("SHELF")


def test_witness_knows_the_dicts_of_built_in_types(census: Census) -> None:
    proxy = vars(int)
    of_int = word(id(proxy) + layout.PROXY_MAPPING)
    assert census.dicts[of_int] == ("builtins", "int")
    assert census.dicts[id(vars(sys))] == ("sys", "")


def test_witness_says_nothing_of_what_is_not_there(census: Census) -> None:
    assert census.find([0x7123_4567_89A8]) == {}
    assert census.find([]) == {}
