"""One far machine for all contract tests that do it no harm."""

import asyncio
import random
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from far_machine import FarMachine, far_machine

from mlip_autopipec.ports import Transport
from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.transports.openssh import OpensshTransport
from mlip_autopipec.transports.ssh import SshTransport


class RealClock:
    """ports.Clock of the real world."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def sleep(self, delay_s: float) -> None:
        await asyncio.sleep(delay_s)


@dataclass(frozen=True)
class Site:
    """A transport, and the folder that it works in, as this machine sees it."""

    transport: Transport
    root: Path


@pytest.fixture(scope="session")
def quiet_machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarMachine]:
    """Left alone by all tests. It allows as many channels as a transport may use, and no more."""
    with far_machine(tmp_path_factory.mktemp("far"), "MaxSessions 8") as machine:
        yield machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[FarMachine]:
    """One for the test alone."""
    folder = tmp_path / "far"
    folder.mkdir()
    with far_machine(folder) as one:
        yield one


@pytest.fixture
def control_path() -> Iterator[str]:
    """A path short enough for a Unix socket."""
    folder = tempfile.mkdtemp(prefix="ap-")
    yield f"{folder}/master"
    shutil.rmtree(folder)


def over_asyncssh(machine: FarMachine, root: Path, *, call_timeout_s: float = 60.0) -> SshTransport:
    """With everything named, and no configuration file."""
    return SshTransport(
        "127.0.0.1",
        root=str(root),
        clock=RealClock(),
        rng=random.Random(1),  # noqa: S311 - jitter and nonces
        port=machine.port,
        user=machine.user,
        config=(Path("/dev/null"),),
        known_hosts=machine.known_hosts,
        client_keys=(machine.key,),
        call_timeout_s=call_timeout_s,
    )


def over_openssh(
    machine: FarMachine, root: Path, control_path: str, *, require_master: bool = False, call_timeout_s: float = 60.0
) -> OpensshTransport:
    """By a configuration file."""
    return OpensshTransport(
        "far",
        root=str(root),
        clock=RealClock(),
        rng=random.Random(1),  # noqa: S311 - jitter and nonces
        config=machine.config,
        control_path=control_path,
        require_master=require_master,
        call_timeout_s=call_timeout_s,
    )


@pytest.fixture(params=["local", "asyncssh", "openssh"])
async def site(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Site]:
    """Every implementation of ports.Transport, on an empty root."""
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "local":
        yield Site(LocalTransport(root), root)
        return
    quiet: FarMachine = request.getfixturevalue("quiet_machine")
    if request.param == "asyncssh":
        transport: SshTransport | OpensshTransport = over_asyncssh(quiet, root)
    else:
        transport = over_openssh(quiet, root, request.getfixturevalue("control_path"))
    yield Site(transport, root)
    await transport.close()


@pytest.fixture(params=["asyncssh", "openssh"])
async def far_site(request: pytest.FixtureRequest, tmp_path: Path, machine: FarMachine) -> AsyncIterator[Site]:
    """Both ways over SSH, to a machine that may be harmed."""
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "asyncssh":
        transport: SshTransport | OpensshTransport = over_asyncssh(machine, root)
    else:
        transport = over_openssh(machine, root, request.getfixturevalue("control_path"))
    yield Site(transport, root)
    await transport.close()
