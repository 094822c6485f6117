"""Text of others on our terminal: nothing in it may steer."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zygote.cli.text import clean

NASTY = st.text(st.characters(max_codepoint=0xFF) | st.sampled_from("\x1b\x9b\x9d[]0;m\x07‮​"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain", "plain"),
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[Hgone", "gone"),
        ("\x1b]0;title\x07after", "after"),
        ("\x1b]52;c;cGFzdGU=\x1b\\after", "after"),
        ("\x1bP$q\x1b\\after", "after"),
        ("\x9b31mred", "red"),
        ("\x1bcreset", "reset"),
        ("bell\x07", "bell\\x07"),
        ("over\rwrite", "over\\x0dwrite"),
        ("back\x08", "back\\x08"),
        ("two\nlines", "two\\x0alines"),
        ("a\tb", "a b"),
        ("cut \x1b", "cut \\x1b"),
        ("\x1b]0;never ended", "0;never ended"),
        ("‮right to left", "\\u202eright to left"),
        ("grüße 日本 \xa0 ok", "grüße 日本 \xa0 ok"),
    ],
)
def test_clean_examples(text: str, shown: str) -> None:
    assert clean(text) == shown


def test_clean_keeps_line_ends_if_asked() -> None:
    assert clean("a\x1b[1m\nb\r\n", keep_lines=True) == "a\nb\\x0d\n"


@given(NASTY | st.text())
def test_clean_lets_no_control_character_through(text: str) -> None:
    shown = clean(text)
    assert all(c.isprintable() or c in "\xa0\u2009\u202f\u3000" for c in shown)


@given(st.text(st.characters(categories=("L", "N", "P", "S"))))
def test_clean_leaves_printable_text_alone(text: str) -> None:
    assert clean(text) == text
