"""The labels of a fit, sorted by what they are for, and as python-ace's tools read them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator
from pyace import ACEBBasisSet

from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.dataset import ADOPTED
from mlip_autopipec.work.ace.basis import count_functions
from mlip_autopipec.work.ace.labels import cohesive_ev, composition, energy_ev
from mlip_autopipec.work.job import AnyJob, TaskFailed
from mlip_autopipec.work.structures import read_frames


@dataclass(frozen=True)
class Labels:
    """Every label so far, by what it is for; `new` are this cycle's."""

    train: list[Atoms]
    test: list[Atoms]
    of_properties: dict[str, Atoms]
    new: list[Atoms]
    everything: list[Atoms]
    fixed: int  # how many test structures are of the first day; they come first


def read_labels(job: AnyJob, offsets_ev: Mapping[str, float] | None = None) -> Labels:
    """Every label so far; `offsets_ev` are added to the user's, for each atom.

    Raises TaskFailed (bad_input) without one to fit and one to test, or of two settings.
    """
    sets = [read_frames(path) for path in job.inputs.get("dataset", [])]
    new = [frame for path in job.inputs.get("label", []) for frame in read_frames(path)]
    new += _adopted(job, offsets_ev or {})
    everything = [frame for frames in (*sets, new) for frame in frames]
    by_role = {
        role: [frame for frame in everything if frame.info["role"] == role]
        for role in ("train", "test", "property")
    }
    train, test = by_role["train"], by_role["test"]
    if not train or not test:
        raise TaskFailed(
            "bad_input", f"{len(train)} training and {len(test)} test labels; at least one of each"
        )
    _check_settings(everything)
    return Labels(
        train=train,
        test=test,
        of_properties={crystal_name(frame.info["origin"]): frame for frame in by_role["property"]},
        new=new,
        everything=everything,
        fixed=sum(frame.info["role"] == "test" for frame in (sets[0] if sets else new)),
    )


def _adopted(job: AnyJob, offsets: Mapping[str, float]) -> list[Atoms]:
    """Labels of the user's, with energies by the oracle's zeros."""
    frames = [frame for path in job.inputs.get("adopted", []) for frame in read_frames(path)]
    for frame in frames:
        missing = sorted(composition(frame).keys() - offsets.keys()) if offsets else []
        if missing:
            raise TaskFailed(
                "bad_input",
                f"no frame of the data set that was labelled again holds {', '.join(missing)}",
            )
        shift = (
            sum(offsets[element] * count for element, count in composition(frame).items())
            if offsets
            else 0.0
        )
        results = {**frame.calc.results, "energy": energy_ev(frame) + shift}
        frame.calc = SinglePointCalculator(frame, **results)
    return frames


def _check_settings(labels: Sequence[Atoms]) -> None:
    """Raise TaskFailed (bad_input) if labels do not all mean the same: no fit serves two truths."""
    first: dict[str, str] = {}
    for label in labels:
        if label.info["settings"] != ADOPTED:  # the oracle has agreed with those
            first.setdefault(label.info["settings"], label.info["task"])
    if len(first) > 1:
        named = "; ".join(f"{task} has {settings}" for settings, task in first.items())
        raise TaskFailed(
            "bad_input",
            f"labels of {len(first)} different settings cannot be trained on together: {named}."
            " Put the oracle's old settings back, or begin a campaign of its own for the new ones",
        )


def check_environments(basis: ACEBBasisSet, train: Sequence[Atoms]) -> None:
    """Raise TaskFailed (bad_input) unless each element has as many environments as functions.

    That is the active set's rank.
    """
    compositions = [composition(frame) for frame in train]
    for element, functions in zip(basis.elements_name, count_functions(basis), strict=True):
        environments = sum(composition.get(element, 0) for composition in compositions)
        if environments < functions:
            raise TaskFailed(
                "bad_input",
                f"{environments} training environments of {element} for {functions} functions: an"
                " active set needs at least one for each; lower functions_per_element, or train on"
                " more structures",
            )


def dataset_for_tools(
    folder: Path, train: Sequence[Atoms], references: Mapping[str, float]
) -> Path:
    """The training set as python-ace's tools read it."""
    path = folder / "fitting_data_info.pckl.gzip"
    bare = [
        Atoms(frame.get_chemical_symbols(), frame.positions, cell=frame.cell, pbc=True)
        for frame in train
    ]
    table = pd.DataFrame(
        {
            "ase_atoms": bare,
            "energy_corrected": [cohesive_ev(frame, references) for frame in train],
            "forces": [frame.get_forces() for frame in train],
        }
    )
    table.to_pickle(path, compression="gzip")
    return path
