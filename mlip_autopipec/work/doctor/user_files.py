"""The structure files that a site file names, read as the tasks will read them: are they fit, and how large are they.

Also the number of labels that the bootstrap will ask for. It takes a second, and runs before anything is submitted.
"""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.values import read
from mlip_autopipec.work.adopting.labels import roles, to_check
from mlip_autopipec.work.adopting.set_of_files import read_and_judge
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps.generate import property_cells
from mlip_autopipec.work.structures import finite, shared_site, shortest_distance, user_structures

#: Blocks of single elements in a B-basis; of pairs, the name is longer.
_SPECIES = re.compile(r"^\s*-?\s*speciesblock:\s*\"?([A-Z][a-z]?)\"?\s*$", re.MULTILINE)
#: Distances are looked at in files up to this size: beyond, it takes longer than a person waits.
_ATOMS_MAX = 200_000


def judge(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Of each file what it holds and what is wrong with it; of the bootstrap, its cells for properties.

    `asked`: elements, distance_min_angstrom, files (a list of paths); prototypes, probes and twins
    as Generation gets them; dataset (a list of paths) and adopting for labels of the user's; start (potential and
    active_set) for a potential of his.
    """
    return {
        "files": {path: _judged(Path(path), asked) for path in asked["files"]},
        "dataset": _dataset(asked["dataset"], asked),
        "start": _start(asked["start"], asked["elements"]),
        "property_cells": _property_cells(asked),
    }


def _start(files: Mapping[str, str], elements: Sequence[str]) -> dict[str, str]:
    """What is wrong with a potential of the user's, by the key of its section."""
    if not files:
        return {}
    path = Path(files["potential"])
    found = set(_SPECIES.findall(path.read_text(encoding="utf-8", errors="replace")))
    if not found:
        return {"potential": f"{path.name} is no B-basis of python-ace: it has no speciesblock"}
    if found != set(elements):
        words = f"{path.name} is a potential of {', '.join(sorted(found))}, and the campaign of {', '.join(elements)}"
        return {"potential": words}
    return _read_by_its_code(path, files.get("active_set"), elements)


def _read_by_its_code(path: Path, active_set: str | None, elements: Sequence[str]) -> dict[str, str]:
    """The same by python-ace, where it is; Training asks the same where the jobs run."""
    try:
        from mlip_autopipec.work.steps.given import checked, graded  # noqa: PLC0415 - a login node may have none
    except ModuleNotFoundError:
        return {}
    key = "potential"
    try:
        checked(path, elements)
        key = "active_set"
        if active_set is not None:
            graded(path, Path(active_set))
    except TaskFailed as error:
        return {key: str(error)}
    return {}


def _dataset(files: Sequence[str], asked: Mapping[str, Any]) -> dict[str, Any] | None:
    """The labels of these files; None if there are none."""
    if not files:
        return None
    parameters = read(AdoptParameters, asked["adopting"])
    paths = dict(zip(parameters.files, map(Path, files), strict=True))
    found = read_and_judge(paths, parameters, asked["elements"], asked["distance_min_angstrom"], {})
    held_out = roles(found.sound, parameters.test_part) if found.sound else []
    return {
        "wrong": found.refused,
        "left_out": found.left_out,
        "names": found.names,
        "train": held_out.count("train"),
        "test": held_out.count("test"),
        "checks": len(to_check(found.sound, parameters.checks)) if found.sound else 0,
    }


def _judged(path: Path, asked: Mapping[str, Any]) -> dict[str, Any]:
    """`atoms` and `formula` are of the last structure, from which a walker starts."""
    try:
        structures = user_structures(path, asked["elements"])
    except TaskFailed as error:
        return {"wrong": str(error), "structures": 0, "atoms": 0, "formula": ""}
    return {
        "wrong": _short_distance(structures, path, asked["distance_min_angstrom"]),
        "structures": len(structures),
        "atoms": len(structures[-1]),
        "formula": structures[-1].get_chemical_formula(),
    }


def _short_distance(structures: Sequence[Atoms], path: Path, least_angstrom: float) -> str:
    """The first structure whose atoms are closer than anything may be; empty if there is none."""
    for number, atoms in enumerate(structures, 1):
        if len(atoms) <= _ATOMS_MAX and (found := shortest_distance(atoms, least_angstrom)) < least_angstrom:
            which = f"structure {number} of " if len(structures) > 1 else ""
            return f"{which}{path.name} has two atoms {found:.3g} Å apart; distance_min_angstrom is {least_angstrom:g}"
    return ""


def _property_cells(asked: Mapping[str, Any]) -> int:
    """As Generation will make them; without the displaced supercells where there is no phonopy to make them."""
    if asked["probes"] is None:
        return 0
    prototypes = [read(Prototype, each) for each in asked["prototypes"]]
    probes, twins = read(GateProbes, asked["probes"]), bool(asked.get("twins"))
    try:
        return len(property_cells(prototypes, probes, twins=twins))
    except TaskFailed:
        return len(property_cells(prototypes, replace(probes, phonons=None), twins=twins))


def frames_of(asked: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[str]]:
    """Every frame of these files as extended XYZ, and what is wrong with any, by file and frame (from 1).

    `asked`: elements, distance_min_angstrom, files (a list of paths), frames_max.
    """
    found: list[dict[str, Any]] = []
    wrong: list[str] = []
    for path in map(Path, asked["files"]):
        try:
            read_as_given = ase_read(path, index=":")
        except Exception as error:  # noqa: BLE001 - ASE's readers raise whatever their format makes them stumble over
            wrong.append(f"{path.name}: ASE cannot read it: {type(error).__name__}: {error}")
            continue
        if not read_as_given:
            wrong.append(f"{path.name} holds no structure")
        if len(found) + len(read_as_given) > asked["frames_max"]:
            wrong.append(f"{path.name}: more than {asked['frames_max']} frames at a time: add them in parts")
            break
        for number, atoms in enumerate(read_as_given, 1):
            objection = _objection(atoms, path, asked)
            if objection:
                wrong.append(f"{path.name}, frame {number}: {objection}")
            else:
                found.append({"file": str(path), "frame": number, **_bare(atoms)})
    return found, wrong


def _objection(atoms: Atoms, path: Path, asked: Mapping[str, Any]) -> str:  # noqa: PLR0911 - one for each
    """Why this frame can be neither labelled nor walked from; empty if it can."""
    if not len(atoms):
        return "it has no atoms"
    if not finite(atoms.positions, atoms.cell.array):
        return "a position or a cell vector is no finite number"
    if atoms.cell.rank < 3:  # noqa: PLR2004
        return "it has no cell of three vectors: give it one, with vacuum around what is no crystal"
    if not all(atoms.pbc):
        axes = "".join(axis for axis, periodic in zip("xyz", atoms.pbc, strict=True) if not periodic)
        return f"it is not periodic along {axes}; labels are of periodic cells: set pbc to T T T, with vacuum there"
    if unknown := sorted(set(atoms.get_chemical_symbols()) - set(asked["elements"])):
        return f"it has {', '.join(unknown)}, which is not in campaign.elements"
    if shared := shared_site(atoms):
        return f"it has sites that are partly occupied, such as {shared}; give one with whole atoms"
    return _short_distance([atoms], path, asked["distance_min_angstrom"])


def _bare(atoms: Atoms) -> dict[str, Any]:
    """Elements, positions and cell alone, as a task reads them; two frames of one content have one text."""
    bare = Atoms(atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=True)
    text = io.StringIO()
    ase_write(text, bare, format="extxyz")
    return {"text": text.getvalue(), "atoms": len(bare), "formula": bare.get_chemical_formula()}
