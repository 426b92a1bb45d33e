"""Rules of the section `training`."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from mlip_autopipec.config.crystals import (
    atoms_of,
    nearest_neighbour_angstrom,
)
from mlip_autopipec.config.rules.base import SYMBOLS_ALIKE
from mlip_autopipec.config.rules.crystals import (
    complete,
    described,
    in_exploration,
    in_generation,
    sound,
)
from mlip_autopipec.config.rules.generation import alloys
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.elements import SYMBOLS
from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.generate import Dimer, PointDefect, Squeezed, Surface
from mlip_autopipec.contract.measure import Gate, asked_of
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, nearest, shown
from mlip_autopipec.contract.oracle import rules_of
from mlip_autopipec.contract.trainer import Basis, evaluator_of, trainer_code


def cutoff(config: WorkflowConfig) -> Iterator[Mistake]:
    """The cutoff reaches the nearest neighbours of every crystal."""
    crystals = [*in_generation(config), *in_exploration(config)]
    if not crystals:
        return
    path, widest = max(crystals, key=lambda crystal: nearest_neighbour_angstrom(crystal[1]))
    longest, cutoff = nearest_neighbour_angstrom(widest), config.training.cutoff_angstrom
    if cutoff == "auto":  # it is chosen well above the nearest neighbours
        return
    if cutoff <= config.distance_min_angstrom:
        expected = f"expected more than distance_min_angstrom ({config.distance_min_angstrom:g})"
        yield Mistake(("training", "cutoff_angstrom"), shown(cutoff), expected)
    elif cutoff <= longest:
        expected = (
            f"expected more than {longest:.3f}, the nearest-neighbour distance of"
            f" {described(path, widest)}"
        )
        yield Mistake(("training", "cutoff_angstrom"), shown(cutoff), expected)


def environments(config: WorkflowConfig) -> Iterator[Mistake]:
    """The active set of an element is square: it takes one environment for each function.

    Silent while the prototypes are wrong: that one mistake would be told twice. And where alloys,
    slabs or files bring atoms that nobody can count yet.
    """
    generation, functions = config.generation, config.training.functions_per_element
    if not all(sound(prototype, config.campaign.elements) for prototype in generation.prototypes):
        return
    if (
        functions == "auto"
        or generation.files
        or config.dataset is not None
        or not generation.prototypes
    ):
        return
    if any(isinstance(variation, Surface) for variation in generation.variations):
        return
    atoms = _atoms_in_turn(config, generation.structures)
    for variation in generation.variations:
        match variation:
            case PointDefect() | Squeezed():
                removed = 1 if variation.kind == "vacancy" else 0
                for element, count in _atoms_in_turn(config, variation.count).items():
                    atoms[element] += max(0, count - removed * variation.count)
            case Dimer() if len(config.campaign.elements) == 1:
                atoms[config.campaign.elements[0]] += 2 * variation.count
            case _:
                pass
    varied = " and generation.variations" if generation.variations else ""
    alloyed = {element for alloy in alloys(config) for element in alloy.elements}
    for element, count in atoms.items():
        if count < functions and element not in alloyed:
            expected = (
                f"expected no more than {count}: generation.structures"
                f" ({generation.structures}){varied} hold {count} {element} atoms in all, and"
                f" {functions} functions need {functions} of them"
            )
            yield Mistake(("training", "functions_per_element"), shown(functions), expected)


def _atoms_in_turn(config: WorkflowConfig, structures: int) -> Counter[str]:
    """Atoms of each element in so many structures, made of the prototypes in turn."""
    prototypes = config.generation.prototypes
    atoms: Counter[str] = Counter()
    each, more = divmod(structures, len(prototypes))
    for index, prototype in enumerate(prototypes):
        count = each + (index < more)
        atoms.update({element: of_cell * count for element, of_cell in atoms_of(prototype).items()})
    return atoms


def trainer(config: WorkflowConfig) -> Iterator[Mistake]:
    """What the trainer has against its settings and the basis."""
    training = config.training
    basis = Basis(
        config.campaign.elements, training.cutoff_angstrom, training.functions_per_element
    )
    for mistake in trainer_code(training.trainer).control().mistakes(training.trainer, basis):
        yield replace(mistake, path=("training", *mistake.path))


def evaluator(config: WorkflowConfig) -> Iterator[Mistake]:
    """Whether, by the code that evaluates it, a fit can be walked by the engine and have a core."""
    code, engine = evaluator_of(config.training.trainer), config.exploration.engine
    if config.training.core_repulsion and not code.write:
        expected = f"expected false with this trainer: {code.potential} of it has no core repulsion"
        yield Mistake(("training", "core_repulsion"), shown(True), expected)
    paths = {each.name: each.file for each in code.files}
    if engine_code(engine.kind).reads_files and not code.control().graded_lines(
        paths, ("X",), 1, "gamma"
    ):
        expected = (
            "expected wheel, or another engine that calls Python: LAMMPS has no pair style for"
            f" {code.potential}"
        )
        yield Mistake(("exploration", "engine", "kind"), shown(engine.kind), expected)


def measures(config: WorkflowConfig) -> Iterator[Mistake]:
    """What each measure of the gate has against its section, beside prototypes that are right."""
    gate, prototypes = config.training.gate, config.generation.prototypes
    names = (
        tuple(prototype.name for prototype in prototypes) if all(map(complete, prototypes)) else ()
    )
    for measure in asked_of(gate):
        for mistake in measure.code.control().mistakes(
            measure.section, Gate(names, gate.properties)
        ):
            yield replace(mistake, path=("training", "gate", *measure.path, *mistake.path))


def references(config: WorkflowConfig) -> Iterator[Mistake]:
    """Energies by hand are of the campaign's elements, each of them.

    Atoms alone are what the oracle can calculate.
    """
    asked, elements = config.training.reference_energies_ev, config.campaign.elements
    path: KeyPath = ("training", "reference_energies_ev")
    if isinstance(asked, str):
        oracle = config.calculation.oracle
        if asked == "isolated_atoms":
            for expected in rules_of(oracle).no_isolated_atoms(oracle, elements):
                yield Mistake(path, shown(asked), expected)
        return
    for element, energy_ev in asked.items():
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake(
                (*path, element),
                shown(energy_ev),
                expected,
                nearest(element, elements, SYMBOLS_ALIKE),
            )
    for element in elements:
        if element not in asked and element in SYMBOLS:
            yield Mistake(
                path, f"no {element}", "expected an energy in eV for each of campaign.elements"
            )
