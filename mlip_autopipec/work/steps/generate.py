"""Generation: strained crystals, rattled or walked by a teacher, and their variations.

A campaign begins with them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.contract.generate import GateProbes, GenerateParameters, Prototype, Variation
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.generate import AdoptedSet, GenerateMetrics
from mlip_autopipec.contract.results.structure import Structure, Why
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work import families
from mlip_autopipec.work.adopting.labels import as_check, as_label, roles, to_check
from mlip_autopipec.work.adopting.set_of_files import read_and_judge
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import Cell, distinct
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed
from mlip_autopipec.work.steps.teach import Start
from mlip_autopipec.work.steps.teach import ends as walked
from mlip_autopipec.work.steps.variations import keeps_its_shape, mark, vary
from mlip_autopipec.work.structures import (
    crystal,
    read_frames,
    shortest_distance,
    user_structures,
    write_frames,
)

#: Draws of one structure before its settings are called impossible.
_DRAWS_MAX = 100
#: What is told of a set of the user's is for people.
_TEXT_MAX = 4000
#: Tells the random streams of variations from those of training (0) and test structures (1).
_VARIED = 2


def run(job: Job[GenerateParameters]) -> Result[GenerateMetrics]:
    """Draw the training and the test structures; the two come from different random streams."""
    parameters = job.parameters
    structures: list[Structure] = []
    environments: Counter[str] = Counter()
    drawn, redrawn = _crystals(job, parameters)
    for role, atoms, origin in drawn:
        if role is Role.TRAIN:
            environments.update(atoms.get_chemical_symbols())
        structures.append(_written(job, len(structures), atoms, role, origin))
    for atoms, origin in (*_variations(parameters), *_files(job, parameters.elements)):
        environments.update(atoms.get_chemical_symbols())
        structures.append(_written(job, len(structures), atoms, Role.TRAIN, origin))
    structures += _for_properties(job, parameters, len(structures))
    structures += _isolated_atoms(job, parameters, len(structures))
    dataset = None
    if parameters.dataset is not None:
        dataset, checks = _adopted(job, parameters, parameters.dataset, structures)
        structures += checks
    return Result(
        GenerateMetrics(
            structures=tuple(structures),
            environments=dict(environments),
            redrawn=redrawn,
            dataset=dataset,
        )
    )


def _crystals(
    job: AnyJob, parameters: GenerateParameters
) -> tuple[list[tuple[Role, Atoms, Origin]], int]:
    """The strained prototypes, rattled or walked by the teacher, with their roles.

    The second value is how many were drawn in vain.
    """
    teacher = parameters.teacher
    amounts = teacher.temperatures_kelvin if teacher else parameters.rattle_angstrom
    drawn, starts, redrawn = [], [], 0
    plan = [(Role.TRAIN, index) for index in range(parameters.structures)]
    plan += [(Role.TEST, index) for index in range(parameters.test_structures)]
    for role, index in plan:
        prototype = parameters.prototypes[index % len(parameters.prototypes)]
        # every prototype meets every rattle or temperature
        turn = index // len(parameters.prototypes)
        amount = amounts[turn % len(amounts)]
        seed = (parameters.seed, int(role is Role.TEST), index)
        atoms, again = _draw(
            prototype, 0.0 if teacher else amount, parameters, np.random.default_rng(seed)
        )
        redrawn += again
        how = f"walked by {teacher.name} at {amount:g} K" if teacher else f"rattled by {amount:g} Å"
        drawn.append((role, atoms, Origin(kind="generated", subject=f"{prototype.name}, {how}")))
        starts.append(Start(atoms, amount, seed))
    if teacher is not None and starts:
        ends = walked(job, teacher, starts, parameters.distance_min_angstrom)
        drawn = [(role, end, origin) for (role, _, origin), end in zip(drawn, ends, strict=True)]
    return drawn, redrawn


def _adopted(
    job: AnyJob,
    parameters: GenerateParameters,
    asked: AdoptParameters,
    structures: Sequence[Structure],
) -> tuple[AdoptedSet, list[Structure]]:
    """The user's labels as one file, and those of them that the oracle is to label again.

    Raises TaskFailed (bad_input), with file, frame and remedy, if they are refused.
    """
    tests = {
        f"a test structure that was {structure.origin}": atoms
        for structure in structures
        if structure.role is Role.TEST
        for atoms in read_frames(job.root / structure.file.path)
    }
    paths = dict(zip(asked.files, job.inputs.get("labelled", []), strict=True))
    found = read_and_judge(
        paths, asked, parameters.elements, parameters.distance_min_angstrom, tests
    )
    if found.refused:
        raise TaskFailed("bad_input", f"the data set is refused: {found.refused}")
    held_out = roles(found.sound, asked.test_part)
    path = job.workdir / "adopted.extxyz"
    write_frames(
        path, [as_label(frame, role) for frame, role in zip(found.sound, held_out, strict=True)]
    )
    checks = [
        _written(
            job,
            number,
            as_check(frame),
            Role.CHECK,
            Origin(kind="check", subject=frame.name),
            why="check",
        )
        for number, frame in enumerate(to_check(found.sound, asked.checks), len(structures))
    ]
    adopted = AdoptedSet(
        file=job.ref(path),
        train=held_out.count("train"),
        test=held_out.count("test"),
        left_out=found.left_out[:_TEXT_MAX],
        names=found.names[:_TEXT_MAX],
    )
    return adopted, checks


def property_cells(
    prototypes: Sequence[Prototype], probes: GateProbes | None, *, twins: bool
) -> list[Cell]:
    """The cells for the gate's properties, and with `twins` each crystal in two cells."""
    if probes is None:
        return []
    asked: list[Cell] = []
    measures = [
        (make, each.section) for each in asked_of(probes) if (make := each.code.work("cells"))
    ]
    for prototype in distinct(prototypes):
        for make, settings in measures:
            asked += make(prototype, probes, settings)
        if twins:
            asked += properties.twins(prototype)
    return asked


def _for_properties(job: AnyJob, parameters: GenerateParameters, first: int) -> list[Structure]:
    """The cells by which the gate compares a potential with the oracle."""
    asked = property_cells(parameters.prototypes, parameters.probes, twins=bool(parameters.twins))
    return [
        replace(
            _written(job, number, cell.atoms, Role.PROPERTY, _of_property(cell), why="property"),
            cell=cell.about,
        )
        for number, cell in enumerate(asked, first)
    ]


def _of_property(cell: Cell) -> Origin:
    """As a value; its sentence is the cell's name, by which its label is found again."""
    return Origin(kind="property", subject=cell.name.removeprefix("property: "))


def _isolated_atoms(job: AnyJob, parameters: GenerateParameters, first: int) -> list[Structure]:
    """One atom of each element alone, whose energies are to be the zeros of the fit.

    Its cell is a box and not periodic: a mesh of k-points then has Γ alone, and what knows of no
    plane waves needs no box at all.
    """
    side = parameters.isolated_atom_box_angstrom
    if side is None:
        return []
    return [
        _written(
            job,
            number,
            Atoms(element, positions=[[side / 2] * 3], cell=[side] * 3, pbc=False),
            Role.ISOLATED_ATOM,
            Origin(kind="isolated atom", subject=element),
            why="reference",
        )
        for number, element in enumerate(parameters.elements, first)
    ]


def _written(
    job: AnyJob, number: int, atoms: Atoms, role: Role, origin: Origin, *, why: Why = "generated"
) -> Structure:
    path = job.workdir / f"{number:03d}.extxyz"
    write_frames(path, [atoms])
    return Structure(
        file=job.ref(path),
        role=role,
        origin=origin.sentence,
        came_from=origin,
        n_atoms=len(atoms),
        why=why,
    )


def _variations(parameters: GenerateParameters) -> Iterator[tuple[Atoms, Origin]]:
    """Every variation as often as asked for, no structure twice, and none with short distances."""
    seen: set[tuple[Any, ...]] = set()
    for index, variation in enumerate(parameters.variations):
        for turn in range(variation.count):
            rng = np.random.default_rng([parameters.seed, _VARIED, index, turn])
            yield (
                _varied(variation, parameters, rng, turn, seen),
                Origin(kind="generated", subject=variation.kind),
            )


def _varied(
    variation: Variation,
    parameters: GenerateParameters,
    rng: np.random.Generator,
    turn: int,
    seen: set[tuple[Any, ...]],
) -> Atoms:
    shortest, rattles = parameters.distance_min_angstrom, parameters.rattle_angstrom
    for _ in range(_DRAWS_MAX):
        atoms = vary(variation, parameters, rng, turn)
        if not keeps_its_shape(variation):
            atoms = _strained(atoms, parameters.strain_max, rng)
            atoms.positions += rng.normal(0.0, rattles[turn % len(rattles)], atoms.positions.shape)
        atoms.wrap()
        if mark(atoms) not in seen and shortest_distance(atoms, 2 * shortest) >= shortest:
            seen.add(mark(atoms))
            return atoms
    raise TaskFailed(
        "bad_input",
        f"{_DRAWS_MAX} draws of structure {turn + 1} of {variation.count} of kind"
        f" {variation.kind!r} were like an earlier one, or had distances below {shortest:g} Å: ask"
        " for fewer, or for less strain and rattle",
    )


def _files(job: AnyJob, elements: Sequence[str]) -> Iterator[tuple[Atoms, Origin]]:
    """Every structure of the user's files, as it is."""
    for path in job.inputs.get("structure", []):
        for number, atoms in enumerate(user_structures(path, elements), 1):
            yield (
                families.begin(atoms),
                Origin(
                    kind="generated", subject=f"structure {number} of {path.name.partition('-')[2]}"
                ),
            )


def _draw(
    prototype: Prototype, rattle: float, parameters: GenerateParameters, rng: np.random.Generator
) -> tuple[Atoms, int]:
    """One structure without short distances, and how many draws were thrown away for it."""
    shortest = parameters.distance_min_angstrom
    for again in range(_DRAWS_MAX):
        atoms = _strained(crystal(prototype), parameters.strain_max, rng)
        atoms.positions += rng.normal(0.0, rattle, atoms.positions.shape)
        atoms.wrap()
        if shortest_distance(atoms, 2 * shortest) >= shortest:
            return atoms, again
    raise TaskFailed(
        "bad_input",
        f"{_DRAWS_MAX} draws of {prototype.name} with rattle {rattle:g} Å and strain"
        f" {parameters.strain_max:g} all had distances below {shortest:g} Å; lower them, or"
        " distance_min_angstrom",
    )


def _strained(atoms: Atoms, strain_max: float, rng: np.random.Generator) -> Atoms:
    """Deform the cell by a symmetric strain whose components are uniform in ±strain_max."""
    strain = rng.uniform(-strain_max, strain_max, (3, 3))
    strain = (strain + strain.T) / 2
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms
