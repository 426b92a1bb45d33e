"""ports.Transport over the local file system, by real files and processes."""

import asyncio
import contextlib
import resource
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.waiting import until

from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.transports.local import LocalTransport


@pytest.fixture
def site(tmp_path: Path) -> LocalTransport:
    return LocalTransport(tmp_path)


async def test_what_is_written_is_read_again(site: LocalTransport, tmp_path: Path) -> None:
    """Folders are made, bytes come back as they were, existing files are replaced."""
    await site.write({"a/b/one": b"\x00\xff", "two": b"first"})
    await site.write({"two": b"second"})
    assert await site.read("a/b/one") == b"\x00\xff"
    assert await site.read("two") == b"second"
    assert (tmp_path / "a/b/one").read_bytes() == b"\x00\xff"


async def test_nothing_but_the_files_is_left_behind(site: LocalTransport) -> None:
    """No temporary name outlives a write."""
    await site.write({"folder/one": b"1", "folder/two": b"2"})
    assert await site.names("folder") == ("one", "two")


@pytest.mark.slow
async def test_a_reader_never_sees_half_a_file(site: LocalTransport, tmp_path: Path) -> None:
    """While a file is written again and again, every read finds one whole version of it."""
    versions = [bytes([digit]) * 300_000 for digit in b"abc"]
    target = tmp_path / "outcome.json"
    target.write_bytes(versions[0])
    over, seen = threading.Event(), set[bytes]()

    def look() -> None:
        while not over.is_set():
            seen.add(target.read_bytes())

    reader = threading.Thread(target=look)
    reader.start()
    try:
        for number in range(60):
            await site.write({"outcome.json": versions[number % 3]})
    finally:
        over.set()
        reader.join()
    assert len(seen) > 1
    assert seen <= set(versions)


async def test_two_writers_of_one_file_do_not_meet(site: LocalTransport) -> None:
    """Writes of the same name at the same time all succeed, and one of them stays whole."""
    contents = [bytes([digit]) * 100_000 for digit in b"abcdef"]
    await asyncio.gather(*(site.write({"one": content}) for content in contents))
    assert await site.read("one") in contents
    assert await site.names("") == ("one",)


async def test_what_is_not_there_is_none(site: LocalTransport) -> None:
    """A file that does not exist is None, in a missing folder too; among many it is left out."""
    await site.write({"here": b"1"})
    assert await site.read("nowhere") is None
    assert await site.read("no/where") is None
    assert await site.read_many(["here", "nowhere", "no/where"]) == {"here": b"1"}


async def test_a_file_of_the_largest_size_is_read_and_one_byte_more_is_refused(
    site: LocalTransport,
) -> None:
    """`size_max` is the largest size that is read, and the error names the file and the limit."""
    await site.write({"log": b"12345"})
    assert await site.read("log", size_max=5) == b"12345"
    with pytest.raises(OperatorError, match=r"log is larger than 4 bytes"):
        await site.read("log", size_max=4)


async def test_names_are_sorted_and_a_missing_folder_has_none(site: LocalTransport) -> None:
    """Names come in order, whatever the order on the disk."""
    await site.write({f"folder/{number}": b"" for number in (3, 10, 1)})
    assert await site.names("folder") == ("1", "10", "3")
    assert await site.names("nowhere") == ()


async def test_a_command_runs_in_the_root_with_its_input(
    site: LocalTransport, tmp_path: Path
) -> None:
    """Output, error output and exit status come back.

    Words are handed over as they are, without a shell.
    """
    done = await site.run(
        ["sh", "-c", 'pwd; cat; echo "$1" >&2; exit 3', "sh", "a b; *"], stdin=b"data"
    )
    assert done.exit_status == 3
    assert done.stdout == f"{tmp_path}\ndata".encode()
    assert done.stderr == b"a b; *\n"


async def test_a_command_that_was_killed_has_a_negative_status(site: LocalTransport) -> None:
    """A signal is no success."""
    done = await site.run(["sh", "-c", "kill -9 $$"])
    assert done.exit_status == -9


async def test_a_command_may_leave_its_input_unread(site: LocalTransport) -> None:
    """More input than a pipe holds, to a command that reads none of it, is no error."""
    done = await site.run(["true"], stdin=b"x" * 1_000_000)
    assert done.exit_status == 0


async def test_a_command_that_does_not_exist_is_an_os_error(site: LocalTransport) -> None:
    """The daemon's look at site.python tells it from a fault that passes."""
    with pytest.raises(FileNotFoundError):
        await site.run(["no-such-command-anywhere"])


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that only waits to be reaped has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def has_a_line(path: Path) -> bool:
    """Whether a file is there and its line is whole."""
    return path.exists() and path.read_text().endswith("\n")


@pytest.mark.slow
async def test_a_timeout_kills_the_command_and_all_that_it_started(site: LocalTransport) -> None:
    """TransientError comes in time although a grandchild holds the output open.

    Nothing goes on in secret.
    """
    began = time.monotonic()
    with pytest.raises(TransientError, match=r"no end of sh within 2 s"):
        await site.run(["sh", "-c", "sleep 60 & echo $! $$ > pids; wait"], timeout_s=2)
    assert time.monotonic() - began < 20
    pids = [int(word) for word in (await site.read("pids") or b"").split()]
    assert len(pids) == 2
    await until(lambda: all(is_gone(pid) for pid in pids))


async def test_cancelling_kills_the_command(site: LocalTransport, tmp_path: Path) -> None:
    """Whoever stops waiting leaves no process behind."""
    running = asyncio.create_task(site.run(["sh", "-c", "echo $$ > pid; sleep 60"]))
    await until(lambda: has_a_line(tmp_path / "pid"))
    pid = int(await site.read("pid") or b"")
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert is_gone(pid)


async def test_cancelling_a_command_that_begins_leaves_no_child_of_it(
    site: LocalTransport, tmp_path: Path
) -> None:
    """It runs already, with a child that holds its pipes, before the loop has connected them."""
    running = asyncio.create_task(site.run(["sh", "-c", "sleep 60 & echo $! > pid; wait"]))
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().endswith("\n"):
        await asyncio.sleep(0)
        time.sleep(0.1)  # noqa: ASYNC251 - the loop gets no further than to begin it
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(20):
            await running
    await until(lambda: is_gone(int((tmp_path / "pid").read_text())))


@contextlib.contextmanager
def room_for_1000_bytes() -> Iterator[None]:
    """No file of this process may grow beyond 1000 bytes, as on a full disk."""
    before, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (before, hard))


async def test_a_full_disk_is_a_fault_that_passes(site: LocalTransport) -> None:
    """A write without room is a TransientError.

    The earlier file stays whole, and nothing stays of the new one.
    """
    await site.write({"one": b"before"})
    with pytest.raises(TransientError, match=r"too large"), room_for_1000_bytes():
        await site.write({"one": b"x" * 1001})
    assert await site.read("one") == b"before"
    assert await site.names("") == ("one",)


async def test_a_folder_in_the_place_of_a_file_is_for_the_operator(site: LocalTransport) -> None:
    """Waiting mends no wrong folder."""
    await site.write({"folder/one": b"1"})
    with pytest.raises(OperatorError, match=r"folder"):
        await site.read("folder")
    with pytest.raises(OperatorError, match=r"one"):
        await site.write({"folder/one/two": b"1"})
