"""Framing of records."""

from datetime import UTC, datetime
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kit.journals import ACTOR, CREATED, NOW, story

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.journal.records import (
    Header,
    Record,
    decode,
    encode,
    encode_header,
    frame,
    is_torn,
    unframe,
)

MOMENTS = st.datetimes(
    min_value=datetime(2000, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=st.just(UTC),
)
EVENTS: st.SearchStrategy[ev.Event] = st.one_of(
    st.builds(ev.DaemonStopped, at=MOMENTS, why=st.text()),
    st.builds(ev.EffectDeferred, at=MOMENTS, subject=st.text(), message=st.text(), until=MOMENTS),
    st.builds(ev.SiteChanged, at=MOMENTS, health=st.sampled_from(ev.SiteHealth), message=st.text()),
    st.builds(ev.Paused, at=MOMENTS, by=st.just(ACTOR), reason=st.text()),
)


@given(st.lists(EVENTS, max_size=5), st.integers(1, 10**9), st.integers(0, 2**32 - 1))
def test_what_is_framed_is_read_back(events: list[ev.Event], first_seq: int, crc: int) -> None:
    """Any events, from any place in the chain, come back as they were, one line each."""
    crc_read = crc
    for seq, event in enumerate(events, start=first_seq):
        line, crc = frame(encode(Record(seq, event)), crc)
        assert line.index(b"\n") == len(line) - 1
        framed = unframe(line, crc_read)
        assert framed is not None
        body, crc_read = framed
        assert Record(seq, event) == decode(body, seq)
    assert crc == crc_read


@pytest.mark.parametrize("event", story(), ids=lambda event: event.type)
def test_every_kind_of_the_story_is_read_back(event: ev.Event) -> None:
    """Tasks, outcomes, sightings: nested models survive, to the last bit of a float."""
    assert Record(3, event) == decode(encode(Record(3, event)), 3)


def test_the_crc_is_chained_over_the_bodies() -> None:
    """The crc of a line is that of all bodies up to it, written in front in eight hex digits."""
    first, crc = frame(b"{}", 0)
    second, crc = frame(b"[]", crc)
    assert (b"%08x {}\n" % crc32(b"{}"), b"%08x []\n" % crc32(b"{}[]")) == (first, second)


@pytest.mark.parametrize(
    "line", [b"", b"\n", b"\0" * 40, b"43fc \n", b"A3 {}\n", b"no record at all\n"]
)
def test_what_is_no_line_is_none(line: bytes) -> None:
    """Garbage of any length is not a line, and no error."""
    assert unframe(line, 0) is None


def test_a_line_must_be_exact() -> None:
    """A crc in capitals, another blank or a missing newline make a line invalid.

    They do so though its crc is right.
    """
    line, crc = frame(b'{"a":1}', 0)
    assert (b'{"a":1}', crc) == unframe(line, 0)
    assert line[:8] != line[:8].upper()
    for changed in (
        line[:8].upper() + line[8:],
        line.replace(b" ", b"\t", 1),
        line[:-1],
        line[:-1] + b"\r",
    ):
        assert unframe(changed, 0) is None


def test_a_record_of_another_number_is_refused() -> None:
    """The number in a body must be the one that its place demands."""
    with pytest.raises(ValueError, match="not number 5"):
        decode(encode(Record(4, CREATED)), 5)


def test_text_that_is_no_utf8_is_refused_before_it_is_written() -> None:
    """A lone surrogate (undecodable output of some program) cannot be encoded."""
    with pytest.raises(ValueError, match="surrogates"):
        encode(Record(1, ev.DaemonStopped(at=NOW, why="\udcff")))


def test_the_header_says_where_the_segment_begins() -> None:
    """A header is compact JSON that reads back as the values it was made of."""
    body = encode_header(1, 3, 17, 0xAB)
    assert Header(
        version=1, segment=3, first_seq=17, previous_crc="000000ab"
    ) == Header.model_validate_json(body)
    assert body.startswith(b'{"format":"autopipec-journal","version":1,"segment":3,')


def test_an_interrupted_write_hides_no_record() -> None:
    """A half record, a record with a wrong crc, NULs and garbage are torn."""
    line, _ = frame(encode(Record(5, CREATED)), 0)
    wrong = b"00000000" + line[8:]
    for rest in (
        line[:-1],
        line[20:],
        wrong,
        wrong + line[:-1],
        b"\0" * 512,
        line[:30] + b"\0" * 99,
        b"\xff\n{}\n",
    ):
        assert is_torn(rest, 5)


def test_a_record_behind_something_else_is_damage() -> None:
    """A whole record behind the beginning or of another number was written earlier and spoiled."""
    line, _ = frame(encode(Record(5, CREATED)), 0)
    for rest in (
        b"x" + line,
        b"\0" * 512 + line,
        line[:-1] + line,
        line + line,
        line.replace(b'"seq":5', b'"seq":6'),
    ):
        assert not is_torn(rest, 5)
