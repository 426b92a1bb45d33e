"""Sockets of shared ssh connections: only the user's own is trusted."""

import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from mlip_autopipec.errors import LoginRefused
from mlip_autopipec.testing.clock import SimulatedClock
from mlip_autopipec.transports.control_path import path_in, trouble_with
from mlip_autopipec.transports.openssh import OpensshTransport


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """One of the user's own."""
    made = tmp_path / "ssh"
    made.mkdir(mode=0o700)
    return made


@pytest.fixture
def listening(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A socket in it, as ssh makes one."""
    monkeypatch.chdir(folder)  # the name of a socket may not be long
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("cm")
        Path("cm").chmod(0o600)
        yield folder / "cm"


def test_the_users_own_socket_is_trusted(listening: Path) -> None:
    """Also before it is there, and in a sticky folder of root's."""
    assert trouble_with(listening, os.geteuid()) is None
    assert trouble_with(listening.with_name("to come"), os.geteuid()) is None
    listening.parent.chmod(0o1777)
    assert trouble_with(listening, os.geteuid()) is None


@pytest.mark.parametrize(
    ("mode_of_folder", "mode_of_socket", "message"),
    [
        (0o770, 0o600, "may be written by others (mode 0770)"),
        (0o777, 0o600, "may be written by others (mode 0777)"),
        (0o700, 0o660, "is open to others (mode 0660)"),
        (0o700, 0o602, "is open to others (mode 0602)"),
    ],
)
def test_a_socket_that_others_may_have_made_is_not_trusted(
    listening: Path, mode_of_folder: int, mode_of_socket: int, message: str
) -> None:
    """Whoever answers there would get every command."""
    listening.parent.chmod(mode_of_folder)
    listening.chmod(mode_of_socket)

    assert message in (trouble_with(listening, os.geteuid()) or "")


def test_a_socket_of_somebody_else_is_not_trusted(listening: Path) -> None:
    """Nor a file, nor a link in its place, nor a folder of somebody else's on the way."""
    assert "belongs to user" in (trouble_with(listening, os.geteuid() + 1) or "")
    (listening.parent / "file").touch()
    (listening.parent / "link").symlink_to("cm")
    assert "is no socket" in (trouble_with(listening.parent / "file", os.geteuid()) or "")
    assert "is no socket" in (trouble_with(listening.parent / "link", os.geteuid()) or "")


def test_the_path_is_read_from_what_ssh_says() -> None:
    """With every `%` filled in by ssh itself."""
    assert path_in("host x\ncontrolpath /home/ada/.ssh/cm-ab12\ncontrolpersist no\n") == Path(
        "/home/ada/.ssh/cm-ab12"
    )
    assert path_in("controlmaster false\ncontrolpath none\n") is None
    assert path_in("host x\n") is None


@pytest.fixture
def open_folder(folder: Path) -> Path:
    """One that others may write."""
    folder.chmod(0o777)
    return folder


async def test_a_shared_connection_in_a_folder_of_others_is_refused(open_folder: Path) -> None:
    """Before anything is tried, with what to do."""
    site = OpensshTransport(
        "127.0.0.1",
        root="/site",
        clock=SimulatedClock(),
        rng=random.Random(1),  # noqa: S311 - seeded
        control_path=f"{open_folder}/cm-%h",
        config=Path("/dev/null"),
    )

    with pytest.raises(
        LoginRefused,
        match=r"may be written by others \(mode 0777\).* folder of your own of mode 0700",
    ):
        await site.read("any")


async def test_a_master_of_ours_checks_host_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The option is on ssh's command line, where it outweighs every configuration."""
    said, program = folder / "said", folder / "ssh"
    program.write_text(
        f'#!/bin/sh\necho "$*" >>{said}\ncase "$*" in *"-O check"*) exit 255;; *-M*) exit 1;; esac\n',  # noqa: E501 - text for another program
        encoding="utf-8",
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    site = OpensshTransport(
        "far",
        root="/site",
        clock=SimulatedClock(),
        rng=random.Random(1),  # noqa: S311 - seeded
        control_path=f"{folder}/cm",
        require_master=False,
        call_timeout_s=20.0,
    )

    with pytest.raises(Exception, match="far"):
        await site.read("any")

    (begun,) = [line for line in said.read_text(encoding="utf-8").splitlines() if " -M " in line]
    before_host = begun.partition(" -- ")[0]
    assert "-o StrictHostKeyChecking=yes" in before_host
    assert "-o BatchMode=yes" in before_host
