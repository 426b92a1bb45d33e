"""What is changed when pw.x fails: by class of failure, numerical settings alone, one rung after another.

A ladder holds how the answer is found, never which: whatever would give the label another meaning (cutoffs, smearing,
k-mesh, pseudopotentials, convergence threshold, spin start, charge) is not in it, and `NUMERICAL` holds it to that.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mlip_autopipec.payload.espresso_output import DIAGONALISATION, NOT_CONVERGED, OUT_OF_MEMORY

#: Every setting that healing may change.
NUMERICAL = frozenset(
    {
        "diagonalization",
        "disk_io",
        "electron_maxstep",
        "mixing_beta",
        "mixing_mode",
        "mixing_ndim",
        "startingwfc",
    }
)
Changes = Mapping[str, Any]

LADDERS: Mapping[str, Sequence[Changes]] = {
    # Charge that sloshes: smaller steps with a longer memory, then a metric that knows of surfaces, then patience.
    NOT_CONVERGED: (
        {"mixing_beta": 0.3, "mixing_ndim": 12, "electron_maxstep": 200},
        {"mixing_beta": 0.3, "mixing_ndim": 12, "electron_maxstep": 200, "mixing_mode": "local-TF"},
        {"mixing_beta": 0.1, "mixing_ndim": 20, "electron_maxstep": 400, "mixing_mode": "plain"},
    ),
    # Davidson's overlap matrix became singular: solvers that make none, and a start that is not nearly dependent.
    DIAGONALISATION: (
        {"diagonalization": "cg"},
        {"diagonalization": "ppcg", "startingwfc": "random"},
        {"diagonalization": "paro", "startingwfc": "random"},
    ),
    # Wavefunctions of all k-points but one on disk; then a solver without a subspace.
    OUT_OF_MEMORY: (
        {"disk_io": "medium"},
        {"disk_io": "medium", "diagonalization": "cg", "mixing_ndim": 4},
    ),
}


def next_changes(endings: Sequence[str], changes: Changes) -> Changes | None:
    """The changes of the next run, after runs with these endings; None if there is nothing left to change.

    Each failure takes the next rung of its own ladder, on top of what other failures have changed.
    """
    ladder, climbed = LADDERS.get(endings[-1], ()), endings.count(endings[-1])
    return {**changes, **ladder[climbed - 1]} if climbed <= len(ladder) else None
