"""A running daemon takes its site file again.

It does so by autopipecctl, by SIGHUP, by hand, and by a start after kill -9.
"""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ase.build import bulk
from ase.io import write
from kit.files import SMALL
from kit.waiting import wait_for

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.journal.replay import check, read, replay
from mlip_autopipec.orchestration.changing import in_force

pytestmark = [pytest.mark.codes, pytest.mark.timeout(300)]

AUTOPIPECD = Path(sys.executable).with_name("autopipecd")
AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")


@pytest.fixture
def site_file(tmp_path: Path) -> Iterator[Path]:
    """The small campaign; its journal is sound in the end."""
    path = tmp_path / "site.yaml"
    path.write_text(SMALL.read_text())
    yield path
    check(tmp_path / "campaign" / "journal")


@pytest.fixture
def daemon(site_file: Path) -> Iterator["subprocess.Popen[str]"]:
    """It runs, and is paused, so that nothing of the campaign moves meanwhile."""
    process = start(site_file)
    ctl(site_file, "pause", "--reason", "test")
    yield process
    process.kill()
    process.communicate(timeout=30)


def start(site_file: Path) -> "subprocess.Popen[str]":
    # of a daemon that was killed
    socket_path(site_file.parent / "campaign").unlink(missing_ok=True)
    process = subprocess.Popen(
        [AUTOPIPECD, "--config", site_file],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    wait_for(socket_path(site_file.parent / "campaign").exists)
    return process


def ctl(site_file: Path, *arguments: str, code: int = 0) -> str:
    """What autopipecctl says, on either stream."""
    done = subprocess.run(
        [AUTOPIPECCTL, *arguments, "-c", site_file],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def edit(site_file: Path, old: str, new: str) -> None:
    text = site_file.read_text()
    assert old in text
    site_file.write_text(text.replace(old, new))


def taken(site_file: Path) -> list[ev.SettingsTaken]:
    events = (record.event for record in read(site_file.parent / "campaign" / "journal"))
    return [event for event in events if isinstance(event, ev.SettingsTaken)]


def test_a_file_is_taken_while_the_daemon_runs_and_survives_kill_9(
    site_file: Path, daemon: "subprocess.Popen[str]"
) -> None:
    """Compared, taken, set by hand; after kill -9 the next daemon has all of it in force."""
    edit(site_file, "temperatures_kelvin: [300, 900]", "temperatures_kelvin: [300, 900, 1200]")
    assert "exploration.walkers[0].temperatures_kelvin: [300.0, 900.0] → " in ctl(
        site_file, "reload", "--dry-run"
    )
    assert len(taken(site_file)) == 1
    assert "[300.0, 900.0, 1200.0]" in ctl(site_file, "reload", "--reason", "hotter")
    assert "says what is in force" in ctl(site_file, "reload")
    assert "convergence.cycles_max: 6 → 9" in ctl(site_file, "set", "convergence.cycles_max", "9")
    assert "convergence.cycles_max is 9 by hand" in ctl(site_file, "status")
    assert "'convergence.cycles_max'" in ctl(site_file, "set", "convergence.cycle_max", "9", code=5)
    assert [event.reason for event in taken(site_file)] == ["", "hotter", ""]
    daemon.kill()
    daemon.communicate(timeout=30)
    assert "says what is in force" in ctl(site_file, "reload", "--dry-run")
    later = start(site_file)
    later.terminate()
    later.communicate(timeout=60)
    assert len(taken(site_file)) == 3
    config = in_force(replay(site_file.parent / "campaign" / "journal"))
    assert config.exploration.walkers[0].temperatures_kelvin[-1] == 1200
    assert config.convergence.cycles_max == 9


def test_sighup_takes_the_file_or_tells_why_not(
    site_file: Path, daemon: "subprocess.Popen[str]"
) -> None:
    """A file with a mistake, or one that changes what cannot change, leaves all as it is."""
    edit(site_file, "cycles_max: 6", "cycles_max: 8")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: len(taken(site_file)) == 2)
    edit(site_file, "name: small", "name: other")
    log = site_file.parent / "campaign" / "autopipecd.log"
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: "campaign.name" in log.read_text())
    assert "begin another campaign" in ctl(site_file, "reload", code=5)
    edit(site_file, "name: other", "nome: small")
    daemon.send_signal(signal.SIGHUP)
    wait_for(lambda: "nome" in log.read_text())
    assert len([event for event in taken(site_file) if event.changes]) == 1


def test_a_start_refuses_what_a_reload_refuses(
    site_file: Path, daemon: "subprocess.Popen[str]"
) -> None:
    """With the exit code of a wrong site file; a start with the old file goes on."""
    daemon.terminate()
    daemon.communicate(timeout=60)
    edit(site_file, "root: site", "root: elsewhere")
    done = subprocess.run(
        [AUTOPIPECD, "--config", site_file], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2
    assert "site.root" in done.stderr
    assert "leave a link in its old place" in done.stderr


def test_structures_are_added_to_a_running_campaign(
    site_file: Path, tmp_path: Path, daemon: "subprocess.Popen[str]"
) -> None:
    """Labelled or walked from, once, by content; kept over kill -9; refused by file and frame."""
    good, wrong = tmp_path / "mine.extxyz", tmp_path / "gold.extxyz"
    write(good, bulk("Cu", cubic=True), format="extxyz")
    write(wrong, [bulk("Cu", cubic=True), bulk("Au", cubic=True)], format="extxyz")
    why = ("--reason", "a reviewer asks")
    assert "gold.extxyz, frame 2: it has Au" in ctl(site_file, "add", str(wrong), *why, code=5)
    assert "1 structures are labelled in the next round" in ctl(site_file, "add", str(good), *why)
    assert "were there already" in ctl(site_file, "add", str(good), *why)
    write(good, bulk("Cu", cubic=True).repeat((2, 2, 2)), format="extxyz")
    assert "walked from in the next exploration" in ctl(site_file, "add", str(good), "--walk", *why)
    daemon.kill()
    daemon.communicate(timeout=30)
    good.unlink()
    later = start(site_file)
    later.terminate()
    later.communicate(timeout=60)
    state = replay(site_file.parent / "campaign" / "journal")
    assert (len(state.to_label), len(state.walks), len(state.added)) == (1, 1, 2)
    assert in_force(state).exploration.walkers[-1].temperatures_kelvin == (300, 900)


def test_a_phase_is_done_again_and_survives_kill_9(
    site_file: Path, daemon: "subprocess.Popen[str]"
) -> None:
    """Told first, refused while something is at work, taken once, continued by the next daemon."""
    journal = site_file.parent / "campaign" / "journal"
    ctl(site_file, "resume")
    wait_for(lambda: bool(replay(journal).digests) or bool(replay(journal).cycles))
    ctl(site_file, "pause", "--reason", "go back")
    wait_for(lambda: not replay(journal).batches)
    arguments = ("restart", "--cycle", "0", "--from", "generation")
    assert "done again: generation of cycle 0" in ctl(site_file, *arguments, "--dry-run")
    assert "no training of cycle 9 has begun" in ctl(
        site_file, "restart", "--cycle", "9", "--from", "training", code=5
    )
    before = replay(journal)
    assert "set aside" in ctl(site_file, *arguments, "--reason", "once more")
    daemon.kill()
    daemon.communicate(timeout=30)
    later = start(site_file)
    ctl(site_file, "resume")
    wait_for(lambda: replay(journal).current_phase is not None)
    later.terminate()
    later.communicate(timeout=60)
    state = replay(journal)
    assert state.cycle_index == len(before.cycles) + 1
    assert all(record.task.cycle == state.cycle_index for record in state.tasks.values())
