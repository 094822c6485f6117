"""The locator against tomllib: every key that tomllib yields stands on the line we say."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.fleet.locate import Path, locate, nearest

# A text, and the lines at which some places in it are.
KNOWN: list[tuple[str, dict[Path, int]]] = [
    ("a = 1\nb = 2\n", {("a",): 1, ("b",): 2}),
    ("# c = 0\n\n  c = 3 # d = 4\nd = '#'\ne=1", {("c",): 3, ("d",): 4, ("e",): 5}),
    ("[a]\nx = 1\n[a.b]\nx = 2\n", {("a",): 1, ("a", "x"): 2, ("a", "b"): 3, ("a", "b", "x"): 4}),
    ("[a.b]\nx = 2\n[a]\nx = 1\n", {("a",): 3, ("a", "b"): 1, ("a", "x"): 4}),
    ('[worker."decoy@ssh"]\nrun = "m"\n', {("worker", "decoy@ssh", "run"): 2}),
    ("[ a . 'b c' ]\n'd.e' . f = 1\n", {("a", "b c", "d.e", "f"): 2}),
    ('"q\\"\\u00e9" = 1\n', {('q"é',): 1}),
    ("a.b.c = 1\na.b.d = 2\n", {("a",): 1, ("a", "b"): 1, ("a", "b", "d"): 2}),
    ("l = [\n  1, # one\n  2\n  ,\n]\nm = 1", {("l", 0): 2, ("l", 1): 3, ("m",): 6}),
    ("l = [[1, 2],\n [3, {x = 1}]]\nm = 1", {("l", 1): 2, ("l", 1, 1, "x"): 2, ("m",): 3}),
    ("t = {a = 1, b = {c = 'x}'}}\nm = 1", {("t", "a"): 1, ("t", "b", "c"): 1, ("m",): 2}),
    ('s = """\nx = 1\n"""\nm = 1', {("s",): 1, ("m",): 4}),
    ('s = """a\\"""b""\n"""""\nm = 1', {("s",): 1, ("m",): 3}),
    ("s = '''\nx = ''1\n'''''\nm = 1", {("s",): 1, ("m",): 4}),
    ('s = "\\\\" # x\nm = "\\""\nn = 1', {("m",): 2, ("n",): 3}),
    ("s = ''\nt = \"\"\nm = 1979-05-27 07:32:00 # k = 1\nn = 1", {("n",): 4}),
    ("[[w]]\nx = 1\n[[w]]\nx = 2\n[w.y]\nz = 1", {("w", 0): 1, ("w", 1): 3, ("w", 1, "y", "z"): 6}),
    ("[[a.b]]\nx = 1\n[[a.b.c]]\ny = 1\n[[a.b.c]]\ny = 2", {("a", "b", 0, "c", 1, "y"): 6}),
    ("a = 1\r\n[b]\r\nc = '''\r\n'''\r\nd = 1\r\n", {("b",): 2, ("b", "d"): 5}),
    ("1 = 2\n-- = 1", {("1",): 1, ("--",): 2}),
    ('"" = 1\n"\\n" = 2', {("",): 1, ("\n",): 2}),
    ("x = [ ]\ny = { }\nz = 1", {("z",): 3}),
    ("", {}),
    ("# only this", {}),
]


@pytest.mark.parametrize(("text", "lines"), KNOWN, ids=range(len(KNOWN)))
def test_locate_known_places(text: str, lines: dict[Path, int]) -> None:
    tomllib.loads(text)
    spots = locate(text)
    assert {path: spots[path].line for path in lines} == lines


def test_locate_columns_count_from_one() -> None:
    spots = locate('[a.b]\n  x = [1, "y"]\nt = {u = 1}')
    assert spots["a", "b"] == (1, 4)
    assert spots["a", "b", "x"] == (2, 3)
    assert spots["a", "b", "x", 1] == (2, 11)
    assert spots["a", "b", "t", "u"] == (3, 6)


def test_locate_nearest_is_the_place_around() -> None:
    spots = locate("[a]\nx = 1")
    found = nearest(spots, ("a", "missing", 3))
    assert found is not None
    assert found.line == 1
    assert nearest(spots, ("z",)) is None


@pytest.mark.parametrize("text", ["x", "[a", "= 1", "x = [1", "x = 'a", "x = {a = 1", "[[a]"])
def test_locate_refuses_what_is_not_toml(text: str) -> None:
    with pytest.raises(ValueError, match="at "):
        locate(text)


# Any TOML, written in all the ways that one may write it


def quoted(text: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which TOML wants escaped, and surrogate pairs.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


TEXT = st.text(
    st.characters(exclude_categories=("Cs",), exclude_characters="\r")
    | st.sampled_from("'\"#[]{}=,\n\\."),
    max_size=8,
)
LITERAL = st.text(st.sampled_from('ab #[]{}=,."\\'), max_size=6)
BARE = st.from_regex(r"[A-Za-z0-9_-]{1,4}", fullmatch=True)


@st.composite
def keys(draw: st.DrawFn) -> tuple[str, str]:
    """(as written, as tomllib gives it)"""
    kind = draw(st.integers(0, 2))
    if kind == 0:
        bare = draw(BARE)
        return bare, bare
    if kind == 1:
        literal = draw(LITERAL)
        return f"'{literal}'", literal
    text = draw(TEXT)
    return quoted(text), text


def multi_line(text: str) -> str:
    body = text.replace("\\", "\\\\").replace('"""', '""\\"')
    body = "".join(c if c in "\n\t" or c.isprintable() else f"\\U{ord(c):08x}" for c in body)
    return f'"""{body[:-1]}\\""""' if body.endswith('"') else f'"""{body}"""'


SCALARS = st.one_of(
    st.integers(-(2**40), 2**40).map(str),
    st.sampled_from(["true", "false", "1.5", "-inf", "nan", "0x1F", "1_000", "07:32:00"]),
    st.sampled_from(["1979-05-27T07:32:00Z", "1979-05-27 07:32:00", "1979-05-27"]),
    TEXT.map(quoted),
    TEXT.map(multi_line),
    LITERAL.map(lambda text: f"'{text}'"),
    st.text(st.sampled_from("a'#]}=\n\""), max_size=8)
    .filter(lambda text: "'''" not in text and not text.endswith("'"))
    .map(lambda text: f"'''{text}'''"),
)
BREAK = st.sampled_from(["", " ", "\n", " # x = 1 ]\n", "\n\n  "])


@st.composite
def arrays(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    items = draw(st.lists(values, max_size=3))
    text = "["
    for item in items:
        text += draw(BREAK) + item + draw(BREAK) + ","
    text = text.removesuffix(",") if draw(st.booleans()) else text
    return text + draw(BREAK) + "]"


@st.composite
def inline_tables(draw: st.DrawFn, values: st.SearchStrategy[str]) -> str:
    pairs = draw(st.lists(st.tuples(keys(), values), max_size=3, unique_by=lambda p: p[0][1]))
    return "{ " + ", ".join(f"{key[0]} = {value}" for key, value in pairs) + " }"


VALUES = st.recursive(SCALARS, lambda inner: arrays(inner) | inline_tables(inner), max_leaves=6)


@st.composite
def documents(draw: st.DrawFn) -> str:
    """Lines of headers and pairs; one that tomllib refuses is left out again."""
    text = ""
    dotted = st.lists(keys(), min_size=1, max_size=3).map(lambda ks: " . ".join(k[0] for k in ks))
    for _ in range(draw(st.integers(0, 8))):
        kind = draw(st.sampled_from(["pair", "pair", "table", "array", "comment"]))
        if kind == "comment":
            line = draw(st.sampled_from(["", "# x = 1", "  # [no]"]))
        elif kind == "table":
            line = f"[{draw(dotted)}]"
        elif kind == "array":
            line = f"[[{draw(dotted)}]]"
        else:
            line = f"{draw(st.sampled_from(['', '  ']))}{draw(dotted)} = {draw(VALUES)}"
        longer = text + line + draw(st.sampled_from(["\n", " # c = 1\n", "\n\n"]))
        try:
            tomllib.loads(longer)
        except tomllib.TOMLDecodeError:
            continue
        text = longer
    return text


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Every place that tomllib's result has."""
    if path:
        yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, each in inner:
        if isinstance(each, dict | list):
            yield from places(each, (*path, key))
        else:
            yield (*path, key)


@given(documents())
def test_locate_finds_every_key_that_tomllib_yields(text: str) -> None:
    spots = locate(text)
    expected = set(places(tomllib.loads(text)))
    assert set(spots) == expected
    lines = text.split("\n")
    for path in expected:
        key = path[-1]
        spot = spots[path]
        line = lines[spot.line - 1]
        if isinstance(key, str):
            rest = line[spot.column - 1 :]
            written = (key, f"'{key}'", quoted(key))
            assert rest.startswith(written), (path, spot, line)


@given(documents())
def test_locate_is_indifferent_to_line_ends(text: str) -> None:
    assert locate(text.replace("\n", "\r\n")) == locate(text)


@given(documents(), st.integers(0, 200))
def test_locate_on_cut_text_raises_or_ends(text: str, cut: int) -> None:
    try:
        locate(text[:cut])
    except ValueError:
        pass
