"""The zipapp that carries the work half to the site."""

import hashlib
import subprocess
import sys
import zipfile
from importlib import resources
from io import BytesIO
from pathlib import Path

from mlip_autopipec.schedulers.shipment import pack


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
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": "77"}
    )
    assert other.stdout.strip() == pack().sha256


def test_it_holds_the_work_half_and_nothing_else() -> None:
    """Every module of the payload, an entry, and an empty package around them: no schema, no daemon."""
    modules = {
        f"mlip_autopipec/payload/{module.name}"
        for module in resources.files("mlip_autopipec").joinpath("payload").iterdir()
        if module.name.endswith(".py")
    }
    assert names() == modules | {"__main__.py", "mlip_autopipec/__init__.py"}
    assert {"mlip_autopipec/payload/task.py", "mlip_autopipec/payload/batch.py"} <= modules


def test_it_runs_by_itself(tmp_path: Path) -> None:
    """With the standard library alone, and nothing of ours installed, it says what it can do."""
    path = tmp_path / "payload.pyz"
    path.write_bytes(pack().content)
    done = subprocess.run(
        [sys.executable, "-I", "-S", path, "--help"], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert "{task,batch,queue,examine,probe}" in done.stdout


def test_its_modules_come_from_itself(tmp_path: Path) -> None:
    """Beside an installed daemon of another version it still runs its own modules."""
    path = tmp_path / "payload.pyz"
    path.write_bytes(pack().content)
    code = f"import sys; sys.path.insert(0, {str(path)!r}); import mlip_autopipec.payload.task as t; print(t.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == f"{path}/mlip_autopipec/payload/task.py"
