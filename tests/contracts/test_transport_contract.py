"""What every ports.Transport keeps: on this machine, by asyncssh, and by OpenSSH.

The tests are against real files and processes.
"""

import asyncio
import hashlib
import os
import socket
import time
from pathlib import Path

import pytest
from kit.far_sites import Site
from kit.processes import runs
from kit.waiting import until

from mlip_autopipec.errors import FileUnusable, NameTaken, OperatorError, TransientError
from mlip_autopipec.orchestration.reading import read_pages
from mlip_autopipec.ports import READ_BYTES_MAX, SMALL_FILE_BYTES_MAX

EVERY_BYTE = bytes(range(256))
ODD_NAMES = (
    "with space",
    "quote'single",
    'quote"double',
    "-dash",
    "--option=x",
    "dollar$HOME",
    "back`tick`",
    "back\\slash\\n",
    "star*?[a]",
    "semi;colon&",
    "exclaim!",
    "tilde~",
    "#hash",
    "Zürich-γ-原子",
    "new\nline",
    "tab\tand\rreturn",
    "x" * 200,
)


async def test_what_is_written_is_read_again(site: Site) -> None:
    """Every byte, no bytes, and many bytes come back as they were, with folders made on the way."""
    files = {"a/b/every": EVERY_BYTE, "a/none": b"", "many": os.urandom(3 * 2**20)}
    await site.transport.write(files)
    assert {path: await site.transport.read(path) for path in files} == files
    assert await site.transport.read_many(list(files)) == files
    assert (site.root / "a/b/every").read_bytes() == EVERY_BYTE


async def test_many_small_files_go_at_once(site: Site) -> None:
    """Five hundred, each in a folder of its own, there and back."""
    files = {
        f"cycles/003/calculation/{number:03}/task.json": os.urandom(400) for number in range(500)
    }
    await site.transport.write(files)
    assert await site.transport.read_many([*files, "cycles/absent"]) == files
    assert len(await site.transport.names("cycles/003/calculation")) == 500


async def test_existing_files_are_replaced(site: Site) -> None:
    """Also by shorter ones, and also many at once; the others stay."""
    files = {f"folder/{number}": b"first version" for number in range(40)}
    await site.transport.write(files)
    await site.transport.write(dict.fromkeys(list(files)[:30], b"second"))
    found = await site.transport.read_many(list(files))
    assert [found[path] for path in files] == [b"second"] * 30 + [b"first version"] * 10


async def test_concurrent_writers_and_readers_see_whole_files_only(site: Site) -> None:
    """Whoever is last wins; nobody ever reads a part, or nothing."""
    versions = {letter * 200_000 for letter in (b"a", b"b", b"c")}
    await site.transport.write({"shared": b"a" * 200_000})

    async def write(content: bytes) -> None:
        for _ in range(5):
            await site.transport.write({"shared": content})

    async def read() -> None:
        for _ in range(10):
            assert await site.transport.read("shared") in versions
            assert (await site.transport.read_many(["shared"]))["shared"] in versions

    await asyncio.gather(*map(write, versions), read(), read())
    assert await site.transport.read("shared") in versions


async def test_what_does_not_exist_is_left_out(site: Site) -> None:
    """A file, a file in a folder that is not there, a folder; and nothing was asked for."""
    await site.transport.write({"here": b"1"})
    assert await site.transport.read("absent") is None
    assert await site.transport.read("no/folder/absent") is None
    assert await site.transport.read_many(["absent", "here", "no/folder/absent"]) == {"here": b"1"}
    assert await site.transport.read_many(["absent"]) == {}
    assert await site.transport.read_many([]) == {}
    assert await site.transport.names("absent") == ()


async def test_a_site_that_has_no_root_yet_is_empty(site: Site) -> None:
    """The first write makes it."""
    site.root.rmdir()
    assert await site.transport.read("any") is None
    assert await site.transport.read_many(["any"]) == {}
    assert await site.transport.names("outbox") == ()
    await site.transport.write({"any": b"1"})
    assert await site.transport.read("any") == b"1"


async def test_a_hard_link_is_a_file(site: Site) -> None:
    """As good as any other name of it."""
    await site.transport.write({"file": b"content"})
    os.link(site.root / "file", site.root / "hard")

    assert await site.transport.read_many(["file", "hard"]) == dict.fromkeys(
        ["file", "hard"], b"content"
    )


def odd(folder: Path) -> dict[str, Path]:
    """A name of every kind that is no regular file which can be read, in `folder`."""
    made = {
        kind: folder / kind
        for kind in ("folder", "fifo", "socket", "loop", "device", "soft", "nowhere")
    }
    made["folder"].mkdir()
    os.mkfifo(made["fifo"])
    before = Path.cwd()
    os.chdir(folder)  # the name of a socket may not be long
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind("socket")
    finally:
        os.chdir(before)
    made["loop"].symlink_to("loop")
    made["device"].symlink_to("/dev/zero")
    (folder / "target").write_bytes(b"not what was asked for")
    made["soft"].symlink_to("target")
    made["nowhere"].symlink_to("absent")
    if os.geteuid() != 0:
        made["locked"] = folder / "locked"
        made["locked"].write_bytes(b"")
        made["locked"].chmod(0)
    return made


async def test_a_name_that_is_no_file_costs_no_other_and_holds_nothing_up(site: Site) -> None:
    """A folder, a pipe, a socket, loops, devices and links: left out of many, and told of one.

    No name is missed.
    """
    await site.transport.write({"outbox/good": b"1", "file": b""})
    names = odd(site.root / "outbox")
    paths = [f"outbox/{name}" for name in names]

    async with asyncio.timeout(30):
        assert await site.transport.read_many([*paths, "outbox/good", "file/below"]) == {
            "outbox/good": b"1"
        }
        answers = await asyncio.gather(*map(site.transport.read, paths), return_exceptions=True)
        for path, answer in zip(paths, answers, strict=True):
            assert isinstance(answer, FileUnusable)
            assert path in str(answer)
        assert await site.transport.read("file/below") is None
        assert set(await site.transport.names("outbox")) == {*names, "good", "target"}


async def test_names_are_those_in_the_folder(site: Site) -> None:
    """Files and folders, sorted, without what lies deeper, and with no temporary name left."""
    await site.transport.write(
        {"outbox/b": b"", "outbox/a": b"", "outbox/folder/deep": b"", "outbox/.hidden": b""}
    )
    assert await site.transport.names("outbox") == (".hidden", "a", "b", "folder")
    await site.transport.write({f"outbox/{number}": b"" for number in range(20)})
    assert len(await site.transport.names("outbox")) == 24


async def test_files_over_the_limit_are_refused(site: Site) -> None:
    """One byte more is too much; it is for a person, as nothing of ours is so large."""
    await site.transport.write({"large": b"x" * 1001})
    with pytest.raises(OperatorError, match="large"):
        await site.transport.read("large", size_max=1000)
    assert await site.transport.read("large", size_max=1001) == b"x" * 1001


async def test_of_many_files_the_large_ones_are_left_out(site: Site) -> None:
    """They would take all others' memory; whoever asks for one of them alone is told its size."""
    path = site.root / "large"
    await site.transport.write({"small": b"1"})
    with path.open("wb") as stream:
        stream.truncate(SMALL_FILE_BYTES_MAX + 1)
    assert await site.transport.read_many(["large"]) == {}
    assert await site.transport.read_many(["large", "small", "absent"]) == {"small": b"1"}
    with path.open("r+b") as stream:
        stream.truncate(SMALL_FILE_BYTES_MAX)
    assert len((await site.transport.read_many(["large"]))["large"]) == SMALL_FILE_BYTES_MAX


async def test_more_than_one_call_may_bring_is_read_in_pages(site: Site) -> None:
    """Files that are all as large as may be: some at a time, none half, and all in the end."""
    await site.transport.write({"large/none": b""})
    paths = [f"large/{number}" for number in range(READ_BYTES_MAX // SMALL_FILE_BYTES_MAX + 1)]
    for path in paths:
        with (site.root / path).open("wb") as stream:
            stream.truncate(SMALL_FILE_BYTES_MAX)
    await site.transport.write({"small": b"1"})
    pages = [
        page async for page in read_pages(site.transport, [*paths, "absent", "large", "small"])
    ]
    assert len(pages) > 1
    assert sorted(path for page in pages for path in page) == [*paths, "small"]
    for page in pages:
        assert sum(map(len, page.values())) <= READ_BYTES_MAX
        assert {len(content) for content in page.values()} <= {1, SMALL_FILE_BYTES_MAX}


@pytest.mark.parametrize("name", ODD_NAMES)
async def test_odd_names_are_names(site: Site, name: str) -> None:
    """No shell, tar or checksum tool takes anything in a name for itself."""
    path = f"{name}/{name}"
    await site.transport.write({path: b"content", f"{path}-2": b"other"})
    assert (site.root / name / name).read_bytes() == b"content"
    assert await site.transport.read(path) == b"content"
    assert await site.transport.read_many([path, f"{path}-2"]) == {
        path: b"content",
        f"{path}-2": b"other",
    }
    assert await site.transport.names(name) == tuple(sorted((name, f"{name}-2")))


async def test_a_name_that_is_no_text_is_read_as_any_other(site: Site) -> None:
    """Somebody has placed it; it is listed, and read beside the others."""
    await site.transport.write({"outbox/good": b"1"})
    (site.root / "outbox" / "\udcff\udcfe").write_bytes(b"2")
    names = await site.transport.names("outbox")
    assert sorted(names) == sorted(("good", "\udcff\udcfe"))
    found = await site.transport.read_many([f"outbox/{name}" for name in names])
    assert found == {"outbox/good": b"1", "outbox/\udcff\udcfe": b"2"}


async def test_a_folder_may_be_a_link(site: Site, tmp_path: Path) -> None:
    """As when a user has put `cycles` on another file system."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (site.root / "cycles").symlink_to(elsewhere)
    for content in (b"1", b"2"):
        await site.transport.write({"cycles/003/odd name": content, "plain": content})
    assert (elsewhere / "003/odd name").read_bytes() == b"2"
    assert await site.transport.read_many(["cycles/003/odd name", "plain"]) == {
        "cycles/003/odd name": b"2",
        "plain": b"2",
    }
    assert await site.transport.names("cycles") == ("003",)
    assert await site.transport.names("cycles/003") == ("odd name",)


async def test_a_folder_in_the_place_of_a_file_is_for_a_person(site: Site) -> None:
    """To be written or read; it stays as it is."""
    await site.transport.write({"place/inside": b"1"})
    with pytest.raises(NameTaken, match="place"):
        await site.transport.write({"place": b"2"})
    with pytest.raises(OperatorError, match="place"):
        await site.transport.read("place")
    with pytest.raises(NameTaken, match="inside"):
        await site.transport.write({"place/inside/deeper": b"2"})
    assert await site.transport.names("place") == ("inside",)


@pytest.mark.parametrize("status", [0, 1, 3, 124, 127, 137, 255])
async def test_exit_statuses_are_the_commands_own(site: Site, status: int) -> None:
    """Also those that `timeout` and `ssh` use themselves."""
    completed = await site.transport.run(["sh", "-c", f"exit {status}"])
    assert (completed.exit_status, completed.stdout, completed.stderr) == (status, b"", b"")


async def test_both_outputs_come_back_apart(site: Site) -> None:
    """Byte by byte, without a newline at the end, and with none lost of much."""
    script = "printf 'out\\000\\377'; printf 'err\\000\\377' >&2; exit 7"
    completed = await site.transport.run(["sh", "-c", script])
    assert (completed.exit_status, completed.stdout, completed.stderr) == (
        7,
        b"out\0\xff",
        b"err\0\xff",
    )
    much = await site.transport.run(
        ["sh", "-c", "head -c 3000000 /dev/zero; head -c 3000000 /dev/zero >&2"]
    )
    assert (len(much.stdout), len(much.stderr)) == (3_000_000, 3_000_000)


async def test_standard_input_is_given_whole(site: Site) -> None:
    """Much of it, all of it to a command that reads it, and no harm with one that does not."""
    content = os.urandom(3 * 2**20)
    completed = await site.transport.run(["sha256sum"], stdin=content)
    assert completed.stdout.split()[0].decode() == hashlib.sha256(content).hexdigest()
    assert (await site.transport.run(["cat"], stdin=EVERY_BYTE)).stdout == EVERY_BYTE
    assert (await site.transport.run(["cat"])).stdout == b""
    assert (await site.transport.run(["true"], stdin=content)).exit_status == 0


async def test_words_of_a_command_are_words(site: Site) -> None:
    """None is split, filled in or lost on the way."""
    arguments = [*ODD_NAMES, "", " ", "'", '"', "\\", "$(id)", "a\\'b", "%s\\n"]
    completed = await site.transport.run(["printf", "%s\\0", *arguments])
    assert completed.stdout.decode().split("\0")[:-1] == arguments


async def test_commands_run_in_the_root(site: Site) -> None:
    """Paths of a command are those of the transport."""
    await site.transport.write({"folder/file": b"content"})
    assert (await site.transport.run(["cat", "folder/file"])).stdout == b"content"
    assert (await site.transport.run(["pwd", "-P"])).stdout.decode().strip() == str(
        site.root.resolve()
    )


async def test_a_command_that_takes_too_long_is_ended(site: Site) -> None:
    """It is not known how it ended; within ten seconds it is gone, with what it had started."""
    script = "sleep 300 & echo $! $$ > pids.new; mv pids.new pids; wait"
    for timeout_s in (2, 20):  # a busy machine may not have begun it in two seconds
        began = time.monotonic()
        with pytest.raises(TransientError, match="sh"):
            await site.transport.run(["sh", "-c", script], timeout_s=timeout_s)
        assert time.monotonic() - began < timeout_s + 10
        if (site.root / "pids").exists():
            break
    pids = [int(word) for word in (site.root / "pids").read_text().split()]
    assert len(pids) == 2
    await until(lambda: not any(map(runs, pids)))
    assert time.monotonic() - began < timeout_s + 20
    assert (await site.transport.run(["true"])).exit_status == 0


async def test_more_calls_at_a_time_than_channels(site: Site) -> None:
    """Thirty at once all get their own answers."""
    calls = [site.transport.run(["sh", "-c", f"sleep 0.1; echo {number}"]) for number in range(30)]
    answers = await asyncio.gather(*calls)
    assert [int(answer.stdout) for answer in answers] == list(range(30))
