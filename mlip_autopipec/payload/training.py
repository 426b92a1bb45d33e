"""Training: fit to every label so far, make the active set, compare with the current potential on one test set.

The linear trainer minimises

    energy_weight ⟨(ΔE/N)²⟩ + force_weight ⟨ΔF²⟩ + ridge |c|²      (E in eV, F in eV/Å)

over the coefficients c of a linear ACE basis (Drautz, Phys. Rev. B 99, 014104 (2019)). Means, not sums: the balance
between energies and forces does not drift as the data set grows. The means are weighted where cells are embedded
(`payload/weights.py`), and so are the errors that the gate looks at.
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from pyace import ACEBBasisSet
from sklearn.linear_model import Ridge

from mlip_autopipec.payload.ace import (
    DesignMatrix,
    Evaluator,
    count_functions,
    linear_basis,
    make_active_set,
    make_yace,
    reference_energies,
)
from mlip_autopipec.payload.frame import Job, Result, TaskFailed, as_json, write_atomic
from mlip_autopipec.payload.structures import read_frames, write_frames
from mlip_autopipec.payload.weights import energy_weight, force_weights

_MEV = 1000.0
_PARITY_POINTS_MAX = 2000
#: A distorted cell must be unknown to the active set, or γ is blind.
_PROBE_RATTLE_ANGSTROM = 0.6
_PROBE_GAMMA_MIN = 1.0


def run(job: Job) -> Result:
    """Fit, make the active set, measure, and put the potential in its folder whole."""
    parameters = job.parameters
    earlier = [frame for path in job.inputs.get("dataset", []) for frame in read_frames(path)]
    new = [frame for path in job.inputs.get("label", []) for frame in read_frames(path)]
    train = [frame for frame in (*earlier, *new) if frame.info["role"] == "train"]
    test = [frame for frame in (*earlier, *new) if frame.info["role"] == "test"]
    if not train or not test:
        raise TaskFailed("bad_input", f"{len(train)} training and {len(test)} test labels; at least one of each")
    _check_settings((*earlier, *new))
    references = parameters["reference_energies_ev"] or _fit_references(train)
    started = time.monotonic()
    job.progress(0.1, f"fitting to {len(train)} structures")
    basis = _fit(train, references, parameters)
    fit_s = time.monotonic() - started
    making = job.workdir / "potential"
    making.mkdir(exist_ok=True)
    potential = making / "potential.yaml"
    basis.save(str(potential))
    started = time.monotonic()
    job.progress(0.5, "making the active set")
    asi = make_active_set(potential, _dataset_for_tools(making, train, references))
    make_yace(potential)
    active_set_s = time.monotonic() - started
    evaluator = Evaluator(potential, asi)
    job.progress(0.8, "measuring")
    sets = {"train": train, "test": test}
    measured = {
        name: Comparison(evaluator, frames, references, parameters["buffer_weight"]) for name, frames in sets.items()
    }
    metrics = {
        "functions": sum(count_functions(basis)),
        "train": measured["train"].errors(),
        "test": measured["test"].errors(),
        "test_of_current": _current(job, test, references),
        "history": _history(job, test, references),
        "probe_gamma": _probe(evaluator, train, parameters["seed"]),
        "reference_energies_ev": references,
        "fingerprint": _fingerprint(potential, asi),
        "fit_s": round(fit_s, 3),
        "active_set_s": round(active_set_s, 3),
    }
    write_atomic(making / "metrics.json", as_json(metrics))
    write_atomic(making / "parity.json", as_json({name: one.parity() for name, one in measured.items()}))
    return Result(metrics, _place(job, making, new))


def _check_settings(labels: Sequence[Atoms]) -> None:
    """Raise TaskFailed (bad_input) if labels do not all mean the same: no fit can serve two truths."""
    first: dict[str, str] = {}
    for label in labels:
        first.setdefault(label.info["settings"], label.info["task"])
    if len(first) > 1:
        named = "; ".join(f"{task} has {settings}" for settings, task in first.items())
        raise TaskFailed(
            "bad_input",
            f"labels of {len(first)} different settings cannot be trained on together: {named}. Put the oracle's old"
            " settings back, or begin a campaign of its own for the new ones",
        )


def _fit_references(train: Sequence[Atoms]) -> dict[str, float]:
    return reference_energies([_composition(frame) for frame in train], [_energy(frame) for frame in train])


def _composition(frame: Atoms) -> dict[str, int]:
    composition: dict[str, int] = frame.symbols.formula.count()
    return composition


def _energy(frame: Atoms) -> float:
    return float(frame.get_potential_energy())


def _cohesive(frame: Atoms, references: Mapping[str, float]) -> float:
    """The energy in eV that the potential has to explain: that of the label less its elements' references."""
    missing = sorted(_composition(frame).keys() - references.keys())
    if missing:
        raise TaskFailed("bad_input", f"no reference energy for {', '.join(missing)}: no training label held it")
    return _energy(frame) - sum(references[element] * count for element, count in _composition(frame).items())


def _fit(train: Sequence[Atoms], references: Mapping[str, float], parameters: Mapping[str, Any]) -> ACEBBasisSet:
    """The basis with fitted coefficients."""
    basis = linear_basis(parameters["elements"], parameters["cutoff_angstrom"], parameters["functions_per_element"])
    _check_environments(basis, train)
    design = DesignMatrix(basis)
    energy_rows, force_rows, energies, forces = [], [], [], []
    for frame in train:
        energy_row, force_row = design.rows(frame)
        energy_rows.append(energy_row)
        force_rows.append(force_row)
        energies.append(_cohesive(frame, references) / len(frame))
        forces.append(frame.get_forces().ravel())
    rows = np.vstack([np.array(energy_rows), *force_rows])
    targets = np.concatenate([np.array(energies), *forces])
    of_energies, of_forces = _weights(train, parameters["buffer_weight"])
    weights = np.concatenate(
        [
            parameters["energy_weight"] * of_energies / of_energies.sum(),
            parameters["force_weight"] * of_forces / of_forces.sum(),
        ]
    )
    model = Ridge(alpha=parameters["ridge"], fit_intercept=False, solver="svd")
    model.fit(rows, targets, sample_weight=weights)
    if not np.isfinite(model.coef_).all():
        raise TaskFailed("numerical", "the fit gave coefficients that are no numbers; a larger ridge may help")
    basis.basis_coeffs = model.coef_
    return basis


def _weights(frames: Sequence[Atoms], buffer_weight: float) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each energy, and of each force component in the order of `get_forces().ravel()`."""
    of_energies = np.array([energy_weight(frame, buffer_weight) for frame in frames])
    of_forces = np.concatenate([force_weights(frame, buffer_weight) for frame in frames]).repeat(3)
    return of_energies, of_forces


def _check_environments(basis: ACEBBasisSet, train: Sequence[Atoms]) -> None:
    """Raise TaskFailed (bad_input) unless each element has as many environments as functions: the active set's rank."""
    compositions = [_composition(frame) for frame in train]
    for element, functions in zip(basis.elements_name, count_functions(basis), strict=True):
        environments = sum(composition.get(element, 0) for composition in compositions)
        if environments < functions:
            raise TaskFailed(
                "bad_input",
                f"{environments} training environments of {element} for {functions} functions: an active set needs at"
                " least one for each; lower functions_per_element, or train on more structures",
            )


def _dataset_for_tools(folder: Path, train: Sequence[Atoms], references: Mapping[str, float]) -> Path:
    """The training set as python-ace's tools read it."""
    path = folder / "fitting_data_info.pckl.gzip"
    bare = [Atoms(frame.get_chemical_symbols(), frame.positions, cell=frame.cell, pbc=True) for frame in train]
    table = pd.DataFrame(
        {
            "ase_atoms": bare,
            "energy_corrected": [_cohesive(frame, references) for frame in train],
            "forces": [frame.get_forces() for frame in train],
        }
    )
    table.to_pickle(path, compression="gzip")
    return path


class Comparison:
    """Labels beside a potential's predictions."""

    def __init__(
        self, evaluator: Evaluator, frames: Sequence[Atoms], references: Mapping[str, float], buffer_weight: float
    ) -> None:
        predictions = [evaluator.evaluate(frame, graded=False) for frame in frames]
        sizes = np.array([len(frame) for frame in frames])
        self._structures = len(frames)
        self._energy_weights, self._force_weights = _weights(frames, buffer_weight)
        self._energies = np.column_stack(
            [
                np.array([_cohesive(frame, references) for frame in frames]) / sizes,
                np.array([prediction.energy_ev for prediction in predictions]) / sizes,
            ]
        )
        self._forces = np.column_stack(
            [
                np.concatenate([frame.get_forces().ravel() for frame in frames]),
                np.concatenate([prediction.forces.ravel() for prediction in predictions]),
            ]
        )

    def errors(self) -> dict[str, Any]:
        """Root-mean-square errors, as the control half's Errors."""
        return {
            "structures": self._structures,
            "energy_mev_per_atom": _rms(self._energies, self._energy_weights) * _MEV,
            "force_mev_per_angstrom": _rms(self._forces, self._force_weights) * _MEV,
        }

    def parity(self) -> dict[str, Any]:
        """Pairs of label and prediction, evenly thinned: energies in eV/atom, force components in eV/Å."""
        stride = -(-len(self._forces) // _PARITY_POINTS_MAX)
        return {
            "energy_ev_per_atom": self._energies.round(6).tolist(),
            "force_ev_per_angstrom": self._forces[::stride].round(5).tolist(),
        }


def _rms(pairs: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(np.average((pairs[:, 1] - pairs[:, 0]) ** 2, weights=weights)))


def _current(job: Job, test: Sequence[Atoms], references: Mapping[str, float]) -> dict[str, Any] | None:
    """The current potential on the very test set of the new one; None at bootstrap."""
    if "current_yaml" not in job.inputs:
        return None
    current = Evaluator(job.one("current_yaml"), job.one("current_asi"))
    return Comparison(current, test, references, job.parameters["buffer_weight"]).errors()


def _history(job: Job, test: Sequence[Atoms], references: Mapping[str, float]) -> list[dict[str, Any]]:
    """Earlier potentials on today's test set: a learning curve compares nothing else."""
    potentials = zip(job.parameters["earlier_cycles"], job.inputs.get("earlier_yaml", []), strict=True)
    weight = job.parameters["buffer_weight"]
    return [
        {"cycle": cycle, "errors": Comparison(Evaluator(potential), test, references, weight).errors()}
        for cycle, potential in potentials
    ]


def _probe(evaluator: Evaluator, train: Sequence[Atoms], seed: int) -> float:
    """γ of a distorted cell. Raises TaskFailed (numerical) if the active set takes it for known."""
    distorted = train[0].copy()
    rng = np.random.default_rng(seed)
    distorted.positions += rng.normal(0.0, _PROBE_RATTLE_ANGSTROM, distorted.positions.shape)
    gamma = float(evaluator.gamma(distorted).max())
    if not gamma > _PROBE_GAMMA_MIN:
        raise TaskFailed("numerical", f"γ of a cell rattled by {_PROBE_RATTLE_ANGSTROM} Å is {gamma:.3g}: γ is blind")
    return gamma


def _fingerprint(potential: Path, asi: Path) -> str:
    """One name for the two files that belong together."""
    return hashlib.sha256(potential.read_bytes() + asi.read_bytes()).hexdigest()


def _place(job: Job, making: Path, new: Sequence[Atoms]) -> dict[str, Path]:
    """Put data set and potential where the campaign keeps them; an earlier attempt's remains are put aside."""
    dataset = job.root / job.parameters["dataset_file"]
    dataset.parent.mkdir(parents=True, exist_ok=True)
    write_frames(dataset, new)
    folder = job.root / job.parameters["potential_folder"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        folder.rename(job.workdir / f"superseded-{os.getpid()}")
    making.rename(folder)
    return {
        "potential_yaml": folder / "potential.yaml",
        "potential_asi": folder / "potential.asi",
        "potential_yace": folder / "potential.yace",
        "metrics": folder / "metrics.json",
        "parity": folder / "parity.json",
        "dataset": dataset,
    }
