"""What pw.x wrote: how a run ended, and the numbers of one that converged. Text only.

pw.x says JOB DONE also when an SCF did not converge, so a run counts as converged only if
everything says so: exit status 0, JOB DONE, and that convergence has been achieved. The energy is
that of the line with the `!`: with smearing it is F = E - TS, the one that forces and stress are
derivatives of.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import units

from mlip_autopipec.work.structures import Numbers

#: More than any sound run writes; what lies beyond is not looked at.
OUTPUT_MAX_BYTES = 64 * 1024 * 1024

CONVERGED = "converged"
NOT_CONVERGED = "not_converged"
DIAGONALISATION = "diagonalisation"
OUT_OF_TIME = "out_of_time"
OUT_OF_MEMORY = "out_of_memory"
BAD_INPUT = "bad_input"
CRASHED = "crashed"

_NUMBER = r"[-+]?(?:\d+\.?\d*(?:[EeDd][-+]?\d+)?|\.\d+|nan|inf(?:inity)?)"
_ERROR = re.compile(r"Error in routine\s+(\S+)\s+\(\s*-?\d+\):\s*\n\s*([^\n]*)")
#: `!` at each converged SCF. A hybrid functional converges one per step of its outer loop, and
#: marks the last by `!!`.
_ENERGY = re.compile(rf"^!\s+total energy\s+=\s*({_NUMBER})\s+Ry\s*$", re.MULTILINE | re.IGNORECASE)
_ENERGY_OF_EXCHANGE = re.compile(
    rf"^!!\s+total energy\s+=\s*({_NUMBER})\s+Ry\s*$", re.MULTILINE | re.IGNORECASE
)
_EXCHANGE = re.compile(
    r"^\s*EXX self-consistency reached|^\s*est\. exchange err|^\s*EXX: now go back", re.MULTILINE
)
_ATOMS = re.compile(r"^\s*number of atoms/cell\s+=\s*(\d+)\s*$", re.MULTILINE)
_FORCES = re.compile(
    r"^\s*Forces acting on atoms \(cartesian axes, Ry/au\):\s*\n((?:[^\n]*\n)*)", re.MULTILINE
)
_FORCE = re.compile(
    rf"^\s*atom\s+(\d+)\s+type\s+\d+\s+force\s=\s*({_NUMBER})\s+({_NUMBER})\s+({_NUMBER})\s*$",
    re.IGNORECASE,
)
_STRESS = re.compile(
    rf"^\s*total\s+stress\s+\(Ry/bohr\*\*3\)[^\n]*P=\s*({_NUMBER})[ \t]*\n"
    rf"((?:\s*{_NUMBER}(?:\s+{_NUMBER}){{5}}\s*\n){{3}})",
    re.MULTILINE | re.IGNORECASE,
)
#: Half a unit of the last digit that is printed, and a little.
_PRINTED_RY_PER_BOHR3 = 2e-8
_PRINTED_KBAR = 0.02
_MAGNETIZATION = re.compile(
    rf"^\s*total magnetization\s+=\s*({_NUMBER})\s+Bohr mag/cell", re.MULTILINE
)
_VERSION = re.compile(r"Program PWSCF\s+v\.(\S+)\s+starts")
_GIVEN_UP = re.compile(r"convergence NOT achieved after\s+\d+ iterations")
#: Signal 9, as Python, shells and MPICH tell it. Nobody but the kernel, short of memory, kills pw.x
#: and not its parent.
_KILLED = (-9, 9, 137)
_SHORT_OF_MEMORY = re.compile(
    r"cannot allocate memory|insufficient virtual memory|allocation would exceed|out of memory"
    r"|error allocating|bad_alloc|oom[-_ ]?kill|killed by signal: 9\b|signal 9\b|exit code: 9\b"
    r"|task \d+: killed",
    re.IGNORECASE,
)
#: What Open MPI, MPICH, Intel MPI, srun, the loader and the kernel say of a rank that did not end
#: by itself.
_TELLING = re.compile(
    r"killed by signal|\(signal \d+\)|on signal \d+|exit code: \d+|illegal instruction"
    r"|segmentation fault|bus error|floating[- ]point exception|no space left|quota exceeded|stale"
    r" file|read-only file|input/output error|shared libraries|cannot execute|mpi_abort",
    re.IGNORECASE,
)
_DIAGONALISATION = re.compile(
    "cholesky|diaghg|eigenvectors? failed|too many bands are not converged|S matrix not"
    " positive|c_bands|[cr]egterg"
)
_INPUT = re.compile(
    "^(read_?pp|read_namelists|read_cards.*|card_.*|iosys|input|setup|checkin|cell_base_init|latgen|memory_report)$"
)


@dataclass(frozen=True)
class PwxEnding:
    """How a run of pw.x ended: its class, and the words that tell it."""

    kind: str
    message: str


class UnreadableError(ValueError):
    """An output lacks something that a label needs."""


def read_text(path: Path) -> str:
    """An output, up to OUTPUT_MAX_BYTES; bytes that are no text become marks."""
    with path.open("rb") as stream:
        return stream.read(OUTPUT_MAX_BYTES).decode("utf-8", errors="replace")


def ending(output: str, errors: str, status: int) -> PwxEnding:
    """Class the end of a run by exit status and what was written; a signal's status is negative."""
    achieved, done = "convergence has been achieved in" in output, "JOB DONE." in output
    if status == 0 and achieved and done and "convergence NOT achieved" not in output:
        return PwxEnding(CONVERGED, "")
    if "Maximum CPU time exceeded" in output or "Program stopped by user request" in output:
        return PwxEnding(OUT_OF_TIME, "stopped for want of time")
    if status in _KILLED or _SHORT_OF_MEMORY.search(output + errors):
        return PwxEnding(OUT_OF_MEMORY, f"exit status {status}, short of memory")
    if error := _ERROR.search(output):
        return PwxEnding(_class_of(error[1], error[2]), f"{error[1]}: {error[2].strip()}")
    if given_up := _GIVEN_UP.search(output):
        return PwxEnding(NOT_CONVERGED, given_up[0])
    said = (errors.strip() or output.strip()).splitlines()
    telling = [
        line.strip()
        for line in (*errors.splitlines(), *output.splitlines())
        if _TELLING.search(line)
    ]
    last = telling[:1] or said[-1:]
    return PwxEnding(CRASHED, f"exit status {status}{', '.join(['', *last])}")


def _class_of(routine: str, message: str) -> str:
    if _DIAGONALISATION.search(f"{routine}: {message}"):
        return DIAGONALISATION
    return BAD_INPUT if _INPUT.match(routine) else CRASHED


def version(output: str) -> str:
    """The version that pw.x says it is. Raises UnreadableError."""
    return _only(_VERSION, output, "version")


def numbers(output: str, n_atoms: int) -> Numbers:
    """Energy, forces and stress.

    Raises UnreadableError if one is missing, cut off, or of another number of atoms.
    """
    if (counted := int(_only(_ATOMS, output, "number of atoms"))) != n_atoms:
        raise UnreadableError(f"pw.x counted {counted} atoms, the structure has {n_atoms}")
    moment = _MAGNETIZATION.findall(output)
    return Numbers(
        energy_ev=_energy_ry(output) * units.Rydberg,
        forces=_forces(output, n_atoms) * (units.Rydberg / units.Bohr),
        stress=_stress(output) * (units.Rydberg / units.Bohr**3),
        magnetization_bohr=_float(moment[-1]) if moment else None,
    )


def _energy_ry(output: str) -> float:
    """Of the only SCF; of a hybrid functional that of its last one.

    By then exchange is consistent with its orbitals.
    """
    if not _EXCHANGE.search(output) and not re.search("^!!", output, re.MULTILINE):
        return _float(_only(_ENERGY, output, "total energy"))
    if "EXX self-consistency reached" not in output:
        raise UnreadableError(
            "pw.x wrote no line that the exact exchange is consistent with its orbitals"
        )
    return _float(_only(_ENERGY_OF_EXCHANGE, output, "total energy of exact exchange (!!)"))


def _only(pattern: re.Pattern[str], output: str, what: str) -> str:
    found = pattern.findall(output)
    if len(found) != 1:
        raise UnreadableError(f"pw.x wrote the {what} {len(found)} times, expected once")
    return str(found[0])


def _forces(output: str, n_atoms: int) -> np.ndarray:
    """In Ry/Bohr; the first block is the whole force, later ones are parts of it."""
    found = _FORCES.search(output)
    lines = [line for line in (found[1].splitlines() if found else []) if line.strip()]
    rows = [match for line in lines[:n_atoms] if (match := _FORCE.match(line))]
    if [int(row[1]) for row in rows] != list(range(1, n_atoms + 1)):
        raise UnreadableError(f"pw.x wrote forces for {len(rows)} of {n_atoms} atoms")
    return np.array([[_float(row[axis]) for axis in (2, 3, 4)] for row in rows])


def _stress(output: str) -> np.ndarray:
    """In Ry/Bohr³: xx, yy, zz, yz, xz, xy.

    pw.x prints the pressure's sign, and the pressure beside the tensor.
    """
    found = _STRESS.findall(output)
    if len(found) != 1:
        raise UnreadableError(f"pw.x wrote the stress {len(found)} times, expected once")
    pressure_kbar, table = (
        _float(found[0][0]),
        [line.split() for line in found[0][1].strip().splitlines()],
    )
    tensor = np.array([[_float(word) for word in row[:3]] for row in table])
    if not np.allclose(tensor, tensor.T, rtol=0.0, atol=_PRINTED_RY_PER_BOHR3):
        raise UnreadableError("the stress that pw.x wrote is not symmetric")
    traced_kbar = float(tensor.trace()) / 3 * units.Rydberg / units.Bohr**3 / (0.1 * units.GPa)
    if not abs(traced_kbar - pressure_kbar) <= _PRINTED_KBAR:
        raise UnreadableError(
            f"the stress that pw.x wrote has another pressure ({traced_kbar:.2f} kbar) than it says"
        )
    return -tensor[[0, 1, 2, 1, 0, 0], [0, 1, 2, 2, 2, 1]]


def _float(word: str) -> float:
    return float(word.upper().replace("D", "E"))
