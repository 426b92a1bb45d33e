"""Properties of the prototypes by the potential, beside the oracle's: what force errors do not say.

Each prototype gets a few small cells that the oracle labels once, in the bootstrap cycle, with the
role `property`: never trained on, and in no error. Positions:

- **Compared with the oracle, not with literature**: the potential is to be as good as its labels,
  and no better.
- **Equation of state**: volumes around the prototype's own lattice constant; E(V) by Birch and
  Murnaghan to third order, which is a cubic in V^(-2/3) and so one linear regression with one
  answer. A minimum outside the volumes is no minimum: the potential then has no lattice constant,
  and the gate is told so.
- **Elastic constants** by stress under strain, ± and halved, so that a rest pressure cancels; of
  relaxed ions. Where a strain moves atoms (diamond, zincblende, hcp), the cells' own forces and the
  one cell with an atom moved give what relaxation takes away, to first order; it costs the oracle
  no label, and oracle and potential are asked for the same cells, not for two structures. Where
  that cell is missing, they are of clamped ions, and called so.
- **The repulsive wall** needs no label of its own: whatever the oracle, energy rises as atoms are
  pushed together. Two ways: the whole crystal compressed, as far as the densest label, and one atom
  pushed onto its neighbour, as far as the shortest distance of a label. Not farther: any fit has a
  hole where no label is, γ guards MD from it, and a gate that refuses for it would stop a campaign
  that has no way to mend it. (It was tried with 0.8 of the nearest-neighbour distance, half the
  volume: better potentials were refused cycle after cycle.)
- **A short MD at constant energy** from the prototype must run to its end: finite, no two atoms
  closer than distance_min_angstrom. A force field with a hole falls into it here, before walkers
  are sent out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms, units
from ase.build import make_supercell

from mlip_autopipec.contract.generate import GateProbes, Prototype
from mlip_autopipec.contract.results.structure import PropertyCell
from mlip_autopipec.contract.results.train import Measure
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.measuring import Cell, measured
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.structures import crystal, finite, shortest_distance

#: By crystal family: the strains that are needed (Voigt), and the constants as (name, stress,
#: strain).
_XX, _YY, _ZZ, _YZ, _XY = 0, 1, 2, 3, 5
_CUBIC = ((_XX, _YZ), (("C11", _XX, _XX), ("C12", _YY, _XX), ("C44", _YZ, _YZ)))
_UNIAXIAL = (
    (_XX, _ZZ, _YZ, _XY),
    (
        *(("C11", _XX, _XX), ("C12", _YY, _XX), ("C13", _ZZ, _XX)),
        *(("C33", _ZZ, _ZZ), ("C44", _YZ, _YZ), ("C66", _XY, _XY)),
    ),
)
_DECIMALS = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_VOIGT = ("xx", "yy", "zz", "yz", "xz", "xy")
#: Crystals in which a strain moves atoms: two sublattices, neither of whose atoms is a centre of
#: inversion.
_SUBLATTICES = frozenset({"diamond", "zincblende", "hcp"})
_SUBLATTICE_EPSILON = 1e-6
#: Along no bond; in a way along which the cubic terms of the energy vanish, xyz in diamond and y³ -
#: 3yx² in hcp, so that one cell gives a harmonic force constant.
_MOVED_ANGSTROM = (0.03, 0.03 * 3**0.5, 0.0)
_OTHER_SHAPE = ((1, 1, 0), (-1, 1, 0), (0, 0, 1))
_WALL_POINTS = 25
#: Begin a little inside the nearest-neighbour distance, where every crystal is already pushed
#: together.
_WALL_BEGIN = 0.94
#: A little of it is left out: the last label stands alone there.
_WALL_MARGIN = 0.01
_MD_ATOMS_MIN = 30
_EOS_POINTS_MIN = 5


def cells(prototype: Prototype, probes: GateProbes) -> list[Cell]:
    """The structures to label for one prototype."""
    return [*_volumes(prototype, probes).values(), *_strains(prototype, probes).values()]


def twins(prototype: Prototype) -> list[Cell]:
    """A crystal in two cells: conventional with an atom moved, and twice as large in another shape.

    The other cell is none that repeats the first, so an oracle with a k-mesh samples it with other
    points, as it does the cells that are cut out of large frames: what the two differ by is what
    its labels are worth. The atoms of the conventional cell come first in both.
    """
    atoms = _conventional(prototype)
    atoms.positions[0] += _MOVED_ANGSTROM
    other = make_supercell(atoms, _OTHER_SHAPE)
    other.info = {families.CELL: other.cell.array.copy()}  # as a cut cell has it: its own density
    crystal_name = prototype.name
    twin_cells: tuple[tuple[Literal["moved", "twin"], Atoms], ...] = (
        ("moved", atoms),
        ("twin", other),
    )
    return [
        Cell(
            f"property: {crystal_name}, one atom moved, cell of {len(twin_cell)} atoms",
            twin_cell,
            PropertyCell(crystal=crystal_name, kind=kind),
        )
        for kind, twin_cell in twin_cells
    ]


@dataclass(frozen=True)
class Reach:
    """How far the training labels go.

    They go to the shortest distance in Å, and the least volume per atom in Å³.
    """

    distance_angstrom: float
    volume_angstrom3: float


def reach_of(train: Sequence[Atoms], cutoff_angstrom: float) -> Reach:
    """Of all training labels."""
    return Reach(
        distance_angstrom=min(shortest_distance(frame, cutoff_angstrom) for frame in train),
        volume_angstrom3=min(frame.get_volume() / len(frame) for frame in train),
    )


def measure(
    prototype: Prototype,
    labels: Mapping[str, Atoms],
    potentials: Mapping[str, Evaluator],
    probes: GateProbes,
    reach: Reach,
    *,
    distance_min_angstrom: float,
    seed: int,
) -> list[Measure]:
    """Every measure of one prototype. Labels are by origin; those that failed lack."""
    name = prototype.name
    found = [*_equation_of_state(prototype, labels, potentials, probes)]
    found += _elastic_constants(prototype, labels, potentials, probes)
    for way, frames in _walls(_whole(prototype, 1), reach).items():
        drops = {
            which: _drop([_energy(potential, frame) for frame in frames])
            for which, potential in potentials.items()
        }
        found.append(measured("wall", f"{name} {way}", "eV", 1.0, {"oracle": 0.0, **drops}))
    left = {
        which: _md_left(potential, prototype, probes, distance_min_angstrom, seed)
        for which, potential in potentials.items()
    }
    found.append(measured("md", name, "part of its steps not run", 1.0, {"oracle": 0.0, **left}))
    return found


# --- equation of state ----------------------------------------------------------------------------


def _volumes(prototype: Prototype, probes: GateProbes) -> dict[float, Cell]:
    far, found = probes.lattice_range, {}
    for scale in np.linspace(1 - far, 1 + far, probes.volumes):
        atoms = _conventional(prototype)
        atoms.set_cell(atoms.cell.array * scale, scale_atoms=True)
        about = PropertyCell(crystal=prototype.name, kind="volume", scale=round(float(scale), 9))
        found[float(scale)] = Cell(
            f"property: {prototype.name}, lattice constant × {scale:.4f}", atoms, about
        )
    return found


def _equation_of_state(
    prototype: Prototype,
    labels: Mapping[str, Atoms],
    potentials: Mapping[str, Evaluator],
    probes: GateProbes,
) -> Iterator[Measure]:
    known = [
        labels[cell.name] for cell in _volumes(prototype, probes).values() if cell.name in labels
    ]
    if len(known) < _EOS_POINTS_MIN:
        return
    volumes = np.array([label.get_volume() for label in known])
    energies = {"oracle": np.array([label.get_potential_energy() for label in known])}
    for which, potential in potentials.items():
        energies[which] = np.array([_energy(potential, label) for label in known])
    fits = {which: birch_murnaghan(volumes, values) for which, values in energies.items()}
    constants = {which: fit and _constant_at(prototype, fit[0]) for which, fit in fits.items()}
    moduli = {which: fit and fit[1] / units.GPa for which, fit in fits.items()}
    if constants["oracle"] is not None and moduli["oracle"] is not None:
        name = prototype.name
        yield measured("lattice_constant", name, "Å", constants["oracle"], constants)
        yield measured("bulk_modulus", name, "GPa", moduli["oracle"], moduli)


def lattice_constant(
    evaluator: Evaluator, prototype: Prototype, probes: GateProbes
) -> float | None:
    """The potential's own in Å, without a label.

    None if its energy has no minimum around the prototype's.
    """
    frames = [cell.atoms for cell in _volumes(prototype, probes).values()]
    volumes = np.array([frame.get_volume() for frame in frames])
    fit = birch_murnaghan(volumes, np.array([_energy(evaluator, frame) for frame in frames]))
    return fit and _constant_at(prototype, fit[0])


def _constant_at(prototype: Prototype, volume_angstrom3: float) -> float:
    """The lattice constant in Å at which the conventional cell has this volume."""
    whole = _conventional(prototype).get_volume()
    return float(prototype.lattice_constant_angstrom * (volume_angstrom3 / whole) ** (1 / 3))


def birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> tuple[float, float] | None:
    """Volume (Å³) and bulk modulus (eV/Å³) at the minimum; None without one between the volumes."""
    x = volumes ** (-2 / 3)
    center, spread = x.mean(), x.std()
    energy = np.poly1d(np.polyfit((x - center) / spread, energies, 3))
    slope, curvature = energy.deriv(), energy.deriv(2)
    inside = (x.min() - center) / spread, (x.max() - center) / spread
    for root in np.atleast_1d(slope.roots):
        if np.isreal(root) and inside[0] <= root.real <= inside[1] and curvature(root.real) > 0:
            at = center + spread * root.real
            # V d²E/dV² with dE/dx = 0, x = V^(-2/3): 4/9 x^(7/2) d²E/dx²
            return float(at**-1.5), float(4 / 9 * at**3.5 * curvature(root.real) / spread**2)
    return None


# --- elastic constants ----------------------------------------------------------------------------


def _family(prototype: Prototype) -> tuple[Sequence[int], Sequence[tuple[str, int, int]]]:
    return _UNIAXIAL if prototype.structure in ("hcp", "l1_0") else _CUBIC


def _strains(prototype: Prototype, probes: GateProbes) -> dict[tuple[int, int], Cell]:
    found = {}
    for voigt in _family(prototype)[0]:
        for sign in (-1, 1):
            atoms, strain = _conventional(prototype), np.zeros((3, 3))
            i, j = _DECIMALS[voigt]
            strain[i, j] += sign * probes.strain / 2
            strain[j, i] += sign * probes.strain / 2
            atoms.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
            origin = (
                f"property: {prototype.name}, strain {_VOIGT[voigt]} {sign * probes.strain:+.4f}"
            )
            about = PropertyCell(
                crystal=prototype.name, kind="strain", axis=voigt, strain=sign * probes.strain
            )
            found[voigt, sign] = Cell(origin, atoms, about)
    return found


def _elastic_constants(
    prototype: Prototype,
    labels: Mapping[str, Atoms],
    potentials: Mapping[str, Evaluator],
    probes: GateProbes,
) -> Iterator[Measure]:
    strained = _strains(prototype, probes)
    if not all(cell.name in labels for cell in strained.values()):
        return
    known = {key: labels[cell.name] for key, cell in strained.items()}
    moved = labels.get(twins(prototype)[0].name)
    free = prototype.structure in _SUBLATTICES
    ions = "" if not free else " (relaxed ions)" if moved is not None else " (clamped ions)"
    scale, found = None, {"oracle": _Response.of_labels(known, moved)}
    for which, potential in potentials.items():
        found[which] = _Response.of(potential, known, moved)
    for constant, stress, strain in _family(prototype)[1]:
        values = {
            which: of.constant(prototype, stress, strain, probes.strain) / units.GPa
            for which, of in found.items()
        }
        scale = scale or abs(values["oracle"]) or 1.0
        yield measured(
            "elastic_constant", f"{prototype.name} {constant}{ions}", "GPa", scale, values
        )


@dataclass(frozen=True)
class _Response:
    """Stress and forces of strained cells; forces of the cell whose first atom is moved, if any.

    In diamond, zincblende and hcp a strain moves two sublattices against each other, which a stress
    with clamped ions does not see: C = C_clamped - Λ κ⁻¹ Λ / (V n), with Λ the force on one
    sublattice per strain, κ the force constant per atom of moving it as a whole, and n its atoms in
    the cell (D. C. Wallace, Thermodynamics of Crystals (1972), section 7). κ is in the cell with
    the first atom moved: by the translations of the sublattice, the force on all of it together is
    what moving all of it would give each atom. In the other crystals of prototypes every atom is a
    centre of inversion, and relaxed is clamped.
    """

    stresses: Mapping[tuple[int, int], np.ndarray]
    forces: Mapping[tuple[int, int], np.ndarray]
    moved: np.ndarray | None
    volume_angstrom3: float

    @classmethod
    def of_labels(
        cls, strained: Mapping[tuple[int, int], Atoms], moved: Atoms | None
    ) -> "_Response":
        return cls(
            {key: label.get_stress() for key, label in strained.items()},
            {key: label.get_forces() for key, label in strained.items()},
            None if moved is None else moved.get_forces(),
            float(np.mean([label.get_volume() for label in strained.values()])),
        )

    @classmethod
    def of(
        cls, evaluator: Evaluator, strained: Mapping[tuple[int, int], Atoms], moved: Atoms | None
    ) -> "_Response":
        return cls(
            {key: stress_of(evaluator, label) for key, label in strained.items()},
            {key: _forces(evaluator, label) for key, label in strained.items()},
            None if moved is None else _forces(evaluator, moved),
            float(np.mean([label.get_volume() for label in strained.values()])),
        )

    def constant(self, prototype: Prototype, stress: int, strain: int, size: float) -> float:
        """In eV/Å³, of relaxed ions where the moved cell is known; `size` is the strain."""
        clamped = (self.stresses[strain, 1][stress] - self.stresses[strain, -1][stress]) / (
            2 * size
        )
        if self.moved is None or prototype.structure not in _SUBLATTICES:
            return float(clamped)
        first = _first_sublattice(prototype)
        per_strain = self._coupling(strain, first, size)
        along = self._coupling_of_stress(stress, prototype, first, size)
        # In the cubic crystals κ is one number; in hcp one in the basal plane, and along c no
        # strain moves an atom.
        restoring, way = -self.moved[first].sum(axis=0), np.array(_MOVED_ANGSTROM)
        block = [0, 1] if prototype.structure == "hcp" else [0, 1, 2]
        force_constant = restoring[block] @ way[block] / (way[block] @ way[block])
        gained = along[block] @ per_strain[block] / force_constant
        return float(clamped - gained / (self.volume_angstrom3 * len(first)))

    def _coupling(self, strain: int, first: np.ndarray, size: float) -> np.ndarray:
        """The force on the first sublattice per strain, eV/Å."""
        up, down = (self.forces[strain, sign][first].sum(axis=0) for sign in (1, -1))
        coupling: np.ndarray = (up - down) / (2 * size)
        return coupling

    def _coupling_of_stress(
        self, stress: int, prototype: Prototype, first: np.ndarray, size: float
    ) -> np.ndarray:
        """The same for the strain that belongs to a stress.

        In hcp yy is opposite to xx, by its threefold axis.
        """
        if (stress, 1) in self.forces:
            return self._coupling(stress, first, size)
        if prototype.structure == "hcp" and stress == _YY:
            return -self._coupling(_XX, first, size)
        return np.zeros(3)


def _first_sublattice(prototype: Prototype) -> np.ndarray:
    """Indices of the conventional cell's atoms to which a crystal translation takes the first."""
    scaled = _conventional(prototype).get_scaled_positions()
    steps = (scaled - scaled[0] + _SUBLATTICE_EPSILON) % 1 - _SUBLATTICE_EPSILON
    halves = np.abs(2 * steps - np.round(2 * steps)).max(axis=1) < _SUBLATTICE_EPSILON
    if prototype.structure == "hcp":  # the other layer is half way along c, too
        halves &= np.abs(steps[:, 2]) < _SUBLATTICE_EPSILON
    return np.flatnonzero(halves)


def _forces(evaluator: Evaluator, atoms: Atoms) -> np.ndarray:
    return np.asarray(evaluator.evaluate(atoms, graded=False).forces)


def stress_of(evaluator: Evaluator, atoms: Atoms) -> np.ndarray:
    """The stress in eV/Å³, in the order and the sign of ASE."""
    xx, yy, zz, xy, xz, yz = -evaluator.evaluate(atoms, graded=False).virial_ev / atoms.get_volume()
    return np.array([xx, yy, zz, yz, xz, xy])


# --- wall and MD ----------------------------------------------------------------------------------


def _walls(atoms: Atoms, reach: Reach) -> dict[str, list[Atoms]]:
    """The ways down, by name; none of one that no label has gone."""
    nearest = int(atoms.get_distances(0, range(1, len(atoms)), mic=True).argmin()) + 1
    way = atoms.get_distance(0, nearest, mic=True, vector=True)
    volume = atoms.get_volume() / len(atoms)
    ends = {
        "compressed": (reach.volume_angstrom3 / volume) ** (1 / 3),
        "one atom pushed": reach.distance_angstrom / float(np.linalg.norm(way)),
    }
    found: dict[str, list[Atoms]] = {}
    for name, end in ends.items():
        if end + _WALL_MARGIN < _WALL_BEGIN:
            parts = np.linspace(_WALL_BEGIN, end + _WALL_MARGIN, _WALL_POINTS)
            found[name] = [
                _compressed(atoms, part) if name == "compressed" else _pushed(atoms, way, part)
                for part in parts
            ]
    return found


def _compressed(atoms: Atoms, part: float) -> Atoms:
    frame = atoms.copy()
    frame.set_cell(atoms.cell.array * part, scale_atoms=True)
    return frame


def _pushed(atoms: Atoms, way: np.ndarray, part: float) -> Atoms:
    frame = atoms.copy()
    frame.positions[0] += way * (1 - part)
    return frame


def _drop(energies: Sequence[float]) -> float | None:
    """How far the energy falls in eV on the way, from its highest point so far.

    0 if it only rises; None if NaN.
    """
    curve = np.array(energies)
    return float((np.maximum.accumulate(curve) - curve).max()) if finite(curve) else None


def _md_left(
    evaluator: Evaluator,
    prototype: Prototype,
    probes: GateProbes,
    distance_min_angstrom: float,
    seed: int,
) -> float:
    """The part of the run that was not run, because it did not stay whole; 0 if it did."""
    atoms = _whole(prototype, _MD_ATOMS_MIN)
    rng = np.random.default_rng(seed)
    step, masses = probes.md_timestep_fs * units.fs, atoms.get_masses()[:, None]
    # Drawn at twice the temperature: half goes into the springs of a crystal at rest.
    velocities = rng.normal(
        0.0, np.sqrt(2 * units.kB * probes.md_temperature_kelvin / masses), (len(atoms), 3)
    )
    velocities -= (masses * velocities).sum(axis=0) / masses.sum()
    forces = evaluator.evaluate(atoms, graded=False).forces
    for number in range(probes.md_steps):
        velocities += 0.5 * step * forces / masses
        atoms.positions += step * velocities
        if (
            not finite(atoms.positions)
            or shortest_distance(atoms, distance_min_angstrom) < distance_min_angstrom
        ):
            return float(1 - number / probes.md_steps)
        forces = evaluator.evaluate(atoms, graded=False).forces
        velocities += 0.5 * step * forces / masses
    return 0.0


def _conventional(prototype: Prototype) -> Atoms:
    return crystal(replace(prototype, repeat=(1, 1, 1)))


def _whole(prototype: Prototype, atoms_min: int) -> Atoms:
    """The crystal repeated evenly: no atom is its own neighbour, and there are at least so many."""
    times = 2
    while len(_conventional(prototype)) * times**3 < atoms_min:
        times += 1
    return crystal(replace(prototype, repeat=(times, times, times)))


def _energy(evaluator: Evaluator, atoms: Atoms) -> float:
    energy_ev: float = evaluator.evaluate(atoms, graded=False).energy_ev
    return energy_ev
