"""A first site file: commented, checked, ready to be changed. `autopipecctl config init` writes it.

Lattice constants are the experimental ones that ASE knows (C. Kittel, Introduction to Solid State
Physics); an ordered alloy gets that of its average volume per atom (Vegard's law, by volume).
Lengths are in Å.
"""

import os.path
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.resources import files as resources
from itertools import combinations
from math import ceil
from pathlib import Path
from typing import Any, Literal, get_args, get_type_hints

from pydantic import TypeAdapter

from mlip_autopipec.config.crystals import (
    atoms_of,
    element_slots,
    nearest_neighbour_angstrom,
    volume_angstrom3,
)
from mlip_autopipec.contract import registry
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.evaluator import EvaluatorCode
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.mistakes import nearest
from mlip_autopipec.contract.oracle import OracleRules, OracleWishes, oracle_code
from mlip_autopipec.errors import ConfigurationError

#: Crystals of one element that a site file can name.
_PROTOTYPE = TypeAdapter(Prototype)
_CRYSTALS = ("fcc", "bcc", "hcp", "sc", "diamond")
#: A label costs the third power of its atoms.
_LABEL_ATOMS = 32
_WALKER_ATOMS = 100
#: Of the nearest neighbours' distance; MD of a melt at high pressure comes to some 0.75.
_DISTANCE_MIN_PART = 0.6
_COMMENT_COLUMN = 41
_STRUCTURES_PER_PROTOTYPE = 8


@dataclass(frozen=True)
class Wishes:
    """What a person says of the system and the site."""

    elements: tuple[str, ...] = ()
    structures: tuple[Path, ...] = ()
    #: As `structure:elements:lattice constant`, such as `rocksalt:Mg,O:4.21`.
    prototypes: tuple[str, ...] = ()
    #: The kind of oracle, as the registry has it.
    oracle: str = registry.DEFAULT_ORACLE
    calculator: str | None = None
    #: Where the UPF files are; None: where Debian's package has them.
    pseudo_folder: Path | None = None
    sssp_file: Path | None = None
    insulator: bool = False
    cluster: bool = False
    #: None: the elements, in small letters.
    name: str | None = None


def site_file(wishes: Wishes, path: Path) -> str:
    """The text of a site file that lies at `path`.

    Raises ConfigurationError where nobody but a person can choose.
    """
    folder = path.absolute().parent
    given = tuple(map(_prototype, wishes.prototypes))
    elements = _elements(wishes, given)
    crystals = given or tuple(_crystals(elements))
    if not crystals:
        raise ConfigurationError(
            f"no simple crystal is known of {' and '.join(elements)}, and a campaign begins with"
            " at least one. Name it: --prototype rocksalt:Mg,O:4.21 (structure, elements, lattice"
            " constant in Å)"
        )
    missing = [
        element
        for element in elements
        if all(element not in crystal.elements for crystal in crystals)
    ]
    if missing and not wishes.structures:
        raise ConfigurationError(
            f"no simple crystal of {', '.join(missing)} is known. Give structures of yours that"
            " hold it (--structure FILE), or name a crystal: --prototype rocksalt:Mg,O:4.21"
            " (structure, elements, lattice constant in Å)"
        )
    name = _job_name(wishes.name or "".join(elements))
    rules = _rules(wishes.oracle)
    of_oracle = OracleWishes(
        elements=elements,
        relative=lambda file: _relative(file, folder),
        calculator=wishes.calculator,
        pseudo_folder=wishes.pseudo_folder,
        sssp_file=wishes.sssp_file,
        insulator=wishes.insulator,
    )
    quick = rules.is_quick(of_oracle)
    parts = (
        _campaign(name, elements),
        *_site(
            name, cluster=wishes.cluster, calculation=rules.first_resources(cluster=wishes.cluster)
        ),
        _distance(crystals),
        *_generation(crystals, elements, [_relative(path, folder) for path in wishes.structures]),
        *_exploration(
            crystals, elements, [_relative(path, folder) for path in wishes.structures], quick=quick
        ),
        _SELECTION,
        _calculation(rules, of_oracle),
        _TRAINING_BY_HAND if quick else _TRAINING,
        _CONVERGENCE,
    )
    return _aligned("\n".join(parts) + "\n").replace("THIS_FILE", path.name)


def _aligned(text: str) -> str:
    """Comments behind keys begin in one column, where the keys leave room for it."""
    return re.sub(
        r"^( *[^\s#].*?) {2,}(# .*)$",
        lambda line: f"{line[1]:<{_COMMENT_COLUMN}} {line[2]}",
        text,
        flags=re.MULTILINE,
    )


# --- the system -----------------------------------------------------------------------------------


def _elements(wishes: Wishes, given: Sequence[Prototype]) -> tuple[str, ...]:
    """As they were named, else as prototypes and structures have them."""
    named = list(wishes.elements) or [
        element for prototype in given for element in prototype.elements
    ]
    for symbol in named:
        if symbol not in SYMBOLS:
            near = nearest(symbol.capitalize(), SYMBOLS, 0.5)
            raise ConfigurationError(
                f"{symbol!r} is no chemical symbol{f'; did you mean {near!r}?' if near else ''}"
            )
    found = [element for path in wishes.structures for element in _elements_in(path)]
    strangers = [element for element in dict.fromkeys(found) if element not in named]
    if wishes.elements and strangers:
        raise ConfigurationError(
            f"the structures hold {', '.join(strangers)}, and --elements names {', '.join(named)}"
        )
    elements = tuple(dict.fromkeys((*named, *found)))
    if not elements:
        raise ConfigurationError(
            "which elements? Give --elements Al,Cu, a structure (--structure FILE), or both"
        )
    return elements


def _elements_in(path: Path) -> tuple[str, ...]:
    import ase.io  # noqa: PLC0415 - only where there is a file to read

    try:
        frames = ase.io.read(path, index=":")
    except Exception as error:  # any reader of ASE's, any error: told in its own words
        raise ConfigurationError(f"{path} cannot be read as a structure: {error}") from error
    return tuple(
        dict.fromkeys(symbol for frame in frames for symbol in frame.get_chemical_symbols())
    )


def _prototype(text: str) -> Prototype:
    parts = text.split(":")
    try:
        structure, elements, constant = parts
        crystal = _PROTOTYPE.validate_python(
            {
                "structure": structure,
                "elements": tuple(elements.split(",")),
                "lattice_constant_angstrom": float(constant),
            }
        )
    except ValueError:
        kinds = get_args(get_type_hints(Prototype)["structure"])
        raise ConfigurationError(
            f"--prototype {text}: expected structure:elements:lattice constant, such as"
            f" rocksalt:Mg,O:4.21; structures are {', '.join(kinds)}"
        ) from None
    if len(crystal.elements) != element_slots(structure):
        raise ConfigurationError(
            f"--prototype {text}: {structure} takes {element_slots(structure)} elements"
        )
    return crystal


def _crystals(elements: Sequence[str]) -> Iterator[Prototype]:
    """The crystal of each element with a simple one, then an ordered alloy of each two of them."""
    pure = {element: crystal for element in elements if (crystal := _pure(element)) is not None}
    yield from pure.values()
    for first, second in combinations(pure, 2):
        structures = {pure[first].structure, pure[second].structure}
        kind: Literal["l1_0", "zincblende", "cesiumchloride"] = "cesiumchloride"
        if structures == {"fcc"}:
            kind = "l1_0"
        elif structures == {"diamond"}:
            kind = "zincblende"
        volume = (
            sum(
                volume_angstrom3(pure[each]) / atoms_of(pure[each]).total()
                for each in (first, second)
            )
            / 2
        )
        unit = Prototype(structure=kind, elements=(first, second), lattice_constant_angstrom=1.0)
        constant = (volume * atoms_of(unit).total() / volume_angstrom3(unit)) ** (1 / 3)
        yield replace(unit, lattice_constant_angstrom=round(constant, 2))


def _pure(element: str) -> Prototype | None:
    # Only this command needs it.
    from ase.data import atomic_numbers, reference_states  # noqa: PLC0415

    state = reference_states[atomic_numbers[element]] or {}
    if state.get("symmetry") not in _CRYSTALS or "a" not in state:
        return None
    hexagonal = state["symmetry"] == "hcp"
    return Prototype(
        structure=state["symmetry"],
        elements=(element,),
        lattice_constant_angstrom=round(float(state["a"]), 3),
        c_over_a=round(float(state["c/a"]), 3) if hexagonal and "c/a" in state else None,
    )


def _repeated(crystal: Prototype, atoms: int) -> str:
    """As a site file writes it, with about so many atoms or a few more."""
    of_cell = atoms_of(crystal).total()
    times = max(1, ceil((atoms / of_cell) ** (1 / 3) - 0.35))
    repeat = [times + 1, times, times] if crystal.structure == "hcp" else [times, times, times]
    c_over_a = f", c_over_a: {crystal.c_over_a:g}" if crystal.c_over_a else ""
    return (
        f"{{structure: {crystal.structure}, elements: [{', '.join(crystal.elements)}],"
        f" lattice_constant_angstrom: {crystal.lattice_constant_angstrom:g}{c_over_a}, repeat:"
        f" {repeat}}}"
    )


def _relative(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


# --- the sections ---------------------------------------------------------------------------------


def _campaign(name: str, elements: Sequence[str]) -> str:
    return f"""\
# A campaign that learns an ACE potential. Everything that is left out has a default:
#   autopipecctl config check -c THIS_FILE              what is wrong in it; counts first labels
#   autopipecctl config check -c THIS_FILE --effective  all of it, with every default
#   autopipecctl doctor -c THIS_FILE                    whether the site can run it
#   autopipecd --config THIS_FILE                       run it
campaign:
  name: {name}   # job names begin with it
  elements: [{", ".join(elements)}]   # in LAMMPS's order of types
  folder: campaigns/{name}   # on this machine: journal, state, log, report; relative to this file
"""


def _job_name(name: str) -> str:
    """Of small letters, digits and hyphens, and no longer than a job's name may be."""
    letters = "".join(
        letter if letter.isascii() and letter.isalnum() else "-" for letter in name.lower()
    )
    return (letters if letters[:1].isalpha() else f"c-{letters}")[:31]


def _site(name: str, *, cluster: bool, calculation: str) -> Iterator[str]:
    if not cluster:
        yield f"""\
site:                         # this machine; --cluster writes one for Slurm behind SSH
  root: campaigns/{name}/root   # where the jobs run
  scheduler: {{kind: local}}    # detached processes on all cores but one
  # python: /path/to/python   # with python-ace, lammps and mpich; left out: autopipecd's own
"""
        if calculation:
            yield f"""\
  resources:                  # of the oracle; or ranks: 4, launcher: "mpirun -np {{ranks}}"
{calculation}
"""
        return
    yield f"""\
site:                         # the five lines to change come first
  root: /scratch/you/{name}   # on the cluster, on a file system that all nodes share
  python: /home/you/envs/ace/bin/python        # there: numpy, ase, python-ace, lammps, mpich
  transport: {{kind: ssh, host: login.cluster.example}}   # or openssh: a second factor
  scheduler:
    kind: slurm
    partition: standard
    account: my-project
    queued_max: 200                            # tasks of this campaign in the queue at a time
    # prologue: ["module load gcc"]            # lines of bash before each task
  resources:
    generation: {{memory: 1 GiB, walltime: 10 min}}
    exploration: {{memory: 2 GiB, walltime: 4 h}}
    selection: {{memory: 4 GiB, walltime: 30 min}}
    training: {{cores: 4, memory: 8 GiB, walltime: 4 h}}"""
    yield f"{calculation}\n" if calculation else ""


def _distance(crystals: Sequence[Prototype]) -> str:
    shortest = min(map(nearest_neighbour_angstrom, crystals))
    return (
        f"distance_min_angstrom: {_DISTANCE_MIN_PART * shortest:.1f}    # shorter ones are"
        f" unphysical; nearest neighbours are {shortest:.2f} apart\n"
    )


def _generation(
    crystals: Sequence[Prototype], elements: Sequence[str], files: Sequence[str]
) -> Iterator[str]:
    yield """\
generation:                   # the structures to begin with, strained and rattled
  prototypes:                 # check their lattice constants: the oracle's should be within 2 %"""
    missing = [
        element
        for element in elements
        if all(element not in crystal.elements for crystal in crystals)
    ]
    if missing:
        yield (
            f"    # {', '.join(missing)} is in `files` alone: if your compound is one of these"
            " crystals, name it here"
        )
    for crystal in crystals:
        yield f"    - {_repeated(crystal, _LABEL_ATOMS)}"
    yield f"""\
  structures: {max(16, _STRUCTURES_PER_PROTOTYPE * len(crystals))}
  test_structures: {max(6, 2 * len(crystals))}          # held out from the first day"""
    pure = {
        element
        for crystal in crystals
        if len(crystal.elements) == 1
        for element in crystal.elements
    }
    if files:
        yield "  files:                      # yours, labelled as they are"
        yield from (f"    - {file}" for file in files)
    yield (
        "  variations:                 # also surface, dimer, interstitial, antisite, special (SQS)"
    )
    if len(elements) > 1 and len(pure) > 1:
        alloyed = ", ".join(element for element in elements if element in pure)
        yield f"    - {{kind: alloy, elements: [{alloyed}], count: {6 * len(pure)}}}"
    yield """\
    - {kind: vacancy, count: 2}
    - {kind: squeezed, count: 2}
"""


def _exploration(
    crystals: Sequence[Prototype], elements: Sequence[str], files: Sequence[str], *, quick: bool
) -> Iterator[str]:
    steps, timestep_fs = (2000, 2) if quick else (10000, 1)
    yield """\
exploration:                  # MD that looks for what the potential does not know
  gamma_select: 2             # frames above it extrapolate
  gamma_halt: 10              # no walk above it is quiet
  walkers:                    # one for each structure, temperature, pressure and replica"""
    for crystal in crystals:
        yield f"    - prototype: {_repeated(crystal, _WALKER_ATOMS)}"
        yield "      ensemble: npt"
        yield "      temperatures_kelvin: [300, 600, 900]   # and beyond what it is for"
        yield f"      steps: {steps}"
        yield f"      timestep_fs: {timestep_fs}"
        if (
            len(crystal.elements) > 1
            and len(elements) > 1
            and crystal.structure not in {"rocksalt", "zincblende"}
        ):
            yield (
                "      swaps: {every_steps: 10, attempts: 10}   # Monte-Carlo exchanges: from"
                " order to solution"
            )
    for file in files:
        yield f"    - file: {file}"
        yield "      temperatures_kelvin: [300, 600]"
        yield f"      steps: {steps}"
        yield f"      timestep_fs: {timestep_fs}"
    yield ""


_SELECTION = """\
selection:                    # what is labelled of what was met
  candidates_max: 20          # for each cycle
  audit: 3                    # random frames that test and never train
  embedding: {atoms_max: 150} # larger frames are cut to periodic cells around what extrapolates
"""


def _calculation(rules: OracleRules[Any, Any], wishes: OracleWishes) -> str:
    try:
        return (
            "calculation:                  # the oracle: energy, forces and"
            f" stress\n{rules.first_section(wishes)}"
        )
    except ValueError as error:
        raise ConfigurationError(str(error)) from error


def _rules(oracle: str) -> OracleRules[Any, Any]:
    try:
        return oracle_code(oracle).control()
    except registry.UnknownCode as error:
        raise ConfigurationError(f"--oracle: {error}") from error


_TRAINING = """\
training:                     # cutoff, basis, weights: by cross-validation, unless named here
  trainer: linear             # or pacemaker, nonlinear, which wants a Python of its own
"""
#: Where a label costs nothing, a choice by cross-validation would take most of the time.
_TRAINING_BY_HAND = """\
training:                     # without the next two, chosen by cross-validation: slower
  cutoff_angstrom: 5.0
  functions_per_element: 200
  trainer: linear             # or pacemaker, nonlinear, which wants a Python of its own
"""
_CONVERGENCE = """\
convergence:                  # quiet, settled, and right on random frames in every condition
  quiet_cycles: 2
  cycles_max: 30
  # needs: {energy_mev_per_atom: 2, force_mev_per_angstrom: 30}   # default: 5 and 30"""


# --- the demo -------------------------------------------------------------------------------------


def demo_file(folder: Path) -> Path:
    """The demo's site file in `folder`, written there unless it is; its campaign is beside it."""
    site_file = folder / "site.yaml"
    if not site_file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        text = (resources("mlip_autopipec") / "examples" / "demo.yaml").read_text(encoding="utf-8")
        site_file.write_text(text.replace("../campaigns/copper", "campaign"), encoding="utf-8")
    return site_file


def use_of(potential: Path, code: EvaluatorCode, elements: Sequence[str]) -> str:
    """Lines for LAMMPS and for ASE that use the potential in this folder."""
    rules, paths = code.control(), {each.name: f"{potential}/{each.file}" for each in code.files}
    lines = [""]
    if lammps := rules.lammps_lines(paths, elements):
        lines += [
            f"To use it in LAMMPS, with {rules.needs()[0]}:",
            *(f"  {line}" for line in lammps),
        ]
    if graded := rules.graded_lines(paths, elements, 10, "gamma"):
        lines += ["With the extrapolation grade of every atom:", *(f"  {line}" for line in graded)]
    if (ase := rules.ase({name: f'"{path}"' for name, path in paths.items()})) is not None:
        lines += ["In Python:", f"  {ase.imports}", f"  atoms.calc = {ase.calculator}"]
    return "\n".join(lines)
