"""A real sshd on a loopback port, with keys of its own, to be killed, frozen and cut at will."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.processes import children

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
_PATIENCE_S = 30.0


class FarMachine:
    """An sshd that logs this user in with `key`.

    `config` is a client's configuration, in which it is `far`.
    """

    def __init__(self, folder: Path, *settings: str) -> None:
        if SSHD is None or shutil.which("ssh") is None:
            pytest.skip("no sshd or no ssh here: apt-get install openssh-server openssh-client")
        self.folder = folder
        self.port = _free_port()
        self.user = subprocess.run(
            ["id", "-un"], check=True, capture_output=True, text=True
        ).stdout.strip()
        self.key, self.known_hosts, self.config = (
            folder / "key",
            folder / "known_hosts",
            folder / "config",
        )
        self.log = folder / "sshd.log"
        keygen(self.key)
        keygen(folder / "host_key")
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        self.trust(folder / "host_key.pub")
        (folder / "sshd_config").write_text("\n".join((*self._settings(), *settings, "")))
        self.config.write_text("\n".join((*self._client_settings(), "")))
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(exist_ok=True)  # sshd wants it, and systemd is not asked
        self._process: subprocess.Popen[bytes] | None = None

    def _settings(self) -> tuple[str, ...]:
        return (
            f"Port {self.port}",
            "ListenAddress 127.0.0.1",
            f"HostKey {self.folder / 'host_key'}",
            f"AuthorizedKeysFile {self.folder / 'authorized_keys'}",
            f"PidFile {self.folder / 'sshd.pid'}",
            "PermitRootLogin prohibit-password",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "StrictModes no",
            "UsePAM no",
            "LogLevel VERBOSE",
            # Shells read no file of whoever runs the tests: some take seconds.
            f"SetEnv HOME={self.folder}",
        )

    def _client_settings(self) -> tuple[str, ...]:
        return (
            "Host far",
            "  HostName 127.0.0.1",
            f"  Port {self.port}",
            f"  User {self.user}",
            f"  IdentityFile {self.key}",
            "  IdentitiesOnly yes",
            f"  UserKnownHostsFile {self.known_hosts}",
        )

    def trust(self, public_key: Path) -> None:
        """Make this the one host key that clients take."""
        kind, content, *_ = public_key.read_text().split()
        self.known_hosts.write_text(f"[127.0.0.1]:{self.port} {kind} {content}\n")

    def start(self) -> None:
        """Listen; returns when it does."""
        assert SSHD is not None
        command = [SSHD, "-D", "-f", str(self.folder / "sshd_config"), "-E", str(self.log)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        knocks = self.knocks()
        deadline = time.monotonic() + _PATIENCE_S
        while self.knocks() == knocks:
            with contextlib.suppress(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", self.port)).close()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill sshd and every connection, as when the machine falls over."""
        if self._process is not None:
            connections = self._connections()
            self._process.kill()
            self._process.wait()
            _signal(connections, signal.SIGKILL)
            self._process = None

    def cut(self) -> None:
        """Kill every connection; sshd goes on."""
        _signal(self._connections(), signal.SIGKILL)

    @contextlib.contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing is answered, and nothing is closed."""
        assert self._process is not None
        processes = [self._process.pid, *self._connections()]
        _signal(processes, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(processes, signal.SIGCONT)

    def logins(self) -> int:
        """How many have been let in."""
        return self.log.read_text().count("Accepted publickey")

    def knocks(self) -> int:
        """How many have come with a key or without."""
        return self.log.read_text().count("Connection from") if self.log.exists() else 0

    def _connections(self) -> list[int]:
        """Sshd's own processes below the listening one; not what they run."""
        assert self._process is not None
        return _sshd_below(self._process.pid)


@contextlib.contextmanager
def far_machine(folder: Path, *settings: str) -> Iterator[FarMachine]:
    """One that runs; `settings` are lines of sshd_config."""
    machine = FarMachine(folder, *settings)
    machine.start()
    try:
        yield machine
    finally:
        machine.stop()


def keygen(path: Path) -> None:
    """A new key pair."""
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path)], check=True)


def _sshd_below(pid: int) -> list[int]:
    found = []
    for child in children(pid):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{child}/comm").read_text().startswith("sshd"):
                found += [child, *_sshd_below(child)]
    return found


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
