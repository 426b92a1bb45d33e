"""What is promised to be on disk is synced before it counts: every sync and new name, in order."""

import hashlib
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
from kit.jobs import JOB_NAME, Site, copper, ref, task_of

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.durable import make_folder, replace_file
from mlip_autopipec.journal.mend import begin_mending, end_mending, find_damage
from mlip_autopipec.journal.segments import Scan
from mlip_autopipec.journal.snapshot import load_snapshot, program, save_snapshot
from mlip_autopipec.journal.writer import SegmentWriter, cut_torn_tail
from mlip_autopipec.work.attempt import run_task
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import write_atomic, write_once
from mlip_autopipec.work.structures import write_frames

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Disk:
    """What reaches it: (`sync`, name, size at that time) and (`name`, name).

    Names are relative to `folder`.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[tuple[Any, ...]] = []
        self._folder = folder
        for name in ("fsync", "fdatasync"):
            monkeypatch.setattr(os, name, self._synced(getattr(os, name)))
        for name in ("rename", "replace", "link"):
            monkeypatch.setattr(os, name, self._named(getattr(os, name)))

    def _synced(self, real: Callable[[int], None]) -> Callable[[int], None]:
        def sync(fd: int) -> None:
            real(fd)
            path = Path(os.readlink(f"/proc/self/fd/{fd}"))  # noqa: PTH115 - of a number
            self.done.append(
                ("sync", self._called(path), None if path.is_dir() else os.fstat(fd).st_size)
            )

        return sync

    def _named(self, real: Callable[..., None]) -> Callable[..., None]:
        def name(source: str, target: str, **more: Any) -> None:
            real(source, target, **more)
            self.done.append(("name", self._called(Path(target))))

        return name

    def _called(self, path: Path) -> str:
        return "." if path == self._folder else path.name


@pytest.fixture
def disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(tmp_path, monkeypatch)


def finished(folder: Path) -> Scan:
    """A scan of the journal that has come to its end."""
    scan = Scan(folder)
    for _ in scan:
        pass
    return scan


def stopped() -> ev.Event:
    return ev.DaemonStopped(at=NOW, why="SIGTERM")


def test_many_may_make_the_same_folder_at_once(tmp_path: Path) -> None:
    """As a daemon and whoever looks at its campaign: it is there for all of them."""
    with ThreadPoolExecutor(8) as threads:
        for number in range(40):
            gate = threading.Barrier(8)

            def make(
                folder: Path = tmp_path / str(number) / "a" / "b", gate: threading.Barrier = gate
            ) -> bool:
                gate.wait(10)
                make_folder(folder)
                return folder.is_dir()

            assert all(made.result() for made in [threads.submit(make) for _ in range(8)])


def test_a_file_is_synced_before_it_has_its_name_and_the_name_after(
    disk: Disk, tmp_path: Path
) -> None:
    """Else a crash leaves an empty file under the name, or the old content for ever."""
    replace_file(tmp_path / "state.json", [b"ab", b"c"])

    assert disk.done == [
        ("sync", ".state.json.tmp", 3),
        ("name", "state.json"),
        ("sync", ".", None),
    ]


def test_a_new_segment_and_its_header_are_durable_before_an_event_is_in_it(
    disk: Disk, tmp_path: Path
) -> None:
    """The header with the file, then the file's name with the folder, then the event."""
    writer = SegmentWriter(finished(tmp_path), sync=os.fdatasync, segment_bytes_max=1)
    writer.write([stopped()])
    disk.done.clear()
    writer.write([stopped()])
    writer.close()

    header, folder, event = disk.done[-3:]
    (_, segment, header_bytes), (_, same, whole_bytes) = header, event
    assert folder == ("sync", ".", None)
    assert segment == same == max(path.name for path in tmp_path.glob("*.jsonl"))
    assert 0 < header_bytes < whole_bytes


def test_a_torn_tail_is_kept_durably_before_it_is_cut_and_the_cut_is_synced(
    disk: Disk, tmp_path: Path
) -> None:
    """A crash in between leaves both, or what was cut under its own name."""
    writer = SegmentWriter(finished(tmp_path), sync=os.fdatasync, segment_bytes_max=10**6)
    writer.write([stopped()])
    writer.close()
    (segment,) = tmp_path.glob("*.jsonl")
    whole = segment.stat().st_size
    with segment.open("ab") as file:
        file.write(b'0123abcd {"seq":2')
    scan = finished(tmp_path)
    disk.done.clear()

    kept = cut_torn_tail(scan)

    assert disk.done == [
        ("sync", f".{kept}.tmp", 17),
        ("name", kept),
        ("sync", ".", None),
        ("sync", segment.name, whole),
    ]


def test_a_torn_tail_that_cannot_be_kept_is_not_cut(tmp_path: Path) -> None:
    """It is kept first: what fails in between loses nothing."""
    SegmentWriter(finished(tmp_path), sync=os.fdatasync, segment_bytes_max=10**6).close()
    (segment,) = tmp_path.glob("*.jsonl")
    torn = b'0123abcd {"seq":1'
    with segment.open("ab") as file:
        file.write(torn)
    scan, before = finished(tmp_path), segment.read_bytes()
    (tmp_path / f"torn-{scan.offset}-000001-{crc32(torn):08x}.bin").mkdir()

    with pytest.raises(IsADirectoryError):
        cut_torn_tail(scan)

    assert segment.read_bytes() == before


def test_a_copy_of_what_is_before_a_damage_is_durable_before_it_is_used(
    disk: Disk, tmp_path: Path
) -> None:
    """Every file of the new journal, then their names."""
    folder = tmp_path / "journal"
    folder.mkdir()
    writer = SegmentWriter(finished(folder), sync=os.fdatasync, segment_bytes_max=1)
    for _ in range(3):
        writer.write([stopped()])
    writer.close()
    middle = sorted(folder.glob("*.jsonl"))[-2]
    middle.write_bytes(middle.read_bytes().replace(b"SIGTERM", b"SIGKILL"))
    damage = find_damage(folder)
    assert damage is not None
    (folder / "journal-mine.jsonl").write_bytes(b"a person's")  # it is none of the journal's
    disk.done.clear()

    made = begin_mending(folder, damage)

    files = {("sync", path.name, path.stat().st_size) for path in made.iterdir()}
    assert len(files) == 3
    assert set(disk.done[-4:-1]) == files
    assert disk.done[-1] == ("sync", made.name, None)


def test_an_exchange_of_journals_is_decided_durably_before_it_is_made(
    disk: Disk, tmp_path: Path
) -> None:
    """One name decides; only when it is on the disk does the old journal lose its own."""
    folder, made, kept = (
        tmp_path / name for name in ("journal", "journal.mending", "journal.damaged-1")
    )
    folder.mkdir()
    made.mkdir()

    end_mending(folder, made, kept)

    assert disk.done == [
        ("name", "journal.mended.journal.damaged-1"),
        ("sync", ".", None),
        ("name", "journal.damaged-1"),
        ("name", "journal"),
        ("sync", ".", None),
    ]


@pytest.mark.parametrize("index", [write_atomic, write_once])
def test_an_outcome_is_synced_before_it_has_its_name(
    disk: Disk, tmp_path: Path, index: Callable[..., Any]
) -> None:
    """Of the work half, on the site's file system."""
    index(tmp_path / "outcome.json", b"abc")

    (first, _, size), named, last = disk.done
    assert (first, size) == ("sync", 3)
    assert named == ("name", "outcome.json")
    assert last == ("sync", ".", None)


def test_a_snapshot_of_another_program_is_not_believed(tmp_path: Path) -> None:
    """Though it is whole, with the right checksum.

    Another program may have made another state of the same events.
    """
    save_snapshot(tmp_path, WorkflowState(seq=3), 0xAB)
    path = tmp_path / "snapshot.json"
    assert load_snapshot(tmp_path) is not None
    body = path.read_bytes().partition(b" ")[2].replace(program().encode(), b"0" * 64)
    path.write_bytes(hashlib.sha256(body).hexdigest().encode() + b" " + body)

    assert load_snapshot(tmp_path) is None


def test_what_an_outcome_names_is_durable_before_the_outcome_has_a_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through a whole task: the label and its folder, then the outcome in it, then the outbox."""
    root = tmp_path / "site"
    root.mkdir()
    structure = root / "structure.extxyz"
    write_frames(structure, [copper()])
    oracle = AseOracle(calculator="ase.calculators.emt.EMT")
    asked = CalculateParameters(
        role=Role.TRAIN, origin="a test", oracle=oracle, force_max_ev_per_angstrom=50.0
    )
    task = task_of(asked, [("structure", ref(root, structure))])
    folder = Site.at(root).place(task)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    disk = Disk(folder / "run-1", monkeypatch)
    monkeypatch.chdir(tmp_path)
    try:
        assert run_task(root, task.workdir, JOB_NAME, 0, "17") == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)

    label = folder / "run-1" / "label.extxyz"
    done = disk.done
    named, placed = done.index(("name", "outcome.json")), done.index(("name", f"{JOB_NAME}.0.json"))
    of_label = done.index(("sync", "label.extxyz", label.stat().st_size))
    assert of_label < done.index(("sync", ".", None), of_label) < named < placed
    assert (
        done.index(("sync", ".", None), named)
        < placed
        < done.index(("sync", "outbox", None), placed)
    )
    synced = [
        each
        for each in done[:named]
        if each[0] == "sync" and str(each[1]).startswith(".outcome.json")
    ]
    assert [size for _, _, size in synced] == [(folder / "run-1" / "outcome.json").stat().st_size]
