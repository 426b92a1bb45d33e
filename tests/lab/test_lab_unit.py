"""The hardened unit under a real systemd: what it lets the daemon do, and what that tells it."""

import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from kit.files import SMALL, TOP
from kit.lab import running_lab
from kit.lab_aluminium import WRITTEN_LAB, aluminium_site
from kit.systemd import Systemd, private_systemd

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.journal.replay import read

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]

UNIT = TOP / "systemd" / "autopipecd@.service"
SERVICE = "autopipecd@aluminium.service"
FOLDER = "/var/lib/autopipec/aluminium"
SITE_FILE = "/etc/autopipec/aluminium.yaml"
#: What differs from a machine that was set up for it. This Python may be closed to all but root, so
#: it is a root without one capability that runs the daemon.
HERE = f"""[Service]
User=root
ExecStart=
ExecStart={sys.executable} -m mlip_autopipec.daemon --config {SITE_FILE}
BindReadOnlyPaths={TOP} {sys.prefix}
Environment=PYTHONPATH={TOP}
StandardError=file:/var/lib/told
"""
PATIENCE_S = 200.0


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """One that knows the unit, and the drop-in for it."""
    units = tmp_path / "units"
    (units / f"{UNIT.name}.d").mkdir(parents=True)
    (units / UNIT.name).write_bytes(UNIT.read_bytes())
    (units / f"{UNIT.name}.d" / "here.conf").write_text(HERE)
    with private_systemd(units) as started:
        yield started


def eventually(true: Callable[[], bool]) -> None:
    """Wait until it is true."""
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"not within {PATIENCE_S:g} s"
        time.sleep(0.2)


def test_the_confined_daemon_works_over_ssh_and_stops_in_good_order(
    systemd: Systemd, tmp_path: Path
) -> None:
    """It is ready, answers, hands a job over, writes its report.

    All is in the one folder that it may write.
    """
    with running_lab() as lab:
        root = Path(lab["AUTOPIPEC_LAB_HOME"]) / f"unit-{uuid.uuid4().hex[:8]}"
        way = {
            "kind": "ssh",
            "host": "127.0.0.1",
            "port": lab["AUTOPIPEC_LAB_SSH_PORT"],
            "user": lab["AUTOPIPEC_LAB_USER"],
            "identity_file": "/etc/autopipec/key",
            "known_hosts": "/etc/autopipec/known_hosts",
        }
        message = ", ".join(f"{key}: {value}" for key, value in way.items())
        moved = (f"kind: ssh, host: lab, config_file: {WRITTEN_LAB}/ssh/config", message)
        site_file = aluminium_site(lab, root, tmp_path, moved, (str(tmp_path / "campaign"), FOLDER))
        systemd.write(SITE_FILE, site_file.read_bytes())
        systemd.write("/etc/autopipec/key", Path(lab["AUTOPIPEC_LAB_SSH_KEY"]).read_bytes(), 0o600)
        systemd.write(
            "/etc/autopipec/known_hosts", Path(lab["AUTOPIPEC_LAB_KNOWN_HOSTS"]).read_bytes()
        )
        folder = systemd.seen(FOLDER)

        systemd.run("systemctl", "start", SERVICE)
        shown = systemd.shown(SERVICE)
        assert (shown["ActiveState"], shown["StatusText"][:17]) == ("active", "running: cycle 0,")
        assert (shown["NoNewPrivileges"], shown["CapabilityBoundingSet"]) == ("yes", "")
        ctl = (sys.executable, "-c", "from mlip_autopipec.cli import main; main()")
        assert '"seq"' in systemd.run(*ctl, "status", "--json", "--config", SITE_FILE)
        eventually(
            lambda: any(
                isinstance(record.event, ev.SubmissionAccepted)
                for record in read(folder / "journal")
            )
        )
        systemd.run("systemctl", "stop", SERVICE)

        shown = systemd.shown(SERVICE)
        assert (shown["ActiveState"], shown["Result"], shown["ExecMainStatus"]) == (
            "inactive",
            "success",
            "0",
        )
        assert isinstance(list(read(folder / "journal"))[-1].event, ev.DaemonStopped)
        eventually(
            lambda: (root / "outbox").is_dir() and len(list((root / "outbox").iterdir())) == 1
        )
        shutil.rmtree(root)


def test_a_folder_that_the_unit_does_not_open_is_told_with_the_one_that_it_does(
    systemd: Systemd, tmp_path: Path
) -> None:
    """It ends once for all, and says where campaign.folder should be."""
    text = (SMALL).read_text(encoding="utf-8")
    systemd.write(SITE_FILE, text.replace("folder: campaign", "folder: /srv/aluminium").encode())

    systemd.run("systemctl", "start", SERVICE, check=False)

    shown = systemd.shown(SERVICE)
    assert (shown["ActiveState"], shown["ExecMainStatus"]) == (
        "failed",
        str(OperatorError.exit_code),
    )
    assert shown["NRestarts"] == "0"
    found = systemd.seen("/var/lib/told").read_text(encoding="utf-8")
    assert f"Let campaign.folder be {FOLDER}, which systemd opens to this service" in found
    assert not (tmp_path / "aluminium").exists()
