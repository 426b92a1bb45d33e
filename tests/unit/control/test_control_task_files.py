"""Files of tasks on the site: bounded reads by the site's own shell, over any transport."""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from kit.control import SmallWorkflow, running, tasks, working

from mlip_autopipec.control.api import ErrorCode, Refused
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.control.task_files import (
    FILES_MAX,
    PART_BYTES_MAX,
    FilePart,
    FilesHere,
    NoSuchFile,
    SiteFiles,
    TaskListing,
    TaskOutput,
    checked_name,
    file_named,
    folder_of,
    main_output,
)
from mlip_autopipec.control.task_logs import follow, for_terminal, last_lines, listing_lines
from mlip_autopipec.errors import FileUnusable, TransientError
from mlip_autopipec.ports import Completed
from mlip_autopipec.testing.memory import MemoryTransport
from mlip_autopipec.transports.local import LocalTransport

TASK = tasks(1)[0]
AT = "2026-01-31T12:00:00Z"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The folder of a task."""
    made = tmp_path / "root" / TASK.workdir
    (made / "run-1").mkdir(parents=True)
    return made


@pytest.fixture
def files(tmp_path: Path) -> SiteFiles:
    return SiteFiles(LocalTransport(tmp_path / "root"), lambda: secrets.token_hex(8))


async def part(files: SiteFiles, name: str, begin: int | None = None) -> FilePart | None:
    return await files.part(TASK.id, TASK.workdir, name, begin, live=False)


def listing(*names: str) -> TaskListing:
    """Each a second later than the one before."""
    made = [
        TaskOutput(name=name, size=1, changed_at=f"2026-01-31T12:00:{n:02d}Z")
        for n, name in enumerate(names)
    ]
    return TaskListing(task=TASK.id, folder=TASK.workdir, live=False, files=tuple(made))


async def test_files_are_listed_by_name_size_and_time(files: SiteFiles, folder: Path) -> None:
    """Regular files alone; names that are no text are left out."""
    (folder / "run-1" / "log.lammps").write_text("x" * 7)
    (folder / "run-1" / "a name with blanks\tand a tab").touch()
    (folder / "run-1" / "a name with blanks").touch()
    (folder / "job-x.out").touch()
    (folder / "run-1" / "link").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe")
    os.mkfifo(os.fsencode(folder) + b"/\xff\xfd")
    os.close(os.open(os.fsencode(folder) + b"/\xff\xfe", os.O_CREAT))
    found = await files.listing(TASK.id, TASK.workdir, live=True)
    names = [file.name for file in found.files]
    assert names == ["job-x.out", "run-1/a name with blanks", "run-1/log.lammps"]
    assert (found.files[2].size, found.live, found.more) == (7, True, False)
    assert TaskListing.model_validate_json(found.model_dump_json()) == found


@pytest.mark.usefixtures("folder")
async def test_a_folder_that_is_not_there_has_no_files(files: SiteFiles) -> None:
    """Nothing has begun."""
    found = await files.listing(TASK.id, f"{TASK.workdir}x", live=False)
    assert (found.files, found.more) == ((), False)


async def test_a_folder_of_very_many_files_is_named_in_part(files: SiteFiles, folder: Path) -> None:
    for number in range(FILES_MAX + 10):
        (folder / f"{number:06d}").touch()
    found = await files.listing(TASK.id, TASK.workdir, live=False)
    assert (len(found.files), found.more) == (FILES_MAX, True)
    for number in range(FILES_MAX):
        (folder / f"{number:0250d}").touch()
    assert (await files.listing(TASK.id, TASK.workdir, live=False)).more


async def test_of_a_long_file_its_end_comes_and_no_more_than_may_be(
    files: SiteFiles, folder: Path
) -> None:
    """The rest from where the part before has ended."""
    content = b"".join(b"line %06d\n" % number for number in range(20_000))
    (folder / "run-1" / "pw.1.out").write_bytes(content)
    end = await part(files, "run-1/pw.1.out")
    assert end is not None
    assert (end.size, end.end, end.begin) == (
        len(content),
        len(content),
        len(content) - PART_BYTES_MAX,
    )
    assert end.text.endswith("line 019999\n")
    read, at = b"", 0
    while at < len(content):
        piece = await part(files, "run-1/pw.1.out", at)
        assert piece is not None
        assert len(piece.text) <= PART_BYTES_MAX
        read, at = read + piece.text.encode(), piece.end
    assert read == content


async def test_bytes_of_any_kind_come_as_text(files: SiteFiles, folder: Path) -> None:
    """Zeros, what is no UTF-8, and what would look like a frame of the answer.

    Positions are those of the bytes.
    """
    odd = b"\0\xff\nAP nonce part 0 3\nabc\n\x1b[2J" + b"\n\n\n"
    (folder / "odd").write_bytes(odd)
    found = await part(files, "odd")
    assert found is not None
    assert (found.text, found.end) == (odd.decode("utf-8", "replace"), len(odd))
    letters = ("é" * (PART_BYTES_MAX // 2 - 1) + "a" + "漢" * 4).encode()
    (folder / "letters").write_bytes(letters)
    first = await part(files, "letters", 0)
    assert first is not None
    rest = await part(files, "letters", first.end)
    assert rest is not None
    assert (first.text + rest.text).encode() == letters


async def test_a_file_that_is_none_is_not_opened(files: SiteFiles, folder: Path) -> None:
    """A pipe would be waited for; a link could lead anywhere; a folder has no lines."""
    os.mkfifo(folder / "pipe")
    (folder / "link").symlink_to("/etc/passwd")
    for name in ("pipe", "link", "run-1"):
        with pytest.raises(FileUnusable, match="it is no regular file"):
            await part(files, name)
    assert await part(files, "nothing") is None


async def test_a_file_that_has_become_shorter_is_read_from_its_beginning(
    files: SiteFiles, folder: Path
) -> None:
    (folder / "log").write_text("new\n")
    found = await part(files, "log", 500)
    assert found is not None
    assert (found.begin, found.text, found.size) == (0, "new\n", 4)


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../../x", "a\nb", "x" * 301, "\x1b[2J"]
)
def test_a_name_that_leads_elsewhere_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="expected a name below the task's folder"):
        checked_name(name)


@pytest.mark.parametrize("name", ["-n", "$(touch x)", "a;b", "'", '"', "`x`", "a b", "*"])
async def test_a_name_is_no_word_of_a_shell(files: SiteFiles, folder: Path, name: str) -> None:
    (folder / name).write_text("right")
    found = await part(files, name)
    assert found is not None
    assert found.text == "right"
    assert not (folder.parents[3] / "x").exists()


async def test_an_answer_that_was_cut_is_no_empty_file() -> None:
    """Nothing is made up where the site's words did not come through."""
    cut = MemoryTransport(command=lambda *_: Completed(0, b"garbage", b""))
    with pytest.raises(TransientError, match="was cut"):
        await SiteFiles(cut, lambda: "n").part(TASK.id, TASK.workdir, "x", None, live=False)


def test_a_task_of_any_cycle_has_its_folder_by_its_id() -> None:
    """As it was planned; what is no id has none."""
    assert folder_of(TASK.id) == TASK.workdir
    for wrong in (
        "",
        "c000.training",
        "c000.training.0000-abcdef/..",
        "c000.nothing.0000-abcdef",
        "../x",
    ):
        assert folder_of(wrong) is None


# --- which file is meant --------------------------------------------------------------------------


def test_the_newest_output_of_the_code_itself_comes_first() -> None:
    """pw.x's last try, LAMMPS' log, pacemaker's; without any, what runs them; nothing empty."""
    found = main_output(
        listing(
            "job-a.out", "run-1/pw.1.out", "run-1/pw.2.out", "run-1/log.txt", "run-1/x.dump"
        ).files
    )
    assert found is not None
    assert found.name == "run-1/pw.2.out"
    assert main_output(listing("run-1/a.dump").files) is None
    newest = main_output(listing("run-1/log.lammps", "run-2/log.lammps", "run-2/log.txt").files)
    assert newest is not None
    assert newest.name == "run-2/log.lammps"
    for name in ("OUTCAR", "cp2k.out", "log.cite", "fit.log"):  # of codes that nobody names here
        other = main_output(listing("job-a.out", f"run-1/{name}", "run-1/log.txt").files)
        assert other is not None
        assert other.name == f"run-1/{name}"
    ran = main_output(listing("job-a.out", "run-1/log.txt").files)
    assert ran is not None
    assert ran.name == "run-1/log.txt"


def test_a_file_is_found_by_its_last_name_in_the_newest_run() -> None:
    """A typing error gets the nearest, and everything that there is."""
    there = listing("run-1/log.lammps", "run-2/log.lammps", "task.json")
    assert file_named(there, "log.lammps").name == "run-2/log.lammps"
    assert file_named(there, "run-1/log.lammps").name == "run-1/log.lammps"
    with pytest.raises(
        NoSuchFile, match=r"the nearest is run-2/log\.lammps\. There are run-1/log"
    ) as wrong:
        file_named(there, "log.lamps")
    assert wrong.value.exit_code == 2
    with pytest.raises(NoSuchFile, match=r"has written no output\. There is nothing in cycles"):
        file_named(listing(), None)


# --- by the daemon --------------------------------------------------------------------------------


async def test_the_daemon_reads_for_its_clients(
    tmp_path: Path, files: SiteFiles, folder: Path
) -> None:
    """By its own connection; a task that is at work is live."""
    (folder / "run-1" / "log.lammps").write_text("Step 1\nStep 2\n")
    async with running(tmp_path, SmallWorkflow(working(1)), files=files) as stand:
        client = ControlClient(stand.socket)
        listed = await client.task_files(TASK.id)
        found = await client.task_file(TASK.id, "run-1/log.lammps", 7)
        with pytest.raises(Refused, match="has no file a b&c=d") as gone:
            await client.task_file(TASK.id, "a b&c=d")
        with pytest.raises(Refused, match="is no id of a task"):
            await client.task_files("../../etc")
    assert [file.name for file in listed.files] == ["run-1/log.lammps"]
    assert (listed.live, found.live, found.text) == (True, True, "Step 2\n")
    assert gone.value.code is ErrorCode.NOT_FOUND


async def test_a_site_that_is_away_is_told_and_holds_nobody_else_up(tmp_path: Path) -> None:
    """With an exit code of its own; meanwhile the daemon answers."""
    asked, away = asyncio.Event(), asyncio.Event()

    async def disturb(_: str) -> None:
        asked.set()
        await away.wait()
        raise TransientError("no route to host")

    there = SiteFiles(MemoryTransport(disturb=disturb), lambda: "n")
    async with (
        running(tmp_path, SmallWorkflow(working(1)), files=there) as stand,
        asyncio.TaskGroup() as group,
    ):
        client = ControlClient(stand.socket)

        async def refused() -> Refused:
            with pytest.raises(Refused, match="the site: no route to host") as error:
                await client.task_files(TASK.id)
            return error.value

        waiting = group.create_task(refused())
        await asked.wait()
        assert (await client.info()).campaign
        away.set()
        assert ((await waiting).code, (await waiting).exit_code) == (ErrorCode.SITE, 75)


# --- as a person reads it -------------------------------------------------------------------------


def test_the_last_lines_are_whole() -> None:
    """The first of a part may be the end of one."""

    def of(text: str, begin: int) -> FilePart:
        return FilePart(task="t", name="n", live=False, size=99, begin=begin, end=99, text=text)

    assert last_lines(of("ne 1\nline 2\nline 3\n", 5), 9) == "line 2\nline 3\n"
    assert last_lines(of("line 1\nline 2\nline 3", 0), 2) == "line 2\nline 3"
    assert last_lines(of("one long line", 5), 9) == "one long line"
    assert last_lines(of("a\nb\n", 0), 0) == ""


def test_the_listing_fits_and_says_where() -> None:
    lines = list(listing_lines(listing("run-1/log.lammps")))
    assert lines == ["1 B  2026-01-31 12:00:00  run-1/log.lammps", f"1 file, in {TASK.workdir}"]


def test_what_codes_overwrite_is_shown_line_by_line() -> None:
    assert for_terminal("a\r\nb\rc\td") == "a\nb\nc       d"


async def test_following_ends_when_the_attempt_is_over_and_all_is_read(
    files: SiteFiles, folder: Path
) -> None:
    """What is written meanwhile comes once; a file that is begun anew comes from its beginning."""
    (folder / "log").write_text("one\n")
    steps: list[Callable[[], object]] = [
        lambda: (folder / "log").write_text("one\ntwo\n"),
        lambda: (folder / "log").write_text("new\n"),
        lambda: None,
        lambda: None,
    ]

    async def wait() -> None:
        await asyncio.to_thread(steps.pop(0))

    begun = await part(files, "log")
    assert begun is not None
    said = [text async for text in follow(FilesHere(files), begun, wait)]
    assert said == ["two\n", "new\n"]


async def test_following_goes_on_while_an_attempt_is_live() -> None:
    """Also where nothing was written for long."""
    looks = 0

    class Live:
        async def task_files(self, task: str) -> TaskListing:
            raise AssertionError(task)

        async def task_file(self, task: str, name: str, begin: int | None = None) -> FilePart:
            nonlocal looks
            looks += 1
            assert begin == 4
            return FilePart(task=task, name=name, live=looks < 9, size=4, begin=4, end=4, text="")

    async def wait() -> None:
        await asyncio.sleep(0)

    wait_for: Callable[[], Awaitable[None]] = wait
    start = FilePart(task="t", name="n", live=True, size=4, begin=0, end=4, text="one\n")
    said: Sequence[str] = [text async for text in follow(Live(), start, wait_for)]
    assert (list(said), looks) == ([], 10)
