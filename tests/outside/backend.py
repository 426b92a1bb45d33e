"""A PEP 517 build backend in the standard library: pip installs this package without a network.

Yours will rather be setuptools, with the same tables of pyproject.toml.
"""

import base64
import hashlib
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_EPOCH = (1980, 1, 1, 0, 0, 0)


def build_wheel(
    wheel_directory: str, config_settings: Any = None, metadata_directory: str | None = None
) -> str:
    """Make the wheel; its name."""
    del config_settings, metadata_directory
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    stem = f"{project['name'].replace('-', '_')}-{project['version']}"
    files = dict(_files(project, f"{stem}.dist-info"))
    hashes = {
        path: base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        for path, content in files.items()
    }
    record = "".join(f"{path},sha256={hashes[path]},{len(files[path])}\n" for path in files)
    files[f"{stem}.dist-info/RECORD"] = f"{record}{stem}.dist-info/RECORD,,\n".encode()
    name = f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(Path(wheel_directory) / name, "w") as wheel:
        for path, content in files.items():
            wheel.writestr(zipfile.ZipInfo(path, _EPOCH), content)
    return name


def _files(project: dict[str, Any], info: str) -> Iterator[tuple[str, bytes]]:
    for path in sorted(Path("toy_codes").rglob("*.py")):
        yield path.as_posix(), path.read_bytes()
    yield (
        f"{info}/METADATA",
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n".encode(),
    )
    yield (
        f"{info}/WHEEL",
        b"Wheel-Version: 1.0\nGenerator: backend\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    )
    groups = project["entry-points"].items()
    lines = [
        f"[{group}]\n" + "".join(f"{name} = {path}\n" for name, path in of.items())
        for group, of in groups
    ]
    yield f"{info}/entry_points.txt", "\n".join(lines).encode()
