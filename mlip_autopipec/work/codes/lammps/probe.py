"""Before a walker starts, the engine must match the evaluator on a distorted cell, with a live γ.

An engine that was built amiss, or reads another potential, gives forces that look like forces; and
a γ that is zero everywhere passes for perfect knowledge. So the start structure is distorted until
its γ is above 1, the engine reads it as it will read the walker's, and energy, forces and γ are
compared. It costs one evaluation of the cell by each.
"""

from pathlib import Path

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.results.explore import Probe
from mlip_autopipec.work.codes.engine import Engine
from mlip_autopipec.work.codes.lammps.files import write_data
from mlip_autopipec.work.codes.lammps.script import RUN_MARK, render_structure
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, TaskFailed

#: Differences from the evaluator beyond this are no rounding, relative to the energy and to the
#: largest force.
_DIFFERENCE_MAX = 1e-6
#: Lengths of the cell, tried in turn: the repulsive wall is beyond every training set.
_SQUEEZES = (0.92, 0.85, 0.78, 0.7)
_RATTLE_ANGSTROM = 0.2
#: Where symmetry leaves no force, as in a cell of one atom, both give rounding alone, which is
#: compared with this.
_FORCE_LEAST_EV_PER_ANGSTROM = 1e-3
_DUMP = 'id fx fy fz v_gamma_of_atom modify sort id format float "%.17g"'


def probe(
    job: AnyJob,
    parameters: ExploreParameters,
    structure: Atoms,
    evaluator: Evaluator,
    engine: Engine,
) -> Probe:
    """γ of the distorted cell, and how far the engine is from the evaluator.

    Raises TaskFailed (bad_input) if it is too far.
    """
    distorted, gamma = _distorted(structure, evaluator)
    write_data(job.workdir / "probe.data", distorted, parameters.elements)
    for stale in ("probe.dump", "probe.txt"):
        (job.workdir / stale).unlink(missing_ok=True)
    stopped = engine.run(job, parameters, _render(parameters, engine), "probe").stopped
    if stopped is not None:
        raise TaskFailed("bad_input", f"the engine cannot evaluate a distorted cell: {stopped}")
    differences = _differences(job.workdir, distorted, evaluator)
    for name, difference in differences.items():
        if not difference <= _DIFFERENCE_MAX:  # nor if it is no number
            raise TaskFailed(
                "bad_input",
                f"of a distorted cell, the engine's {name} and the evaluator's differ by"
                f" {difference:.3g}, relative; {_DIFFERENCE_MAX:g} is allowed. Does it read this"
                " potential, and is it built for it?",
            )
    return Probe(
        gamma_max=gamma,
        energy_difference=differences["energy"],
        forces_difference=differences["forces"],
        gamma_difference=differences["gamma"],
    )


def _distorted(structure: Atoms, evaluator: Evaluator) -> tuple[Atoms, float]:
    """The structure squeezed and rattled, as far as it takes, and its largest γ."""
    displacements = np.random.default_rng(0).normal(
        0.0, _RATTLE_ANGSTROM, structure.positions.shape
    )
    gamma = 0.0
    for squeeze in _SQUEEZES:
        distorted = Atoms(
            structure.get_chemical_symbols(),
            positions=structure.positions + displacements,
            pbc=True,
        )
        distorted.set_cell(structure.cell)
        distorted.set_cell(structure.cell.array * squeeze, scale_atoms=True)
        gamma = float(evaluator.gamma(distorted).max())
        if gamma > 1:
            return distorted, gamma
    raise TaskFailed(
        "bad_input",
        f"γ of a cell squeezed to {_SQUEEZES[-1]:g} of its lengths is {gamma:.3g}: it is blind",
    )


def _render(parameters: ExploreParameters, engine: Engine) -> str:
    lines = [
        *render_structure(parameters, engine.potential_lines(1), "read_data probe.data"),
        RUN_MARK,
        "run 0",
        f"write_dump all custom probe.dump {_DUMP}",
        'print "$(pe:%.17g)" file probe.txt screen no',
        *engine.timing_lines(),
    ]
    return "\n".join(lines) + "\n"


def _differences(folder: Path, distorted: Atoms, evaluator: Evaluator) -> dict[str, float]:
    """Relative to the energy, the largest force and the largest γ.

    Of evaluations with γ and without, the farther is taken.
    """
    energy_ev = float((folder / "probe.txt").read_text(encoding="utf-8"))
    table = np.loadtxt(folder / "probe.dump", skiprows=9, ndmin=2)
    graded, plain = (evaluator.evaluate(distorted, graded=graded) for graded in (True, False))
    energies = np.array([graded.energy_ev, plain.energy_ev])
    forces = np.array([graded.forces, plain.forces])
    if graded.gamma is None:
        raise AssertionError("a graded evaluation has γ")
    return {
        "energy": _relative(energies - energy_ev, energies),
        "forces": _relative(forces - table[:, 1:4], forces, _FORCE_LEAST_EV_PER_ANGSTROM),
        "gamma": _relative(graded.gamma - table[:, 4], graded.gamma),
    }


def _relative(difference: np.ndarray, whole: np.ndarray, least: float = 0.0) -> float:
    """The largest difference by the largest value, or by `least` where that is larger.

    0/0 is no difference.
    """
    largest, scale = float(np.abs(difference).max()), max(float(np.abs(whole).max()), least)
    return 0.0 if largest == 0.0 else largest / scale if scale else float("inf")
