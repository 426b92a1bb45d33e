"""Potentials of python-ace where the jobs run: their files are read, made and ranked by here."""

import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd
from ase import Atoms
from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration

from mlip_autopipec.work.ace.design import DesignMatrix
from mlip_autopipec.work.ace.evaluator import (
    AceEvaluator,
    is_linear,
    make_active_set,
    make_yace,
    run_tool,
    with_core_repulsion,
)
from mlip_autopipec.work.ace.training_set import check_environments, dataset_for_tools
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.job import AnyJob, TaskFailed

#: What python-ace raises for a file that is not what it should be.
_UNREADABLE = (RuntimeError, ValueError, IndexError, KeyError)


def load(files: Mapping[str, Path]) -> AceEvaluator:
    """The B-basis, with its active set if there is one."""
    potential, active_set = files["yaml"], files.get("asi")
    try:
        evaluator = AceEvaluator(potential)
    except _UNREADABLE as error:
        name = potential.name.partition("-")[2] or potential.name
        raise TaskFailed(
            "bad_input", f"{name} is no potential of python-ace, a B-basis: {error}"
        ) from error
    if active_set is None:
        return evaluator
    try:
        return AceEvaluator(potential, active_set)
    except _UNREADABLE as error:
        message = (
            f"{active_set.name} is no active set of {potential.name}: {error}. Give the one made"
            " with it"
        )
        raise TaskFailed(
            "bad_input", f"{message}, or leave start.active_set out, and it is made"
        ) from error


def write(fitted: Path, target: Path, radius_angstrom: float | None) -> None:
    """With ZBL as a part of the potential."""
    basis = BBasisConfiguration(str(fitted))
    (with_core_repulsion(basis, radius_angstrom) if radius_angstrom else basis).save(str(target))


def complete(potential: Path, train: Sequence[Atoms], references: Mapping[str, float]) -> None:
    """The active set of all training labels, and the form for MD."""
    if not potential.with_suffix(".asi").exists():
        check_environments(ACEBBasisSet(str(potential)), train)
        make_active_set(potential, dataset_for_tools(potential.parent, train, references))
    make_yace(potential, references)


def design(potential: Path) -> DesignMatrix | None:
    """Of a basis with one density, to the power of one."""
    if not is_linear(BBasisConfiguration(str(potential))):
        return None
    return DesignMatrix(ACEBBasisSet(str(potential)))


def rank(job: AnyJob, potential: PotentialFiles, structures: Sequence[Atoms]) -> list[int]:
    """By how many of their environments enter the active set: pace_select's order.

    GRACE/FS has the same by it.
    """
    candidates, selected = job.workdir / "candidates.pkl.gz", job.workdir / "selected.pkl.gz"
    pd.DataFrame(
        {"ase_atoms": [_bare(atoms, number) for number, atoms in enumerate(structures)]}
    ).to_pickle(candidates)
    selected.unlink(missing_ok=True)
    elements = sorted({symbol for atoms in structures for symbol in atoms.get_chemical_symbols()})
    run_tool(
        "pyace.cli.pace_select",
        [
            *("-p", str(potential.first), "-a", str(potential.paths["asi"])),
            *("-e", " ".join(elements), "-m", str(len(structures))),
            *("-o", selected.name, candidates.name),
        ],
        job.workdir,
    )
    try:
        table = pd.read_pickle(selected)  # noqa: S301 - written by the tool that ran a moment ago in this folder
    except (FileNotFoundError, pickle.UnpicklingError) as error:
        raise TaskFailed(
            "crashed", f"pace_select left no readable {selected.name}: {error}"
        ) from error
    return [int(atoms.info["candidate"]) for atoms in table["ase_atoms"]]


def _bare(frame: Atoms, number: int) -> Atoms:
    """The structure alone, numbered so that it is found again."""
    bare = Atoms(frame.get_chemical_symbols(), positions=frame.positions, cell=frame.cell, pbc=True)
    bare.info["candidate"] = number
    return bare
