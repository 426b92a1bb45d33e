"""Whether pw.x is here, and how fine its settings must be.

Settings are varied one by one about those of the site file, each kind up to one that is clearly
finer: a setting costs what it differs by from the finest of its kind.
"""

import shlex
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.oracle import OracleTrial
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.espresso.fingerprint import check_pseudopotentials
from mlip_autopipec.work.codes.espresso.output import UnreadableError, version
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle
from mlip_autopipec.work.programs import said_by, short

#: Parts of the site file's k-spacing, the coarsest first; the mesh of the last is the reference.
_SPACINGS = (1.5, 1.0, 1 / 1.5, 1 / 2)
_CUTOFFS = (1.0, 1.25, 1.5)
_WIDTHS = (2.0, 1.0, 0.5)
_PLANE_WAVES_POWER = 1.5
#: What a k-point costs in a cell of twice as many atoms.
_TWICE_THE_ATOMS = 4.0


def examine(
    oracle: EspressoOracle, elements: Sequence[str], distance_min_angstrom: float
) -> Examined:
    """pw.x says that it is itself; pseudopotentials are those that the site file names.

    It is asked without its launcher.
    """
    del distance_min_angstrom
    hashes = check_pseudopotentials(oracle, elements)
    command = shlex.split(oracle.command.replace("{cores}", "1").replace("{ranks}", "1"))
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "nothing.in").touch()
        said = said_by([*command, "-in", "nothing.in"], Path(folder))
    try:
        found = version(said)
    except UnreadableError:
        return Examined(fit=False, message=f"{command[0]} is no pw.x: {short(said)}")
    files = ", ".join(f"{element} {digest[:8]}" for element, digest in hashes.items())
    return Examined(fit=True, message=f"pw.x {found}; pseudopotentials by sha256: {files}")


def trials(oracle: EspressoOracle, moved: Atoms, twin: Atoms) -> Iterator[OracleTrial]:
    """Every trial in order, with the family's k-mesh; the last is of the cell twice as large."""
    oracle = replace(oracle, k_mesh="family")
    yield OracleTrial(
        "as asked", _description(oracle, moved), oracle, "moved", 1.0, *_mesh_setting(oracle)
    )
    for kind, varied in _varied(oracle, moved):
        setting = _mesh_setting(varied) if kind == "k-mesh" else ()
        yield OracleTrial(
            kind,
            _description(varied, moved, kind),
            varied,
            "moved",
            _cost(varied, oracle, moved),
            *setting,
        )
    cost = _TWICE_THE_ATOMS * _points(oracle, twin) / _points(oracle, moved)
    yield OracleTrial("as asked", "", oracle, "twin", cost)


def _varied(oracle: EspressoOracle, cell: Atoms) -> Iterator[tuple[str, EspressoOracle]]:
    """The finest of each kind comes last of it; what would be the same calculation is left out."""
    meshes = {_mesh(oracle, cell)}
    for part in _SPACINGS:
        varied = replace(
            oracle, k_spacing_inverse_angstrom=round(oracle.k_spacing_inverse_angstrom * part, 4)
        )
        if (mesh := _mesh(varied, cell)) not in meshes:
            meshes.add(mesh)
            yield "k-mesh", varied
    if oracle.smearing is not None:
        for part in _WIDTHS:
            if part != 1.0:
                width = round(oracle.smearing.width_ry * part, 6)
                yield (
                    "smearing width",
                    replace(oracle, smearing=replace(oracle.smearing, width_ry=width)),
                )
    for part in _CUTOFFS[1:]:
        yield (
            "cutoff",
            replace(
                oracle, ecutwfc_ry=oracle.ecutwfc_ry * part, ecutrho_ry=oracle.ecutrho_ry * part
            ),
        )


def _mesh_setting(oracle: EspressoOracle) -> tuple[str, float]:
    return "k_spacing_inverse_angstrom", oracle.k_spacing_inverse_angstrom


def _mesh(oracle: EspressoOracle, cell: Atoms) -> tuple[int, int, int]:
    return families.mesh(cell, oracle.k_spacing_inverse_angstrom)


def _points(oracle: EspressoOracle, cell: Atoms) -> int:
    return int(np.prod(_mesh(oracle, cell)))


def _cost(varied: EspressoOracle, oracle: EspressoOracle, cell: Atoms) -> float:
    """By the number of k-points, and of plane waves."""
    waves = (varied.ecutwfc_ry / oracle.ecutwfc_ry) ** _PLANE_WAVES_POWER
    return float(_points(varied, cell) / _points(oracle, cell) * waves)


def _description(oracle: EspressoOracle, cell: Atoms, kind: str = "") -> str:
    mesh = "×".join(map(str, _mesh(oracle, cell)))
    width = oracle.smearing.width_ry if oracle.smearing else None
    descriptions = {
        "k-mesh": f"k {oracle.k_spacing_inverse_angstrom:g} per Å ({mesh})",
        "smearing width": f"width {width:g} Ry" if width is not None else "fixed occupations",
        "cutoff": f"cutoff {oracle.ecutwfc_ry:g}/{oracle.ecutrho_ry:g} Ry",
    }
    return descriptions[kind] if kind else ", ".join(descriptions.values())
