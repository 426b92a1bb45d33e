"""Where the socket is, and whose folder it may be in."""

import os
import stat
import tempfile
from pathlib import Path

import pytest

from mlip_autopipec.control.address import PATH_BYTES_MAX, make_private, require_own, socket_path
from mlip_autopipec.errors import OperatorError


def test_the_socket_is_in_the_campaigns_folder() -> None:
    """Where it fits, the place is one that a person would guess."""
    assert socket_path(Path("/campaigns/copper")) == Path("/campaigns/copper/control/socket")


@pytest.mark.parametrize("letter", ["x", "é"])
def test_a_path_too_long_for_a_socket_gets_a_short_name(letter: str) -> None:
    """The limit counts bytes; the short name depends on the whole folder and on nothing else."""
    room = PATH_BYTES_MAX - len("//control/socket")
    size = len(letter.encode())
    fits, long = Path("/" + letter * (room // size)), Path("/" + letter * (room // size + 1))
    assert fits / "control" / "socket" == socket_path(fits)
    short = socket_path(long)
    assert Path(tempfile.gettempdir()) / f"autopipec-{os.geteuid()}" == short.parent
    assert short.suffix == ".sock"
    assert len(short.stem) == 12
    assert short == socket_path(long)
    assert short != socket_path(Path(f"{long}x"))


def test_however_the_folder_is_written_the_socket_is_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path and one through a link lead to the daemon's own."""
    (tmp_path / "copper").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "copper")
    monkeypatch.chdir(tmp_path)
    assert {socket_path(tmp_path / "copper")} == {
        socket_path(Path("copper")),
        socket_path(tmp_path / "link"),
    }


def test_a_private_folder_is_open_to_its_owner_only(tmp_path: Path) -> None:
    """It is made with its parents, and an open one is closed."""
    folder = tmp_path / "new" / "control"
    make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    folder.chmod(0o755)
    make_private(folder)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_link_is_no_private_folder(tmp_path: Path) -> None:
    """What someone else may point elsewhere is not trusted."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OperatorError, match="is not a folder"):
        make_private(tmp_path / "link")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
def test_a_folder_of_someone_else_is_not_trusted() -> None:
    """A daemon or a client that is not root uses only folders of its own uid; root may use all."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        os.chown(folder, 12345, -1)
        require_own(folder)
        os.seteuid(54321)
        try:
            with pytest.raises(
                OperatorError, match=r"belongs to uid 12345, not to you \(uid 54321\)"
            ):
                require_own(folder)
        finally:
            os.seteuid(0)
