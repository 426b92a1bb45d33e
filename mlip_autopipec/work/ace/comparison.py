"""Labels beside predictions: errors of a set as a whole and in parts, and points for a parity plot.

A root-mean-square hides what breaks a simulation, so the tail is told too: the |ΔF| that 95 % of
the atoms stay below, and the largest. Parts are by element, by origin, and by test set: `fixed` is
that of the first day, which cycles are compared on; `growing` are the audits since, which are where
exploration has been. The latest audits of a condition are also taken one by one, for what they say
together depends on how many they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from ase import Atoms, units

from mlip_autopipec.contract.results.train import ConditionErrors, Errors, GroupErrors
from mlip_autopipec.work.ace.labels import cohesive_ev, stress_ev_per_angstrom3
from mlip_autopipec.work.ace.weights import all_weights
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.origins import origin_of

_MEV = 1000.0
#: xx, yy, zz, yz, xz, xy out of xx, yy, zz, xy, xz, yz.
_ASE_OF_LAMMPS = [0, 1, 2, 5, 4, 3]
_PARITY_POINTS_MAX = 2000
_TAIL_PERCENT = 95


class _ForceErrors(NamedTuple):
    """In meV/Å: over components, below what 95 % of the atoms stay, and the worst atom's."""

    rms: float
    p95: float
    worst: float


class _StressErrors(NamedTuple):
    """Of frames one by one, as ConditionErrors has them."""

    stress_gpa: float | None = None
    variation: float = 0.0
    spread_gpa: float = 0.0


class Comparison:
    """One potential on one set of labels."""

    def __init__(
        self,
        evaluator: Evaluator,
        frames: Sequence[Atoms],
        references: Mapping[str, float],
        buffer_weight: float,
    ) -> None:
        predictions = [evaluator.evaluate(frame, graded=False) for frame in frames]
        self._frames = frames
        self._sizes = np.array([len(frame) for frame in frames])
        self._energy_weights, self._force_weights = all_weights(frames, buffer_weight)
        self._energies = np.column_stack(
            [
                np.array([cohesive_ev(frame, references) for frame in frames]) / self._sizes,
                np.array([prediction.energy_ev for prediction in predictions]) / self._sizes,
            ]
        )
        self._forces = np.column_stack(
            [
                np.concatenate([frame.get_forces().ravel() for frame in frames]),
                np.concatenate([prediction.forces.ravel() for prediction in predictions]),
            ]
        )

        stresses = [stress_ev_per_angstrom3(frame) for frame in frames]
        self._has_stress = np.array([stress is not None for stress in stresses])
        # (n_frames with stress, 6, 2)
        self._stresses = (
            np.array(
                [
                    np.column_stack(
                        [stress, -prediction.virial_ev[_ASE_OF_LAMMPS] / frame.get_volume()]
                    )
                    for stress, prediction, frame in zip(stresses, predictions, frames, strict=True)
                    if stress is not None
                ]
            ).reshape(-1, 6, 2)
            / units.GPa
        )

    def errors(self) -> Errors:
        """Errors of the whole."""
        forces = self._of_atoms(np.ones(self._sizes.sum(), dtype=bool))
        return Errors(
            structures=len(self._frames),
            energy_mev_per_atom=_rms(self._energies, self._energy_weights) * _MEV,
            force_mev_per_angstrom=forces.rms,
            stress_gpa=self._stress_error(np.ones(len(self._frames), dtype=bool)),
            force_p95_mev_per_angstrom=forces.p95,
            force_max_mev_per_angstrom=forces.worst,
        )

    def groups(self, fixed: int) -> tuple[GroupErrors, ...]:
        """Errors of the parts. The first `fixed` frames are the fixed set."""
        symbols = np.concatenate([frame.get_chemical_symbols() for frame in self._frames])
        elements = [
            self._group("element", name, symbols == name, None) for name in sorted(set(symbols))
        ]
        sets = ["fixed" if index < fixed else "growing" for index in range(len(self._frames))]
        origins = [origin_of(frame).source for frame in self._frames]
        return (*elements, *self._of_frames("set", sets), *self._of_frames("origin", origins))

    def conditions(
        self, names: Sequence[str], train: "Comparison | None", audits_max: int
    ) -> tuple[ConditionErrors, ...]:
        """Errors on the latest audit frames of each condition that has any."""
        found = []
        for name in names:
            own = self._of_condition(name)
            audits = [index for index in own if origin_of(self._frames[index]).kind == "audit"][
                -audits_max:
            ]
            if audits:
                learned = train.of_condition(name) if train else None
                found.append(self._one_by_one(name, audits, learned))
        return tuple(found)

    def of_condition(self, name: str) -> tuple[float, float] | None:
        """Errors of a training set on the frames of one condition, in meV/atom and meV/Å.

        None where there are no such frames.
        """
        indices = self._of_condition(name)
        if not indices:
            return None
        squares, _ = self._squares(indices)
        return float(np.sqrt(squares["energy"].mean())) * _MEV, float(
            np.sqrt(squares["force"].mean())
        ) * _MEV

    def _of_condition(self, name: str) -> list[int]:
        return [
            index for index, frame in enumerate(self._frames) if origin_of(frame).condition == name
        ]

    def _one_by_one(
        self, name: str, indices: Sequence[int], learned: tuple[float, float] | None
    ) -> ConditionErrors:
        squares, labels = self._squares(indices)
        forces, mean = squares["force"], float(squares["force"].mean())
        stress = self._stress_one_by_one(indices)
        return ConditionErrors(
            condition=name,
            frames=len(indices),
            energy_mev_per_atom=float(np.sqrt(squares["energy"].mean())) * _MEV,
            energy_spread_mev_per_atom=float(labels["energy"].std(ddof=1)) * _MEV
            if len(indices) > 1
            else 0.0,
            force_mev_per_angstrom=float(np.sqrt(mean)) * _MEV,
            force_variation=float(forces.std(ddof=1)) / mean
            if len(indices) > 1 and mean > 0
            else 0.0,
            force_spread_mev_per_angstrom=float(np.sqrt(labels["force"].mean())) * _MEV,
            stress_gpa=stress.stress_gpa,
            stress_variation=stress.variation,
            stress_spread_gpa=stress.spread_gpa,
            train_energy_mev_per_atom=None if learned is None else learned[0],
            train_force_mev_per_angstrom=None if learned is None else learned[1],
        )

    def _stress_one_by_one(self, indices: Sequence[int]) -> _StressErrors:
        """The same of stresses; nothing unless every frame has one."""
        if not self._has_stress[list(indices)].all():
            return _StressErrors()
        found = self._stresses[self._has_stress.cumsum()[list(indices)] - 1]  # (n_frames, 6, 2)
        squares, mean = (
            np.mean((found[..., 1] - found[..., 0]) ** 2, axis=1),
            np.mean(found[..., 0] ** 2),
        )
        error = float(squares.mean())
        variation = float(squares.std(ddof=1)) / error if len(indices) > 1 and error > 0 else 0.0
        return _StressErrors(float(np.sqrt(error)), variation, float(np.sqrt(mean)))

    def _squares(
        self, indices: Sequence[int]
    ) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
        """Each frame's squared energy error, mean square force error, energy and mean square force.

        In eV/atom and eV/Å. Buffer atoms of embedded cells weigh as little here as in every other
        error.
        """
        ends = 3 * np.cumsum(self._sizes)
        errors, labels = [], []
        for index in indices:
            components = slice(ends[index] - 3 * self._sizes[index], ends[index])
            forces, weights = self._forces[components], self._force_weights[components]
            errors.append(np.average((forces[:, 1] - forces[:, 0]) ** 2, weights=weights))
            labels.append(np.average(forces[:, 0] ** 2, weights=weights))
        energies = self._energies[list(indices)]
        return (
            {"energy": (energies[:, 1] - energies[:, 0]) ** 2, "force": np.array(errors)},
            {"energy": energies[:, 0], "force": np.array(labels)},
        )

    def parity(self) -> dict[str, Any]:
        """Pairs of label and prediction, evenly thinned.

        They are energies in eV/atom and force components in eV/Å.
        """
        stride = -(-len(self._forces) // _PARITY_POINTS_MAX)
        return {
            "energy_ev_per_atom": self._energies.round(6).tolist(),
            "force_ev_per_angstrom": self._forces[::stride].round(5).tolist(),
            "stress_gpa": self._stresses.reshape(-1, 2)[:_PARITY_POINTS_MAX].round(5).tolist(),
        }

    def _of_frames(
        self, by: Literal["origin", "set"], names: Sequence[str]
    ) -> Iterator[GroupErrors]:
        for name in sorted(set(names)):
            frames = np.array([item == name for item in names])
            yield self._group(by, name, frames.repeat(self._sizes), frames)

    def _group(
        self,
        by: Literal["element", "origin", "set"],
        name: str,
        atoms: np.ndarray,
        frames: np.ndarray | None,
    ) -> GroupErrors:
        energy = stress = None
        if frames is not None:
            energy = _rms(self._energies[frames], self._energy_weights[frames]) * _MEV
            stress = self._stress_error(frames)
        forces = self._of_atoms(atoms)
        return GroupErrors(
            by=by,
            name=name,
            atoms=int(atoms.sum()),
            energy_mev_per_atom=energy,
            force_mev_per_angstrom=forces.rms,
            stress_gpa=stress,
            force_p95_mev_per_angstrom=forces.p95,
            force_max_mev_per_angstrom=forces.worst,
        )

    def _stress_error(self, frames: np.ndarray) -> float | None:
        """Root-mean-square over the components, in GPa; None where no frame has stress."""
        chosen = frames[self._has_stress]
        if not chosen.any():
            return None
        weights = self._energy_weights[self._has_stress][chosen].repeat(6)
        return _rms(self._stresses[chosen].reshape(-1, 2), weights)

    def _of_atoms(self, atoms: np.ndarray) -> _ForceErrors:
        components = atoms.repeat(3)
        forces = self._forces[components]
        lengths = np.linalg.norm((forces[:, 1] - forces[:, 0]).reshape(-1, 3), axis=1)
        return _ForceErrors(
            _rms(forces, self._force_weights[components]) * _MEV,
            float(np.percentile(lengths, _TAIL_PERCENT)) * _MEV,
            float(lengths.max()) * _MEV,
        )


def _rms(pairs: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(np.average((pairs[:, 1] - pairs[:, 0]) ** 2, weights=weights)))
