"""The structure files that a site file names, read as the tasks will: their fitness and size.

Also the number of labels that the bootstrap will ask for. It takes a second, and runs before
anything is submitted.
"""

import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ase import Atoms
from ase.io import read as ase_read
from ase.io import write as ase_write

from mlip_autopipec.contract.doctor import (
    DatasetSeen,
    FileSeen,
    FilesQuestion,
    FilesSeen,
    Frame,
    FramesQuestion,
    FramesSeen,
    StartFiles,
)
from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.work.adopting.labels import roles, to_check
from mlip_autopipec.work.adopting.set_of_files import read_and_judge
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.steps.generate import property_cells
from mlip_autopipec.work.structures import finite, shared_site, shortest_distance, user_structures

#: Distances are looked at in files up to this size: beyond, it takes longer than a person waits.
_ATOMS_MAX = 200_000


def judge(asked: FilesQuestion) -> FilesSeen:
    """Of each file what it holds and what is wrong; of the bootstrap, its cells for properties."""
    return FilesSeen(
        files={path: _judged(Path(path), asked) for path in asked.files},
        dataset=_dataset(asked),
        start=_start(asked.start, asked.elements),
        property_cells=_property_cells(asked),
    )


def _start(files: StartFiles | None, elements: Sequence[str]) -> dict[str, str]:
    """What is wrong with a potential of the user's, by the key of its section."""
    if files is None or (look := evaluator_code(files.evaluator).work("judge")) is None:
        return {}
    wrong: dict[str, str] = look(
        Path(files.potential), Path(files.active_set) if files.active_set else None, elements
    )
    return wrong


def _dataset(asked: FilesQuestion) -> DatasetSeen | None:
    """The labels of the user's; None if there are none."""
    parameters = asked.adopting
    if parameters is None:
        return None
    paths = dict(zip(parameters.files, map(Path, asked.dataset), strict=True))
    found = read_and_judge(paths, parameters, asked.elements, asked.distance_min_angstrom, {})
    held_out = roles(found.sound, parameters.test_part) if found.sound else []
    return DatasetSeen(
        wrong=found.refused,
        left_out=found.left_out,
        names=found.names,
        train=held_out.count("train"),
        test=held_out.count("test"),
        checks=len(to_check(found.sound, parameters.checks)) if found.sound else 0,
    )


def _judged(path: Path, asked: FilesQuestion) -> FileSeen:
    try:
        structures = user_structures(path, asked.elements)
    except TaskFailed as error:
        return FileSeen(wrong=str(error))
    return FileSeen(
        wrong=_short_distance(structures, path, asked.distance_min_angstrom),
        structures=len(structures),
        atoms=len(structures[-1]),
        formula=structures[-1].get_chemical_formula(),
    )


def _short_distance(structures: Sequence[Atoms], path: Path, least_angstrom: float) -> str:
    """The first structure whose atoms are closer than anything may be; empty if there is none."""
    for number, atoms in enumerate(structures, 1):
        if (
            len(atoms) <= _ATOMS_MAX
            and (found := shortest_distance(atoms, least_angstrom)) < least_angstrom
        ):
            which = f"structure {number} of " if len(structures) > 1 else ""
            return (
                f"{which}{path.name} has two atoms {found:.3g} Å apart; distance_min_angstrom is"
                f" {least_angstrom:g}"
            )
    return ""


def _property_cells(asked: FilesQuestion) -> int:
    """As Generation will make them; without the displaced supercells where there is no phonopy."""
    probes = asked.probes
    if probes is None:
        return 0
    try:
        return len(property_cells(asked.prototypes, probes, twins=asked.twins))
    except TaskFailed:
        bare = replace(probes, phonons=None)
        return len(property_cells(asked.prototypes, bare, twins=asked.twins))


def frames_of(asked: FramesQuestion) -> FramesSeen:
    """Each frame of these files, and what is wrong, by file and frame."""
    found: list[Frame] = []
    wrong: list[str] = []
    for path in map(Path, asked.files):
        try:
            read_as_given = ase_read(path, index=":")
        except Exception as error:  # noqa: BLE001 - ASE's readers raise whatever their format makes them stumble over
            wrong.append(f"{path.name}: ASE cannot read it: {type(error).__name__}: {error}")
            continue
        if not read_as_given:
            wrong.append(f"{path.name} holds no structure")
        if len(found) + len(read_as_given) > asked.frames_max:
            wrong.append(
                f"{path.name}: more than {asked.frames_max} frames at a time: add them in parts"
            )
            break
        for number, atoms in enumerate(read_as_given, 1):
            objection = _objection(atoms, path, asked)
            if objection:
                wrong.append(f"{path.name}, frame {number}: {objection}")
            else:
                found.append(
                    Frame(file=str(path), number=number, text=_bare(atoms), atoms=len(atoms))
                )
    return FramesSeen(frames=tuple(found), wrong=tuple(wrong))


def _objection(atoms: Atoms, path: Path, asked: FramesQuestion) -> str:  # noqa: PLR0911 - one for each
    """Why this frame can be neither labelled nor walked from; empty if it can."""
    if not len(atoms):
        return "it has no atoms"
    if not finite(atoms.positions, atoms.cell.array):
        return "a position or a cell vector is no finite number"
    if atoms.cell.rank < 3:  # noqa: PLR2004
        return "it has no cell of three vectors: give it one, with vacuum around what is no crystal"
    if not all(atoms.pbc):
        axes = "".join(
            axis for axis, periodic in zip("xyz", atoms.pbc, strict=True) if not periodic
        )
        return (
            f"it is not periodic along {axes}; labels are of periodic cells: set pbc to T T T,"
            " with vacuum there"
        )
    if unknown := sorted(set(atoms.get_chemical_symbols()) - set(asked.elements)):
        return f"it has {', '.join(unknown)}, which is not in campaign.elements"
    if shared := shared_site(atoms):
        return f"it has sites that are partly occupied, such as {shared}; give one with whole atoms"
    return _short_distance([atoms], path, asked.distance_min_angstrom)


def _bare(atoms: Atoms) -> str:
    """Elements, positions and cell alone, as a task reads them, in extended XYZ.

    Two frames of one content have one text.
    """
    bare = Atoms(atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=True)
    text = io.StringIO()
    ase_write(text, bare, format="extxyz")
    return text.getvalue()
