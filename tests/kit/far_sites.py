"""What contract tests run on: this machine, and a far machine by both ways over SSH."""

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.sshd import FarMachine
from mlip_autopipec.ports import Transport
from mlip_autopipec.process import SystemClock
from mlip_autopipec.transports.openssh import OpensshTransport
from mlip_autopipec.transports.ssh import SshTransport


@dataclass(frozen=True)
class Site:
    """A transport, and the folder that it works in, as this machine sees it."""

    transport: Transport
    root: Path


@dataclass(frozen=True)
class FarSite(Site):
    """One over SSH."""

    transport: SshTransport | OpensshTransport


def over_asyncssh(
    machine: FarMachine,
    root: Path,
    *,
    config: Path | None = None,
    prologue: str = "",
    keepalive_s: float = 15.0,
) -> SshTransport:
    """By a configuration file, or with everything named and none."""
    named: dict[str, Any] = {
        "host": "127.0.0.1",
        "port": machine.port,
        "user": machine.user,
        "config": [Path("/dev/null")],
        "known_hosts": machine.known_hosts,
        "client_keys": [machine.key],
    }
    return SshTransport(
        **(named if config is None else {"host": "far", "config": [config]}),
        root=str(root),
        clock=SystemClock(),
        rng=random.Random(1),  # noqa: S311 - jitter and nonces
        prologue=prologue,
        keepalive_s=keepalive_s,
    )


def over_openssh(
    machine: FarMachine, root: Path, control_path: str | None, *, require_master: bool = False
) -> OpensshTransport:
    """By a configuration file."""
    return OpensshTransport(
        "far",
        root=str(root),
        clock=SystemClock(),
        rng=random.Random(1),  # noqa: S311 - jitter and nonces
        config=machine.config,
        control_path=control_path,
        require_master=require_master,
    )
