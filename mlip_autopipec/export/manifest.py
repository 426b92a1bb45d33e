"""manifest.json of an exported folder.

What it holds, with the checksum of each file; and its check, anywhere.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from pydantic import AwareDatetime, Field, ValidationError

from mlip_autopipec.contract.files import NoRegularFile, read_regular
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.data_models.base import Model, Verdict
from mlip_autopipec.data_models.digest import Need
from mlip_autopipec.errors import OperatorError

MANIFEST, SUMS = "manifest.json", "SHA256SUMS"
_BYTES_MAX = 2**40
_LINE = re.compile(r"([0-9a-f]{64})  (.+)")


class ExportedFile(Model):
    """One file of the folder."""

    path: str = Field(description="relative to the folder")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size_bytes: int = Field(ge=0)
    what: str


class ExportedPotential(Model):
    """The potential, and what is known of its errors."""

    cycle: int
    fingerprint: str = Field(
        description=(
            "sha256 of the files that γ needs, one after the other; of ACE, potential.yaml and"
            " potential.asi"
        )
    )
    trainer: str
    functions_per_element: dict[str, int]
    cutoff_angstrom: float | None
    reference_energies_ev: dict[str, float] = Field(
        description="of ACE they are in the .yace, and not in the .yaml"
    )
    test: Errors
    gate: str = Field(description="what the gate said of it")
    needs: tuple[Need, ...] = Field(
        description="errors on random frames of each condition, with bound and need"
    )


class Manifest(Model):
    """What an exported folder is."""

    format: str = "autopipec-export"
    version: int = 1
    made_at: AwareDatetime
    campaign: str
    name: str
    elements: tuple[str, ...]
    began_at: AwareDatetime
    last_event: int = Field(description="number of the journal's last event that is in here")
    verdict: Verdict | None = Field(description="None: the campaign has not ended")
    verdict_reason: str
    converged: bool
    cycles: int
    labels: dict[str, int] = Field(description="by role")
    settings: tuple[str, ...] = Field(
        description="fingerprints of the labels' settings; more than one is a warning"
    )
    potential: ExportedPotential
    program_versions: tuple[str, ...] = Field(description="of this program, in order of appearance")
    codes: dict[str, str] = Field(
        description="versions by code, as the site has them at the time of the export"
    )
    codes_unknown: str = Field(default="", description="why the site was not asked, if it was not")
    citations: tuple[str, ...] = Field(description="keys in citations.bib")
    files: tuple[ExportedFile, ...]


def sha256(content: bytes) -> str:
    """As sha256sum prints it."""
    return hashlib.sha256(content).hexdigest()


def sums(folder: Path) -> str:
    """SHA256SUMS of every file in the folder but itself, as `sha256sum -c` reads it."""
    return "".join(
        f"{sha256((folder / path).read_bytes())}  {path}\n"
        for path in paths(folder)
        if path != SUMS
    )


def paths(folder: Path) -> list[str]:
    """Every file below a folder, sorted, as POSIX paths."""
    found = [Path(top, name) for top, _, names in os.walk(folder) for name in names]
    return sorted(path.relative_to(folder).as_posix() for path in found)


def verify(folder: Path) -> tuple[Manifest, tuple[str, ...]]:
    """The manifest, and what is wrong with the folder, one sentence each.

    Raises OperatorError if it is no exported folder.
    """
    content = _content(folder / MANIFEST)
    if content is None:
        raise OperatorError(f"{folder} is no exported folder: it has no {MANIFEST}")
    try:
        manifest = Manifest.model_validate_json(content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise OperatorError(
            f"{folder / MANIFEST} cannot be read: {where or 'it'}: {first['msg']}"
        ) from None
    return manifest, tuple(_wrong(folder, manifest))


def _wrong(folder: Path, manifest: Manifest) -> Iterator[str]:
    expected = {file.path: file.sha256 for file in manifest.files}
    for path, checksum in expected.items():
        yield from _compared(folder, path, checksum, MANIFEST)
    listed = _content(folder / SUMS)
    if listed is None:
        yield f"{SUMS} is missing"
        return
    lines = [_LINE.fullmatch(line) for line in listed.decode("utf-8", "replace").splitlines()]
    summed = {line[2]: line[1] for line in lines if line is not None}
    if len(summed) != len(lines):
        yield f"{SUMS} has lines that are no checksum"
    if MANIFEST in summed:
        yield from _compared(folder, MANIFEST, summed[MANIFEST], SUMS)
    for path in sorted(expected.keys() | {MANIFEST}):
        if path not in summed:
            yield f"{path} is not in {SUMS}"
        elif path in expected and summed[path] != expected[path]:
            yield f"{path} has another checksum in {SUMS} than in {MANIFEST}"
    for path in paths(folder):
        if path not in {*expected, MANIFEST, SUMS}:
            yield f"{path} is no file of the export"


def _compared(folder: Path, path: str, checksum: str, source: str) -> Iterator[str]:
    if path.startswith("/") or ".." in Path(path).parts:
        yield f"{source} names {path}, which is not below the folder"
        return
    content = _content(folder / path)
    if content is None:
        yield f"{path} is missing"
    elif (found := sha256(content)) != checksum:
        yield f"{path} has changed: its sha256 is {found}, and {source} has {checksum}"


def _content(path: Path) -> bytes | None:
    try:
        return read_regular(path, size_max=_BYTES_MAX)
    except NoRegularFile as error:
        raise OperatorError(str(error)) from error
