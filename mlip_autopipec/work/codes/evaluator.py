"""A potential's files, and what the code that evaluates them makes of them."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.evaluator import EvaluatorCode, evaluator_code
from mlip_autopipec.work.evaluation import Design, Evaluator
from mlip_autopipec.work.job import AnyJob, TaskFailed


@dataclass(frozen=True)
class PotentialFiles:
    """Files by name: the first one alone, or all that γ needs."""

    code: EvaluatorCode
    paths: Mapping[str, Path]

    @property
    def first(self) -> Path:
        """That which gives energies and forces by itself."""
        return self.paths[self.code.first.name]

    @property
    def fingerprint(self) -> str:
        """One name for all that γ needs, which belong together."""
        content = b"".join(self.paths[name].read_bytes() for name in self.code.graded)
        return hashlib.sha256(content).hexdigest()

    def evaluator(self) -> Evaluator:
        """The potential. Raises TaskFailed (bad_input) for files that are none."""
        load = self.code.work("load")
        if load is None:
            raise AssertionError("every evaluator loads its potentials")
        found: Evaluator = load(self.paths)
        return found

    def design(self) -> Design | None:
        """Its design rows, if the energy is linear in the coefficients."""
        make = self.code.work("design")
        found: Design | None = make(self.first) if make else None
        return found

    def ranking(self, job: AnyJob, structures: Sequence[Atoms]) -> list[int]:
        """Places of the structures that would enter the active set, the first first."""
        if not structures:
            return []
        if (rank := self.code.work("rank")) is not None:
            ranked: list[int] = rank(job, self, structures)
            return ranked
        evaluator = self.evaluator()
        highest = [float(evaluator.gamma(atoms).max()) for atoms in structures]
        return sorted(
            (index for index, gamma in enumerate(highest) if gamma > 1),
            key=lambda index: -highest[index],
        )


def potential_of(job: AnyJob, evaluator: str, name: str = "potential") -> PotentialFiles:
    """Those of a task by which it has γ: inputs of this name.

    Raises TaskFailed (bad_input) unless all are there.
    """
    code = evaluator_code(evaluator)
    return PotentialFiles(code, {each: job.only_input(f"{name}_{each}") for each in code.graded})


def checked_potential(job: AnyJob, evaluator: str, expected: str | None) -> PotentialFiles:
    """The same. Raises TaskFailed (bad_input) unless the `expected` fingerprint names them.

    γ by the active set of another fit is a number like any other, and says nothing.
    """
    found = potential_of(job, evaluator)
    if expected is not None and found.fingerprint != expected:
        message = (
            f"potential and active set have fingerprint {found.fingerprint}, expected {expected}"
        )
        raise TaskFailed("bad_input", message)
    return found


def written(
    code: EvaluatorCode, fitted: Path, target: Path, radius_angstrom: float | None
) -> PotentialFiles:
    """What a trainer gave as the potential's first file, with its core repulsion.

    Raises TaskFailed (bad_input).
    """
    write = code.work("write")
    if write is not None:
        write(fitted, target, radius_angstrom)
    elif radius_angstrom is not None:
        message = f"{code.potential} has no core repulsion: set training.core_repulsion to false"
        raise TaskFailed("bad_input", message)
    else:
        target.write_bytes(fitted.read_bytes())
    return PotentialFiles(code, {code.first.name: target})
