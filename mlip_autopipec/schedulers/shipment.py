"""The work half as one file, named by its content: daemon and jobs can't disagree about versions."""

import hashlib
import io
import zipfile
from dataclasses import dataclass
from importlib import resources

_PACKAGE = "mlip_autopipec"
#: Same bytes for the same sources, whenever and wherever they are packed.
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MAIN = "from mlip_autopipec.payload.__main__ import main\n\nraise SystemExit(main())\n"


@dataclass(frozen=True, slots=True)
class Shipment:
    """A zipapp and where it goes, relative to the site's root."""

    path: str
    content: bytes
    sha256: str


def pack() -> Shipment:
    """Pack `mlip_autopipec.payload` so that `python FILE task …` runs it."""
    sources = {"__main__.py": _MAIN.encode(), f"{_PACKAGE}/__init__.py": b""}
    for module in resources.files(_PACKAGE).joinpath("payload").iterdir():
        if module.name.endswith(".py"):
            sources[f"{_PACKAGE}/payload/{module.name}"] = module.read_bytes()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(sources):
            archive.writestr(zipfile.ZipInfo(name, _EPOCH), sources[name])
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()
    return Shipment(path=f".ap/payload-{digest[:12]}.pyz", content=content, sha256=digest)
