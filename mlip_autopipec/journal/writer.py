"""The writing end of a journal: plain synchronous calls, for one thread at a time."""

import os
from collections.abc import Callable, Sequence
from zlib import crc32

from mlip_autopipec.data_models.events import Event
from mlip_autopipec.journal.durable import replace_file, sync_folder, write_all
from mlip_autopipec.journal.records import Record, encode, encode_header, frame
from mlip_autopipec.journal.segments import Scan, segment_path


class SegmentWriter:
    """Appends to the newest segment; begins a new one when that has reached `segment_bytes_max`.

    Behind a segment of an older version it begins a new one at once, as each is of one version.
    After any exception it must not write again: what the disk holds is then unknown until the next
    scan.
    """

    def __init__(self, scan: Scan, *, sync: Callable[[int], None], segment_bytes_max: int) -> None:
        """Go on where a finished scan ended; its torn tail has been cut. Raises OSError."""
        self.seq = scan.seq
        self.crc = scan.crc
        self._folder = scan.folder
        self._sync = sync
        self._version = scan.version_max
        self._segment_bytes_max = segment_bytes_max
        self._segment = max(scan.segment, 1)
        self._size = scan.offset
        self._fd = self._open()
        if not self._size:
            self._write_header()
        # What the scan has read, and the names it was read under, may be in memory only; from now
        # on it is believed.
        self._sync(self._fd)
        sync_folder(self._folder)
        if scan.version < self._version:
            self._rotate()

    def write(self, events: Sequence[Event]) -> int:
        """Append events with one write and one sync; the number of the last record.

        Raises OSError, and ValueError for an event that is no JSON.
        """
        if self._size >= self._segment_bytes_max:
            self._rotate()
        lines = []
        for event in events:
            self.seq += 1
            line, self.crc = frame(encode(Record(self.seq, event)), self.crc)
            lines.append(line)
        if lines:
            self._append(b"".join(lines))
            self._sync(self._fd)
        return self.seq

    def close(self) -> None:
        """Give the file back. Everything written is durable already."""
        os.close(self._fd)

    def _rotate(self) -> None:
        """Begin the next segment; the one before is whole and durable."""
        self._segment += 1
        full, self._fd = self._fd, self._open()
        os.close(full)
        self._size = 0
        self._write_header()
        self._sync(self._fd)
        sync_folder(self._folder)

    def _open(self) -> int:
        path = segment_path(self._folder, self._segment)
        return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _write_header(self) -> None:
        line, self.crc = frame(
            encode_header(self._version, self._segment, self.seq + 1, self.crc), self.crc
        )
        self._append(line)

    def _append(self, data: bytes) -> None:
        write_all(self._fd, data)
        self._size += len(data)


def cut_torn_tail(scan: Scan) -> str:
    """Keep, then cut off, what a finished scan found torn; the name it is kept by. Raises OSError.

    The name follows from the bytes, so that a repair which was itself interrupted is simply done
    again.
    """
    with segment_path(scan.folder, scan.segment).open("r+b") as file:
        file.seek(scan.offset)
        torn = file.read()
        kept_as = f"torn-{scan.offset}-{scan.segment:06d}-{crc32(torn):08x}.bin"
        replace_file(scan.folder / kept_as, [torn])
        file.truncate(scan.offset)
        os.fsync(file.fileno())
    return kept_as
