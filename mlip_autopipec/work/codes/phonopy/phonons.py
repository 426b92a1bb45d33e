"""Phonons of the prototypes by finite displacements: a rule of the gate that a site file asks for.

phonopy finds by symmetry which atoms have to be moved, and makes force constants of the forces
(Togo and Tanaka, Scr. Mater. 108, 1 (2015); Togo, J. Phys. Soc. Jpn. 92, 012001 (2023)). Positions:

- **Only the supercell's own q points**, those whose waves it holds whole. There the frequencies are
  exact, however small the supercell is; anywhere between they are interpolated, and a small
  supercell may then have imaginary modes near Γ that no crystal has. Longer waves than these are
  told by the elastic constants.
- **Stability at the potential's own lattice constant**, for that is where MD will have the crystal;
  c/a stays the prototype's. Atoms need no relaxation: symmetry holds them in every prototype.
- **The oracle is asked only if the site file says so**: an SCF of a hundred atoms costs far more
  than that of the strained cells. Then both are compared in the very same supercells, those that
  were labelled, at the prototype's lattice constant, so that the difference is one of force
  constants and of nothing else.
- **A missing phonopy is a failure**, never a rule that was not asked.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from math import ceil
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.build import bulk

from mlip_autopipec.contract.generate import GateProbes, PhononProbes, Prototype
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.elastic.properties import lattice_constant
from mlip_autopipec.work.codes.measuring import Cell, measured
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.structures import crystal, finite

if TYPE_CHECKING:  # it is not everywhere
    from phonopy import Phonopy

#: How the conventional cell is centred, where its primitive cell is smaller.
_CENTRING = {
    "fcc": "F",
    "diamond": "F",
    "rocksalt": "F",
    "zincblende": "F",
    "bcc": "I",
    "l1_0": "C",
}
#: A label is of another structure than today's if an atom stands farther off; extended XYZ keeps
#: eight decimals.
_SAME_ANGSTROM = 1e-5
_DECIMALS = 6


def require_phonopy() -> None:
    """Raise TaskFailed (bad_input) if this Python has no phonopy."""
    _phonopy()


def cells(prototype: Prototype, probes: GateProbes) -> list[Cell]:
    """Displaced supercells for the oracle; none unless the site file asks for its frequencies."""
    asked = probes.phonons
    return _displaced(prototype, prepared(prototype, asked)) if asked and asked.oracle else []


def measure(
    prototype: Prototype,
    labels: Mapping[str, Atoms],
    potentials: Mapping[str, Evaluator],
    probes: GateProbes,
) -> Iterator[Measure]:
    """The lowest frequency in THz, and the RMS difference from the oracle's if that was asked for.

    An imaginary frequency is a negative number. None stands where there is no lattice constant, no
    finite force, or no label.
    """
    asked, name = probes.phonons, prototype.name
    if asked is None:
        return
    phonons = prepared(prototype, asked)
    truth = _of_labels(prototype, labels, phonons) if asked.oracle else None
    lowest: dict[str, float | None] = {"oracle": None if truth is None else _rounded(truth.min())}
    off: dict[str, float | None] = {"oracle": 0.0}
    for which, potential in potentials.items():
        own = lattice_constant(potential, prototype, probes)
        found = None if own is None else frequencies(prototype, phonons, _forces_of(potential), own)
        lowest[which] = None if found is None else _rounded(found.min())
        same = None if truth is None else frequencies(prototype, phonons, _forces_of(potential))
        off[which] = (
            None
            if same is None or truth is None
            else _rounded(np.sqrt(np.mean((same - truth) ** 2)))
        )
    yield measured("lowest_frequency", name, "THz", 1.0, lowest)
    if asked.oracle:
        yield measured("frequencies", name, "THz", 1.0, off)


def prepared(prototype: Prototype, asked: PhononProbes) -> "Phonopy":
    """The prototype's supercell, its symmetry, and what has to be moved.

    It serves every lattice constant.
    """
    make, make_atoms = _phonopy()
    unit = _unit_cell(prototype)
    times = [ceil(asked.supercell_min_angstrom / length) for length in unit.cell.lengths()]
    atoms = make_atoms(
        symbols=unit.get_chemical_symbols(),
        cell=unit.cell.array,
        scaled_positions=unit.get_scaled_positions(),
    )
    centring = _CENTRING.get(prototype.structure, "P")
    phonons: Phonopy = make(atoms, supercell_matrix=np.diag(times), primitive_matrix=centring)
    phonons.generate_displacements(distance=asked.displacement_angstrom)
    return phonons


def frequencies(
    prototype: Prototype,
    phonons: "Phonopy",
    forces: Callable[[Atoms], np.ndarray],
    lattice_constant_angstrom: float | None = None,
) -> np.ndarray | None:
    """Frequencies in THz, (q points, 3 × primitive atoms), rising at each; negative if imaginary.

    `forces` gives eV/Å of a structure, (atoms, 3); the lattice constant is the prototype's unless
    another is given. The acoustic modes at Γ are zero, which is imposed. None if a force is no
    number.
    """
    scale = (
        lattice_constant_angstrom or prototype.lattice_constant_angstrom
    ) / prototype.lattice_constant_angstrom
    return _solved(phonons, [forces(cell.atoms) for cell in _displaced(prototype, phonons, scale)])


def _of_labels(
    prototype: Prototype, labels: Mapping[str, Atoms], phonons: "Phonopy"
) -> np.ndarray | None:
    """The oracle's; None if a label failed, or was made for another prototype."""
    wanted = _displaced(prototype, phonons)
    known = [labels[cell.name] for cell in wanted if cell.name in labels]
    if len(known) < len(wanted) or not all(
        _same(*pair) for pair in zip(wanted, known, strict=True)
    ):
        return None
    return _solved(phonons, [label.get_forces() for label in known])


def _same(cell: Cell, label: Atoms) -> bool:
    return all(
        np.allclose(position, other, rtol=0, atol=_SAME_ANGSTROM)
        for position, other in (
            (cell.atoms.cell.array, label.cell.array),
            (cell.atoms.positions, label.positions),
        )
    )


def _forces_of(evaluator: Evaluator) -> Callable[[Atoms], np.ndarray]:
    return lambda atoms: np.asarray(evaluator.evaluate(atoms, graded=False).forces)


def _phonopy() -> tuple[Any, Any]:
    try:
        from phonopy import Phonopy  # noqa: PLC0415 - only who asks for phonons needs it
        from phonopy.structure.atoms import PhonopyAtoms  # noqa: PLC0415
    except ImportError as error:
        raise TaskFailed(
            "bad_input",
            f"training.gate.phonons needs phonopy in site.python: {error}; pip install"
            " 'mlip-autopipec[phonons]' brings it, and without the key the gate does without",
        ) from error
    return Phonopy, PhonopyAtoms


def _unit_cell(prototype: Prototype) -> Atoms:
    """The conventional cell; of hcp that of two atoms.

    Multiples of the orthogonal one take twice the labels.
    """
    if prototype.structure == "hcp":
        a, c_over_a = prototype.lattice_constant_angstrom, prototype.c_over_a or (8 / 3) ** 0.5
        return bulk(prototype.elements[0], "hcp", a=a, covera=c_over_a)
    return crystal(replace(prototype, repeat=(1, 1, 1)))


def _displaced(prototype: Prototype, phonons: "Phonopy", scale: float = 1.0) -> list[Cell]:
    """The supercell, its lengths times `scale`, once with each displacement, itself not scaled."""
    still, found = phonons.supercell, []
    for move in phonons.dataset["first_atoms"]:
        way = " ".join(f"{step:+.4f}" for step in move["displacement"])
        message = (
            f"property: {prototype.name}, atom {move['number'] + 1} of {len(still)} moved by {way}"
            " Å"
        )
        atoms = Atoms(
            still.symbols,
            cell=still.cell * scale,
            scaled_positions=still.scaled_positions,
            pbc=True,
        )
        families.begin(atoms, np.diag(phonons.supercell_matrix).tolist(), vacuum=())
        atoms.positions[move["number"]] += move["displacement"]
        found.append(Cell(message, atoms))
    return found


def _solved(phonons: "Phonopy", forces: list[np.ndarray]) -> np.ndarray | None:
    if not finite(*forces):
        return None
    phonons.forces = forces
    phonons.produce_force_constants()
    phonons.symmetrize_force_constants()
    phonons.run_qpoints(_whole_waves(phonons))
    return np.array(phonons.qpoints.frequencies)


def _whole_waves(phonons: "Phonopy") -> np.ndarray:
    """Every q point whose wave fits the supercell, once.

    They are in parts of the primitive cell's reciprocal vectors.
    """
    # Twice as far as one reciprocal cell of the conventional cell: a centred one's zone reaches so
    # far.
    steps = [np.arange(2 * times) / times for times in np.diag(phonons.supercell_matrix)]
    of_conventional = np.stack(np.meshgrid(*steps, indexing="ij"), axis=-1).reshape(-1, 3)
    within = (of_conventional @ phonons.primitive_matrix) % 1
    return np.unique(within.round(_DECIMALS + 3) % 1, axis=0)


def _rounded(value: float) -> float:
    return round(float(value), _DECIMALS) + 0.0  # -0.0 is 0
