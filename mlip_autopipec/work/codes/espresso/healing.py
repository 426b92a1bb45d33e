"""What is changed when pw.x fails: by class of failure, numerical settings alone, rung after rung.

A ladder holds how the answer is found, never which: whatever would give the label another meaning
(cutoffs, smearing, k-mesh, pseudopotentials, convergence threshold, spin start, charge) is not in
it, and `NUMERICAL` holds it to that.
"""

from collections.abc import Mapping, Sequence

from mlip_autopipec.work.codes.espresso.output import DIAGONALISATION, NOT_CONVERGED, OUT_OF_MEMORY

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
Changes = Mapping[str, bool | int | float | str]

_STEADIER: Changes = {"mixing_beta": 0.3, "mixing_ndim": 12}
_SCREENED: Changes = {**_STEADIER, "mixing_mode": "local-TF"}
#: Each rung has been seen to give a label where what came before gave none. Of others tried,
#: mixing_beta 0.1 took twice as many steps as 0.3, and ppcg failed where Davidson did.
LADDERS: Mapping[str, Sequence[Changes]] = {
    # Charge that sloshes or crawls: middle steps with a longer memory, a screening that knows of
    # surfaces, time.
    NOT_CONVERGED: (_STEADIER, _SCREENED, {**_SCREENED, "electron_maxstep": 400}),
    # Davidson's overlap matrix became singular: solvers that make none.
    DIAGONALISATION: (
        {"diagonalization": "cg"},
        {"diagonalization": "paro", "startingwfc": "random"},
    ),
    # The wavefunctions of all k-points but one on disk.
    OUT_OF_MEMORY: ({"disk_io": "medium"},),
}


def next_changes(endings: Sequence[str], changes: Changes) -> Changes | None:
    """The next run's changes, after runs with these endings; None if nothing is left to change.

    Each failure takes the next rung of its own ladder, on top of what other failures have changed.
    """
    ladder, climbed = LADDERS.get(endings[-1], ()), endings.count(endings[-1])
    return {**changes, **ladder[climbed - 1]} if climbed <= len(ladder) else None
