"""Test structures no campaign saw: MD of ASE's effective-medium theory (EMT), from its own seeds.

EMT knows copper, gold and aluminium well enough that its MD visits what MD by the campaign's oracle
would; what it says of energies and forces is not used. Times are in fs, temperatures in K, lengths
in Å.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from ase import Atoms, units
from ase.calculators.emt import EMT
from ase.md.langevin import Langevin
from ase.md.nptberendsen import NPTBerendsen

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.work.structures import crystal

#: EMT's own lattice constants; MD at those of another oracle would be under pressure.
EMT_LATTICE_ANGSTROM: Mapping[str, float] = {"Al": 3.994, "Au": 4.056, "Cu": 3.590}
_TIMESTEP_FS = 3.0
_STEPS_BETWEEN = 30
#: Above every melting point of EMT's here, for crystals of some tens of atoms.
_MELTING_KELVIN = 3500.0
_MELTING_STEPS = 120
_COMPRESSIBILITY_PER_BAR = 7e-7
_FRAMES = 20


@dataclass(frozen=True)
class Condition:
    """One trajectory, from which some snapshots are taken."""

    group: str
    name: str
    prototype: Prototype
    temperature_kelvin: float
    snapshots: int
    seed: int
    #: Of the sites, for each element by chance; {}: as the prototype has them.
    fractions: Mapping[str, float] = field(default_factory=dict)
    liquid: bool = False
    settling_steps: int = 80
    #: The box keeps EMT's lattice constant, and snapshots are scaled to this one; None: no
    #: pressure.
    lattice_angstrom: float | None = None


def snapshots(condition: Condition) -> list[Atoms]:
    """The bare structures; `info` says their group and condition."""
    rng = np.random.RandomState(condition.seed)
    atoms = _start(condition, rng)
    kelvin = condition.temperature_kelvin
    if condition.liquid:
        atoms.set_cell(atoms.cell.array * 1.05, scale_atoms=True)
        _run(atoms, _MELTING_KELVIN, _MELTING_STEPS, rng)
    _run(atoms, kelvin, condition.settling_steps // 2, rng)
    go_on = _run if condition.lattice_angstrom is not None else _run_at_no_pressure
    go_on(atoms, kelvin, condition.settling_steps, rng)
    frames = []
    for _ in range(condition.snapshots):
        go_on(atoms, kelvin, _STEPS_BETWEEN, rng)
        frame = Atoms(
            atoms.get_chemical_symbols(), positions=atoms.positions, cell=atoms.cell, pbc=True
        )
        if condition.lattice_angstrom is not None:
            scale = (
                condition.lattice_angstrom / EMT_LATTICE_ANGSTROM[condition.prototype.elements[0]]
            )
            frame.set_cell(frame.cell.array * scale, scale_atoms=True)
        frame.wrap()
        frame.info = {"group": condition.group, "condition": condition.name}
        frames.append(frame)
    return frames


def _start(condition: Condition, rng: np.random.RandomState) -> Atoms:
    prototype = condition.prototype
    if condition.lattice_angstrom is not None:
        emt = EMT_LATTICE_ANGSTROM[prototype.elements[0]]
        prototype = replace(prototype, lattice_constant_angstrom=emt)
    atoms = crystal(prototype)
    counts = {element: round(part * len(atoms)) for element, part in condition.fractions.items()}
    if counts:
        symbols = [element for element, count in counts.items() for _ in range(count)]
        atoms.set_chemical_symbols([str(symbol) for symbol in rng.permutation(symbols)])
    spread = np.sqrt(2 * units.kB * condition.temperature_kelvin * atoms.get_masses())[:, None]
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread)
    atoms.calc = EMT()
    return atoms


def _run(atoms: Atoms, kelvin: float, steps: int, rng: np.random.RandomState) -> None:
    step = _TIMESTEP_FS * units.fs
    Langevin(atoms, step, temperature_K=kelvin, friction=0.02 / units.fs, fixcm=False, rng=rng).run(
        steps
    )


def _run_at_no_pressure(atoms: Atoms, kelvin: float, steps: int, _: np.random.RandomState) -> None:
    """The box breathes with all its sides alike."""
    NPTBerendsen(
        atoms,
        _TIMESTEP_FS * units.fs,
        temperature_K=kelvin,
        pressure_au=0.0,
        taut=100 * units.fs,
        taup=300 * units.fs,
        compressibility_au=_COMPRESSIBILITY_PER_BAR / units.bar,
    ).run(steps)


#: By EMT, at rest: the lattice constant of copper and gold by the part of gold.
_MIXED_ANGSTROM: Mapping[float, float] = {0.0: 3.590, 0.25: 3.72, 0.5: 3.84, 0.75: 3.95, 1.0: 4.056}
_ORDERED: Mapping[float, tuple[Literal["fcc", "l1_0", "l1_2"], tuple[str, ...]]] = {
    0.0: ("fcc", ("Cu",)),
    0.25: ("l1_2", ("Au", "Cu")),
    0.5: ("l1_0", ("Cu", "Au")),
    0.75: ("l1_2", ("Cu", "Au")),
    1.0: ("fcc", ("Au",)),
}
_REPEAT = (2, 2, 2)


def copper_and_gold(_: WorkflowConfig, __: float | None) -> Iterator[Condition]:
    """Five ordered crystals, three solid solutions, five liquids."""
    for number, (gold, a) in enumerate(_MIXED_ANGSTROM.items()):
        structure, elements = _ORDERED[gold]
        crystal_ = Prototype(
            structure=structure, elements=elements, lattice_constant_angstrom=a, repeat=_REPEAT
        )
        sites = Prototype(
            structure="fcc", elements=("Cu",), lattice_constant_angstrom=a, repeat=_REPEAT
        )
        fractions = {"Cu": 1 - gold, "Au": gold}
        seed = 7000 + 10 * number
        for more, kelvin in enumerate((300.0, 700.0)):
            message = f"{gold:.0%} Au, {kelvin:g} K"
            yield Condition("solid, ordered", message, crystal_, kelvin, 3, seed + more)
            if 0 < gold < 1:
                yield Condition(
                    "solid, random", message, sites, kelvin, 3, seed + 5 + more, fractions
                )
        yield Condition(
            "liquid", f"{gold:.0%} Au, 1500 K", sites, 1500.0, 5, seed + 9, fractions, liquid=True
        )


def as_walkers(config: WorkflowConfig, lattice_angstrom: float | None) -> Iterator[Condition]:
    """Each crystal of one element that walkers start from.

    At each of their temperatures there are twenty snapshots.
    """
    found = {
        (walkers.prototype, kelvin): None
        for section in config.exploration.walkers
        for walkers in section.ladder()
        if walkers.prototype is not None and len(walkers.prototype.elements) == 1
        for kelvin in walkers.temperatures_kelvin
    }
    for number, (prototype, kelvin) in enumerate(found):
        name = f"{''.join(prototype.elements)} {prototype.structure} {kelvin:g} K"
        count = max(round(_FRAMES / len(found)), 1)
        seed = 9000 + number
        yield Condition(
            "solid", name, prototype, kelvin, count, seed, lattice_angstrom=lattice_angstrom
        )
