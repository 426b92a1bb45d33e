"""MD for `scripts/bench labels`: the conditions of a site file, walked with any source of forces.

Nothing here is the program's own MD, so that the bench's test set and its pools do not depend on
what is measured. Langevin dynamics by the BAOAB splitting (Leimkuhler and Matthews, Appl. Math.
Res. Express 2013, 34); at constant pressure Berendsen's barostat; Monte-Carlo exchanges by
Metropolis. Lengths in Å, energies in eV, masses in u.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from ase import Atoms, units

from mlip_autopipec.config.schemas.phases import WalkersSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.work.structures import crystal, finite, shortest_distance, user_structures

#: Of a structure: energy in eV, forces (n_atoms, 3) in eV/Å, stress (3,) xx, yy, zz in eV/Å³ with
#: ASE's sign.
Forces = Callable[[Atoms], tuple[float, np.ndarray, np.ndarray]]

_FRICTION_PER_FS = 0.01
_BAROSTAT_EVERY = 10
_BAROSTAT_FS = 500.0
#: Of a hard solid; a wrong one only makes the barostat faster or slower.
_COMPRESSIBILITY_PER_GPA = 0.01
_PRESSURE_EVERY_MAX = 0.01
#: A run beyond these has exploded.
_TEMPERATURE_FACTOR_MAX = 5.0
_VOLUME_FACTOR_MAX = 2.0
#: Times that an exploded trajectory begins anew from its last good frame, before it is left.
_AGAIN_MAX = 20
_GUARD_EVERY = 5


@dataclass(frozen=True)
class Condition:
    """One structure at one temperature and pressure, as `exploration.walkers` has it."""

    name: str
    section: WalkersSection
    temperature_kelvin: float
    pressure_gpa: float
    #: A colder stage goes on from the hottest trajectory of the stage before, as a melt is cooled;
    #: K, or None.
    from_kelvin: float | None = None

    @property
    def timestep_fs(self) -> float:
        """As the walkers have it."""
        return self.section.timestep_fs


@dataclass(frozen=True)
class Sampling:
    """How frames are taken of a trajectory; times in fs."""

    frames: int
    spacing_fs: float
    settling_fs: float
    #: Independent trajectories, which share the frames.
    trajectories: int = 1


class Exploded(Exception):  # noqa: N818 - the name is the fact
    """The trajectory is unphysical."""


def conditions(config: WorkflowConfig) -> list[Condition]:
    """Every condition of a site file once, whatever its replicas."""
    found: dict[str, Condition] = {}
    for section in config.exploration.walkers:
        hottest: float | None = None
        for index, stage in enumerate(section.ladder()):
            kelvins = stage.temperatures_kelvin
            for kelvin in kelvins:
                cooled = (
                    hottest
                    if hottest is not None and kelvin < hottest and not stage.deform
                    else None
                )
                for pressure in stage.pressures_gpa if stage.ensemble == "npt" else (0.0,):
                    name = _name(stage, index, kelvin, pressure, cooled)
                    while name in found:
                        name += "'"
                    found[name] = Condition(name, stage, kelvin, pressure, cooled)
            hottest = max(kelvins) if hottest is None else max(hottest, *kelvins)
    return list(found.values())


def _name(
    stage: WalkersSection, index: int, kelvin: float, pressure: float, cooled: float | None
) -> str:
    arguments = [
        stage.prototype.name if stage.prototype else str(stage.file.stem if stage.file else ""),
        f"{kelvin:g} K",
    ]
    arguments.append(stage.ensemble)
    if pressure:
        arguments.append(f"{pressure:g} GPa")
    if stage.swaps is not None:
        arguments.append("swaps")
    if stage.deform is not None:
        arguments.append(f"strained {stage.deform.axis}")
    if cooled is not None:
        arguments.append(f"after {cooled:g} K")
    elif index:
        arguments.append(f"stage {index}")
    return " ".join(arguments)


def start(condition: Condition, elements: tuple[str, ...]) -> Atoms:
    """The structure that the walkers of a condition begin with."""
    section = condition.section
    if section.prototype is not None:
        return crystal(section.prototype)
    if section.file is None:
        raise ValueError(f"{condition.name} has neither a prototype nor a file")
    return user_structures(Path(section.file), elements)[-1].repeat(section.repeat)


def sample(
    condition: Condition,
    begin: Atoms,
    forces: Forces,
    sampling: Sampling,
    *,
    distance_min_angstrom: float,
    rng: np.random.Generator,
) -> Iterator[Atoms]:
    """Decorrelated frames of a condition. An exploding trajectory goes on from its last good frame.

    It yields fewer than asked for where a trajectory explodes again and again.
    """
    each = [len(part) for part in np.array_split(np.arange(sampling.frames), sampling.trajectories)]
    for number, wanted in enumerate(each):
        walk = _Walk(condition, begin.copy(), forces, distance_min_angstrom, rng)
        good, again = begin.copy(), 0
        taken = 0
        while taken < wanted:
            try:
                if taken == 0:
                    walk.settle(sampling.settling_fs)
                walk.run(sampling.spacing_fs)
            except Exploded:
                again += 1
                if again > _AGAIN_MAX:
                    break
                walk = _Walk(condition, good.copy(), forces, distance_min_angstrom, rng)
                continue
            good = Atoms(
                walk.atoms.numbers, positions=walk.atoms.positions, cell=walk.atoms.cell, pbc=True
            )
            taken += 1
            frame = good.copy()
            frame.wrap()
            frame.info = {"condition": condition.name, "trajectory": number}
            yield frame


class _Walk:
    """One trajectory; its atoms carry positions, numbers and cell."""

    def __init__(
        self,
        condition: Condition,
        atoms: Atoms,
        forces: Forces,
        distance_min_angstrom: float,
        rng: np.random.Generator,
    ) -> None:
        self.atoms = atoms
        self._condition = condition
        self._forces = forces
        self._distance_min_angstrom = distance_min_angstrom
        self._rng = rng
        self._kelvin = condition.temperature_kelvin
        self._volume = atoms.get_volume()
        self._steps = 0
        # From perfect lattice sites half of the kinetic energy turns into potential energy at once.
        self._velocities = self._thermal() * np.sqrt(2.0)
        self._energy, self._force, self._stress = self._evaluated()

    def settle(self, settling_fs: float) -> None:
        """Come to the condition; a melt that is cooled is molten first."""
        hot = self._condition.from_kelvin
        if hot is not None:
            self._kelvin = hot
            self.run(settling_fs)
            self._kelvin = self._condition.temperature_kelvin
        self.run(settling_fs)

    def run(self, time_fs: float) -> None:
        """So much time. Raises Exploded."""
        section = self._condition.section
        for _ in range(max(round(time_fs / self._condition.timestep_fs), 1)):
            self._step()
            self._steps += 1
            if section.ensemble == "npt" and self._steps % _BAROSTAT_EVERY == 0:
                self._press(section.barostat)
            if section.swaps is not None and self._steps % section.swaps.every_steps == 0:
                for _ in range(section.swaps.attempts):
                    self._swap()
            if self._steps % _GUARD_EVERY == 0:
                self._guard()

    def _evaluated(self) -> tuple[float, np.ndarray, np.ndarray]:
        energy, force, stress = self._forces(self.atoms)
        if not finite(energy, force, stress) or np.abs(force).max() > 1e4:  # eV/Å
            raise Exploded
        return energy, force, stress

    def _thermal(self) -> np.ndarray:
        spread: np.ndarray = np.sqrt(units.kB * self._kelvin / self.atoms.get_masses())[:, None]
        drawn: np.ndarray = self._rng.standard_normal((len(self.atoms), 3)) * spread
        return drawn

    def _step(self) -> None:
        dt = self._condition.timestep_fs * units.fs
        masses = self.atoms.get_masses()[:, None]
        keep = np.exp(-_FRICTION_PER_FS * self._condition.timestep_fs)
        self._velocities += 0.5 * dt * self._force / masses
        self.atoms.positions += 0.5 * dt * self._velocities
        self._velocities = keep * self._velocities + np.sqrt(1 - keep**2) * self._thermal()
        self.atoms.positions += 0.5 * dt * self._velocities
        self._deform()
        self._energy, self._force, self._stress = self._evaluated()
        self._velocities += 0.5 * dt * self._force / masses

    def _deform(self) -> None:
        deform = self._condition.section.deform
        if deform is None:
            return
        axis: Literal["x", "y", "z", "xy", "xz", "yz"] = deform.axis
        change = np.eye(3)
        change["xyz".index(axis[-1]), "xyz".index(axis[0])] += (
            deform.rate_per_ps * 1e-3 * self._condition.timestep_fs
        )
        self.atoms.set_cell(self.atoms.cell.array @ change, scale_atoms=True)

    def _press(self, barostat: str) -> None:
        kinetic = (self.atoms.get_masses()[:, None] * self._velocities**2).sum(
            axis=0
        ) / self.atoms.get_volume()
        excess_gpa = (kinetic - self._stress) / units.GPa - self._condition.pressure_gpa
        if barostat == "isotropic":
            excess_gpa = np.full(3, excess_gpa.mean())
        part = _BAROSTAT_EVERY * self._condition.timestep_fs / _BAROSTAT_FS
        strain = np.clip(
            _COMPRESSIBILITY_PER_GPA / 3 * excess_gpa * part,
            -_PRESSURE_EVERY_MAX,
            _PRESSURE_EVERY_MAX,
        )
        self.atoms.set_cell(self.atoms.cell.array @ np.diag(1 + strain), scale_atoms=True)
        self._energy, self._force, self._stress = self._evaluated()

    def _swap(self) -> None:
        numbers = self.atoms.numbers
        kinds = np.unique(numbers)
        first, other = self._rng.choice(kinds, size=2, replace=False)
        here = int(self._rng.choice(np.flatnonzero(numbers == first)))
        there = int(self._rng.choice(np.flatnonzero(numbers == other)))
        before = self._energy, self._force, self._stress
        numbers[[here, there]] = numbers[[there, here]]
        trial = self._evaluated()
        chance = np.exp(min((before[0] - trial[0]) / (units.kB * self._kelvin), 0.0))
        if self._rng.random() < chance:
            self._energy, self._force, self._stress = trial
            self._velocities[[here, there]] = self._velocities[[there, here]]
        else:
            numbers[[here, there]] = numbers[[there, here]]

    def _guard(self) -> None:
        masses = self.atoms.get_masses()[:, None]
        kelvin = float((masses * self._velocities**2).mean() / units.kB)
        if not kelvin < _TEMPERATURE_FACTOR_MAX * self._kelvin:
            raise Exploded
        factor = self.atoms.get_volume() / self._volume
        if not 1 / _VOLUME_FACTOR_MAX < factor < _VOLUME_FACTOR_MAX:
            raise Exploded
        shortest = self._distance_min_angstrom
        if shortest_distance(self.atoms, shortest) < shortest:
            raise Exploded
