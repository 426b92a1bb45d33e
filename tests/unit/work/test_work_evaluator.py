"""What every code that evaluates potentials has for nothing.

And what a task is told where it lacks something.
"""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import explore_parameters, job_of

from mlip_autopipec.contract.evaluator import EvaluatorCode, PotentialFile
from mlip_autopipec.work.codes.evaluator import PotentialFiles, written
from mlip_autopipec.work.job import TaskFailed


class Counted:
    """γ of every atom is the number of atoms, less one half."""

    def gamma(self, atoms: Atoms) -> np.ndarray:
        return np.full(len(atoms), len(atoms) - 0.5)


def load(files: object) -> Counted:
    del files
    return Counted()


CODE = EvaluatorCode(
    package=__name__,
    potential="a count",
    files=(
        PotentialFile("txt", "potential.txt", "the count"),
        PotentialFile("known", "known.txt", "what γ is against"),
        PotentialFile("table", "potential.table", "for MD", graded=False),
    ),
    rules="mlip_autopipec.contract.evaluator:EvaluatorRules",
    load=f"{__name__}:load",
)


def test_structures_rank_by_their_gamma_where_the_code_has_no_ranking(tmp_path: Path) -> None:
    """Only what extrapolates is ranked."""
    structures = [Atoms("Cu" * number) for number in (2, 1, 4, 3)]
    found = PotentialFiles(CODE, {}).ranking(job_of(tmp_path, explore_parameters()), structures)
    assert found == [2, 3, 0]
    assert PotentialFiles(CODE, {}).ranking(job_of(tmp_path, explore_parameters()), []) == []


def test_the_fingerprint_is_over_what_gamma_needs(tmp_path: Path) -> None:
    """In the order of the declaration; a form for MD has no part in it."""
    paths = {each.name: tmp_path / each.file for each in CODE.files}
    for name, path in paths.items():
        path.write_text(name)
    found = PotentialFiles(CODE, paths).fingerprint
    paths["table"].write_text("other")
    assert PotentialFiles(CODE, paths).fingerprint == found
    paths["known"].write_text("other")
    assert PotentialFiles(CODE, paths).fingerprint != found


def test_a_code_without_a_core_takes_none(tmp_path: Path) -> None:
    """The file stays as the trainer gave it; a requested core is refused before any walk."""
    fitted, target = tmp_path / "fitted.txt", tmp_path / "potential.txt"
    fitted.write_text("7")
    assert written(CODE, fitted, target, None).first.read_text() == "7"
    with pytest.raises(TaskFailed, match="core_repulsion"):
        written(CODE, fitted, target, 1.5)
