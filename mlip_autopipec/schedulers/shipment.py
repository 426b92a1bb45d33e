"""The work half as one file, named by content: daemon and jobs can't disagree about versions."""

import hashlib
import io
import re
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from importlib.metadata import distribution
from importlib.resources.abc import Traversable
from pathlib import Path

from mlip_autopipec.contract.registry import Entry
from mlip_autopipec.errors import OperatorError, TransientError
from mlip_autopipec.ports import Transport

_PACKAGE = "mlip_autopipec"
#: Same bytes for the same sources, whenever and wherever they are packed.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "from mlip_autopipec.work.__main__ import main\n\nraise SystemExit(main())\n"


@dataclass(frozen=True, slots=True)
class Shipment:
    """A zipapp and where it goes, relative to the site's root."""

    path: str
    content: bytes
    sha256: str


def pack(outside: Iterable[Entry] = ()) -> Shipment:
    """Pack the work half, the contract and these codes of other packages, for `python FILE task …`.

    Each brings the folder of its package and its entry points, so that the registry finds it in the
    archive, too. Raises OperatorError for a package that cannot run out of an archive.
    """
    sources = {"__main__.py": _MAIN.encode(), f"{_PACKAGE}/__init__.py": b""}
    for room in ("contract", "work"):
        sources |= _modules(resources.files(_PACKAGE).joinpath(room), f"{_PACKAGE}/{room}")
    for entry in outside:
        sources |= _package(entry)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(sources):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), sources[name])
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    return Shipment(path=f".ap/payload-{digest[:12]}.pyz", content=content, sha256=digest)


def _modules(folder: Traversable, name: str) -> dict[str, bytes]:
    """Every module of a package and of those in it, by its path in the archive."""
    sources: dict[str, bytes] = {}
    for item in folder.iterdir():
        if item.name.endswith(".py"):
            sources[f"{name}/{item.name}"] = item.read_bytes()
        elif item.is_dir() and item.name != "__pycache__":
            sources |= _modules(item, f"{name}/{item.name}")
    return sources


def _package(entry: Entry) -> dict[str, bytes]:
    """The package that brings a code, and the metadata by which it is found."""
    found = distribution(entry.distribution)
    points = [point for point in found.entry_points if point.group.startswith(f"{_PACKAGE}.")]
    groups = {
        point.group: [each for each in points if each.group == point.group] for point in points
    }
    lines = [
        f"[{group}]\n"
        + "".join(f"{point.name} = {point.value}\n" for point in sorted(groups[group]))
        for group in sorted(groups)
    ]
    info = f"{found.name.replace('-', '_')}-{found.version}.dist-info"
    return {
        f"{info}/METADATA": (
            f"Metadata-Version: 2.1\nName: {found.name}\nVersion: {found.version}\n"
        ).encode(),
        f"{info}/entry_points.txt": "\n".join(lines).encode(),
        **_files(Path(str(resources.files(entry.package))), entry),
    }


def _files(folder: Path, entry: Entry) -> dict[str, bytes]:
    """All files of a package but bytecode."""
    sources = {}
    for path in sorted(folder.rglob("*")):
        if "__pycache__" in path.parts or not path.is_file():
            continue
        if path.suffix in {".so", ".pyd"}:
            raise OperatorError(
                f"{entry.distribution} brings {entry.name!r} among {entry.seam}, and its module"
                f" {path.name} is compiled. Jobs run a package out of an archive, where Python"
                " loads no such module: put what is compiled into a package of its own, and"
                " install that in site.python"
            )
        sources[f"{entry.package}/{path.relative_to(folder).as_posix()}"] = path.read_bytes()
    return sources


#: ROOT-relative folder of ours: closed to others, then what is still not as it must be, one name a
#: line.
_CLOSE = r"""
chmod 0700 .ap 2>/dev/null
find .ap -maxdepth 0 \( ! -user "$(id -u)" -o -perm /077 \) -printf 'AP_OPEN %p %m %u\n'
find . -maxdepth 0 -perm /022 ! -perm -1000 -printf 'AP_OPEN %p %m %u\n'
"""
_OPEN = re.compile(r"^AP_OPEN (\S+) ([0-7]{3,4}) (\S+)$", re.MULTILINE)


async def close_to_others(transport: Transport, *, may_stay_open: bool = False) -> str:
    """Make `.ap`, where every job's program is, the user's alone: a group's folder gives more away.

    What is left to say of the root itself, which is the user's to close; empty if nothing is.
    Raises OperatorError if `.ap` stays open, which is only said where it may; TransientError if
    that can't be told.
    """
    done = await transport.run(["env", "LC_ALL=C", "sh", "-s"], stdin=_CLOSE.encode())
    if done.exit_status != 0:
        raise TransientError(
            "the mode of .ap can't be told:"
            f" {done.stderr.decode('utf-8', 'replace').strip()[-300:]}"
        )
    found = {
        path: (mode, owner)
        for path, mode, owner in _OPEN.findall(done.stdout.decode("utf-8", "replace"))
    }
    if (seen := found.get(".ap")) is not None:
        message = (
            f"the folder .ap under site.root belongs to {seen[1]} and has mode {seen[0]}, and jobs"
            " run the program in it: it must be yours alone"
        )
        if may_stay_open:
            return f"{message}; site.others_may_write allows it"
        raise OperatorError(
            f"{message}. `chmod 0700` it, give a site.root of your own, or where you trust them say"
            " `site.others_may_write: true`"
        )
    if (seen := found.get(".")) is not None:
        return (
            f"site.root may be written by others (mode {seen[0]}), who can exchange what jobs run"
            " and read: `chmod go-w` it if that is not meant"
        )
    return ""
