"""Fixtures of the contract tests.

There is one far machine for all that do it no harm, and one for each test that does.
"""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from kit.far_sites import FarSite, Site, over_asyncssh, over_openssh
from kit.sshd import FarMachine, far_machine

from mlip_autopipec.transports.local import LocalTransport
from mlip_autopipec.transports.openssh import OpensshTransport
from mlip_autopipec.transports.ssh import SshTransport


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
    with far_machine(folder) as item:
        yield item


@pytest.fixture
def control_path() -> Iterator[str]:
    """A path short enough for a Unix socket."""
    folder = tempfile.mkdtemp(prefix="ap-")
    yield f"{folder}/master"
    shutil.rmtree(folder)


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
async def far_site(
    request: pytest.FixtureRequest, tmp_path: Path, machine: FarMachine
) -> AsyncIterator[FarSite]:
    """Both ways over SSH, to a machine that may be harmed."""
    root = tmp_path / "root"
    root.mkdir()
    if request.param == "asyncssh":
        transport: SshTransport | OpensshTransport = over_asyncssh(machine, root)
    else:
        transport = over_openssh(machine, root, request.getfixturevalue("control_path"))
    yield FarSite(transport, root)
    await transport.close()
