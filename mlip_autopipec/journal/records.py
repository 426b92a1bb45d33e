r"""Framing: how a record stands on its line, and how to tell a line that is as it was written.

A line is `<crc32, 8 hex digits> <compact JSON>\n`. The crc is chained: that of the JSON, begun from
the crc of the line before, so that a changed, removed or reordered line is found. The first line of
a segment is a header in the same framing, which no later version may change. JSON escapes newlines,
so a newline always ends a line.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from zlib import crc32

from pydantic import Field, ValidationError
from pydantic_core import from_json, to_json

from mlip_autopipec.data_models.base import Model
from mlip_autopipec.data_models.events import EVENT_ADAPTER, Event
from mlip_autopipec.data_models.writing import json_of
from mlip_autopipec.journal.upcast import Upcaster

_CRC_LENGTH = len("01234567 ")
_COMPLETE_RECORD = re.compile(rb'[0-9a-f]{8} \{"seq":(\d+),"event":\{[^\n]*\}\}\n')


@dataclass(frozen=True, slots=True)
class Record:
    """One event with its place: `seq` counts from 1 without gaps."""

    seq: int
    event: Event


class Header(Model):
    """The first line of a segment. Everything in it follows from the segment before."""

    format: Literal["autopipec-journal"] = "autopipec-journal"
    version: int = Field(ge=1, description="of every event in this segment")
    segment: int = Field(ge=1)
    first_seq: int = Field(ge=1, description="of the first record that this segment may hold")
    previous_crc: str = Field(
        pattern=r"^[0-9a-f]{8}$", description="of the last line of the segment before"
    )


def encode_header(version: int, segment: int, first_seq: int, previous_crc: int) -> bytes:
    """Body of the header that a segment must have."""
    header = Header(
        version=version, segment=segment, first_seq=first_seq, previous_crc=f"{previous_crc:08x}"
    )
    return header.model_dump_json().encode()


def encode(record: Record) -> bytes:
    """Body of a record. Raises ValueError for an event with text that UTF-8 cannot hold."""
    # Not EVENT_ADAPTER.dump_json: it writes the same bytes four times slower, and 10,000 tasks are
    # one event.
    return b'{"seq":%d,"event":%b}' % (record.seq, json_of(record.event))


def decode(body: bytes, seq: int, upcasters: Sequence[Upcaster] = ()) -> Record:
    """The record in a body that must be number `seq`, its event made today's by upcasters in turn.

    Raises ValueError if it is another or its event is unknown.
    """
    begin = b'{"seq":%d,"event":' % seq
    if not body.startswith(begin):
        raise ValueError(f"it is not number {seq}")
    text = body[len(begin) : -1]
    if upcasters:
        event = from_json(text)
        for upcaster in upcasters:
            event = upcaster(event)
        text = to_json(event)  # so that it is validated as every other, by the rules for JSON
    return Record(seq, EVENT_ADAPTER.validate_json(text))


def frame(body: bytes, previous_crc: int) -> tuple[bytes, int]:
    """The line for a body, and its crc."""
    crc = crc32(body, previous_crc)
    return b"%08x %b\n" % (crc, body), crc


def unframe(line: bytes, previous_crc: int) -> tuple[bytes, int] | None:
    """Body and crc of a line; None if it is not, byte for byte, what `frame` made of them."""
    body = line[_CRC_LENGTH:-1]
    # without making the line again: that of 10,000 tasks has megabytes
    crc = crc32(body, previous_crc)
    return (body, crc) if line[:_CRC_LENGTH] == b"%08x " % crc and line.endswith(b"\n") else None


def is_torn(rest: bytes, seq: int) -> bool:
    """Whether `rest`, its first line invalid, can be what a cut-off write has left of record `seq`.

    It cannot if its first line is another record (the one between was removed), or if a complete
    record seems to stand behind its beginning. A crc says nothing there: the one that it would have
    to be chained to is lost.
    """
    first = _COMPLETE_RECORD.match(rest)
    if first is not None and int(first[1]) != seq:
        return False
    return _COMPLETE_RECORD.search(rest, 1) is None


#: Where a task has settings of a code, and what such codes are called.
_CODES = {"oracle": "oracles", "trainer": "trainers", "engine": "engines", "measures": "measures"}


def missing_code(error: ValueError) -> str:
    """The code that a record names and no installed package brings, as `oracle 'toy'`.

    Empty for every other fault.
    """
    if not isinstance(error, ValidationError):
        return ""
    for fault in error.errors(include_url=False):
        index = next((part for part in reversed(fault["loc"]) if isinstance(part, str)), "")
        if index not in _CODES:
            continue
        if fault["type"] == "union_tag_invalid":
            return f"the {index.removesuffix('s')} {fault['ctx']['tag']!r}"
        # no package brings any
        if fault["type"] == "value_error" and isinstance(fault["input"], dict):
            return f"the {index.removesuffix('s')} {str(fault['input'].get('kind'))!r}"
    return ""


def first_fault(error: ValueError) -> str:
    """What is wrong, in one line.

    pydantic says it in several, of which the first fault tells enough.
    """
    if not isinstance(error, ValidationError):
        return str(error)
    fault = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}"
