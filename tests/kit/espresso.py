"""Aluminium for pw.x, small enough for a test: one second a run."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from ase import Atoms
from ase.build import bulk

from kit.jobs import job_of
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle, Pseudopotential
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.structures import write_frames

PSEUDO_FOLDER = Path("/usr/share/espresso/pseudo")
ALUMINIUM = "Al.pz-vbc.UPF"

needs_pw = pytest.mark.skipif(
    shutil.which("pw.x") is None or not (PSEUDO_FOLDER / ALUMINIUM).exists(),
    reason=(
        "needs pw.x and its pseudopotentials: Debian's quantum-espresso and quantum-espresso-data"
    ),
)


def aluminium(rattle_angstrom: float = 0.1, repeat: tuple[int, int, int] = (1, 1, 1)) -> Atoms:
    """Four atoms of fcc aluminium, off their sites."""
    atoms: Atoms = bulk("Al", "fcc", a=3.97, cubic=True).repeat(repeat)
    atoms.rattle(rattle_angstrom, seed=1)
    return atoms


def oracle_of(**changes: Any) -> EspressoOracle:
    """pw.x with a coarse mesh and a low cutoff."""
    settings: dict[str, Any] = {
        "pseudo_folder": str(PSEUDO_FOLDER),
        "pseudopotentials": {"Al": Pseudopotential(file=ALUMINIUM)},
        "ecutwfc_ry": 12.0,
        "ecutrho_ry": 48.0,
        "k_spacing_inverse_angstrom": 0.8,
        "smearing": {"kind": "mv", "width_ry": 0.05},
    }
    return read(EspressoOracle, plain({**settings, **changes}))


def job_for(root: Path, atoms: Atoms, **changes: Any) -> Job[CalculateParameters]:
    """The task that labels the structure."""
    path = root / "structure.extxyz"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_frames(path, [atoms])
    parameters = CalculateParameters(
        role=Role.TRAIN,
        origin="a test",
        oracle=oracle_of(**changes),
        force_max_ev_per_angstrom=50.0,
    )
    return job_of(root, parameters, {"structure": [path]})
