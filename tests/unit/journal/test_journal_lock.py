"""The campaign's lock."""

import json
import os
import re
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from kit.journals import NOW

from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.journal.lock import CampaignLock, Holder, read_holder


def test_a_second_holder_is_refused_and_told_of_the_first(tmp_path: Path) -> None:
    """The message names file, process, host and time."""
    with CampaignLock(tmp_path, now=NOW):
        with pytest.raises(CampaignLocked) as caught, CampaignLock(tmp_path, now=NOW):
            pass
        for part in (
            f"{tmp_path}/lock",
            f'"pid": {os.getpid()}',
            socket.gethostname(),
            NOW.isoformat(),
            "boot_id",
        ):
            assert part in str(caught.value)


def test_a_refused_holder_takes_nothing_away(tmp_path: Path) -> None:
    """After a refusal the first still holds the lock, and a third is refused as well."""
    with CampaignLock(tmp_path, now=NOW):
        for _ in range(2):
            with (
                pytest.raises(CampaignLocked, match=str(os.getpid())),
                CampaignLock(tmp_path, now=NOW),
            ):
                pass


def test_the_lock_is_free_after_it_was_released(tmp_path: Path) -> None:
    """Also when the body raised; the file stays, and names nobody."""
    with pytest.raises(ZeroDivisionError), CampaignLock(tmp_path, now=NOW):
        _ = 1 // 0
    assert (tmp_path / "lock").read_bytes() == b""
    with CampaignLock(tmp_path, now=NOW):
        pass


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    """The next overwrites the name that a killed process left in the file, however long it was."""
    (tmp_path / "lock").write_text("x" * 500)
    with CampaignLock(tmp_path, now=NOW):
        assert re.fullmatch(r'\{"pid": \d+, .*\}', (tmp_path / "lock").read_text())


def test_the_folder_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    """The lock may be the first thing in the folder."""
    with CampaignLock(tmp_path / "new", now=NOW):
        assert stat.S_IMODE((tmp_path / "new").stat().st_mode) == 0o700
        assert stat.S_IMODE((tmp_path / "new" / "lock").stat().st_mode) == 0o600


def test_what_cannot_be_locked_is_for_the_operator(tmp_path: Path) -> None:
    """An error of the file system is told with the file and the way out."""
    (tmp_path / "lock").mkdir()
    with (
        pytest.raises(OperatorError, match=r"cannot be locked.*local disk"),
        CampaignLock(tmp_path, now=NOW),
    ):
        pass


def test_a_service_is_told_which_folder_systemd_opens_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under systemd the way out is the unit's own folder."""
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/autopipec/copper")
    (tmp_path / "lock").mkdir()
    remedy = "Let campaign.folder be /var/lib/autopipec/copper, which systemd opens"
    with pytest.raises(OperatorError, match=remedy), CampaignLock(tmp_path, now=NOW):
        pass


#: Takes the lock, forks a child that stays as it is for so many seconds, and is killed.
_KILLED = """
import os, signal, sys, time
from datetime import UTC, datetime
from pathlib import Path
from mlip_autopipec.journal.lock import CampaignLock, Holder, read_holder
CampaignLock(Path(sys.argv[1]), now=datetime.now(UTC)).__enter__()
if os.fork() == 0:
    os.close(1)
    time.sleep(float(sys.argv[2]))
    os._exit(0)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _killed_holder(folder: Path, child_s: float) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, folder, str(child_s)], check=False, stdout=subprocess.PIPE
    )
    assert done.returncode == -signal.SIGKILL


@pytest.mark.slow
def test_a_child_of_a_killed_holder_is_waited_for(tmp_path: Path) -> None:
    """Between fork and exec it has the lock too.

    The next daemon is not to be told that a person must mend that.
    """
    _killed_holder(tmp_path, child_s=0.7)
    with CampaignLock(tmp_path, now=NOW):
        assert f'"pid": {os.getpid()}' in (tmp_path / "lock").read_text()


def test_it_is_not_waited_for_without_bound(tmp_path: Path) -> None:
    """Whoever holds a lock for longer is no child on its way to exec."""
    _killed_holder(tmp_path, child_s=3.0)
    with pytest.raises(CampaignLocked), CampaignLock(tmp_path, now=NOW, patience_s=0.1):
        pass


def test_who_holds_the_lock_is_read_without_touching_it(tmp_path: Path) -> None:
    """Only as long as it is held, and only with a whole signature."""
    assert read_holder(tmp_path) is None
    with CampaignLock(tmp_path, now=NOW):
        assert read_holder(tmp_path) == Holder(os.getpid(), socket.gethostname(), is_here=True)
        signed = (tmp_path / "lock").read_text()
    assert read_holder(tmp_path) is None
    for torn in (signed[:-5], "[]", '{"pid": "x"}'):
        (tmp_path / "lock").write_text(torn)
        assert read_holder(tmp_path) is None


def test_of_another_machine_nobody_knows_whether_the_holder_is_dead(tmp_path: Path) -> None:
    """Of this one it is known: by its number, and by the boot since which that number counts."""
    with CampaignLock(tmp_path, now=NOW):
        signed = json.loads((tmp_path / "lock").read_text())
    ended = subprocess.Popen(["true"])
    ended.wait()
    for changes, holder in (
        ({}, Holder(os.getpid(), socket.gethostname(), is_here=True)),
        ({"pid": ended.pid}, None),
        ({"boot_id": "another"}, None),
        (
            {"host": "elsewhere", "boot_id": "another", "pid": ended.pid},
            Holder(ended.pid, "elsewhere", is_here=False),
        ),
    ):
        (tmp_path / "lock").write_text(json.dumps({**signed, **changes}))
        assert read_holder(tmp_path) == holder
