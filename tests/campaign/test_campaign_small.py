"""Whole campaigns in small, with real codes: steered in every phase, killed at random moments."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays
from kit.files import TESTS
from kit.steered import steered_once, steered_phases, wait_for

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.journal.snapshot import load_state

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]

KILLS = 12


@pytest.fixture(scope="module")
def steered(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A campaign that was paused, asked and resumed until that had been done in every phase."""
    return steered_once(tmp_path_factory)


def test_status_pause_and_resume_work_in_every_phase(steered: Campaign) -> None:
    """In all five phases the campaign was paused, told its status and went on; and it converged."""
    assert steered_phases(steered) >= set(Phase)
    assert_replays(steered)
    assert_nothing_doubled_or_lost(steered)


def test_a_killed_daemon_loses_and_doubles_nothing(steered: Campaign, tmp_path: Path) -> None:
    """After kill -9 at twelve random moments: same verdict, same labels byte for byte.

    No task ran twice.
    """
    kills, rounds = 0, 0
    while kills < KILLS:
        campaign = Campaign.small(tmp_path / str(rounds))
        arguments = [
            sys.executable,
            "-m",
            "kit.lives",
            str(campaign.config),
            str(KILLS - kills),
            str(20 + rounds),
        ]
        done = subprocess.run(
            arguments, cwd=TESTS, capture_output=True, text=True, timeout=800, check=False
        )
        assert done.returncode == 0, done.stderr + campaign.output()
        kills, rounds = kills + int(done.stdout), rounds + 1
        assert_replays(campaign)
        assert_nothing_doubled_or_lost(campaign)
        assert campaign.datasets() == steered.datasets()


def copied(campaign: Campaign, folder: Path) -> Campaign:
    """The campaign with all its files, somewhere else."""
    shutil.copytree(campaign.config.parent, folder, ignore=shutil.ignore_patterns("control"))
    return Campaign(folder / campaign.config.name, folder / "campaign", folder / "site")


def assert_same_end(campaign: Campaign, other: Campaign) -> None:
    """Same cycles, potential and verdict, by the state that lies beside each journal."""
    assert_replays(campaign)
    states = [load_state(item.folder / "state.json") for item in (campaign, other)]
    first, second = [
        (state.cycles, state.datasets, state.potential, state.verdict) for state in states
    ]
    assert first == second


def test_a_journal_that_is_gone_is_made_again(steered: Campaign, tmp_path: Path) -> None:
    """From the site's files alone.

    The next daemon finds the campaign where it was, and submits nothing.
    """
    campaign = copied(steered, tmp_path / "copy")
    shutil.rmtree(campaign.folder)
    done = campaign.ctl("journal", "rebuild")
    assert done.returncode == 0, done.stderr
    assert "made again from what the site holds" in done.stdout
    assert_same_end(campaign, steered)
    assert campaign.start("--exit-on-verdict").wait(timeout=60) == 0, campaign.output()
    assert campaign.datasets() == steered.datasets()
    again = campaign.ctl("journal", "rebuild")
    assert (again.returncode, "is in order" in again.stderr) == (78, True)


def test_a_damaged_journal_is_repaired_by_hand(steered: Campaign, tmp_path: Path) -> None:
    """The daemon refuses it and says how to repair it; after that the campaign is what it was."""
    campaign = copied(steered, tmp_path / "copy")
    (segment,) = (campaign.folder / "journal").glob("journal-*.jsonl")
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    assert campaign.start("--exit-on-verdict").wait(timeout=60) == 78
    assert "autopipecctl journal repair" in campaign.output()
    done = campaign.ctl("journal", "repair")
    assert done.returncode == 0, done.stderr
    (kept,) = campaign.folder.glob("journal.damaged-*")
    assert (kept / segment.name).read_bytes() == content
    assert_same_end(campaign, steered)


def test_a_pause_survives_the_daemon(tmp_path: Path) -> None:
    """A daemon that is killed while paused comes back paused, and says who paused and why."""
    campaign = Campaign.small(tmp_path)
    socket = socket_path(campaign.folder)
    daemon = campaign.start()
    try:
        wait_for(socket.exists, daemon)
        assert campaign.ctl("pause", "--reason", "maintenance of the file server").returncode == 0
        before = campaign.status()["pause"]
        daemon.kill()
        daemon.wait()
        socket.unlink(missing_ok=True)
        daemon = campaign.start()
        wait_for(socket.exists, daemon)
        status = campaign.status()
        assert status["status"] == "paused"
        assert status["pause"] == before
        assert before["reason"] == "maintenance of the file server"
        assert campaign.ctl("stop", "--reason", "enough").returncode == 0
        assert daemon.wait(timeout=60) == 0
        stopped = campaign.events()[-1]
        assert isinstance(stopped, ev.DaemonStopped)
        assert stopped.why == "enough"
        assert_replays(campaign)
    finally:
        daemon.kill()
        daemon.wait()
