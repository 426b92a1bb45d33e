"""Generation: strained and rattled crystals and their variations, for a campaign to begin with."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.dataset import AdoptParameters
from mlip_autopipec.contract.generate import GateProbes, GenerateParameters, Prototype, Variation
from mlip_autopipec.contract.measure import asked_of
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.values import plain
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work import families
from mlip_autopipec.work.adopting.labels import as_check, as_label, roles, to_check
from mlip_autopipec.work.adopting.set_of_files import read_and_judge
from mlip_autopipec.work.codes.elastic import properties
from mlip_autopipec.work.codes.measuring import Cell, distinct
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed
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
_WORDS_MAX = 4000
#: Tells the random streams of variations from those of training (0) and test structures (1).
_VARIED = 2


def run(job: Job[GenerateParameters]) -> Result:
    """Draw the training and the test structures; the two come from different random streams."""
    parameters = job.parameters
    structures: list[dict[str, Any]] = []
    environments: Counter[str] = Counter()
    redrawn = 0
    plan = [("train", index) for index in range(parameters.structures)]
    plan += [("test", index) for index in range(parameters.test_structures)]
    for number, (role, index) in enumerate(plan):
        prototype = parameters.prototypes[index % len(parameters.prototypes)]
        turn = index // len(parameters.prototypes)  # every prototype meets every rattle
        rattle = parameters.rattle_angstrom[turn % len(parameters.rattle_angstrom)]
        rng = np.random.default_rng([parameters.seed, role == "test", index])
        atoms, again = _draw(prototype, rattle, parameters, rng)
        redrawn += again
        if role == "train":
            environments.update(atoms.get_chemical_symbols())
        origin = Origin(kind="generated", subject=f"{prototype.name}, rattled by {rattle:g} Å")
        structures.append(_written(job, number, atoms, role, origin))
    for atoms, origin in (*_variations(parameters), *_files(job, parameters.elements)):
        environments.update(atoms.get_chemical_symbols())
        structures.append(_written(job, len(structures), atoms, "train", origin))
    structures += _for_properties(job, parameters, len(structures))
    structures += _isolated_atoms(job, parameters, len(structures))
    metrics = {"environments": dict(environments), "redrawn": redrawn}
    if parameters.dataset is not None:
        metrics["dataset"], checks = _adopted(job, parameters, parameters.dataset, structures)
        structures += checks
    return Result({"structures": structures, **metrics})


def _adopted(
    job: AnyJob, parameters: GenerateParameters, asked: AdoptParameters, structures: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The user's labels as one file, and those of them that the oracle is to label again.

    Raises TaskFailed (bad_input), with file, frame and remedy, if they are refused.
    """
    tests = {
        f"a test structure that was {one['origin']}": atoms
        for one in structures
        if one["role"] == "test"
        for atoms in read_frames(job.root / one["file"]["path"])
    }
    paths = dict(zip(asked.files, job.inputs.get("labelled", []), strict=True))
    found = read_and_judge(paths, asked, parameters.elements, parameters.distance_min_angstrom, tests)
    if found.refused:
        raise TaskFailed("bad_input", f"the data set is refused: {found.refused}")
    held_out = roles(found.sound, asked.test_part)
    path = job.workdir / "adopted.extxyz"
    write_frames(path, [as_label(frame, role) for frame, role in zip(found.sound, held_out, strict=True)])
    checks = [
        _written(job, number, as_check(frame), Role.CHECK.value, Origin(kind="check", subject=frame.name), why="check")
        for number, frame in enumerate(to_check(found.sound, asked.checks), len(structures))
    ]
    told = {
        "file": job.ref(path),
        "train": held_out.count("train"),
        "test": held_out.count("test"),
        "left_out": found.left_out[:_WORDS_MAX],
        "names": found.names[:_WORDS_MAX],
    }
    return told, checks


def property_cells(prototypes: Sequence[Prototype], probes: GateProbes | None, *, twins: bool) -> list[Cell]:
    """The cells for the gate's properties, and with `twins` each crystal in two cells."""
    if probes is None:
        return []
    asked: list[Cell] = []
    measures = [(make, each.section) for each in asked_of(probes) if (make := each.code.work("cells"))]
    for prototype in distinct(prototypes):
        for make, settings in measures:
            asked += make(prototype, probes, settings)
        if twins:
            asked += properties.twins(prototype)
    return asked


def _for_properties(job: AnyJob, parameters: GenerateParameters, first: int) -> list[dict[str, Any]]:
    """The cells by which the gate compares a potential with the oracle."""
    asked = property_cells(parameters.prototypes, parameters.probes, twins=bool(parameters.twins))
    return [
        {
            **_written(job, number, cell.atoms, "property", _of_property(cell), why="property"),
            **({"cell": dict(cell.about)} if cell.about else {}),
        }
        for number, cell in enumerate(asked, first)
    ]


def _of_property(cell: Cell) -> Origin:
    """As a value; its sentence is the cell's name, by which its label is found again."""
    return Origin(kind="property", subject=cell.name.removeprefix("property: "))


def _isolated_atoms(job: AnyJob, parameters: GenerateParameters, first: int) -> list[dict[str, Any]]:
    """One atom of each element alone, whose energies are to be the zeros of the fit.

    Its cell is a box and not periodic: a mesh of k-points then has Γ alone, and what knows of no plane waves needs no
    box at all.
    """
    side = parameters.isolated_atom_box_angstrom
    if side is None:
        return []
    return [
        _written(
            job,
            number,
            Atoms(element, positions=[[side / 2] * 3], cell=[side] * 3, pbc=False),
            "isolated_atom",
            Origin(kind="isolated atom", subject=element),
            why="reference",
        )
        for number, element in enumerate(parameters.elements, first)
    ]


def _written(
    job: AnyJob, number: int, atoms: Atoms, role: str, origin: Origin, *, why: str = "generated"
) -> dict[str, Any]:
    path = job.workdir / f"{number:03d}.extxyz"
    write_frames(path, [atoms])
    return {
        "file": job.ref(path),
        "role": role,
        "origin": origin.sentence,
        "came_from": plain(origin),
        "n_atoms": len(atoms),
        "gamma_max": None,
        "why": why,
    }


def _variations(parameters: GenerateParameters) -> Iterator[tuple[Atoms, Origin]]:
    """Every variation as often as it was asked for, no structure twice, and none with short distances."""
    seen: set[tuple[Any, ...]] = set()
    for place, variation in enumerate(parameters.variations):
        for turn in range(variation.count):
            rng = np.random.default_rng([parameters.seed, _VARIED, place, turn])
            yield _varied(variation, parameters, rng, turn, seen), Origin(kind="generated", subject=variation.kind)


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
        f"{_DRAWS_MAX} draws of structure {turn + 1} of {variation.count} of kind {variation.kind!r} were like an"
        f" earlier one, or had distances below {shortest:g} Å: ask for fewer, or for less strain and rattle",
    )


def _files(job: AnyJob, elements: Sequence[str]) -> Iterator[tuple[Atoms, Origin]]:
    """Every structure of the user's files, as it is."""
    for path in job.inputs.get("structure", []):
        for number, atoms in enumerate(user_structures(path, elements), 1):
            yield (
                families.begin(atoms),
                Origin(kind="generated", subject=f"structure {number} of {path.name.partition('-')[2]}"),
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
        f"{_DRAWS_MAX} draws of {prototype.name} with rattle {rattle:g} Å and strain {parameters.strain_max:g}"
        f" all had distances below {shortest:g} Å; lower them, or distance_min_angstrom",
    )


def _strained(atoms: Atoms, strain_max: float, rng: np.random.Generator) -> Atoms:
    """Deform the cell by a symmetric strain whose components are uniform in ±strain_max."""
    strain = rng.uniform(-strain_max, strain_max, (3, 3))
    strain = (strain + strain.T) / 2
    atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return atoms
