"""Embedding: an environment new to the potential, from a large frame, in a cell the oracle can pay.

A frame of thousands of atoms halts because of one. The oracle is asked about that one atom's
environment, and the answer must be about *that* environment and not about what was made of it on
the way. So a cell is made (`embedding_lattice`: where to cut; `embedding_cut`: how the cut closes;
`embedding_seam`: how it heals), and then it has to prove itself, before a core-hour is spent, with
what the potential sees of it:

- **The core is the source.** An atom sees no farther than the cutoff r_c, so every atom within h -
  r_c of the centre of the cut, h being half the box, must have the environment that it had. Its
  B-projections, which are all that an ACE potential knows of it, are worked out in both and must
  agree to `projection_tolerance`; so must γ of the extrapolating atom. The core atoms are the force
  mask.
- **The seam teaches nothing strange**: no buffer atom has a larger γ than the extrapolating one.
  (Around a quiet atom, of an audit, it may have γ select, or what the atoms of the cell had in the
  source.)
- **It is matter**: no pair is closer than the source's own pairs are, or than is allowed; the
  elements come in the numbers in which they were cut; with `charges`, the cell is neutral.
- **It can be paid**: electrons are counted (outside closed shells, or as `valence_electrons` says),
  and the oracle's time goes with their number cubed; more than `electrons_max` is refused.

Positions taken: half the box is at least r_c + `margin_angstrom`, the smallest box that proves
itself is taken, and what fails is tried again cut elsewhere and larger, up to `atoms_max`. Forces
of the core are *not* those of the source: those would need twice the cutoff. They need not be, for
the label is the oracle's answer for the very cell that is trained on. Fragments in vacuum with
saturated bonds would answer another question for metals and ionic crystals, so `cluster` is for
molecules and takes them whole. What proves itself in no box is labelled whole if it has at most
`whole_atoms_max` atoms, and is else dropped, with the reason.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from scipy.spatial import cKDTree

from mlip_autopipec.contract.results.select import Certificate
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.work.embedding.cut import (
    Cut,
    Neighbourhood,
    Shortest,
    counts_of,
    cut,
    molecules,
    neighbourhood,
    pairs_closer,
    shortest_distances,
)
from mlip_autopipec.work.embedding.lattice import (
    Box,
    boxes,
    local_lattice,
    reach_angstrom,
    slab_lattice,
    surface_lattice,
)
from mlip_autopipec.work.embedding.seam import relaxed
from mlip_autopipec.work.evaluation import Evaluator

#: Å around the extrapolating atom; enough for its bonds to be told.
_NEAR_ANGSTROM = 8.0
#: Part of the source's shortest distance of a pair of elements that a mended seam may fall short of
#: it.
_SHORTER = 0.8
#: Atoms, or part of them, by which the number of an element may differ from what was cut.
_COUNT_OFF, _COUNT_OFF_PART = 2, 0.06
#: γ of the extrapolating atom may change by this part; it follows from the projections.
_GAMMA_OFF = 1e-3
#: A box may be shifted by what it is larger than it must be; less than this is not worth a try.
_SLACK_ANGSTROM = 0.4
#: Molecules may reach this far out of the ball.
_MOLECULE_ANGSTROM = 12.0
_NOBLE_GASES = (86, 54, 36, 18, 10, 2, 0)
#: The noble gases behind which d and f shells are filled, and with how many electrons the last
#: metal of the row ends.
_FIRST_WITH_D, _FIRST_WITH_F = 18, 54
_D_ENDS, _F_ENDS = 12, 17
_COST_ELECTRONS = 100
#: How far the atoms of a neighbourhood lie to one side at a surface, as part of its radius; of half
#: a ball it is 0.375.
_ONE_SIDED = 0.15
_LEAST = 1e-9
_NEUTRAL = 1e-6
_ROUNDED = 1e-3


@dataclass(frozen=True)
class Embedded:
    """A cell to label, or none, and the numbers that decided."""

    atoms: Atoms | None
    certificate: Certificate


@dataclass(frozen=True)
class _Trial:
    """A closed cut, seen from its centre, and where that is relative to the extrapolating atom."""

    cut: Cut
    shift: np.ndarray
    half_angstrom: float
    shortest: Shortest
    lattice: bool


class Embedder:
    """Makes and proves cells with one potential. `parameters` are those of Selection."""

    def __init__(self, evaluator: Evaluator, parameters: SelectParameters) -> None:
        self._evaluator = evaluator
        self._settings = parameters.embedding
        self._gamma_select = parameters.gamma_select
        self._distance_min = parameters.distance_min_angstrom
        self._half_min: float = evaluator.cutoff_angstrom + self._settings.margin_angstrom
        self._charges = {
            atomic_numbers[symbol]: value for symbol, value in self._settings.charges.items()
        }

    def embed(self, frame: Atoms, centre: int, *, seed: int) -> Embedded:
        """One atom's environment in a frame as a cell, with the force mask in the array `core`.

        The same arguments give the same cell.
        """
        if self._settings.mode == "whole":
            return self._whole(frame, centre, "asked for")
        trials = self._clusters if self._settings.mode == "cluster" else self._cells
        refused: list[Certificate] = []
        for trial in trials(frame, centre, seed):
            cell, certificate = self._proved(trial, frame, centre)
            if not certificate.reason:
                return Embedded(cell, replace(certificate, attempts=len(refused) + 1))
            refused.append(certificate)
        if refused:
            nearest = min(refused, key=lambda certificate: certificate.reason.count(";"))
        else:
            room = f"{self._settings.atoms_max} atoms, half of it {self._half_min:.2f} Å or more"
            reason = f"no {self._settings.mode} cell fits: at most {room}"
            nearest = _certificate(frame, centre, "rejected", reason, kept=False)
        if len(frame) <= self._settings.whole_atoms_max:
            return self._whole(frame, centre, nearest.reason)
        return Embedded(
            None, replace(nearest, verdict="rejected", kept=False, attempts=len(refused))
        )

    def _whole(self, frame: Atoms, centre: int, why: str) -> Embedded:
        whole = Atoms(frame.numbers, frame.positions, cell=frame.cell, pbc=True)
        certificate = replace(_certificate(frame, centre, "whole", why), n_atoms=len(frame))
        return Embedded(whole, self._paid(certificate, whole))

    def _cells(self, frame: Atoms, centre: int, seed: int) -> Iterator[_Trial]:
        """Cuts to try, the cheapest first, spread evenly over all that there are."""
        reach = max(
            reach_angstrom(neighbourhood(frame, centre, _NEAR_ANGSTROM).positions), self._half_min
        )
        around = neighbourhood(frame, centre, reach)
        lattice = _lattice(around, frame, reach)
        axis = _outward(around, reach)
        if axis is not None and lattice is not None:
            surface = surface_lattice(lattice, axis)
            lattice, axis = (lattice, None) if surface is None else (surface, surface[-1])
        shortest = shortest_distances(around, self._half_min, self._distance_min)
        room = self._settings.atoms_max * _volume_per_atom(around, self._half_min)
        offers = [
            (box, shift)
            for box in boxes(lattice, frame.cell.array, self._half_min, room, seed, axis)
            for shift in self._shifts(box, seed)
        ]
        for turn in _spread(len(offers), self._settings.attempts_max):
            box, shift = offers[turn]
            radius = (
                float(np.linalg.norm(box.periods)) / 2
                + float(np.linalg.norm(shift))
                + max(shortest.values())
            )
            seen = neighbourhood(frame, centre, radius).seen_from(shift)
            closed = cut(seen, box, shortest, crystal=lattice is not None, charges=self._charges)
            if len(closed.atoms) <= self._settings.atoms_max:
                yield _Trial(closed, shift, box.half_angstrom, shortest, lattice is not None)

    def _shifts(self, box: Box, seed: int) -> Iterator[np.ndarray]:
        """The box about the atom, and once beside it where it is so much larger than it must be."""
        yield np.zeros(3)
        slack = box.half_angstrom - self._half_min
        if slack >= _SLACK_ANGSTROM:
            way = np.random.default_rng(seed).normal(size=3)
            yield slack * way / np.linalg.norm(way)

    def _clusters(self, frame: Atoms, centre: int, _seed: int) -> Iterator[_Trial]:
        around = neighbourhood(frame, centre, self._half_min + _MOLECULE_ANGSTROM)
        cluster = molecules(around, self._half_min, self._settings.vacuum_angstrom)
        if len(cluster.atoms) <= self._settings.atoms_max:
            shortest = shortest_distances(around, self._half_min, self._distance_min)
            yield _Trial(cluster, np.zeros(3), self._half_min, shortest, lattice=False)

    def _proved(self, trial: _Trial, frame: Atoms, centre: int) -> tuple[Atoms, Certificate]:
        """The finished cell, and its certificate.

        `reason` is empty if it holds, and else all that is wrong.
        """
        closed, steps = trial.cut.atoms, 0
        if self._settings.mode == "periodic":
            closed, steps = relaxed(
                closed,
                trial.cut.intact_angstrom,
                self._evaluator,
                trial.shortest,
                steps_max=self._settings.relax_steps,
                force_ev_per_angstrom=self._settings.relax_force_ev_per_angstrom,
            )
        core = np.linalg.norm(trial.cut.atoms.positions, axis=1) + self._evaluator.cutoff_angstrom
        mask = core <= trial.cut.intact_angstrom
        seen = self._seen(closed, mask, trial, frame, centre)
        certificate = replace(
            _certificate(frame, centre, self._settings.mode, ""),
            n_atoms=len(closed),
            core_atoms=int(mask.sum()),
            intact_angstrom=round(trial.cut.intact_angstrom, 4),
            shift_angstrom=round(float(np.linalg.norm(trial.shift)), 4),
            lattice=trial.lattice,
            removed=trial.cut.removed,
            relax_steps=steps,
            distance_min_angstrom=round(pairs_closer(closed, trial.shortest)[0], 4),
            projections_off=seen.projections_off if np.isfinite(seen.projections_off) else None,
            gamma_before=round(seen.gamma_before, 6),
            gamma_after=round(float(seen.gamma[0]), 6),
            gamma_buffer_max=round(seen.gamma_buffer_max, 6),
        )
        certificate = self._paid(certificate, closed)
        reason = "; ".join(self._wrong(certificate, closed, trial, seen))
        return _finished(closed, mask, seen.gamma), replace(certificate, reason=reason)

    def _seen(
        self, closed: Atoms, mask: np.ndarray, trial: _Trial, frame: Atoms, centre: int
    ) -> "_Seen":
        """What the potential sees in the cell, and, of the core atoms, in the source."""
        gamma, projections = self._evaluator.environments(closed)
        indices = np.flatnonzero(mask)
        relative = closed.positions[indices] + trial.shift
        reach = self._evaluator.cutoff_angstrom + np.linalg.norm(relative, axis=1).max(initial=0.0)
        around = neighbourhood(frame, centre, float(reach) + 0.01)
        gamma_before, before = self._evaluator.environments(
            _in_vacuum(around, self._evaluator.cutoff_angstrom)
        )
        _, same = cKDTree(around.positions).query(relative)
        off = [
            float(np.abs(projections[index] - before[other]).max() / np.abs(before[other]).max())
            for index, other in zip(indices, same, strict=True)
        ]
        source = float(frame.arrays["gamma"][trial.cut.source].max())
        return _Seen(gamma, mask, float(gamma_before[0]), source, max(off, default=float("inf")))

    def _wrong(
        self, certificate: Certificate, closed: Atoms, trial: _Trial, seen: "_Seen"
    ) -> Iterator[str]:
        """What the certificate finds wrong, in words."""
        settings, intact = self._settings, certificate.intact_angstrom
        if not seen.mask[0]:
            yield f"the environment of the extrapolating atom itself is cut ({intact} Å are intact)"
        elif trial.cut.intact_angstrom < trial.half_angstrom - _ROUNDED:
            yield f"atoms met on the faces: {intact} Å are intact"
        elif seen.projections_off > settings.projection_tolerance:
            yield f"B-projections of the core changed by {seen.projections_off:.1e}"
        elif abs(seen.gamma[0] - seen.gamma_before) > _GAMMA_OFF * seen.gamma_before:
            yield (
                f"γ of the extrapolating atom changed from {seen.gamma_before:.4g} to"
                f" {seen.gamma[0]:.4g}"
            )
        yield from self._wrong_matter(certificate, closed, trial)
        limit = max(float(seen.gamma[0]), self._gamma_select, seen.gamma_source_max)
        if seen.gamma_buffer_max > limit:
            yield f"γ in the buffer is {seen.gamma_buffer_max:.3g}, at most {limit:.3g} is allowed"

    def _wrong_matter(
        self, certificate: Certificate, closed: Atoms, trial: _Trial
    ) -> Iterator[str]:
        """Distances, counts, charge, electrons."""
        settings = self._settings
        shortest, part = pairs_closer(closed, trial.shortest)
        if part < _SHORTER or shortest < self._distance_min:
            yield f"two atoms are {shortest:.2f} Å apart"
        for kind, expected in trial.cut.expected.items():
            found = counts_of(closed.numbers).get(kind, 0)
            if abs(found - expected) > max(_COUNT_OFF, _COUNT_OFF_PART * expected):
                yield f"{found} {chemical_symbols[kind]}, {expected} were cut"
        if (
            abs(charge := sum(self._charges.get(int(number), 0.0) for number in closed.numbers))
            > _NEUTRAL
        ):
            yield f"the charge is {charge:+g}"
        most, electrons = settings.electrons_max, certificate.electrons
        if most is not None and electrons is not None and electrons > most:
            yield f"{electrons} electrons, at most {most} are allowed"

    def _paid(self, certificate: Certificate, atoms: Atoms) -> Certificate:
        """With valence electrons, whether their number is odd, and the cost.

        The cost is cubic, 1 for a hundred electrons.
        """
        given = self._settings.valence_electrons
        electrons = sum(
            given.get(symbol, valence_electrons(symbol)) for symbol in atoms.get_chemical_symbols()
        )
        cost = round((electrons / _COST_ELECTRONS) ** 3, 3)
        return replace(
            certificate, electrons=electrons, electrons_odd=bool(electrons % 2), cost=cost
        )


@dataclass(frozen=True)
class _Seen:
    """What the potential sees of a finished cell."""

    gamma: np.ndarray
    mask: np.ndarray
    gamma_before: float
    gamma_source_max: float  # of the atoms of the cell, in the frame
    projections_off: float

    @property
    def gamma_buffer_max(self) -> float:
        return float(self.gamma[~self.mask].max(initial=0.0))


def _certificate(
    frame: Atoms,
    centre: int,
    verdict: Literal["periodic", "cluster", "whole", "rejected"],
    reason: str,
    *,
    kept: bool = True,
) -> Certificate:
    """As far as it is known before a cell is."""
    origin = str(frame.info.get("origin", ""))
    return Certificate(
        origin=origin,
        kept=kept,
        source_atoms=len(frame),
        centre=centre,
        verdict=verdict,
        reason=reason,
    )


def valence_electrons(symbol: str) -> int:
    """Electrons outside the last noble gas and outside full d and f shells.

    Al 3, Si 4, Cu 11, Ga 3, Au 11.
    """
    number: int = atomic_numbers[symbol]
    core = next(gas for gas in _NOBLE_GASES if gas < number)
    outside = number - core
    f_shell = core >= _FIRST_WITH_F and outside > _F_ENDS
    outside -= 14 if f_shell else 0
    d_shell = core >= _FIRST_WITH_D and outside > _D_ENDS and (core < _FIRST_WITH_F or f_shell)
    return outside - 10 if d_shell else outside


def _lattice(around: Neighbourhood, frame: Atoms, reach_angstrom: float) -> np.ndarray | None:
    """The local lattice, sought deeper where a surface hides it, and of a thin slab in the end."""
    cell = frame.cell.array
    lattice = local_lattice(around.positions, around.numbers, cell)
    if lattice is not None:
        return lattice
    deeper = neighbourhood(frame, _deepest(around), reach_angstrom)
    lattice = local_lattice(deeper.positions, deeper.numbers, cell)
    return lattice if lattice is not None else slab_lattice(around.positions, around.numbers, cell)


def _outward(around: Neighbourhood, reach_angstrom: float) -> np.ndarray | None:
    """The way out at a surface, of length 1.

    None inside, where the neighbourhood is much the same on all sides.
    """
    inward = around.positions.mean(axis=0)
    length = float(np.linalg.norm(inward))
    return -inward / length if length > _ONE_SIDED * reach_angstrom else None


def _deepest(around: Neighbourhood) -> int:
    """The atom of the frame that lies farthest from where there is nothing."""
    inward = around.positions.mean(axis=0)
    inward /= max(float(np.linalg.norm(inward)), _LEAST)
    depths = around.positions @ inward
    sideways = np.linalg.norm(around.positions - depths[:, np.newaxis] * inward, axis=1)
    deepest = np.argmax(depths - 0.5 * sideways)
    return int(around.source.tolist()[deepest])


def _volume_per_atom(around: Neighbourhood, radius_angstrom: float) -> float:
    """Å³ per atom in a ball around the extrapolating one; at a surface it counts what is empty."""
    atoms = int((np.linalg.norm(around.positions, axis=1) <= radius_angstrom).sum())
    return 4 / 3 * np.pi * radius_angstrom**3 / atoms


def _spread(offers: int, attempts_max: int) -> list[int]:
    """At most so many places of a list, the first and the last among them."""
    if not offers:
        return []
    return sorted({int(index) for index in np.linspace(0, offers - 1, attempts_max)})


def _in_vacuum(around: Neighbourhood, cutoff_angstrom: float) -> Atoms:
    """A neighbourhood alone, in a periodic cell so wide that no image is seen."""
    lengths = np.ptp(around.positions, axis=0) + 2 * cutoff_angstrom
    return Atoms(around.numbers, around.positions, cell=lengths, pbc=True)


def _finished(closed: Atoms, mask: np.ndarray, gamma: np.ndarray) -> Atoms:
    """The cell as it is labelled.

    The extrapolating atom is first and in the middle; γ and the force mask are per atom.
    """
    cell = Atoms(closed.numbers, closed.positions, cell=closed.cell, pbc=True)
    cell.positions += closed.cell.array.sum(axis=0) / 2 - closed.positions[0]
    cell.wrap()
    cell.set_array("core", mask)
    cell.set_array("gamma", gamma)
    return cell
