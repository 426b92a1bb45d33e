"""`site.transport`: this machine, SSH, or an open ssh connection."""

from pathlib import Path

import pytest
from kit.site_files import mistakes, spoiled, write

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.site import (
    AnyTransport,
    OpensshTransportSection,
    SshTransportSection,
)

LOCAL = "{kind: local}"


def far(transport: str, root: str = "/scratch/me/alloy") -> str:
    """A site file with Slurm on another machine."""
    return spoiled(
        (f"transport: {LOCAL}", f"transport: {transport}"),
        ("root: run/root", f"root: {root}"),
        ("scheduler: {kind: local, cores: 2}", "scheduler: {kind: slurm}"),
    )


def loaded(folder: Path, transport: str) -> tuple[AnyTransport, Path]:
    """The transport section of a site file, and its root."""
    text = far(transport)
    site = load_config(write(folder, text)).config.site
    return site.transport, site.root


def test_the_root_of_a_site_that_is_far_is_left_as_it_is(tmp_path: Path) -> None:
    """It is a path there."""
    transport, far_root = loaded(tmp_path, "{kind: ssh, host: cluster}")
    assert far_root == Path("/scratch/me/alloy")
    assert transport == SshTransportSection(host="cluster")


@pytest.mark.parametrize("root", ["~/alloy", "alloy"])
def test_the_root_of_a_site_that_is_far_is_a_full_path(tmp_path: Path, root: str) -> None:
    """The job script names it, and a compute node may know another home."""
    [line] = mistakes(tmp_path, far("{kind: ssh, host: cluster}", root))
    assert f"site.root  '{root}' → expected a full path" in line


def test_files_of_a_transport_are_files_of_this_machine(tmp_path: Path) -> None:
    """Relative to the site file, or to the user's home here."""
    text = (
        "{kind: ssh, host: c, port: 2222, user: me, identity_file: keys/id, known_hosts: ~/hosts,"
        " config_file: conf}"
    )
    transport, _ = loaded(tmp_path, text)
    assert transport == SshTransportSection(
        host="c",
        port=2222,
        user="me",
        identity_file=tmp_path / "keys/id",
        known_hosts=Path("~/hosts").expanduser(),
        config_file=tmp_path / "conf",
    )


def test_an_open_connection_is_wanted_unless_said_otherwise(tmp_path: Path) -> None:
    """The path of its socket is ssh's own, with the marks that ssh fills in."""
    transport, _ = loaded(
        tmp_path, "{kind: openssh, host: c, control_path: '~/.ssh/cm-%C', long_lived: false}"
    )
    assert transport == OpensshTransportSection(
        host="c", control_path="~/.ssh/cm-%C", require_master=True, long_lived=False
    )


@pytest.mark.parametrize(
    ("transport", "mistake"),
    [
        (
            "{kind: ssh}",
            "site.yaml:8  site.transport.host  missing → required: name of the login node",
        ),
        ("{kind: shh, host: c}", "did you mean 'ssh'?"),
        (
            "{kind: ssh, host: c, port: 0}",
            "site.yaml:8  site.transport.port  0 → expected 1 or more",
        ),
        (
            "{kind: ssh, host: c, control_path: x}",
            "site.yaml:8  site.transport.control_path  'x' → no such key here",
        ),
        (
            "{kind: openssh, hots: c}",
            "site.yaml:8  site.transport.hots  'c' → no such key; did you mean 'host'?",
        ),
    ],
)
def test_mistakes_in_it_are_told(tmp_path: Path, transport: str, mistake: str) -> None:
    """As in every other section."""
    [line] = mistakes(tmp_path, far(transport))
    assert mistake in line
