"""A daemon whose site takes no login.

It is ready all the same, says what is wrong, and goes on when that is mended.
"""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from kit.files import SMALL
from kit.sshd import FarMachine
from kit.waiting import wait_for

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.journal.replay import read

pytestmark = [pytest.mark.codes, pytest.mark.timeout(300)]

BIN = Path(sys.executable).parent


def site_file(machine: FarMachine, folder: Path) -> Path:
    """The small campaign on a machine behind SSH, without a Slurm."""
    way = {
        "kind": "ssh",
        "host": "127.0.0.1",
        "port": machine.port,
        "user": machine.user,
        "identity_file": machine.key,
        "known_hosts": machine.known_hosts,
    }
    lines = [
        f"  root: {folder / 'site'}",
        f"  python: {sys.executable}",
        "  transport: {" + ", ".join(f"{key}: {value}" for key, value in way.items()) + "}",
    ]
    path = folder / "site.yaml"
    path.write_text(SMALL.read_text().replace("  root: site", "\n".join(lines)))
    return path


def test_a_refused_login_is_waited_for_and_a_mended_one_used(
    machine: FarMachine, tmp_path: Path
) -> None:
    """READY comes without the site; `auth_required` stands in the journal.

    Resume goes on, and one outcome comes.
    """
    keys = machine.known_hosts.read_text()
    machine.known_hosts.write_text("")
    config = site_file(machine, tmp_path)
    journal = tmp_path / "campaign" / "journal"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(90)
        environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")}
        daemon = subprocess.Popen([BIN / "autopipecd", "--config", config], env=environment)
        try:
            while systemd.recv(4096) != b"READY=1":
                pass

            def happened(condition: Callable[[ev.Event], bool]) -> bool:
                return any(condition(record.event) for record in read(journal))

            wait_for(
                lambda: happened(
                    lambda event: (
                        isinstance(event, ev.EffectDeferred)
                        and event.health is ev.SiteHealth.AUTH_REQUIRED
                    )
                )
            )
            status: list[str | Path] = [
                BIN / "autopipecctl",
                "status",
                "--json",
                "--config",
                config,
            ]
            assert '"site": "auth_required"' in subprocess.check_output(
                status, text=True, timeout=60
            )
            assert not happened(lambda event: isinstance(event, ev.SubmissionBegun))
            machine.known_hosts.write_text(keys)
            subprocess.run(
                [BIN / "autopipecctl", "resume", "--config", config], check=True, timeout=60
            )
            wait_for(lambda: happened(lambda event: isinstance(event, ev.SitePrepared)))
            wait_for(lambda: happened(lambda event: isinstance(event, ev.TaskEnded)))
            assert daemon.poll() is None
        finally:
            daemon.send_signal(signal.SIGTERM)
            assert daemon.wait(timeout=60) == 0
