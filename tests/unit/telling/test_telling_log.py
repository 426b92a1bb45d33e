"""The log file, line by line."""

import io
import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from kit.campaign import Campaign, whole_campaign

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.telling.log import LogObserver, configure, is_journal


def lines_of(path: Path) -> list[dict[str, object]]:
    """Every line as JSON."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_lines_come_back_as_json(tmp_path: Path) -> None:
    """Words, level, fields and a UTC timestamp survive the way to the file and back."""
    logger = configure(tmp_path / "log", "info")
    before = datetime.now(UTC)
    logger.bind(campaign="copper").warning("γ rises", cycle=2)
    logger.debug("too fine")
    (line,) = lines_of(tmp_path / "log")
    at = datetime.fromisoformat(str(line.pop("timestamp")))
    assert timedelta(0) == at.utcoffset()
    assert abs(at - before) < timedelta(seconds=30)
    assert line == {"level": "warning", "event": "γ rises", "campaign": "copper", "cycle": 2}


def test_the_file_is_only_appended_to(tmp_path: Path) -> None:
    """A restarted daemon adds to the log of the one before, and nobody else may read it."""
    path = tmp_path / "log"
    configure(path, "info").info("first")
    configure(path, "info").info("second")
    assert [line["event"] for line in lines_of(path)] == ["first", "second"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_nothing_global_is_configured(tmp_path: Path) -> None:
    """Two loggers with their own levels live side by side, and structlog's defaults stay."""
    before = structlog.is_configured(), structlog.get_config()
    quiet, loud = configure(tmp_path / "quiet", "error"), configure(tmp_path / "loud", "debug")
    quiet.info("a")
    loud.debug("b")
    assert (
        lines_of(tmp_path / "quiet"),
        [line["event"] for line in lines_of(tmp_path / "loud")],
    ) == ([], ["b"])
    assert (structlog.is_configured(), structlog.get_config()) == before


def test_an_exception_is_logged_with_its_traceback(tmp_path: Path) -> None:
    """The traceback is a field of the one line."""
    logger = configure(tmp_path / "log", "info")
    try:
        raise ValueError("broken")  # noqa: TRY301 - it has to be raised to have a traceback
    except ValueError:
        logger.exception("it ended")
    (line,) = lines_of(tmp_path / "log")
    assert line["level"] == "error"
    assert "ValueError: broken" in str(line["exception"])


def test_a_full_disk_costs_lines_and_nothing_else(tmp_path: Path) -> None:
    """Lines that cannot be written are counted, and the next that can says how many there were."""
    path = tmp_path / "log"
    path.symlink_to("/dev/full")
    logger = configure(path, "info")
    logger.info("one")
    logger.info("two")
    path.unlink()  # the full disk is gone
    logger.info("three")
    logger.info("four")
    assert [(line["event"], line.get("lines_lost_before")) for line in lines_of(path)] == [
        ("three", 2),
        ("four", None),
    ]


def test_a_log_that_was_moved_away_begins_anew(tmp_path: Path) -> None:
    """As logrotate and `mv` do it.

    What was written stays in the old file, what comes is in the new one.
    """
    path = tmp_path / "log"
    logger = configure(path, "info")
    logger.info("before")
    path.rename(tmp_path / "old")
    logger.info("behind")
    path.unlink()
    logger.info("again")
    (tmp_path / "other").write_text("")
    (tmp_path / "other").replace(path)  # logrotate's `create`
    logger.info("created")
    assert [line["event"] for line in lines_of(tmp_path / "old")] == ["before"]
    assert [line["event"] for line in lines_of(path)] == ["created"]
    with path.open("r+b") as stream:  # its `copytruncate`
        stream.truncate(0)
    logger.info("cut")
    assert [line["event"] for line in lines_of(path)] == ["cut"]


def test_a_log_that_cannot_be_begun_anew_costs_lines_and_says_how_many(tmp_path: Path) -> None:
    """The folder is away for a moment: a file system that is mounted again."""
    folder = tmp_path / "folder"
    folder.mkdir()
    logger = configure(folder / "log", "info")
    folder.rename(tmp_path / "away")
    logger.info("lost")
    folder.mkdir()
    logger.info("found")
    (line,) = lines_of(folder / "log")
    assert (line["event"], line["lines_lost_before"]) == ("found", 1)


@pytest.mark.parametrize(("kept", "files"), [(2, ["log", "log.1", "log.2"]), (0, ["log"])])
def test_a_log_is_put_aside_by_size(tmp_path: Path, kept: int, files: list[str]) -> None:
    """No file is larger, every line is whole, and so many files stay as were asked for."""
    path = tmp_path / "log"
    logger = configure(path, "info", bytes_max=400, kept=kept)
    for number in range(40):
        logger.info("something happens", number=number)
    assert sorted(found.name for found in tmp_path.iterdir()) == files
    assert all((tmp_path / name).stat().st_size <= 400 for name in files)
    numbers = [line["number"] for name in reversed(files) for line in lines_of(tmp_path / name)]
    assert numbers == list(range(40 - len(numbers), 40))
    logger.info("x" * 1000)  # a line that is larger than all is written whole
    assert lines_of(path)[-1]["event"] == "x" * 1000


def test_an_encoding_that_lacks_a_letter_costs_that_letter(tmp_path: Path) -> None:
    """A journal under LANG=C: the line is told, and the next ones are."""
    raw = io.BytesIO()
    logger = configure(tmp_path / "log", "info", journal=io.TextIOWrapper(raw, encoding="ascii"))
    logger.info("γ 3 Å")
    logger.info("fine")
    assert raw.getvalue().decode().replace("\r", "") == "<6>? 3 ?\n<6>fine\n"
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["γ 3 Å", "fine"]


def test_a_closed_journal_costs_nothing_but_its_lines(tmp_path: Path) -> None:
    """The file gets every line, also when standard output is closed."""
    journal = io.StringIO()
    logger = configure(tmp_path / "log", "info", journal=journal)
    journal.close()
    logger.info("on")
    assert [line["event"] for line in lines_of(tmp_path / "log")] == ["on"]


def test_journal_lines_have_a_priority(tmp_path: Path) -> None:
    """Journald takes the level from the number in angle brackets."""
    journal = io.StringIO()
    logger = configure(tmp_path / "log", "debug", journal=journal)
    logger.info("fine")
    logger.warning("odd")
    logger.error("bad\nvery")
    assert journal.getvalue() == "<6>fine\n<4>odd\n<3>bad very\n"


def test_the_journal_is_recognised_by_device_and_inode(tmp_path: Path) -> None:
    """A stream counts as the journal only if it is the very one that systemd opened."""
    with (tmp_path / "stream").open("w") as stream:
        status = os.fstat(stream.fileno())
        assert is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        assert not is_journal(stream, {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino + 1}"})
        assert not is_journal(stream, {})


def test_every_event_is_one_line(tmp_path: Path) -> None:
    """The observer writes type, sequence number, campaign, words and what one would search for."""
    logger = configure(tmp_path / "log", "info")
    observe, replay = LogObserver(logger), Campaign()
    events = whole_campaign(learning_cycles=1).events
    for event in events:
        replay.add(event)
        observe(event, replay.state)
    lines = lines_of(tmp_path / "log")
    assert list(range(1, len(events) + 1)) == [line["seq"] for line in lines]
    assert [event.type for event in events] == [line["type"] for line in lines]
    assert {"copper-3f9a1c"} == {line["campaign"] for line in lines}
    started = lines[2]
    assert (started["phase"], started["cycle"], started["tasks"]) == ("generation", 0, 1)
    assert all("cycle" in line for line in lines)
    of_tasks = [line for line in lines if line["type"] in {"TaskEnded", "AttemptLost"}]
    assert of_tasks
    assert all(line["task"] and line["uid"] and line["phase"] for line in of_tasks)
    failed = [line for line in lines if line.get("status") == "failed"]
    assert [(line["level"], line["reason"]) for line in failed] == [
        ("warning", "crashed"),
        ("warning", "crashed"),
    ]
    assert lines[-1]["event"] == "verdict converged: all walkers <completed>"


@pytest.mark.parametrize(
    ("health", "level"), [(ev.SiteHealth.OK, "info"), (ev.SiteHealth.AUTH_REQUIRED, "warning")]
)
def test_a_site_that_needs_somebody_is_a_warning(
    tmp_path: Path, health: ev.SiteHealth, level: str
) -> None:
    """Good news is information, bad news a warning."""
    campaign = whole_campaign(learning_cycles=1)
    event = campaign.add(ev.SiteChanged(at=campaign.now, health=health, message="log in"))
    LogObserver(configure(tmp_path / "log", "info"))(event, campaign.state)
    (line,) = lines_of(tmp_path / "log")
    assert (level, health) == (line["level"], line["health"])
