"""The log in words, and its tail across rotations."""

import asyncio
import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mlip_autopipec.control.logs import follow, last_lines, render_line


def test_a_line_is_put_into_words() -> None:
    """Time, level and words first, then everything else in the order of the file."""
    entry = {
        "timestamp": "2026-01-31T12:00:00.123456Z",
        "level": "info",
        "event": "batch accepted",
        "seq": 4,
        "uid": "u",
    }
    assert (
        render_line(json.dumps(entry))
        == "2026-01-31T12:00:00 info     batch accepted  seq=4  uid=u"
    )


def test_an_exception_stands_below_its_line() -> None:
    """A traceback keeps its lines."""
    entry = {
        "timestamp": "2026-01-31T12:00:00Z",
        "level": "error",
        "event": "ended",
        "exception": "Traceback\n  x",
    }
    assert render_line(json.dumps(entry)) == "2026-01-31T12:00:00 error    ended\nTraceback\n  x"


@pytest.mark.parametrize("line", ["plain words", "[1]", "{torn", ""])
def test_what_is_no_entry_is_shown_as_it_is(line: str) -> None:
    """A log may hold what some library printed."""
    assert render_line(line) == line


async def test_the_last_lines_are_whole(tmp_path: Path) -> None:
    """A line that is still being written is left out."""
    path = tmp_path / "log"
    path.write_bytes(b"1\n2\n3\nhal")
    assert await last_lines(path, 2) == ["2", "3"]
    assert await last_lines(path, 0) == []
    assert await last_lines(path, 9) == ["1", "2", "3"]


async def test_the_last_lines_begin_in_the_log_before(tmp_path: Path) -> None:
    """Right after a rotation there is not much in the new one."""
    (tmp_path / "log.1").write_bytes(b"1\n2\n3\n")
    (tmp_path / "log").write_bytes(b"4\n")
    assert await last_lines(tmp_path / "log", 3) == ["2", "3", "4"]
    assert await last_lines(tmp_path / "log", 1) == ["4"]


class EndOfScript(Exception):  # noqa: N818 - the name is the fact
    """What ends a follower in these tests."""


class Script:
    """Does one thing to the log each time the follower has nothing left to read; then ends it."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self._steps = list(steps)

    async def __call__(self) -> None:
        if not self._steps:
            raise EndOfScript
        await asyncio.to_thread(self._steps.pop(0))


async def told(path: Path, count: int, script: Script, seen: list[str] | None = None) -> list[str]:
    """What a follower tells until the script ends."""
    seen = [] if seen is None else seen
    with contextlib.suppress(EndOfScript):
        async for line in follow(path, count, script):
            seen.append(line)
    return seen


def append(path: Path, content: bytes) -> Callable[[], object]:
    def step() -> None:
        with path.open("ab") as stream:
            stream.write(content)

    return step


async def test_following_gives_new_lines_once_they_are_whole(tmp_path: Path) -> None:
    """First the last lines, then each new one, never half of one."""
    path = tmp_path / "log"
    path.write_bytes(b"1\n2\n3\n")
    seen: list[str] = []
    script = Script(append(path, b"4\n5"), lambda: seen.append("–"), append(path, b"5\n"))
    assert await told(path, 2, script, seen) == ["2", "3", "4", "–", "55"]


async def test_following_goes_on_after_a_rotation(tmp_path: Path) -> None:
    """The rest of the old file comes first, then the whole new one."""
    path = tmp_path / "log"
    path.write_bytes(b"1\n")

    def rotate() -> None:
        append(path, b"2\n")()
        path.rename(tmp_path / "log.1")
        path.write_bytes(b"3\n4\n")

    assert await told(path, 10, Script(rotate)) == ["1", "2", "3", "4"]


async def test_following_goes_on_after_a_truncation(tmp_path: Path) -> None:
    """A file cut short is read from its beginning."""
    path = tmp_path / "log"
    path.write_bytes(b"a long first line\n")
    assert await told(path, 10, Script(lambda: path.write_bytes(b"2\n"))) == [
        "a long first line",
        "2",
    ]


async def test_a_log_that_is_away_for_a_moment_is_waited_for(tmp_path: Path) -> None:
    """Between the two steps of a rotation there is no file."""
    path = tmp_path / "log"
    path.write_bytes(b"1\n")
    script = Script(path.unlink, lambda: path.write_bytes(b"2\n"))
    assert await told(path, 10, script) == ["1", "2"]


async def test_lines_longer_than_a_read_are_whole(tmp_path: Path) -> None:
    """Blocks end anywhere: within a line, within a letter."""
    lines = ["γ" * length for length in (600_000, 1, 700_001)]
    (tmp_path / "log").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    assert await last_lines(tmp_path / "log", 9) == lines
