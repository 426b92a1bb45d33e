"""scripts/bench fit --data FOLDER: labelled structures with published splits, fitted by `auto`.

Each pair NAME_train.extxyz.gz and NAME_test.extxyz.gz of the folder is one set, with `energy` (eV)
and `force` (eV/Å) in the extended XYZ. Every choice is made on the training set alone; the test set
is looked at once. Nothing says which frames are of one trajectory, so stretches of four consecutive
ones are never split between fit and judgement.
"""

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import read
from kit.table import Row

from mlip_autopipec.contract.train import AUTO, FitSettings
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.ace.labels import cohesive_ev, fit_references
from mlip_autopipec.work.codes.linear import run as linear

#: Mean absolute test errors of others on the sets of Zuo et al., J. Phys. Chem. A 124, 731 (2020),
#: in meV/atom and meV/Å. GAP and MTP as tabulated by ACEpotentials.jl's zuobench; ACE: arXiv
#: 2309.03161.
OTHERS = {
    "Cu": {"GAP": (0.46, 10.0), "MTP": (0.41, 10.0), "ACE": (0.23, 5.0)},
    "Si": {"GAP": (2.91, 70.0), "MTP": (2.21, 60.0), "ACE": (2.67, 66.0)},
    "Mo": {"GAP": (2.24, 90.0), "MTP": (2.83, 90.0), "ACE": (2.91, 97.0)},
}
_STRETCH = 4
_MEV = 1000.0
_MIB = 1024.0


def measure(folder: Path, names: Sequence[str], cores: int) -> list[Row]:
    """A table of every set of the folder, or of those that are named."""
    found = sorted(
        path.name.removesuffix("_train.extxyz.gz") for path in folder.glob("*_train.extxyz.gz")
    )
    if not found:
        raise SystemExit(f"{folder} holds no NAME_train.extxyz.gz")
    if unknown := sorted(set(names) - set(found)):
        raise SystemExit(
            f"{folder} holds no set {', '.join(unknown)}; there are {', '.join(found)}"
        )
    return [
        row for name in found if not names or name in names for row in _set(folder, name, cores)
    ]


def _set(folder: Path, name: str, cores: int) -> Iterator[Row]:
    started = time.monotonic()
    used = sum(
        sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    train = read_set(folder / f"{name}_train.extxyz.gz")
    references = fit_references(train)
    asked = FitSettings(
        elements=tuple(
            sorted({symbol for frame in train for symbol in frame.get_chemical_symbols()})
        ),
        cutoff_angstrom=AUTO,
        functions_per_element=AUTO,
        energy_weight=AUTO,
        ridge=AUTO,
        smoothness=AUTO,
        force_weight=1.0,
        buffer_weight=1.0,
        any_cost=True,  # nothing is good enough: the best basis is taken
    )
    fit = linear.chosen_fit(
        train, references, asked, cores, lambda message: print(f"{name}: {message}", flush=True)
    )
    seconds = time.monotonic() - started
    used = (
        sum(
            sum(resource.getrusage(who)[:2])
            for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
        )
        - used
    )
    test = read_set(folder / f"{name}_test.extxyz.gz")
    with tempfile.TemporaryDirectory() as scratch:
        potential = Path(scratch) / "potential.yaml"
        fit.basis.save(str(potential))
        energies, forces = _differences(AceEvaluator(potential), test, references)
    others = OTHERS.get(name, {})
    off = np.abs(energies) * _MEV
    energy, scatter = off.mean(), off.std(ddof=1) / np.sqrt(len(off))
    force = np.abs(forces).mean() * _MEV
    beside = "; ".join(f"{who} {value[0]:g}" for who, value in others.items())
    beside += f" (± {scatter:.2f} by {len(off)} structures, the worst is off by {off.max():.1f})"
    yield Row(f"{name}: energy, MAE", energy, "meV/atom", target=_best(others, 0), note=beside)
    beside = "; ".join(f"{who} {value[1]:g}" for who, value in others.items())
    yield Row(f"{name}: force, MAE", force, "meV/Å", target=_best(others, 1), note=beside)
    chosen = fit.settings
    message = (
        f"cutoff {chosen.cutoff_angstrom:g} Å, {chosen.functions_per_element} functions, energy"
        f" weight {chosen.energy_weight:g}, smoothness {chosen.smoothness:g}, ridge"
        f" {chosen.ridge:.0e}"
    )
    yield Row(f"{name}: choice and fit", seconds, "s", note=message)
    yield Row(f"{name}: its processor time", used, "s", note=f"of {cores} processes")
    peak = max(
        resource.getrusage(who).ru_maxrss
        for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    )
    yield Row(
        f"{name}: peak memory so far",
        peak / _MIB,
        "MiB",
        note=f"the largest of {cores + 1} processes",
    )
    assert fit.chosen is not None
    for trial in fit.chosen.trials:
        item = trial.settings
        print(
            (
                f"{name}: {trial.why} {item.cutoff_angstrom:g} Å {item.functions_per_element}"
                f" functions, weight {item.energy_weight:g}, smoothness {item.smoothness:g}, ridge"
                f" {item.ridge:.0e}: {trial.errors['energy'] * _MEV:.2f} meV/atom,"
                f" {trial.errors['force'] * _MEV:.1f} meV/Å (RMSE, CV)"
            )
            + (f", {trial.cost_us:.0f} µs per atom and step" if trial.cost_us else ""),
            flush=True,
        )


def _best(others: dict[str, tuple[float, float]], which: int) -> float | None:
    """The better of GAP and MTP; None for a set that is not in the table."""
    return min(others[who][which] for who in ("GAP", "MTP")) if others else None


def _differences(
    evaluator: AceEvaluator, test: Sequence[Atoms], references: dict[str, float]
) -> tuple[np.ndarray, ...]:
    energies, forces = [], []
    for frame in test:
        said = evaluator.evaluate(frame, graded=False)
        energies.append((said.energy_ev - cohesive_ev(frame, references)) / len(frame))
        forces.append((said.forces - frame.get_forces()).ravel())
    return np.array(energies), np.concatenate(forces)


def read_set(path: Path) -> list[Atoms]:
    """The labels of one file, in their order; a stretch of them passes for one trajectory."""
    frames = []
    for number, found in enumerate(read(path, index=":", format="extxyz")):
        atoms = Atoms(found.get_chemical_symbols(), found.positions, cell=found.cell, pbc=True)
        energy = found.info["energy"] if "energy" in found.info else found.get_potential_energy()
        forces = found.arrays["force"] if "force" in found.arrays else found.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=float(energy), forces=np.asarray(forces))
        atoms.info["origin"] = f"{path.name}: stretch {number // _STRETCH}, step {number}"
        frames.append(atoms)
    return frames
