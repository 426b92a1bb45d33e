"""The user's labelled frames, as in his files: in eV and Å with ASE's signs, by file and number.

Names are recognised where there is no doubt. Where two candidates of one quantity differ, or
something looks like it under a name that nobody knows, the set is refused with the key of the site
file that settles it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.io import read
from ase.io.formats import UnknownFileTypeError, filetype

from mlip_autopipec.contract.dataset import (
    BOHR_ANGSTROM,
    ENERGY_EV,
    FORCE_EV_PER_ANGSTROM,
    STRESS_EV_PER_ANGSTROM3,
    DatasetSettings,
)
from mlip_autopipec.work.adopting.pickled import is_pickled, read_pickled
from mlip_autopipec.work.adopting.vasp import unconverged

#: Before the name of a quantity, people say where it is from.
_SOURCES = (
    "",
    "ref",
    "reference",
    "dft",
    "qm",
    "target",
    "true",
    "scf",
    "vasp",
    "cp2k",
    "qe",
    "pbe",
    "lda",
    "scan",
)
_NAMES: Mapping[str, frozenset[str]] = {
    "energy": frozenset(
        {
            "energy",
            "freeenergy",
            "totalenergy",
            "potentialenergy",
            "energycorrected",
            "etot",
            "toten",
        }
    ),
    "forces": frozenset({"forces", "force"}),
    "stress": frozenset({"stress", "stresses", "stresstensor"}),
    "virial": frozenset({"virial", "virials", "virialtensor"}),
}
#: Between two candidates: relative, of the larger.
_SAME = 1e-6
_VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))
_SYMMETRIC = 1e-3
#: Formats whose readers have one energy that the forces belong to, and another without the
#: electrons' entropy.
_PLAIN = frozenset({"extxyz", "xyz", "pickle", "json", "db", "traj"})


class Unreadable(Exception):  # noqa: N818 - the name is the fact
    """A file can't be read as labels, in words with its name and the remedy."""


@dataclass
class OfferedFrame:
    """A labelled structure of the user's; what could not be read is None, and `faults` has why."""

    file: str
    number: int
    atoms: Atoms
    energy_ev: float | None
    forces: np.ndarray | None
    stress: np.ndarray | None
    faults: list[str]
    names: Mapping[str, str]

    @property
    def name(self) -> str:
        """As people look for it."""
        return f"frame {self.number} of {self.file}"


def read_files(paths: Mapping[str, Path], settings: DatasetSettings) -> list[OfferedFrame]:
    """Every frame of every file, by the name that the user gave the file. Raises Unreadable."""
    return [frame for name, path in paths.items() for frame in _read_file(name, path, settings)]


def _read_file(name: str, path: Path, settings: DatasetSettings) -> Iterator[OfferedFrame]:
    found, form = _raw(name, path)
    if not found:
        raise Unreadable(f"{name} holds no frame: take it out of dataset.files")
    failed = unconverged(path, form)
    for number, atoms in enumerate(found, 1):
        frame = _frame(name, number, atoms, _known(atoms), form, settings)
        if number in failed:
            frame.faults.append(failed[number])
        yield frame


def _raw(name: str, path: Path) -> tuple[list[Atoms], str]:
    """The frames as their reader has them, and their format."""
    try:
        if is_pickled(path):
            return read_pickled(path), "pickle"
        form = str(filetype(str(path)))
        frames = read(path, index=":")
    except UnknownFileTypeError as error:
        raise Unreadable(
            f"ASE does not know the format of {name}: give it its usual name (such as *.extxyz,"
            " vasprun.xml, OUTCAR)"
        ) from error
    except Exception as error:  # ASE's readers raise whatever their format makes them stumble over
        message = f"{type(error).__name__}: {error}"
        raise Unreadable(
            f"{name} can't be read: {message}. Mend it, or take it out of dataset.files"
        ) from error
    return list(frames), form


def _known(atoms: Atoms) -> dict[str, Any]:
    """All that a frame says beside its positions, by the name that the file has for it."""
    values: dict[str, Any] = {}
    if atoms.calc is not None:
        values |= {key: value for key, value in atoms.calc.results.items() if value is not None}
    values |= {str(key): value for key, value in atoms.info.items()}
    values |= {
        key: value for key, value in atoms.arrays.items() if key not in {"positions", "numbers"}
    }
    return values


def _frame(
    file: str,
    number: int,
    atoms: Atoms,
    values: Mapping[str, Any],
    form: str,
    settings: DatasetSettings,
) -> OfferedFrame:
    size = BOHR_ANGSTROM if settings.length_unit == "bohr" and form in _PLAIN else 1.0
    cell, positions = size * atoms.cell.array, size * atoms.positions
    bare = Atoms(atoms.get_chemical_symbols(), positions=positions, cell=cell, pbc=atoms.pbc)
    frame = OfferedFrame(file, number, bare, None, None, None, [], {})
    names: dict[str, str] = {}
    energy = _found("energy", settings.energy, values, frame, form, names)
    forces = _found("forces", settings.forces, values, frame, form, names)
    if energy is not None:
        scale = ENERGY_EV[settings.energy_unit] * (len(atoms) if settings.energy_per_atom else 1)
        frame.energy_ev = _scalar(energy, frame, scale)
    if forces is not None:
        sign = -1.0 if settings.forces_sign == "gradient" else 1.0
        frame.forces = _per_atom(forces, frame, sign * FORCE_EV_PER_ANGSTROM[settings.forces_unit])
    frame.stress = _stress(values, frame, form, settings, names)
    frame.names = names
    return frame


def _found(
    quantity: str,
    asked: str | None,
    values: Mapping[str, Any],
    frame: OfferedFrame,
    form: str,
    names: dict[str, str],
) -> Any:
    """The value of a quantity; None, with a fault where it must be there, if the frame has none."""
    must = quantity in {"energy", "forces"}
    if asked is not None:
        if asked in values:
            names[quantity] = asked
            return values[asked]
        if must or quantity in {"stress", "virial"}:
            frame.faults.append(
                f"no {asked!r}, which dataset.{quantity} names; it has {_listed(values)}"
            )
        return None
    candidates = {name: value for name, value in values.items() if _is_name_of(quantity, name)}
    if not candidates:
        if must:
            alike = [name for name in values if quantity.rstrip("s") in name.lower()]
            hint = f"; {', '.join(alike)} may be it: name it in dataset.{quantity}" if alike else ""
            frame.faults.append(
                f"no {quantity}{hint}" + ("" if alike else f"; it has {_listed(values)}")
            )
        return None
    name = _chosen(quantity, candidates, frame, form)
    names[quantity] = name
    return candidates[name]


def _is_name_of(quantity: str, name: str) -> bool:
    plain = "".join(letter for letter in name.lower() if letter.isalnum())
    return any(plain == f"{source}{word}" for source in _SOURCES for word in _NAMES[quantity])


def _chosen(quantity: str, candidates: Mapping[str, Any], frame: OfferedFrame, form: str) -> str:
    """The one name, or one of several that say the same. Raises Unreadable where they differ."""
    names = list(candidates)
    if form not in _PLAIN and "free_energy" in names:
        return "free_energy"  # what the forces of such a code are the derivative of
    for other in names[1:]:
        if not _same(candidates[names[0]], candidates[other]):
            more = (
                "; the forces of a smeared calculation belong to the free energy"
                if "free_energy" in names
                else ""
            )
            raise Unreadable(
                f"{frame.name} has {' and '.join(names)}, which differ: say which is meant,"
                f" `dataset: {{{quantity}: {other}}}`{more}"
            )
    return names[0]


def _same(first: Any, second: Any) -> bool:
    try:
        left, other = (
            np.asarray(first, dtype=float).ravel(),
            np.asarray(second, dtype=float).ravel(),
        )
    except (TypeError, ValueError):
        return False
    if left.shape != other.shape:
        return False
    scale = max(float(np.abs(left).max(initial=0.0)), float(np.abs(other).max(initial=0.0)), 1e-12)
    return bool(np.abs(left - other).max(initial=0.0) <= _SAME * scale) or bool(
        np.isnan(left).all()
    )


def _scalar(value: Any, frame: OfferedFrame, scale: float) -> float | None:
    try:
        number = float(
            np.asarray("" if isinstance(value, bool | np.bool_) else value, dtype=float).reshape(())
        )
    except (TypeError, ValueError):
        frame.faults.append(f"an energy that is no number: {value!r:.40}")
        return None
    if not np.isfinite(number):
        frame.faults.append(f"an energy that is {number}: that calculation has failed")
        return None
    return number * scale


def _per_atom(value: Any, frame: OfferedFrame, scale: float) -> np.ndarray | None:
    try:
        forces = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        frame.faults.append("forces that are no numbers")
        return None
    if forces.shape != (len(frame.atoms), 3):
        frame.faults.append(f"forces of shape {forces.shape} for {len(frame.atoms)} atoms")
        return None
    if not np.isfinite(forces).all():
        frame.faults.append("forces that are NaN or infinite: that calculation has failed")
        return None
    return forces * scale


def _stress(
    values: Mapping[str, Any],
    frame: OfferedFrame,
    form: str,
    settings: DatasetSettings,
    names: dict[str, str],
) -> np.ndarray | None:
    """In eV/Å³, Voigt's order, ASE's sign; None where the frame has none."""
    volume = abs(float(np.linalg.det(frame.atoms.cell.array)))
    sign = -1.0 if settings.stress_sign == "opposite" else 1.0
    found: dict[str, np.ndarray] = {}
    for quantity, asked, other in (
        ("stress", settings.stress, settings.virial),
        ("virial", settings.virial, settings.stress),
    ):
        if other is not None:
            continue  # the other one is what the site file names
        value = _found(quantity, asked, values, frame, form, names)
        tensor = None if value is None else _tensor(value, frame, quantity)
        if tensor is None:
            continue
        if quantity == "stress":
            found[quantity] = sign * tensor * STRESS_EV_PER_ANGSTROM3[settings.stress_unit]
        elif volume > 0:
            found[quantity] = -sign * tensor * ENERGY_EV[settings.energy_unit] / volume
    if len(found) > 1 and not np.allclose(found["stress"], found["virial"], rtol=1e-3, atol=1e-5):
        raise Unreadable(
            f"{frame.name} has {names['stress']} and {names['virial']}, and the virial is not"
            f" -volume x stress: say which is meant, `dataset: {{stress: {names['stress']}}}` or"
            f" `dataset: {{virial: {names['virial']}}}`"
        )
    return next(iter(found.values()), None)


def _tensor(value: Any, frame: OfferedFrame, quantity: str) -> np.ndarray | None:
    """Six components in Voigt's order; None, with a fault, if it is no symmetric tensor."""
    try:
        given = np.asarray(value, dtype=float)
    except (TypeError, ValueError):
        frame.faults.append(f"a {quantity} that is no tensor")
        return None
    if given.size == 9:  # noqa: PLR2004 - a whole tensor
        whole = given.reshape(3, 3)
        if np.abs(whole - whole.T).max() > _SYMMETRIC * max(float(np.abs(whole).max()), 1e-6):
            frame.faults.append(f"a {quantity} that is not symmetric")
            return None
        given = np.array([whole[row, column] for row, column in _VOIGT])
    if given.shape != (6,):
        frame.faults.append(f"a {quantity} of shape {given.shape}; expected 6 or 3 x 3 numbers")
        return None
    if not np.isfinite(given).all():
        frame.faults.append(f"a {quantity} that is NaN or infinite")
        return None
    return given


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(sorted(values)[:8]) or "nothing but positions"


def shown_names(frames: Sequence[OfferedFrame]) -> str:
    """What was taken for what, for a person to look at."""
    taken: dict[str, set[str]] = {}
    for frame in frames:
        for quantity, name in frame.names.items():
            taken.setdefault(quantity, set()).add(name)
    return "; ".join(
        f"{quantity} from {', '.join(sorted(names))}" for quantity, names in taken.items()
    )
