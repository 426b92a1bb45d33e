"""A systemd of its own for a test, in namespaces.

It has no unit but those of a folder, and its own /etc and /var/lib.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.processes import children

SYSTEMD = Path("/lib/systemd/systemd")
#: What units are ordered by; here there is nothing behind these names.
_TARGETS = ("default", "sysinit", "basic", "shutdown", "network-online", "multi-user")
_PATIENCE_S = 300.0

#: In a mount namespace. NAME is that of its group of processes, UNITS its only folder of units.
_BEGIN = r"""
set -e
mount --make-rprivate /
mount -t tmpfs tmpfs /run
mkdir /run/groups && mount -t cgroup2 cgroup2 /run/groups
mkdir "/run/groups/$NAME" && echo $$ >"/run/groups/$NAME/cgroup.procs"
exec unshare --cgroup --fork --kill-child --pid --uts --ipc --mount-proc sh -ec '
  umount -R /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
  for folder in /etc /var/lib; do # what is written there is gone with the namespace
    mkdir -p /run/over$folder/upper /run/over$folder/work
    mount -t overlay overlay -o lowerdir=$folder,upperdir=/run/over$folder/upper,workdir=/run/over$folder/work $folder
  done
  exec env -i container=lxc SYSTEMD_UNIT_PATH="$UNITS" SYSTEMD_LOG_TARGET=console \
    /lib/systemd/systemd --system --unit=default.target --show-status=0'
"""  # noqa: E501 - text for another program
_END = r"""
mount --make-rprivate / && mount -t tmpfs tmpfs /run && mkdir /run/groups && mount -t cgroup2 cgroup2 /run/groups
find "/run/groups/$NAME" -depth -type d -exec rmdir {} +
"""  # noqa: E501 - text for another program


@dataclass(frozen=True)
class Systemd:
    """One that runs."""

    pid: int

    def run(self, *arguments: str | Path, check: bool = True) -> str:
        """What a command prints that sees what this systemd sees."""
        command = [
            "nsenter",
            f"--target={self.pid}",
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            *arguments,
        ]
        return subprocess.run(
            command, check=check, capture_output=True, text=True, timeout=_PATIENCE_S
        ).stdout.strip()

    def shown(self, unit: str) -> dict[str, str]:
        """Every property of a unit."""
        lines = self.run("systemctl", "show", "--all", unit).splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line)

    def seen(self, path: str) -> Path:
        """Where this process finds a file of its."""
        return Path(f"/proc/{self.pid}/root") / path.lstrip("/")

    def write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        """A file that only this systemd and its services see, if in /etc, /var/lib or /run."""
        target = self.seen(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        target.chmod(mode)


@contextmanager
def private_systemd(units: Path) -> Iterator[Systemd]:
    """Run one over a folder of units. Skips where there is no systemd, or no namespace for it."""
    if os.geteuid() != 0 or not SYSTEMD.exists() or shutil.which("nsenter") is None:
        pytest.skip("needs root, systemd and nsenter")
    for target in _TARGETS:
        (units / f"{target}.target").write_text(
            f"[Unit]\nDescription={target}\nDefaultDependencies=no\n"
        )
    surroundings = {**os.environ, "NAME": f"autopipec-{os.getpid()}", "UNITS": str(units)}
    with (units / "systemd.log").open("wb") as log:
        outer = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", _BEGIN],
            env=surroundings, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,  # noqa: E501 - text for another program
        )  # fmt: skip
    try:
        yield _up(outer, units / "systemd.log")
    finally:
        outer.kill()  # and with it its systemd, and with that all of its services
        outer.wait()
        subprocess.run(
            ["unshare", "--mount", "sh", "-c", _END],
            env=surroundings,
            check=False,
            timeout=_PATIENCE_S,
        )


def _up(outer: "subprocess.Popen[bytes]", log: Path) -> Systemd:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and outer.poll() is None:
        for pid in children(outer.pid):
            with contextlib.suppress(subprocess.CalledProcessError):
                if Systemd(pid).run("systemctl", "is-system-running") == "running":
                    return Systemd(pid)
        time.sleep(0.1)
    if outer.poll() is not None:
        pytest.skip(f"no systemd in a namespace here: {log.read_text()[-300:]}")
    raise AssertionError(f"systemd does not come up: {log.read_text()}")
