"""autopipecd as a process: how it refuses to start, how it ends, and with which code."""

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.files import SMALL
from kit.waiting import wait_for

from mlip_autopipec.control.address import socket_path
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.journal.replay import check, read, replay
from mlip_autopipec.journal.snapshot import load_state, save_state

pytestmark = [pytest.mark.codes, pytest.mark.timeout(420)]

AUTOPIPECD = Path(sys.executable).with_name("autopipecd")
AUTOPIPECCTL = Path(sys.executable).with_name("autopipecctl")
GUARDED = Path(__file__).with_name("guarded_daemon.py")
#: No label with a force is taken, and there are four of them alone.
FAILS_SOON = {
    "calculation:\n": "calculation:\n  force_max_ev_per_angstrom: 1.0e-6\n",
    "structures: 6": "structures: 3",
    "test_structures: 2": "test_structures: 1",
}


def fails_soon(folder: Path) -> Path:
    """The site file of a campaign that fails by itself."""
    text = SMALL.read_text()
    for before, after in FAILS_SOON.items():
        assert before in text
        text = text.replace(before, after)
    path = folder / "site.yaml"
    path.write_text(text)
    return path


@pytest.fixture
def site_file(tmp_path: Path) -> Iterator[Path]:
    """A small campaign that takes no label with a force, so that it fails soon and by itself.

    Its journal is sound.
    """
    path = fails_soon(tmp_path)
    yield path
    check(tmp_path / "campaign" / "journal")


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of such a campaign that has its verdict: for copies."""
    folder = tmp_path_factory.mktemp("failed")
    assert run(fails_soon(folder), "--exit-on-verdict").returncode == 12
    return folder


@pytest.fixture
def ended(failed: Path, tmp_path: Path) -> Path:
    """The site file of a copy."""
    shutil.copytree(failed, tmp_path / "copy", ignore=shutil.ignore_patterns("control"))
    return tmp_path / "copy" / "site.yaml"


def run(site_file: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    """Run the daemon to its end."""
    return subprocess.run(
        [AUTOPIPECD, "--config", site_file, *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def start(site_file: Path, *options: str) -> "subprocess.Popen[str]":
    """Start the daemon and wait until its control socket is there."""
    daemon = subprocess.Popen(
        [AUTOPIPECD, "--config", site_file, *options], text=True, stdout=subprocess.PIPE
    )
    wait_for(socket_path(site_file.parent / "campaign").exists)
    return daemon


def test_check_prints_the_whole_configuration(site_file: Path) -> None:
    """--check starts nothing and fills in every default."""
    done = run(site_file, "--check")
    assert (done.returncode, done.stderr) == (0, "")
    assert "quorum: 0.5" in done.stdout
    assert not (site_file.parent / "campaign").exists()


def test_a_wrong_site_file_ends_with_2_before_anything_is_made(site_file: Path) -> None:
    """The message names the key and the right one."""
    site_file.write_text(site_file.read_text().replace("gamma_halt", "gama_halt"))
    done = run(site_file)
    assert done.returncode == 2
    assert "gama_halt" in done.stderr
    assert "gamma_halt" in done.stderr
    assert not (site_file.parent / "campaign").exists()


def test_a_daemon_that_was_replaced_on_another_machine_ends(
    site_file: Path, tmp_path: Path
) -> None:
    """The lock knows of one machine only.

    The root tells the first daemon that a later one has taken over.
    """
    site_file.write_text(SMALL.read_text())
    campaign, elsewhere = site_file.parent / "campaign", tmp_path / "elsewhere"
    with start(site_file) as first:
        wait_for((site_file.parent / "site" / ".ap" / "epochs" / "000001" / "owner.json").exists)
        shutil.copytree(
            campaign, elsewhere / "campaign", ignore=shutil.ignore_patterns("control", "lock")
        )
        other = elsewhere / "site.yaml"
        other.write_text(
            site_file.read_text().replace("root: site", f"root: {site_file.parent / 'site'}")
        )
        with start(other) as second:
            try:
                assert first.wait(timeout=60) == 78
            finally:
                first.kill()
                second.terminate()


def test_the_root_of_another_campaign_is_refused(site_file: Path) -> None:
    """A journal that is gone is no reason to begin anew over the old one's files.

    The remedy is named, and works.
    """
    assert run(site_file, "--exit-on-verdict").returncode == 12
    campaign = site_file.parent / "campaign"
    shutil.rmtree(campaign)
    refused = run(site_file, "--exit-on-verdict")
    assert (refused.returncode, "autopipecctl journal rebuild" in refused.stderr) == (78, True)
    rebuilt = subprocess.run(
        [AUTOPIPECCTL, "journal", "rebuild", "-c", site_file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert rebuilt.returncode == 0, rebuilt.stderr
    assert "kept as journal.unused-" in rebuilt.stdout
    assert run(site_file, "--exit-on-verdict").returncode == 12


def test_no_secret_is_written_anywhere(site_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the daemon's environment is in none of the files that a campaign leaves."""
    secret = "correct-horse-battery-staple"  # noqa: S105 - to be searched for
    monkeypatch.setenv("CLUSTER_PASSWORD", secret)
    assert run(site_file, "--exit-on-verdict").returncode == 12
    wait_for((site_file.parent / "campaign" / "report.html").exists)
    files = [path for path in site_file.parent.rglob("*") if path.is_file()]
    assert {"autopipecd.log", "report.html", "state.json", "outcome.json"} <= {
        path.name for path in files
    }
    assert [path for path in files if secret.encode() in path.read_bytes()] == []


def test_a_failed_campaign_says_why_and_ends_with_12(site_file: Path) -> None:
    """The exit code is the verdict's own, and the reason names the force.

    The report is written; the journal replays.
    """
    done = run(site_file, "--exit-on-verdict")
    assert done.returncode == 12, done.stderr
    assert "1e-06 is allowed" in done.stdout
    folder = site_file.parent / "campaign"
    wait_for((folder / "report.html").exists)
    assert (folder / "report.html").stat().st_size > 10_000
    assert replay(folder / "journal") == load_state(folder / "state.json")
    again = run(site_file, "--exit-on-verdict")
    assert again.returncode == 12
    kinds = [record.event.type for record in read(folder / "journal")]
    assert kinds.count("CampaignCreated") == 1
    assert kinds.count("VerdictReached") == 1


def test_a_daemon_at_work_never_blocks_its_loop(site_file: Path) -> None:
    """From the first answer to the verdict no call waits for a disk in its loop.

    Clients and timers wait for the loop.
    """
    socket = socket_path(site_file.parent / "campaign")
    command: list[str | Path] = [
        sys.executable,
        GUARDED,
        socket,
        "--config",
        site_file,
        "--exit-on-verdict",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, "guarded\n" in done.stderr) == (12, True), done.stdout + done.stderr


def test_fresh_puts_the_earlier_campaign_aside(site_file: Path) -> None:
    """Nothing of it is deleted, and the new one begins at event 1."""
    run(site_file, "--exit-on-verdict")
    before = load_state(site_file.parent / "campaign" / "state.json")
    done = run(site_file, "--exit-on-verdict", "--fresh")
    assert done.returncode == 12
    (aside,) = site_file.parent.glob("campaign.*")
    assert load_state(aside / "state.json") == before
    assert len(list(site_file.parent.glob("site.2*"))) == 1
    assert load_state(site_file.parent / "campaign" / "state.json").campaign != before.campaign


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("options", "code"), [((), 0), (("--exit-on-verdict",), 75)])
def test_a_signal_ends_it_in_good_order(
    site_file: Path, number: signal.Signals, options: tuple[str, ...], code: int
) -> None:
    """The last event says so, the state is saved, and the exit code says if there was a verdict."""
    daemon = start(site_file, *options)
    daemon.send_signal(number)
    daemon.communicate(timeout=60)
    assert daemon.returncode == code
    folder = site_file.parent / "campaign"
    last = [record.event for record in read(folder / "journal")][-1]
    assert isinstance(last, ev.DaemonStopped)
    assert last.why == number.name
    assert replay(folder / "journal") == load_state(folder / "state.json")


def test_a_second_daemon_is_refused(site_file: Path) -> None:
    """One campaign, one daemon; the message names the holder."""
    daemon = start(site_file)
    try:
        done = run(site_file)
        assert done.returncode == 78
        assert str(daemon.pid) in done.stderr
    finally:
        daemon.terminate()
        daemon.communicate(timeout=60)


def test_a_saved_state_ahead_of_the_journal_stops_it(ended: Path) -> None:
    """A journal that has lost its end is never gone on with; nothing is changed."""
    folder = ended.parent / "campaign"
    state = load_state(folder / "state.json")
    save_state(folder / "state.json", state.model_copy(update={"seq": state.seq + 5}))
    before = sorted((path.name, path.read_bytes()) for path in (folder / "journal").iterdir())
    done = run(ended)
    assert done.returncode == 78
    assert re.search(rf"event {state.seq + 5}.*event {state.seq}", done.stderr)
    assert (
        sorted((path.name, path.read_bytes()) for path in (folder / "journal").iterdir()) == before
    )


def test_another_campaign_in_the_folder_is_refused(ended: Path) -> None:
    """A renamed campaign does not go on with another's journal."""
    ended.write_text(ended.read_text().replace("name: small", "name: other"))
    done = run(ended)
    assert done.returncode == 2
    assert "campaign.name" in done.stderr


def test_a_python_without_the_codes_is_refused_before_anything_is_submitted(
    site_file: Path, tmp_path: Path
) -> None:
    """The message names what is missing and how to get it."""
    bare = tmp_path / "python"
    bare.write_text(f'#!/bin/sh\nexec {sys.executable} -S "$@"\n')
    bare.chmod(0o755)
    site_file.write_text(
        site_file.read_text().replace("  root: site\n", f"  root: site\n  python: {bare}\n")
    )
    done = run(site_file)
    assert done.returncode == 78
    assert "pyace" in done.stderr
    assert "pip install" in done.stderr
    journal = site_file.parent / "campaign" / "journal"
    assert not [record for record in read(journal) if isinstance(record.event, ev.SubmissionBegun)]


def test_the_log_has_one_line_of_json_per_event(ended: Path) -> None:
    """Each with its sequence number, so that log and journal can be laid side by side."""
    folder = ended.parent / "campaign"
    lines = [json.loads(line) for line in (folder / "autopipecd.log").read_text().splitlines()]
    logged = [line["seq"] for line in lines if "seq" in line]
    assert logged == [record.seq for record in read(folder / "journal")]
