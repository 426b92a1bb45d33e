"""The zipapp that carries the work half to the site."""

import asyncio
import hashlib
import os
import stat
import subprocess
import sys
import zipfile
from importlib import resources
from io import BytesIO
from pathlib import Path

import pytest

from mlip_autopipec.errors import OperatorError
from mlip_autopipec.schedulers.shipment import close_to_others, pack
from mlip_autopipec.transports.local import LocalTransport


def names() -> set[str]:
    """What is in the archive."""
    with zipfile.ZipFile(BytesIO(pack().content)) as archive:
        return set(archive.namelist())


def test_it_is_named_by_its_content() -> None:
    """Another version is another file, so jobs that still wait keep theirs."""
    shipment = pack()
    assert shipment.sha256 == hashlib.sha256(shipment.content).hexdigest()
    assert shipment.path == f".ap/payload-{shipment.sha256[:12]}.pyz"


def test_the_same_sources_give_the_same_bytes() -> None:
    """Also from another process, at another time, with another seed of hashes."""
    code = "from mlip_autopipec.schedulers.shipment import pack; print(pack().sha256)"
    other = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONHASHSEED": "77"},
    )
    assert other.stdout.strip() == pack().sha256


def test_it_holds_the_work_half_and_nothing_else() -> None:
    """Every module of `work` and `contract`, an entry, and an empty package around.

    There is no schema and no daemon.
    """
    package = Path(str(resources.files("mlip_autopipec")))
    rooms = [*package.joinpath("work").rglob("*.py"), *package.joinpath("contract").rglob("*.py")]
    modules = {f"mlip_autopipec/{path.relative_to(package)}" for path in rooms}
    assert names() == modules | {"__main__.py", "mlip_autopipec/__init__.py"}
    assert {"mlip_autopipec/work/attempt.py", "mlip_autopipec/work/queue/batch.py"} <= modules


def test_it_runs_by_itself(tmp_path: Path) -> None:
    """With the standard library alone, and nothing of ours installed, it says what it can do."""
    path = tmp_path / "payload.pyz"
    path.write_bytes(pack().content)
    done = subprocess.run(
        [sys.executable, "-I", "-S", path, "--help"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "{task,batch,queue,examine,probe}" in done.stdout


def test_its_modules_come_from_itself(tmp_path: Path) -> None:
    """Beside an installed daemon of another version it still runs its own modules."""
    path = tmp_path / "payload.pyz"
    path.write_bytes(pack().content)
    code = (
        f"import sys; sys.path.insert(0, {str(path)!r}); import mlip_autopipec.work.attempt as t;"
        " print(t.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout.strip() == f"{path}/mlip_autopipec/work/attempt.py"


@pytest.fixture
def group_root(tmp_path: Path) -> Path:
    """A root in a group's folder: setgid, umask 002."""
    folder = tmp_path / "root" / ".ap"
    folder.mkdir(parents=True)
    folder.chmod(0o2775)
    folder.parent.chmod(0o2775)
    (folder / "payload-x.pyz").touch()
    return tmp_path / "root"


async def test_the_folder_of_the_program_is_closed_to_a_group(group_root: Path) -> None:
    """Whoever may write there, runs as the user."""
    await close_to_others(LocalTransport(group_root))

    assert stat.S_IMODE((group_root / ".ap").stat().st_mode) & 0o077 == 0


@pytest.mark.parametrize(
    ("mode", "found"), [(0o2775, True), (0o777, True), (0o2755, False), (0o700, False)]
)
async def test_a_root_that_others_may_write_is_told(
    group_root: Path, *, mode: int, found: bool
) -> None:
    """They could put another folder in its place; it is the user's to close."""
    await asyncio.to_thread(group_root.chmod, mode)

    assert (
        "may be written by others" in await close_to_others(LocalTransport(group_root))
    ) == found


async def test_a_folder_that_stays_open_is_refused(
    group_root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where it is somebody else's, or the file system knows no modes; allowed, it is said."""
    program = group_root.parent / "bin" / "chmod"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")

    with pytest.raises(OperatorError, match=r"\.ap under site\.root .* mode 2775.*yours alone"):
        await close_to_others(LocalTransport(group_root))
    message = await close_to_others(LocalTransport(group_root), may_stay_open=True)
    assert "mode 2775" in message
    assert "site.others_may_write allows it" in message
