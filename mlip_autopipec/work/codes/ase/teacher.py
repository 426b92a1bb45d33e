"""MD by an ASE calculator, for the structures that a campaign begins with.

Runs as a program, in the Python that has the calculator: it needs ASE and numpy there, and nothing
else of the jobs'. It reads `teacher.json` in its folder and the start of each walk, and writes the
end of each walk beside it.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator, CalculatorError
from ase.md.langevin import Langevin
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution

from mlip_autopipec.contract.generate import Teacher
from mlip_autopipec.contract.values import plain, read, value
from mlip_autopipec.work.codes.ase.run import calculator_of
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.job import TaskFailed, as_json, write_atomic
from mlip_autopipec.work.structures import finite, read_frames, shortest_distance, write_frames

REQUEST = "teacher.json"
FAILURE = "failed.json"
SPEED = "speed.json"
#: Of the Langevin bath: the walk forgets its velocities in so many fs.
_FRICTION_TIME_FS = 100.0
#: Steps between looks at whether the walk is still one.
_LOOK_STEPS = 10
#: A walk this much hotter than its bath has exploded; cells of a few atoms swing by half as much.
_EXPLODED = 10.0
#: Walks from one start before its settings are called impossible.
_WALKS_MAX = 5
#: What calculators raise when atoms have flown apart.
_GONE_WILD = (CalculatorError, ArithmeticError, ValueError, RuntimeError, np.linalg.LinAlgError)


@value
class TeacherWalk:
    """One of them: the end of `start` after some MD, in `end`."""

    start: str
    end: str
    temperature_kelvin: float
    seed: tuple[int, ...]


@value
class Request:
    """Everything that is to be walked."""

    teacher: Teacher
    distance_min_angstrom: float
    walks: tuple[TeacherWalk, ...]


def write_request(folder: Path, request: Request) -> None:
    """Ask for walks."""
    write_atomic(folder / REQUEST, as_json(plain(request)))


def walk_all(folder: Path) -> None:
    """Every walk whose end is not there already.

    Raises TaskFailed (bad_input) where the teacher can't walk.
    """
    request = read(Request, json.loads((folder / REQUEST).read_text(encoding="utf-8")))
    calculator = calculator_of(
        AseOracle(calculator=request.teacher.calculator, arguments=dict(request.teacher.arguments))
    )
    for walk in request.walks:
        if not (folder / walk.end).exists():
            [start] = read_frames(folder / walk.start)
            began_s = time.monotonic()
            end = _walked(start, calculator, walk, request)
            write_atomic(
                folder / SPEED,
                as_json(
                    {
                        "s": time.monotonic() - began_s,
                        "steps": request.teacher.steps,
                        "atoms": len(start),
                    }
                ),
                durable=False,
            )
            write_frames(folder / walk.end, [end])


def _walked(start: Atoms, calculator: BaseCalculator, walk: TeacherWalk, request: Request) -> Atoms:
    """The end of a walk with no short distance in it; further ones are tried with other seeds."""
    teacher, shortest = request.teacher, request.distance_min_angstrom
    try:
        start.calc = calculator
        start.get_forces()
    # a calculator may raise anything: before a step is made, it is of the settings
    except Exception as error:
        raise TaskFailed(
            "bad_input",
            f"the teacher {teacher.calculator} gives no forces on {start.get_chemical_formula()}:"
            f" {type(error).__name__}: {error}",
        ) from error
    for again in range(_WALKS_MAX):
        end = _run(start, calculator, walk, teacher, np.random.default_rng([*walk.seed, again]))
        if end is not None and shortest_distance(end, 2 * shortest) >= shortest:
            return end
    raise TaskFailed(
        "bad_input",
        f"{_WALKS_MAX} walks of the teacher {teacher.calculator} at {walk.temperature_kelvin:g} K"
        f" from {start.get_chemical_formula()} all exploded, or ended with distances below"
        f" {shortest:g} Å: lower generation.teacher.temperatures_kelvin or timestep_fs, or choose"
        " another teacher",
    )


def _run(
    start: Atoms,
    calculator: BaseCalculator,
    walk: TeacherWalk,
    teacher: Teacher,
    rng: np.random.Generator,
) -> Atoms | None:
    """Bare atoms after the MD; None where it has exploded.

    It begins with twice the kinetic energy of its temperature, of which a crystal takes half as it
    begins to vibrate.
    """
    atoms: Atoms = start.copy()
    atoms.calc = calculator
    MaxwellBoltzmannDistribution(atoms, temperature_K=2 * walk.temperature_kelvin, rng=rng)
    dynamics = Langevin(
        atoms,
        timestep=teacher.timestep_fs * units.fs,
        temperature_K=walk.temperature_kelvin,
        friction=1 / (_FRICTION_TIME_FS * units.fs),
        fixcm=False,  # a crystal that drifts as a whole is the same structure
        rng=rng,
    )
    done = 0
    while done < teacher.steps:
        steps = min(_LOOK_STEPS, teacher.steps - done)
        try:
            dynamics.run(steps)
        except _GONE_WILD:
            return None
        done += steps
        if (
            not finite(atoms.positions)
            or atoms.get_temperature() > _EXPLODED * walk.temperature_kelvin
        ):
            return None
    end: Atoms = start.copy()
    end.positions = atoms.positions
    end.wrap()
    return end


def main(argv: Sequence[str] | None = None) -> int:
    """Walk in a folder; what stops it is left there for whoever asked."""
    parser = argparse.ArgumentParser(prog="teacher", description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(argv).folder
    try:
        walk_all(folder)
    except TaskFailed as error:
        write_atomic(folder / FAILURE, as_json({"reason": error.reason, "message": str(error)}))
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
