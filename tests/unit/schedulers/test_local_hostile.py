"""Files of the queue without Slurm that hold anything.

They are told, never believed, and never the end of the daemon.
"""

import json
import os
import socket
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from kit.slurm_programs import a_batch, some_tasks

from mlip_autopipec.contract.values import plain
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import EVENT_ADAPTER
from mlip_autopipec.data_models.words import TEXT_MAX
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, Completed, PostMortem, Unclear, Void
from mlip_autopipec.schedulers.local import LocalScheduler
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.work.job import identity
from mlip_autopipec.work.queue import local_queue
from mlip_autopipec.work.queue.batch import run_batch
from mlip_autopipec.work.queue.cores import Cores, release
from mlip_autopipec.work.queue.processes import ProcessTable
from mlip_autopipec.work.small_files import create_beside

JOB_NAME = "stand-0a1b2c.c000.calculation.b00"
FILES = ("batch.json", "runner.json", "0.end", "0.running", "1.end", "claim")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(
            st.sampled_from(
                (
                    "reason",
                    "message",
                    "pid",
                    "host",
                    "boot_id",
                    "start_time",
                    "void",
                    "tasks",
                    "workdir",
                )
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=6,
)
CONTENTS: Mapping[str, bytes] = {
    "half a line": b'{"reason": "crash',
    "unknown reason": b'{"reason": "abducted", "message": "by whom?"}',
    "lone surrogate": b'{"reason": "crashed", "message": "\\ud800", "pid": "\\udfff"}',
    "no utf-8": b'{"reason": "crashed", "message": "\xff\xfe"}',
    "20 MB": b'{"reason": "crashed", "message": "' + b"x" * 20_000_000 + b'"}',
    "deep": b"[" * 100_000,
    "no object": b"[]",
    "other types": b'{"reason": 7, "message": [], "pid": "1", "host": null, "tasks": {"a": 1}}',
    "a pid that is all": b'{"pid": -1, "host": "x", "boot_id": "x", "start_time": 1}',
    "outside": b'{"tasks": [{"workdir": "../../../tmp"}, {"workdir": "/tmp"}]}',
    "empty": b"",
}


class InProcess(MemoryTransport):
    """A transport whose far Python is this one."""

    def __init__(self, root: Path) -> None:
        super().__init__()
        self._root = root

    async def run(self, argv: Any, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
        del timeout_s
        said = local_queue.answer(self._root, argv[-1], json.loads(stdin))
        return Completed(0, (json.dumps(said) + "\n").encode(), b"")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A site with one batch of two tasks, whose runner is this very process."""
    folder = local_queue.folder_of(tmp_path, JOB_NAME)
    folder.mkdir(parents=True)
    spec = {"uid": JOB_NAME, "tasks": [{"workdir": f"cycles/{index}"} for index in (0, 1)]}
    (folder / "batch.json").write_text(json.dumps(spec), encoding="utf-8")
    (folder / "runner.json").write_text(json.dumps(plain(identity(os.getpid()))), encoding="utf-8")
    for index in (0, 1):
        (tmp_path / f"cycles/{index}").mkdir(parents=True)
    return tmp_path


def place(root: Path, name: str) -> Path:
    """Where a file of the queue lies; there is nothing yet."""
    path = local_queue.folder_of(root, JOB_NAME) / name
    if name == "claim":
        path = root / "cycles/0" / f"claim.{JOB_NAME}" / "started.json"
        path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    return path


async def ask_everything(root: Path) -> None:
    """Every question ends in an answer that the journal takes."""
    scheduler = LocalScheduler(
        InProcess(root), root=str(root), cores=1, payload="p.pyz", python="python3"
    )
    batch = a_batch(some_tasks(2), job_name=JOB_NAME)
    now = SimulatedClock().now()
    sightings = await scheduler.sight([batch])
    assert sightings is not None
    events: list[ev.Event] = [ev.JobsSighted(at=now, sightings=tuple(sightings.values()))]
    for index in (0, 1):
        ended = await scheduler.post_mortem(batch, index)
        if isinstance(ended, PostMortem):
            events.append(
                ev.AttemptLost(
                    at=now,
                    job_name=JOB_NAME,
                    index=index,
                    reason=ended.reason,
                    message=ended.message,
                )
            )
    await scheduler.locate(batch)
    jobs = await scheduler.roll("stand-0a1b2c")
    events.append(ev.OrphansSeen(at=now, jobs=jobs or ()))
    for event in events:
        line = event.model_dump_json().encode()
        assert EVENT_ADAPTER.validate_json(line) == event
        assert len(line) < 3 * TEXT_MAX


@pytest.mark.parametrize("content", CONTENTS)
async def test_a_file_of_the_queue_may_hold_anything(root: Path, content: str) -> None:
    """Each of its files in turn."""
    for name in FILES if len(CONTENTS[content]) < 10**6 else ("0.end",):
        place(root, name).write_bytes(CONTENTS[content])
        await ask_everything(root)
    assert not (root.parent / "tmp").exists()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
async def test_a_file_of_the_queue_may_be_anything(
    root: Path, make: Callable[[Path], None]
) -> None:
    """A folder, a pipe, a loop: looked at without waiting."""
    for name in ("0.end", "1.end", "0.running", "claim", "runner.json", "batch.json"):
        make(place(root, name))
        await ask_everything(root)


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path)])
async def test_a_lock_that_is_no_file_starts_no_runner_and_is_void(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Nothing waits for it; the next name is free of it."""
    folder = local_queue.folder_of(tmp_path, JOB_NAME)
    folder.mkdir(parents=True)
    make(folder / "runner.lock")
    with pytest.raises(ValueError, match=r"runner\.lock is no regular file"):
        run_batch(tmp_path, JOB_NAME)
    scheduler = LocalScheduler(
        InProcess(tmp_path), root=str(tmp_path), cores=1, payload="p.pyz", python="python3"
    )
    assert isinstance(await scheduler.locate(a_batch(some_tasks(1), job_name=JOB_NAME)), Void)


@pytest.mark.parametrize(
    "make", [Path.mkdir, os.mkfifo, lambda path: path.symlink_to(path), Path.touch]
)
def test_a_core_or_an_output_that_is_no_file_costs_no_other(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """The core is not counted, the output has another name.

    A file that somebody has made is left as it is.
    """
    slots = tmp_path / ".ap" / "slots" / socket.gethostname()
    slots.mkdir(parents=True)
    make(slots / "0")
    taken = Cores(tmp_path, 2, ProcessTable()).take(1, "attempt")
    assert taken is not None
    release(taken)
    make(tmp_path / "job-x.out")
    stream, path = create_beside(tmp_path / "job-x.out")
    stream.close()
    assert path.name == "job-x.2.out"


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(name=st.sampled_from(FILES), value=JSON)
async def test_json_of_any_shape_is_answered(root: Path, name: str, value: object) -> None:
    """Whatever of it is as it should be."""
    place(root, name).write_text(json.dumps(value), encoding="utf-8")
    await ask_everything(root)


async def test_an_unknown_reason_is_a_loss_with_its_word(root: Path) -> None:
    """As of a later version, or half written."""
    scheduler = LocalScheduler(
        InProcess(root), root=str(root), cores=1, payload="p.pyz", python="python3"
    )
    place(root, "0.end").write_bytes(CONTENTS["unknown reason"])
    place(root, "1.end").write_bytes(CONTENTS["half a line"])
    batch = a_batch(some_tasks(2), job_name=JOB_NAME)

    assert await scheduler.post_mortem(batch, 0) == PostMortem(
        Reason.LOST, "it ended for a reason that is not known, 'abducted': by whom?"
    )
    assert await scheduler.post_mortem(batch, 1) == PostMortem(Reason.LOST, "1.end can't be read")


@pytest.mark.parametrize("said", [
    (
        b""
    ), (
        b"[]\n"
    ), (
        b"{\n"
    ), b'{"sightings": 1}\n', b'{"sightings": [{"uid": 1}]}\n', b'{"jobs": [{}]}\n', (
        b"["
    ) * 100_000,
    b'{"sighting": {"uid": "a", "index": 0, "state": "lost"}}\n',
])  # fmt: skip
async def test_an_answer_that_is_none_passes(said: bytes) -> None:
    """Nothing is known then; the site is degraded, and asked again."""

    class Says(MemoryTransport):
        async def run(self, argv: Any, *, stdin: bytes = b"", timeout_s: float = 60.0) -> Completed:
            del argv, stdin, timeout_s
            return Completed(0, said, b"")

    scheduler = LocalScheduler(Says(), root="/site", cores=1, payload="p.pyz", python="python3")
    with pytest.raises(TransientError):
        await scheduler.sight([a_batch(some_tasks(1), job_name=JOB_NAME)])


@pytest.mark.parametrize(
    "make",
    [Path.mkdir, os.mkfifo, lambda path: path.write_text("{"), lambda path: path.symlink_to("x")],
)
async def test_a_runner_whose_name_something_else_has_never_begins(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Its tasks are free for the next batch at once, and none of them is called lost."""
    folder = local_queue.folder_of(tmp_path, JOB_NAME)
    folder.mkdir(parents=True)
    make(folder / "runner.json")
    scheduler = LocalScheduler(
        InProcess(tmp_path), root=str(tmp_path), cores=1, payload="p.pyz", python="python3"
    )
    tasks = some_tasks(1)
    batch = a_batch(tasks, job_name=JOB_NAME)
    (folder / "sent").mkdir()  # whoever has sent it has died
    assert isinstance(await scheduler.submit(batch, tasks), Unclear)
    assert isinstance(await scheduler.locate(batch), Void)
    (tmp_path / tasks[0].workdir / f"claim.{JOB_NAME}").mkdir(parents=True)
    assert isinstance(await scheduler.locate(batch), Accepted)


async def test_words_of_the_queue_are_cut_and_valid(root: Path) -> None:
    """Of a host with a name that is no text."""
    found = {**plain(identity(os.getpid())), "host": f"{socket.gethostname()}\ud800" + "h" * 50_000}
    place(root, "runner.json").write_text(json.dumps(found), encoding="utf-8")
    await ask_everything(root)
