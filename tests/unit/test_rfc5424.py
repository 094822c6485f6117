"""RFC 5424: what is written can be read, and whatever is read never hurts."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from decnet.collect import rfc5424
from decnet.collect.rfc5424 import Element, Message, SyntaxFault, decode, encode
from decnet.collect.text import clean

NAMES = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='="]'),
    min_size=1,
    max_size=32,
)
HEADERS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=32
).filter(lambda text: text != "-")
ANYTHING = st.text(st.characters(exclude_categories=()), max_size=60)
"""Any code point at all: controls, direction marks, lone surrogates."""
CLEAN = ANYTHING.map(clean)
TIMES = st.datetimes(
    min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(2200, 1, 1), timezones=st.just(dt.UTC)
)
ELEMENTS = st.builds(Element, NAMES, st.lists(st.tuples(NAMES, CLEAN), max_size=4).map(tuple))
MESSAGES = st.builds(
    Message,
    timestamp=st.none() | TIMES,
    hostname=HEADERS | st.just(""),
    app_name=HEADERS | st.just(""),
    procid=HEADERS | st.just(""),
    msgid=HEADERS | st.just(""),
    elements=st.lists(ELEMENTS, max_size=3).map(tuple),
    msg=st.none() | CLEAN,
    severity=st.integers(0, 7),
    facility=st.integers(0, 23),
)


@given(MESSAGES)
def test_rfc5424_what_is_encoded_is_decoded(message: Message) -> None:
    assert decode(encode(message)) == message


@given(ANYTHING, ANYTHING, ANYTHING)
def test_rfc5424_hostile_text_stays_one_printable_line(name: str, value: str, msg: str) -> None:
    element = Element("relay@55555", ((name, value), ("after", "x")))
    line = encode(Message(None, name, value, msgid=msg, elements=(element,), msg=msg))
    assert line.isprintable()
    assert len(line.splitlines()) == 1
    line.encode()
    read = decode(line)
    # The attacker's text is where we put it, all of it, and has become nothing else.
    assert read.elements[0].params[0][1] == clean(value)
    assert read.elements[0].params[1] == ("after", "x")
    assert read.msg == clean(msg)


@given(st.text(st.sampled_from('<134>1 -[]="\\@aZ0:.T+\n é'), max_size=80))
def test_rfc5424_any_line_is_read_or_refused(line: str) -> None:
    try:
        message = decode(line)
    except SyntaxFault:
        return
    assert message.facility <= 23


@given(MESSAGES, st.data())
def test_rfc5424_a_line_cut_short_is_read_or_refused(message: Message, data: st.DataObject) -> None:
    line = encode(message)
    cut = line[: data.draw(st.integers(0, len(line)))]
    try:
        decode(cut)
    except SyntaxFault:
        pass


def test_rfc5424_line_is_as_operators_know_it() -> None:
    line = encode(
        Message(
            dt.datetime(2026, 11, 24, 3, 0, 0, 1, dt.timezone(dt.timedelta(hours=1))),
            "decky-01",
            "ssh",
            msgid="command",
            elements=(Element("relay@55555", (("src_ip", "192.0.2.7"), ("command", 'a"]\\b'))),),
        )
    )
    assert line == (
        "<134>1 2026-11-24T02:00:00.000001Z decky-01 ssh - command "
        '[relay@55555 src_ip="192.0.2.7" command="a\\"\\]\\\\b"]'
    )


@pytest.mark.parametrize(
    "line",
    [
        # the RFC's own examples, section 6.5
        "<34>1 2003-10-11T22:14:15.003Z mymachine.example.com su - ID47 - \ufeff'su root' failed",
        "<165>1 2003-08-24T05:14:15.000003-07:00 192.0.2.1 myproc 8710 - - %% It's time",
        '<165>1 2003-10-11T22:14:15.003Z h e - ID47 [x@3 iut="3" a="b"][y@3 class="high"]',
        '<165>1 2003-10-11T22:14:15Z h e - ID47 [x@3 a="one \\ two \\n three"] text',
    ],
)
def test_rfc5424_reads_others_lines(line: str) -> None:
    assert decode(line).hostname


@pytest.mark.parametrize(
    "line",
    [
        "",
        "plain text",
        "<192>1 - h a - - -",
        "<134>0 - h a - - -",
        "<134>1 2026-13-01T00:00:00Z h a - - -",
        "<134>1 2026-01-01 h a - - -",
        "<134>1 - h a - - ",
        '<134>1 - h a - - [x a="b"',
        '<134>1 - h a - - [x a="b]"]',
        "<134>1 - h a - - [x a=b]",
        "<134>1 - h a - - [] text",
        '<134>1 - h a - - [x a="b"]text',
        "<134>1 - h a - - -text",
        "<134>1 - h  a - - -",
    ],
)
def test_rfc5424_refuses_what_is_none(line: str) -> None:
    with pytest.raises(SyntaxFault):
        decode(line)


def test_rfc5424_needs_a_zone() -> None:
    with pytest.raises(ValueError, match="zone"):
        encode(Message(dt.datetime(2026, 1, 1), "h"))


def test_rfc5424_reads_a_long_line_in_linear_time() -> None:
    # 50,000 escapes and 20,000 parameters: quadratic code would be noticed by the time-out.
    line = '<134>1 - h a - - [x a="' + "\\\\" * 50_000 + '"' + ' b="c"' * 20_000 + "]"
    assert len(decode(line).elements[0].params) == 20_001


@given(ANYTHING)
def test_clean_is_printable_and_stays_as_it_is(text: str) -> None:
    once = clean(text)
    assert once.isprintable()
    assert clean(once) == once
    assert rfc5424.sd_name(text).isascii()
