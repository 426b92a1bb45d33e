"""ACE through pyace: the basis, energies with γ, the active set.

pyace prints and imports slowly (1.5 s); only the work half's modules that need it import this one.
"""

import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols
from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration
from pyace.calculator import ACECalculator
from pyace.catomicenvironment import ACEAtomicEnvironment, build_atomic_env
from pyace.evaluator import ACEBEvaluator, ACERecursiveEvaluator

from mlip_autopipec.work.ace.basis import count_functions, linear_basis
from mlip_autopipec.work.evaluation import Evaluation
from mlip_autopipec.work.job import TaskFailed

__all__ = [
    "SKIN_ANGSTROM",
    "AceEvaluator",
    "Environments",
    "count_functions",
    "is_linear",
    "linear_basis",
    "make_active_set",
    "make_yace",
    "run_tool",
    "with_core_repulsion",
]

#: Å; wide enough for some fifteen steps of hot MD, and too little to slow an evaluation down.
SKIN_ANGSTROM = 0.6
#: Over which ACE gives way to the core repulsion.
_CORE_WIDTH_ANGSTROM = 0.1
_E0_LINE = re.compile(r"^E0: \[.*\]$", re.MULTILINE)
_TOOL_TIMEOUT_S = 3600
_TEXT_MAX = 1500


class AceEvaluator:
    """A potential, with its active set where γ is asked for.

    The B-basis gives γ; the recursive C-tilde form gives the same forces faster.
    """

    def __init__(self, potential_yaml: Path, potential_asi: Path | None = None) -> None:
        basis = ACEBBasisSet(str(potential_yaml))
        c_tilde = basis.to_ACECTildeBasisSet()
        graded = ACEBEvaluator(basis)
        if potential_asi is not None:
            graded.load_active_set(str(potential_asi))
        self._has_active_set = potential_asi is not None
        plain = ACERecursiveEvaluator(c_tilde)
        plain.set_recursive(True)
        self.cutoff_angstrom = float(basis.cutoffmax)
        self.elements = tuple(basis.elements_name)
        self.functions_per_element = dict(zip(self.elements, count_functions(basis), strict=True))
        #: B-projections of an atom of the element that has most.
        self.projections_max = max(self.functions_per_element.values())
        self._environments = Environments(basis, SKIN_ANGSTROM)
        self._graded = ACECalculator(graded)
        self._plain = ACECalculator(plain)
        # pyace's objects hold bare pointers to what they were made from.
        self._alive = (basis, c_tilde, graded, plain)

    def evaluate(self, atoms: Atoms, *, graded: bool = True) -> Evaluation:
        """Energy, forces and virial of a periodic structure; γ per atom if `graded`."""
        if graded and not self._has_active_set:
            raise AssertionError("without its active set a potential has no γ")
        calculator = self._graded if graded else self._plain
        calculator.compute(self._environments.of(atoms), compute_projections=graded)
        return Evaluation(
            energy_ev=float(calculator.energy),
            forces=np.asarray(calculator.forces, dtype=float),
            virial_ev=-np.asarray(calculator.virial, dtype=float),
            gamma=np.asarray(calculator.gamma_grade, dtype=float) if graded else None,
        )

    def gamma(self, atoms: Atoms) -> np.ndarray:
        """γ per atom, shape (n_atoms,)."""
        gamma = self.evaluate(atoms).gamma
        if gamma is None:
            raise AssertionError("a graded evaluation has γ")
        return gamma

    def environments(self, atoms: Atoms) -> tuple[np.ndarray, list[np.ndarray]]:
        """γ per atom, and its B-projections: all that the potential knows of its environment."""
        gamma = self.gamma(atoms)
        return gamma, [np.asarray(of_atom, dtype=float) for of_atom in self._graded.projections]


class Environments:
    """Neighbour lists of periodic structures, with a skin, so that MD steps seldom need a new one.

    The evaluators pass over neighbours beyond the cutoff, so a list that is wider gives the same
    numbers. A list holds while no atom or image in it has moved by half the skin; a part of that
    half is kept back for the images just outside, which a changing cell moves a little more.
    """

    def __init__(self, basis: ACEBBasisSet, skin_angstrom: float) -> None:
        self._reach_angstrom = float(basis.cutoffmax) + skin_angstrom
        self._moved_max_angstrom = 0.45 * skin_angstrom
        self._elements = dict(basis.elements_to_index_map)
        self._numbers: np.ndarray | None = None

    def of(self, atoms: Atoms) -> ACEAtomicEnvironment:
        """The environment of a structure.

        Raises TaskFailed (bad_input) for elements outside the basis.
        """
        positions, cell, numbers = atoms.positions, atoms.cell.array, atoms.numbers
        if self._numbers is not None and np.array_equal(numbers, self._numbers):
            extended = positions[self._origins] + self._images @ cell
            if np.square(extended - self._extended).sum(axis=1).max() < self._moved_max_angstrom**2:
                self._environment.x = extended.tolist()
                return self._environment
        self._build(positions, cell, numbers)
        return self._environment

    def _build(self, positions: np.ndarray, cell: np.ndarray, numbers: np.ndarray) -> None:
        species = self._species(numbers)
        environment = build_atomic_env(positions, cell, numbers, True, self._reach_angstrom)
        environment.species_type = species[np.asarray(environment.species_type)].tolist()
        self._environment = environment
        self._extended = np.asarray(environment.x)
        self._origins = np.asarray(environment.origins)
        self._images = np.rint((self._extended - positions[self._origins]) @ np.linalg.inv(cell))
        self._numbers = numbers.copy()

    def _species(self, numbers: np.ndarray) -> np.ndarray:
        """Atomic number → index of the element in the basis."""
        unknown = sorted({chemical_symbols[number] for number in numbers} - self._elements.keys())
        if unknown:
            raise TaskFailed("bad_input", f"the potential does not know {', '.join(unknown)}")
        species = np.full(len(chemical_symbols), -1)
        for element, index in self._elements.items():
            species[atomic_numbers[element]] = index
        return species


def is_linear(potential: BBasisConfiguration) -> bool:
    """Whether the energy is linear in the coefficients: one density, to the power of one."""
    return all(
        block.ndensityi == 1 and list(block.fs_parameters) == [1.0, 1.0]
        for block in potential.funcspecs_blocks
        if block.number_of_species == 1
    )


def with_core_repulsion(basis: BBasisConfiguration, radius_angstrom: float) -> BBasisConfiguration:
    """The same potential with ZBL between atoms closer than `radius_angstrom`, as a part of it.

    γ is not touched: projections stay those of ACE, so a walker halts on its way there as it would
    without. The radius is where distances are unphysical for every phase. At the shortest distance
    of the data, where pacemaker would put it, a tame first data set would give Cu a cliff of 16 eV
    at 2.3 Å, which hot MD then bounces off and never labels.
    """
    for block in basis.funcspecs_blocks:
        if block.number_of_species <= 2:  # noqa: PLR2004 - atoms and pairs
            block.r_in, block.delta_in = radius_angstrom, _CORE_WIDTH_ANGSTROM
            block.core_rep_parameters, block.inner_cutoff_type = (1.0, 1.0), "zbl"
            block.rho_cut, block.drho_cut = 1.0, 1.0
    return basis


def make_active_set(potential_yaml: Path, dataset: Path) -> Path:
    """Run pace_activeset over all atoms of the data set; the .asi beside the potential.

    `-a` because by default the tool drops the atoms with the largest force errors: just the new
    environments that this cycle has labelled, whose γ would then stay high for ever.
    """
    run_tool(
        "pyace.cli.pace_activeset", ["-a", "-d", dataset.name, potential_yaml.name], dataset.parent
    )
    return potential_yaml.with_suffix(".asi")


def make_yace(potential_yaml: Path, references: Mapping[str, float]) -> Path:
    """The C-tilde potential that production MD reads, by the calls that pace_yaml2yace makes.

    Its `E0` holds the reference energies in eV, so that it gives total energies, on the labels'
    scale. The B-basis beside it has no such thing: python-ace and ML-PACE pass over an E0 there.
    Within a campaign only that one is read, and references are added by hand. Raises TaskFailed
    (crashed) if python-ace writes another format.
    """
    path = potential_yaml.with_suffix(".yace")
    basis = ACEBBasisSet(str(potential_yaml))
    basis.to_ACECTildeBasisSet().save_yaml(str(path))
    energies = ", ".join(
        repr(float(references.get(element, 0.0))) for element in basis.elements_name
    )
    whole, found = _E0_LINE.subn(f"E0: [{energies}]", path.read_text(encoding="utf-8"))
    if found != 1:
        raise TaskFailed(
            "crashed", f"{path.name} as python-ace writes it has {found} lines of E0, expected one"
        )
    path.write_text(whole, encoding="utf-8")
    return path


def run_tool(module: str, arguments: Sequence[str], folder: Path) -> None:
    """Run one of python-ace's commands in a folder; its words go to `<command>.log` there.

    Raises TaskFailed (crashed) with its last line.
    """
    name = module.rpartition(".")[2]
    done = subprocess.run(  # the module is the command's own; it is not on PATH inside a job
        [sys.executable, "-m", module, *arguments],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=_TOOL_TIMEOUT_S,
        check=False,
    )
    (folder / f"{name}.log").write_bytes(done.stdout)
    if done.returncode != 0:
        last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
        log = folder / f"{name}.log"
        raise TaskFailed(
            "crashed",
            f"{name} ended with status {done.returncode}: {last[:_TEXT_MAX]} (all of it: {log})",
        )
