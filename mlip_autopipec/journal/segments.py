"""The segments of a journal folder, and one pass over their lines.

It tells a torn tail from damage.
"""

import json
import re
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from mlip_autopipec.errors import JournalDamaged, StateUnreadable
from mlip_autopipec.journal.records import (
    Header,
    Record,
    decode,
    encode_header,
    first_fault,
    is_torn,
    missing_code,
    unframe,
)
from mlip_autopipec.journal.upcast import UPCASTERS, Upcaster

#: By which a record of a daemon's start is told without reading it.
_STARTED = b'"type":"DaemonStarted"'
_CRC_BYTES = len("01234567 ")
_HEAD_BYTES = 160
_NAME = re.compile(r"journal-(\d{6})\.jsonl")


def segment_path(folder: Path, number: int) -> Path:
    """Where segment `number`, counted from 1, is kept."""
    return folder / f"journal-{number:06d}.jsonl"


def number_of(path: Path) -> int | None:
    """The number of a segment, from its name; None for the name of anything else."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match else None


def segment_paths(folder: Path) -> tuple[Path, ...]:
    """All segments in order; none where there is no folder.

    Raises JournalDamaged if one is missing.
    """
    names = {match[0] for path in folder.glob("journal-*") if (match := _NAME.fullmatch(path.name))}
    paths = tuple(segment_path(folder, number) for number in range(1, len(names) + 1))
    for path in paths:
        if path.name not in names:
            raise JournalDamaged(path, 0, "this segment is missing", _remedy(path, 0))
    return paths


class Scan:
    """One pass over the records after `after`; the attributes are right when iteration has ended.

    A torn tail (what an interrupted write leaves: a last line that is incomplete or has a wrong
    crc, NULs, garbage) ends the pass and is counted. Raises JournalDamaged for anything else that
    is not as it was written, StateUnreadable for what a later version wrote. Segments that end
    before `after` are not opened, unless the `whole` journal is to be checked; lines up to `after`
    are not decoded in any case. May run beside a writer.
    """

    def __init__(
        self,
        folder: Path,
        after: int = 0,
        *,
        whole: bool = False,
        upcasters: Sequence[Upcaster] = UPCASTERS,
    ) -> None:
        self.folder = folder
        self.after = after
        self._whole = whole
        self._upcasters = upcasters
        #: The version to write, and the latest that can be read.
        self.version_max = len(upcasters) + 1
        #: Version of the newest segment; `version_max` if not even its header is valid.
        self.version = self.version_max
        #: The crc of record `after`; None if it was not read.
        self.crc_at_after: int | None = None
        #: Number of the newest segment; 0 if there is none.
        self.segment = 0
        #: Bytes of the newest segment that are valid; 0 if not even its header is.
        self.offset = 0
        #: Bytes of the newest segment behind `offset`.
        self.torn_bytes = 0
        #: Valid bytes of all segments that were read.
        self.bytes = 0
        #: Number and crc of the last valid line.
        self.seq = 0
        self.crc = 0

    def __iter__(self) -> Iterator[Record]:
        paths = segment_paths(self.folder)
        for number in range(self._first_wanted(paths), len(paths) + 1):
            path = paths[number - 1]
            self.segment, self.offset, self.version = number, 0, self.version_max
            with path.open("rb") as file:
                invalid = yield from self._valid(path, file)
                # A line without its newline was the end of the file when it was read; a writer may
                # have gone on since.
                rest = invalid + file.read() if invalid.endswith(b"\n") else invalid
            self.bytes += self.offset
            if rest or not self.offset:
                self._tail(path, rest, newest=number == len(paths))

    def _first_wanted(self, paths: Sequence[Path]) -> int:
        """Number of the segment to begin with; takes sequence number and crc from its header."""
        for number in () if self._whole else range(len(paths), 1, -1):
            header = _peek(paths[number - 1])
            if header is not None and header.first_seq <= self.after + 1:
                self.seq, self.crc = header.first_seq - 1, int(header.previous_crc, 16)
                return number
        return 1

    def _valid(self, path: Path, file: BinaryIO) -> Generator[Record, None, bytes]:
        """Yield the records of one segment.

        Return its first line that is not valid, b"" if all are.
        """
        line = file.readline()
        if (framed := unframe(line, self.crc)) is None:
            return line
        self._check_header(path, framed[0])
        self.crc = framed[1]
        self.offset = len(line)
        upcasters = self._upcasters[self.version - 1 :]
        for line in file:
            if (framed := unframe(line, self.crc)) is None:
                return line
            body, self.crc = framed
            self.seq += 1
            if self.seq > self.after:
                yield self._decode(path, body, upcasters)
            elif self.seq == self.after:
                self.crc_at_after = self.crc
            self.offset += len(line)
        return b""

    def _check_header(self, path: Path, body: bytes) -> None:
        version = json.loads(body).get("version")
        if version not in range(1, self.version_max + 1):
            raise StateUnreadable(
                f"{path} is a journal of version {version}; this program reads no later one than"
                f" {self.version_max}. Go on with the program that wrote it."
            )
        if body != encode_header(version, self.segment, self.seq + 1, self.crc):
            raise JournalDamaged(
                path, 0, "its header does not follow from the segment before", _remedy(path, 0)
            )
        self.version = version

    def _decode(self, path: Path, body: bytes, upcasters: Sequence[Upcaster]) -> Record:
        try:
            return decode(body, self.seq, upcasters)
        except ValueError as error:
            if code := missing_code(error):
                raise StateUnreadable(
                    f"{path}, byte {self.offset}: record {self.seq} names {code}, which"
                    f" {_brought_by(self.folder)}. Install that package into this Python again"
                    f" ({sys.executable}); nothing has been changed."
                ) from error
            raise StateUnreadable(
                f"{path}, byte {self.offset}: record {self.seq} is whole, but this program cannot"
                f" read it: {first_fault(error)}. Go on with the program that wrote it."
            ) from error

    def _tail(self, path: Path, rest: bytes, *, newest: bool) -> None:
        if not newest:
            detail = "a segment that is not the newest ends in something that is no record"
            raise JournalDamaged(path, self.offset, detail, _remedy(path, self.offset))
        if not is_torn(rest, self.seq + 1):
            detail = (
                f"what follows record {self.seq} is not what was written there, nor an unfinished"
                " write"
            )
            raise JournalDamaged(path, self.offset, detail, _remedy(path, self.offset))
        self.torn_bytes = len(rest)


def _peek(path: Path) -> Header | None:
    """The header of a segment, unchecked; None if there is none to be read."""
    with path.open("rb") as file:
        line = file.readline()
    try:
        return Header.model_validate_json(line.partition(b" ")[2])
    except ValueError:
        return None


def _remedy(path: Path, offset: int) -> str:
    return (
        f"Nothing was changed. Restore {path.parent} from a backup, or run `autopipecctl journal"
        f" repair`: it keeps a copy, cuts {path.name} at byte {offset}, and makes what follows"
        " again from what the site holds."
    )


def _brought_by(folder: Path) -> str:
    """Whose package brought a code that no installed one brings.

    It is as the daemons of this journal have noted it.
    """
    noted: dict[str, None] = {}
    for path in sorted(folder.glob("journal-*.jsonl")):
        with path.open("rb") as file:
            for line in file:
                if _STARTED in line[:_HEAD_BYTES]:
                    noted |= dict.fromkeys(
                        json.loads(line[_CRC_BYTES:])["event"].get("packages", ())
                    )
    if not noted:
        return "no package brings that is installed here"
    return (
        "no package brings that is installed here (the daemons of this campaign had"
        f" {', '.join(noted)})"
    )
