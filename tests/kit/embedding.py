"""Large frames to cut, and a small potential of Cu and Au that grades them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111

from kit.jobs import job_of, labelled, train_parameters
from mlip_autopipec.contract.select import Embedding, SelectParameters
from mlip_autopipec.work.structures import write_frames

CUTOFF_ANGSTROM = 4.5


@dataclass(frozen=True)
class Potential:
    """The files of a fitted potential."""

    yaml: Path
    asi: Path

    @property
    def inputs(self) -> dict[str, list[Path]]:
        """As Selection gets them."""
        return {"potential_yaml": [self.yaml], "potential_asi": [self.asi]}


def alloy(seed: int, repeat: int = 2) -> Atoms:
    """Fcc Cu and Au, half and half at random, strained up to 3 % and rattled by 0.05 to 0.14 Å."""
    rng = np.random.default_rng([3, seed])
    atoms: Atoms = bulk("Cu", "fcc", a=3.8, cubic=True).repeat(repeat)
    atoms.numbers[rng.permutation(len(atoms))[: len(atoms) // 2]] = 79
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True
    )
    atoms.positions += rng.normal(0.0, 0.05 + 0.03 * (seed % 4), atoms.positions.shape)
    return atoms


def fit_alloy_once(factory: pytest.TempPathFactory) -> Potential:
    """A linear basis of 30 functions per element, fitted to EMT.

    This is done at the first call of the whole test run.
    """
    root = factory.getbasetemp() / "fitted-alloy"
    potential = Potential(
        root / "potentials/001/potential.yaml", root / "potentials/001/potential.asi"
    )
    if not potential.asi.exists():
        from mlip_autopipec.work.steps import train as training  # noqa: PLC0415 - needs pyace, which not every machine has

        root.mkdir()
        labels = [root / f"{number:02d}.extxyz" for number in range(10)]
        for number, path in enumerate(labels):
            write_frames(
                path,
                [labelled(alloy(number), "train" if number < 8 else "test", f"label-{number:02d}")],
            )
        parameters = train_parameters(
            elements=("Cu", "Au"), functions_per_element=30, cutoff_angstrom=CUTOFF_ANGSTROM
        )
        training.run(job_of(root, parameters, {"label": labels}))
    return potential


def parameters_of(**changes: Any) -> SelectParameters:
    """What Selection hands to embedding; `changes` are keys of `embedding`."""
    settings = Embedding(whole_atoms_max=0, **changes)
    return SelectParameters(
        elements=("Cu", "Au"),
        gamma_select=2.0,
        distance_min_angstrom=1.2,
        embedding=settings,
        seed=1,
    )


def rattled(atoms: Atoms, angstrom: float, rng: np.random.Generator) -> Atoms:
    """Displaced as heat does."""
    hot = atoms.copy()
    hot.pbc = True
    hot.positions += rng.normal(0.0, angstrom, hot.positions.shape)
    return hot


def crystal_frame(rng: np.random.Generator) -> Atoms:
    """A big crystal: fcc, bcc, or L1_0, pure or mixed at random, hot or cold.

    Its cell is strained and sheared.
    """
    kind = str(rng.choice(["fcc", "bcc", "l1_0", "primitive"]))
    repeat = int(rng.integers(5, 8))
    if kind == "l1_0":
        sites = [(0, 0, 0), (0.5, 0.5, 0), (0.5, 0, 0.5), (0, 0.5, 0.5)]
        item = Atoms("CuCuAuAu", scaled_positions=sites, cell=[3.9, 3.9, 3.7], pbc=True)
    elif kind == "primitive":
        item, repeat = bulk("Cu", "fcc", a=3.7), 2 * repeat
    else:
        item = bulk("Cu", kind, a={"fcc": 3.75, "bcc": 3.0}[kind], cubic=True)
        repeat += 2 * (kind == "bcc")
    atoms = item.repeat(repeat)
    if kind != "l1_0" and rng.random() < 0.5:
        atoms.numbers[rng.permutation(len(atoms))[: len(atoms) // 2]] = 79
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.04, 0.04, (3, 3))), scale_atoms=True
    )
    return rattled(atoms, float(rng.choice([0.0, 0.05, 0.12])), rng)


def triclinic_frame(rng: np.random.Generator) -> Atoms:
    """A crystal in a cell whose vectors are far from square to each other, strained and hot."""
    kind = str(rng.choice(["fcc", "bcc"]))
    atoms = bulk("Cu", kind, a={"fcc": 3.75, "bcc": 3.0}[kind], cubic=True).repeat(
        int(rng.integers(6, 9))
    )
    leaning = np.eye(3) + np.tril(rng.choice([-1, 1], (3, 3)), -1)
    # the same crystal: the new vectors are sums of the old
    atoms.set_cell(leaning @ atoms.cell.array)
    atoms.wrap()
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True
    )
    return rattled(atoms, float(rng.choice([0.03, 0.08])), rng)


def liquid_frame(rng: np.random.Generator) -> Atoms:
    """Atoms in no order, no two within 2 Å, at hot copper's density, in a cell of any shape."""
    cell = np.diag(rng.uniform(16.0, 19.0, 3)) + np.tril(rng.uniform(-3.0, 3.0, (3, 3)), -1)
    volume = abs(np.linalg.det(cell))
    wanted = round(volume / 14.0)
    atoms = Atoms(cell=cell, pbc=True)
    atoms += Atoms(["Cu"] * wanted, scaled_positions=rng.random((wanted, 3)), cell=cell)
    atoms.numbers[rng.random(wanted) < rng.uniform(0.0, 0.6)] = 79
    return pushed_apart(atoms, 2.0)


def pushed_apart(atoms: Atoms, distance_angstrom: float) -> Atoms:
    """The same atoms, moved until no two are nearer."""
    from ase.neighborlist import neighbor_list  # noqa: PLC0415 - for this alone

    for _ in range(400):
        first, second, far, ways = neighbor_list("ijdD", atoms, distance_angstrom)
        if not len(far):
            break
        far = np.clip(far, 1e-3, None)
        moves = (0.55 * (distance_angstrom - far) / far + 0.01)[:, np.newaxis] * ways
        np.add.at(atoms.positions, first, -0.5 * moves)
        del second
    return atoms


def surface_frame(rng: np.random.Generator) -> Atoms:
    """A slab of copper, thick or thin, with vacuum on both sides."""
    layers = int(rng.choice([3, 5, 9, 12]))
    slab = fcc111(
        "Cu", (int(rng.integers(8, 11)), int(rng.integers(8, 11)), layers), a=3.65, vacuum=7.0
    )
    return rattled(slab, float(rng.choice([0.0, 0.05, 0.1])), rng)


def narrow_frame(rng: np.random.Generator) -> Atoms:
    """A crystal that is shorter than the cut in one or two directions."""
    repeat = [(9, 9, 2), (2, 9, 9), (20, 2, 2), (2, 2, 24)][int(rng.integers(4))]
    return rattled(bulk("Cu", "fcc", a=3.7, cubic=True).repeat(repeat), 0.06, rng)


FRAMES = {
    "crystal": crystal_frame,
    "triclinic": triclinic_frame,
    "liquid": liquid_frame,
    "surface": surface_frame,
    "narrow": narrow_frame,
}
