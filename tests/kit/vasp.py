"""vasprun.xml and OUTCAR in VASP's layout, with the numbers of given frames: only what is read.

VASP's own conventions: energies in eV, three of them; forces in eV/Å, of fixed atoms too; stress in
kB, positive where a cell wants to expand, in an OUTCAR as XX YY ZZ XY YZ ZX.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import numpy as np
from ase import Atoms, units

#: 1 kB is 0.1 GPa.
KBAR = 0.1 * units.GPa
NELM = 60


@dataclass(frozen=True)
class Ionic:
    """One ionic step.

    `entropy_ev` is free energy less energy without entropy, a smeared calculation's -TS.
    """

    atoms: Atoms
    free_energy_ev: float
    forces: np.ndarray
    stress: np.ndarray
    entropy_ev: float = 0.0
    electronic_steps: int = 12

    @property
    def without_entropy_ev(self) -> float:
        return self.free_energy_ev - self.entropy_ev

    @property
    def sigma_to_zero_ev(self) -> float:
        return 0.5 * (self.free_energy_ev + self.without_entropy_ev)

    @property
    def kbar(self) -> np.ndarray:
        """3×3, with VASP's sign."""
        xx, yy, zz, yz, xz, xy = -self.stress / KBAR
        return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def write_vasprun(
    path: Path, steps: Sequence[Ionic], fixed: Sequence[int] = (), *, cut_off: bool = False
) -> None:
    """A relaxation or MD, with selective dynamics for fixed atoms; `cut_off` in the last step."""
    first = steps[0].atoms
    symbols = first.get_chemical_symbols()
    atoms = "".join(f"<rc><c>{symbol:2}</c><c>{1:4d}</c></rc>\n" for symbol in symbols)
    selective = ""
    if fixed:
        flags = ("F F F" if number in fixed else "T T T" for number in range(len(first)))
        selective = (
            '<varray name="selective">'
            + "".join(f"<v> {flag} </v>\n" for flag in flags)
            + "</varray>\n"
        )
    text = (
        '<?xml version="1.0" encoding="ISO-8859-1"?>\n<modeling>\n'
        '<kpoints><varray name="kpointlist"><v> 0.0 0.0 0.0 </v></varray>'
        '<varray name="weights"><v> 1.0 </v></varray></kpoints>\n'
        f'<parameters><separator name="electronic"><i type="int" name="NELM">{NELM:6d}</i></separator>'  # noqa: E501 - text for another program
        '<separator name="ionic"><i name="PSTRESS">      0.00000000</i></separator></parameters>\n'
        f'<atominfo><atoms>{len(first):8d}</atoms><array name="atoms"><set>\n{atoms}</set></array></atominfo>\n'  # noqa: E501 - text for another program
        f'<structure name="initialpos">\n{_structure(first)}{selective}</structure>\n'
    )
    text += "".join(_calculation(step) for step in steps) + "</modeling>\n"
    if cut_off:
        text = text[: text.rindex('<varray name="forces">') + 60]
    path.write_text(text, encoding="latin-1")


def _calculation(step: Ionic) -> str:
    energies = (
        f'<energy><i name="e_fr_energy">{step.free_energy_ev:20.8f}</i>'
        f'<i name="e_wo_entrp">{step.without_entropy_ev:20.8f}</i>'
        f'<i name="e_0_energy">{step.sigma_to_zero_ev:20.8f}</i></energy>\n'
    )
    return (
        "<calculation>\n"
        + f"<scstep>{energies}</scstep>\n" * step.electronic_steps
        + f"<structure>\n{_structure(step.atoms)}</structure>\n"
        + _varray("forces", step.forces)
        + _varray("stress", step.kbar)
        + energies
        + "</calculation>\n"
    )


def _structure(atoms: Atoms) -> str:
    cell = _varray("basis", atoms.cell.array)
    return (
        f"<crystal>{cell}</crystal>\n{_varray('positions', atoms.get_scaled_positions(wrap=False))}"
    )


def _varray(name: str, rows: np.ndarray) -> str:
    return (
        f'<varray name="{name}">\n'
        + "".join(f"<v> {_numbers(row)} </v>\n" for row in rows)
        + "</varray>\n"
    )


def _numbers(row: np.ndarray) -> str:
    return " ".join(f"{number:16.8f}" for number in row)


def write_outcar(path: Path, steps: Sequence[Ionic], *, version: int = 6) -> None:
    """VASP 6 says how each electronic loop ended.

    VASP 5 says that EDIFF is reached also where it is not.
    """
    kinds = [
        (symbol, len(list(same))) for symbol, same in groupby(steps[0].atoms.get_chemical_symbols())
    ]
    lines = [f" POTCAR:    PAW_PBE {symbol} 22Jun2005  " for symbol, _ in kinds] * 2
    lines += [
        (
            "   k-points           NKPTS =      1   k-points in BZ     NKDIM =      1   number of"
            " bands    NBANDS=     16"
        ),
        "   k-points in reciprocal lattice and weights: automatic",
        "   0.00000000  0.00000000  0.00000000       1.000",
        "   ISPIN  =      1    spin polarized calculation?",
        f"   NELM   = {NELM:6d};   NELMIN=  2; NELMDL= -5     # of ELM steps",
        "   ions per type =            " + "".join(f"{count:4d}" for _, count in kinds),
    ]
    for number, step in enumerate(steps, 1):
        lines += [
            (
                f"------------------------------- Iteration {number:6d}({electronic:4d}) "
                " -------------------------------"
            )
            for electronic in range(1, step.electronic_steps + 1)
        ]
        missed = version >= 6 and step.electronic_steps >= NELM
        ending = "EDIFF was not reached (unconverged)" if missed else "because EDIFF is reached"
        lines += [
            f"------------------------ aborting loop {ending} ------------------------",
            *_outcar_step(step),
        ]
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def _outcar_step(step: Ionic) -> list[str]:
    kbar = step.kbar[[0, 1, 2, 0, 1, 2], [0, 1, 2, 1, 2, 0]]
    reciprocal = np.linalg.inv(step.atoms.cell.array).T
    rows = zip(step.atoms.positions, step.forces, strict=True)
    return [
        "  FORCE on cell =-STRESS in cart. coord.  units (eV):",
        "  in kB  " + "".join(f"{component:12.5f}" for component in kbar),
        "      direct lattice vectors                 reciprocal lattice vectors",
        *(
            f"   {_numbers(row)} {_numbers(other)}"
            for row, other in zip(step.atoms.cell.array, reciprocal, strict=True)
        ),
        "",
        " POSITION                                       TOTAL-FORCE (eV/Angst)",
        " " + "-" * 83,
        *(f"   {_numbers(index)} {_numbers(force)}" for index, force in rows),
        " " + "-" * 83,
        "    total drift:                                0.000000      0.000000      0.000000",
        "",
        "  FREE ENERGIE OF THE ION-ELECTRON SYSTEM (eV)",
        "  ---------------------------------------------------",
        f"  free  energy   TOTEN  = {step.free_energy_ev:17.8f} eV",
        "",
        (
            f"  energy  without entropy= {step.without_entropy_ev:17.8f}  energy(sigma->0)"
            f" ={step.sigma_to_zero_ev:17.8f}"
        ),
        "",
    ]
