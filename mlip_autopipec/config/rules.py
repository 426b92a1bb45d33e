"""What the sections of a site file must be to each other. Every rule is pure and yields all that it finds.

A rule is asked when the values that it reads are right in themselves, whatever else is wrong in the file.
"""

import shlex
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from math import cbrt, ceil, sqrt
from types import SimpleNamespace
from typing import Any, cast

from mlip_autopipec.config.crystals import (
    C_OVER_A,
    atoms_of,
    element_slots,
    nearest_neighbour_angstrom,
    volume_angstrom3,
)
from mlip_autopipec.config.elements import CLOSED_SHELLS, SYMBOLS
from mlip_autopipec.config.mistakes import KeyPath, Mistake, dotted, nearest, shown
from mlip_autopipec.config.schemas.oracles import DUAL_MIN, OWN_SYSTEM_KEYS, EspressoSection
from mlip_autopipec.config.schemas.phases import WalkersSection, gamma_bounds
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.data_models.base import Place
from mlip_autopipec.data_models.task import (
    FUNCTIONS_MAX,
    FUNCTIONS_MAX_OF_MORE,
    Alloy,
    Dimer,
    PointDefect,
    Prototype,
    Squeezed,
    Surface,
    crystal_name,
)

Rule = Callable[[WorkflowConfig], Iterator[Mistake]]
Prototypes = Callable[[WorkflowConfig], Iterator[tuple[KeyPath, Prototype]]]

#: Symbols are short: half of two letters in common is near.
_SYMBOLS_ALIKE = 0.5
#: What `auto` may choose, in cube roots of the volume per atom.
_CUTOFF_SPACINGS_MAX = 2.7
_SYMBOL_TYPOS_MAX = 3  # letters; `Copper` is nearer to Co than to Cu


def broken_rules(right: Mapping[str, Any]) -> Iterator[Mistake]:
    """Every rule broken by these values, which are keyed `section.key`. A rule that lacks one of them is not asked."""
    for rule, needs in RULES:
        if needs <= right.keys():
            yield from rule(_excerpt({need: right[need] for need in needs}))


def _excerpt(values: Mapping[str, Any]) -> WorkflowConfig:
    """A WorkflowConfig that has only these values, so that no rule can read one that it does not name."""
    excerpt = SimpleNamespace()
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        if section and not hasattr(excerpt, section):
            setattr(excerpt, section, SimpleNamespace())
        setattr(getattr(excerpt, section) if section else excerpt, key, value)
    return cast("WorkflowConfig", excerpt)


def _in_generation(config: WorkflowConfig) -> Iterator[tuple[KeyPath, Prototype]]:
    for index, prototype in enumerate(config.generation.prototypes):
        yield ("generation", "prototypes", index), prototype


def _in_exploration(config: WorkflowConfig) -> Iterator[tuple[KeyPath, Prototype]]:
    for index, walkers in enumerate(config.exploration.walkers):
        if walkers.prototype is not None:
            yield ("exploration", "walkers", index, "prototype"), walkers.prototype


def _stages(config: WorkflowConfig) -> Iterator[tuple[KeyPath, WalkersSection]]:
    """Every stage of every ladder; the first stands in the section itself."""
    for index, walkers in enumerate(config.exploration.walkers):
        path: KeyPath = ("exploration", "walkers", index)
        for place, stage in enumerate(walkers.ladder()):
            yield path if place == 0 else (*path, "stages", place - 1), stage


def _phonons(config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the prototypes are wrong: their names would be, too."""
    gate, prototypes = config.training.gate, config.generation.prototypes
    path: KeyPath = ("training", "gate", "phonons")
    if gate.phonons is None:
        return
    if gate.phonons.oracle and not gate.properties:
        expected = "expected only with training.gate.properties: the oracle's own are among them"
        yield Mistake((*path, "oracle"), "true", expected)
    known = [prototype.name for prototype in prototypes]
    if not all(map(_complete, prototypes)):
        return
    for index, name in enumerate(gate.phonons.stable or ()):
        if crystal_name(name) not in known:
            expected = f"expected one of generation.prototypes ({', '.join(dict.fromkeys(known))})"
            yield Mistake((*path, "stable", index), shown(name), expected, nearest(name, known))


def _first_labels(config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the prototypes are wrong: their names would be, too."""
    prototypes = config.generation.prototypes
    if not all(map(_complete, prototypes)):
        return
    known = [prototype.name for prototype in prototypes]
    for index, name in enumerate(config.calculation.first_labels.unstable):
        if crystal_name(name) not in known:
            expected = f"expected one of generation.prototypes ({', '.join(dict.fromkeys(known))})"
            path: KeyPath = ("calculation", "first_labels", "unstable", index)
            yield Mistake(path, shown(name), expected, nearest(name, known))


def _starts(config: WorkflowConfig) -> Iterator[Mistake]:
    for index, walkers in enumerate(config.exploration.walkers):
        path: KeyPath = ("exploration", "walkers", index)
        if walkers.prototype is None and walkers.file is None:
            yield Mistake(path, "neither prototype nor file", "expected one of them: where the walkers start from")
        if walkers.prototype is not None and walkers.file is not None:
            yield Mistake((*path, "file"), shown(str(walkers.file)), "expected no file where there is a prototype")
        if walkers.file is None and walkers.repeat != (1, 1, 1):
            expected = "expected only with file; a prototype has a repeat of its own"
            yield Mistake((*path, "repeat"), shown(list(walkers.repeat)), expected)


def _pairs(config: WorkflowConfig) -> Iterator[Mistake]:
    elements = config.campaign.elements
    known = [f"{one}-{other}" for one in elements for other in elements]
    for pair in config.exploration.distances_min_angstrom:
        if pair not in known:
            expected = "expected two of campaign.elements, such as " + shown(known[-1])
            yield Mistake(("exploration", "distances_min_angstrom", pair), shown(pair), expected, nearest(pair, known))


def _symbols(config: WorkflowConfig) -> Iterator[Mistake]:
    elements = config.campaign.elements
    for index, element in enumerate(elements):
        path = ("campaign", "elements", index)
        if element not in SYMBOLS:
            suggestion = nearest(element, SYMBOLS, _SYMBOLS_ALIKE) if len(element) <= _SYMBOL_TYPOS_MAX else None
            yield Mistake(path, shown(element), "expected a chemical symbol", suggestion)
        elif element in elements[:index]:
            yield Mistake(path, shown(element), "expected each element once")


def _known(prototypes: Prototypes, config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the campaign's own elements are wrong: the prototypes may well be right."""
    elements = config.campaign.elements
    if not set(elements) <= set(SYMBOLS):
        return
    for path, prototype in prototypes(config):
        for index, element in enumerate(prototype.elements):
            if element not in elements:
                expected = f"expected one of campaign.elements ({', '.join(elements)})"
                yield Mistake((*path, "elements", index), shown(element), expected, nearest(element, elements))


def _begun(config: WorkflowConfig) -> Iterator[Mistake]:
    elements, prototypes = config.campaign.elements, config.generation.prototypes
    used = {element for prototype in prototypes for element in prototype.elements}
    used |= {element for alloy in _alloys(config) for element in alloy.elements}
    for index, element in enumerate(elements):
        if element in SYMBOLS and element not in used and used <= set(elements) and not config.generation.files:
            expected = "expected in at least one of generation.prototypes: the first potential must know every element"
            yield Mistake(("campaign", "elements", index), shown(element), expected)


def _alloys(config: WorkflowConfig) -> list[Alloy]:
    return [variation for variation in config.generation.variations if isinstance(variation, Alloy)]


def _variations(config: WorkflowConfig) -> Iterator[Mistake]:
    """What a variation needs of the prototypes and elements."""
    slots = {len(prototype.elements) for prototype in config.generation.prototypes}
    for index, variation in enumerate(config.generation.variations):
        path: KeyPath = ("generation", "variations", index)
        match variation:
            case Alloy():
                yield from _alloy(path, variation, config.campaign.elements)
                if 1 not in slots:
                    yield Mistake(
                        (*path, "kind"), shown(variation.kind), "expected a prototype of one element, to alloy"
                    )
            case PointDefect(kind="antisite") if max(slots) == 1:
                yield Mistake((*path, "kind"), shown("antisite"), "expected a prototype of several elements")
            case Dimer() if variation.distance_max_angstrom <= config.distance_min_angstrom:
                expected = f"expected more than distance_min_angstrom ({config.distance_min_angstrom:g})"
                yield Mistake((*path, "distance_max_angstrom"), shown(variation.distance_max_angstrom), expected)
            case Dimer() if variation.box_angstrom < variation.distance_max_angstrom + _cutoff_of(config):
                expected = "expected at least distance_max_angstrom and training.cutoff_angstrom together"
                yield Mistake((*path, "box_angstrom"), shown(variation.box_angstrom), expected)


def _alloy(path: KeyPath, alloy: Alloy, elements: tuple[str, ...]) -> Iterator[Mistake]:
    for place, element in enumerate(alloy.elements):
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake((*path, "elements", place), shown(element), expected, nearest(element, elements))
    others = alloy.elements[1:]
    for element, (low, high) in alloy.fractions.items():
        if element not in others:
            expected = f"expected one of {', '.join(others)}: {alloy.elements[0]} takes what the others leave"
            yield Mistake((*path, "fractions", element), shown(element), expected, nearest(element, others))
        elif low > high:
            yield Mistake((*path, "fractions", element), shown([low, high]), "expected the smaller fraction first")


def _crystals(prototypes: Prototypes, config: WorkflowConfig) -> Iterator[Mistake]:
    for path, prototype in prototypes(config):
        if not _complete(prototype):
            slots = element_slots(prototype.structure)
            expected = f"expected {slots} different elements" if slots > 1 else "expected one element"
            yield Mistake((*path, "elements"), shown(list(prototype.elements)), f"{expected} for {prototype.structure}")
        if prototype.c_over_a is not None and prototype.structure not in C_OVER_A:
            expected = f"expected only for {' and '.join(C_OVER_A)}; {prototype.structure} has no c axis of its own"
            yield Mistake((*path, "c_over_a"), shown(prototype.c_over_a), expected)
        for index, times in enumerate(prototype.repeat):
            if times < 1:
                yield Mistake((*path, "repeat", index), shown(times), "expected 1 or more")


def _complete(prototype: Prototype) -> bool:
    return len(prototype.elements) == len(set(prototype.elements)) == element_slots(prototype.structure)


def _distance(config: WorkflowConfig) -> Iterator[Mistake]:
    crystals = [*_in_generation(config), *_in_exploration(config)]
    path, tightest = min(crystals, key=lambda crystal: nearest_neighbour_angstrom(crystal[1]))
    shortest = nearest_neighbour_angstrom(tightest)
    if config.distance_min_angstrom >= shortest:
        expected = f"expected less than {shortest:.3f}, the nearest-neighbour distance of {_described(path, tightest)}"
        yield Mistake(("distance_min_angstrom",), shown(config.distance_min_angstrom), expected)


def _cutoff(config: WorkflowConfig) -> Iterator[Mistake]:
    crystals = [*_in_generation(config), *_in_exploration(config)]
    path, widest = max(crystals, key=lambda crystal: nearest_neighbour_angstrom(crystal[1]))
    longest, cutoff = nearest_neighbour_angstrom(widest), config.training.cutoff_angstrom
    if cutoff == "auto":  # it is chosen well above the nearest neighbours
        return
    if cutoff <= config.distance_min_angstrom:
        expected = f"expected more than distance_min_angstrom ({config.distance_min_angstrom:g})"
        yield Mistake(("training", "cutoff_angstrom"), shown(cutoff), expected)
    elif cutoff <= longest:
        expected = f"expected more than {longest:.3f}, the nearest-neighbour distance of {_described(path, widest)}"
        yield Mistake(("training", "cutoff_angstrom"), shown(cutoff), expected)


def _cutoff_of(config: WorkflowConfig) -> float:
    """The cutoff, or about the largest that `auto` may choose."""
    asked = config.training.cutoff_angstrom
    if asked != "auto":
        return asked
    found = [prototype for _, prototype in _in_generation(config) if _sound(prototype, config.campaign.elements)]
    spacings = [cbrt(volume_angstrom3(prototype) / atoms_of(prototype).total()) for prototype in found]
    return _CUTOFF_SPACINGS_MAX * max(spacings, default=0.0)


def _described(path: KeyPath, prototype: Prototype) -> str:
    return f"{dotted(path)} ({prototype.name}, lattice constant {prototype.lattice_constant_angstrom:g})"


def _environments(config: WorkflowConfig) -> Iterator[Mistake]:
    """The active set of an element is square: it takes one environment for each function.

    Silent while the prototypes are wrong: that one mistake would be told twice. And where alloys, slabs or files bring
    atoms that nobody can count yet.
    """
    generation, functions = config.generation, config.training.functions_per_element
    if not all(_sound(prototype, config.campaign.elements) for prototype in generation.prototypes):
        return
    if functions == "auto" or generation.files:
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
    alloyed = {element for alloy in _alloys(config) for element in alloy.elements}
    for element, count in atoms.items():
        if count < functions and element not in alloyed:
            expected = (
                f"expected no more than {count}: generation.structures ({generation.structures}){varied} hold {count}"
                f" {element} atoms in all, and {functions} functions need {functions} of them"
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


def _functions(config: WorkflowConfig) -> Iterator[Mistake]:
    """No more functions than the basis has; pacemaker has a basis of its own, which it can't choose the size of."""
    training, elements = config.training, len(config.campaign.elements)
    asked, largest = training.functions_per_element, FUNCTIONS_MAX.get(elements, FUNCTIONS_MAX_OF_MORE)
    if training.trainer == "linear":
        if asked != "auto" and asked > largest:
            of = "one element" if elements == 1 else f"{elements} elements"
            expected = f"expected no more than {largest}: the linear basis of {of} ends there"
            yield Mistake(("training", "functions_per_element"), shown(asked), expected)
        return
    for name in ("cutoff_angstrom", "functions_per_element"):
        if getattr(training, name) == "auto":
            expected = "expected a number with trainer: pacemaker; only the linear trainer chooses by itself"
            yield Mistake(("training", name), shown("auto"), expected)


def _sound(prototype: Prototype, elements: tuple[str, ...]) -> bool:
    return _complete(prototype) and min(prototype.repeat) > 0 and set(prototype.elements) <= set(elements)


def _gamma(config: WorkflowConfig) -> Iterator[Mistake]:
    section = config.exploration
    if section.gamma_halt <= section.gamma_select:
        expected = f"expected more than exploration.gamma_select ({section.gamma_select:g})"
        yield Mistake(("exploration", "gamma_halt"), shown(section.gamma_halt), expected)


def _window(config: WorkflowConfig) -> Iterator[Mistake]:
    highest, halt = config.selection.gamma_max, config.exploration.gamma_halt
    if highest is not None and highest <= halt:
        expected = f"expected more than exploration.gamma_halt ({halt:g}): the halting frame is what is to be labelled"
        yield Mistake(("selection", "gamma_max"), shown(highest), expected)


def _window_of_target(config: WorkflowConfig) -> Iterator[Mistake]:
    """What a target in force may make of γ halt must leave the halting frame in the window, too."""
    section, highest = config.exploration, config.selection.gamma_max
    if section.force_error_target_mev_per_angstrom is None or highest is None:
        return
    halt = section.gamma_halt * gamma_bounds(section.gamma_select)[1] / section.gamma_select
    if section.gamma_halt < highest <= halt:
        expected = (
            f"expected more than {halt:g}: exploration.force_error_target_mev_per_angstrom may move"
            f" exploration.gamma_halt ({section.gamma_halt:g}) so far"
        )
        yield Mistake(("selection", "gamma_max"), shown(highest), expected)


def _embedding(config: WorkflowConfig) -> Iterator[Mistake]:
    """The smallest cell that keeps the environment of one atom whole must be allowed."""
    section, cutoff = config.selection.embedding, _cutoff_of(config)
    if section.mode != "periodic":
        return
    for path, prototype in _in_exploration(config):
        if not _complete(prototype) or min(prototype.repeat) < 1:
            continue
        atoms = atoms_of(prototype).total()
        # The face-centred box is the smallest of its half; Å³.
        volume = (2 * (cutoff + section.margin_angstrom)) ** 3 / sqrt(2)
        smallest = ceil(volume * atoms / volume_angstrom3(prototype))
        if section.atoms_max < smallest and atoms > max(section.atoms_max, section.whole_atoms_max):
            expected = (
                f"expected at least {smallest}: a cell that keeps training.cutoff_angstrom ({cutoff:g}) and"
                f" margin_angstrom ({section.margin_angstrom:g}) around an atom of {_described(path, prototype)} holds"
                f" as many, and frames of {atoms} atoms are above atoms_max"
            )
            yield Mistake(("selection", "embedding", "atoms_max"), shown(section.atoms_max), expected)
            return


def _per_element(config: WorkflowConfig) -> Iterator[Mistake]:
    elements = config.campaign.elements
    for key in ("charges", "valence_electrons"):
        for element in getattr(config.selection.embedding, key):
            if element not in elements:
                expected = f"expected one of campaign.elements ({', '.join(elements)})"
                yield Mistake(
                    ("selection", "embedding", key, element), shown(element), expected, nearest(element, elements)
                )


def _strides(config: WorkflowConfig) -> Iterator[Mistake]:
    stride = config.exploration.stride
    for path, stage in _stages(config):
        if stage.steps < stride:
            expected = f"expected at least exploration.stride ({stride}): γ is looked at every so many steps"
            yield Mistake((*path, "steps"), shown(stage.steps), expected)


def _conditions(config: WorkflowConfig) -> Iterator[Mistake]:
    for path, stage in _stages(config):
        if stage.ensemble == "nvt" and stage.pressures_gpa != (0.0,):
            expected = "expected only with ensemble npt; nvt keeps the volume"
            yield Mistake((*path, "pressures_gpa"), shown(list(stage.pressures_gpa)), expected)
        if stage.ensemble == "npt" and stage.deform is not None:
            yield Mistake(
                (*path, "deform"), shown("npt"), "expected only with ensemble nvt; npt changes the box itself"
            )
        yield from _repeated((*path, "temperatures_kelvin"), stage.temperatures_kelvin)
        yield from _repeated((*path, "pressures_gpa"), stage.pressures_gpa)


def _repeated(path: KeyPath, values: tuple[float, ...]) -> Iterator[Mistake]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield Mistake((*path, index), shown(value), "expected each value once; `replicas` makes more walkers alike")


def _cores(config: WorkflowConfig) -> Iterator[Mistake]:
    """What starts tasks without Slurm has so many cores for all of them."""
    site = config.site
    for phase, asked in site.resources.items():
        cores, bound = asked.cores * asked.ranks, None
        if site.scheduler.kind == "local":
            bound = ("site.scheduler.cores", site.scheduler.cores)
        elif asked.where is Place.LOGIN:
            bound = ("site.login_cores", site.login_cores)
        if bound is not None and bound[1] is not None and cores > bound[1]:
            key = "cores" if asked.ranks == 1 else "ranks"
            expected = f"expected no more than {bound[0]} ({bound[1]})"
            if asked.ranks > 1:
                expected += f" in all, and {asked.ranks} processes of {asked.cores} are {cores}"
            yield Mistake(("site", "resources", phase.value, key), shown(getattr(asked, key)), expected)


#: Keys of a phase that only sbatch can follow.
_OF_SLURM = ("partition", "account", "qos", "constraint", "extra", "nodes", "gpus")


def _without_slurm(config: WorkflowConfig) -> Iterator[Mistake]:
    """No key may promise what the place where the phase runs cannot keep."""
    site = config.site
    for phase, asked in site.resources.items():
        path = ("site", "resources", phase.value)
        if site.scheduler.kind == "local" and asked.where is Place.LOGIN:
            expected = "expected only with site.scheduler.kind 'slurm': without one, every task runs there anyway"
            yield Mistake((*path, "where"), shown(asked.where.value), expected)
        if site.scheduler.kind == "slurm" and asked.where is Place.QUEUE:
            continue
        why = "site.scheduler.kind is 'local'" if site.scheduler.kind == "local" else "where is 'login'"
        plain = type(asked)()
        for key in _OF_SLURM:
            if (value := getattr(asked, key)) != getattr(plain, key):
                told = list(value) if isinstance(value, tuple) else value
                yield Mistake((*path, key), shown(told), f"expected only for Slurm jobs; here {why}")


def _ranks(config: WorkflowConfig) -> Iterator[Mistake]:
    for phase, asked in config.site.resources.items():
        path = ("site", "resources", phase.value)
        if asked.nodes > asked.ranks:
            expected = f"expected no more than ranks ({asked.ranks}): each node needs a process"
            yield Mistake((*path, "nodes"), shown(asked.nodes), expected)
        if asked.ranks > 1 and not asked.launcher:
            expected = "expected with a launcher, such as 'srun' or 'mpirun -np {ranks}': nothing would start them"
            yield Mistake((*path, "ranks"), shown(asked.ranks), expected)


def _extras(config: WorkflowConfig) -> Iterator[Mistake]:
    """What has a key of its own is said by that key: sbatch would take the last of two."""
    for phase, asked in config.site.resources.items():
        for index, line in enumerate(asked.extra):
            word = line.split()[1].partition("=")[0]
            if key := _KEY_OF.get(word):
                path = ("site", "resources", phase.value, "extra", index)
                yield Mistake(path, shown(line), f"expected as the key {key}: {word} is said by that")


_KEY_OF = {
    "--partition": "partition",
    "-p": "partition",
    "--account": "account",
    "-A": "account",
    "--qos": "qos",
    "-q": "qos",
    "--constraint": "constraint",
    "-C": "constraint",
    "--nodes": "nodes",
    "-N": "nodes",
    "--ntasks": "ranks",
    "-n": "ranks",
    "--cpus-per-task": "cores",
    "-c": "cores",
    "--gpus-per-node": "gpus",
    "--mem": "memory",
    "--time": "walltime",
    "-t": "walltime",
}


def _reach(config: WorkflowConfig) -> Iterator[Mistake]:
    """A site on another machine is told its root by its full path."""
    site = config.site
    if site.transport.kind != "local" and not site.root.is_absolute():
        yield Mistake(("site", "root"), shown(str(site.root)), "expected a full path, for it is on another machine")


def _labels(config: WorkflowConfig) -> Iterator[Mistake]:
    labels_max = config.convergence.labels_max
    first = config.generation.structures + config.generation.test_structures
    if labels_max is not None and labels_max <= first:
        expected = f"expected more than {first}: generation.structures and test_structures alone take as many labels"
        yield Mistake(("convergence", "labels_max"), shown(labels_max), expected)


def _cycles(config: WorkflowConfig) -> Iterator[Mistake]:
    section = config.convergence
    if section.quiet_cycles > section.cycles_max:
        expected = f"expected no more than convergence.cycles_max ({section.cycles_max}): it could never converge"
        yield Mistake(("convergence", "quiet_cycles"), shown(section.quiet_cycles), expected)


def _calculator(config: WorkflowConfig) -> Iterator[Mistake]:
    oracle = config.calculation.oracle
    if oracle.kind != "ase":
        return
    parts = oracle.calculator.split(".")
    if len(parts) == 1 or not all(part.isidentifier() for part in parts):
        expected = "expected an import path such as 'ase.calculators.emt.EMT'"
        yield Mistake(("calculation", "oracle", "calculator"), shown(oracle.calculator), expected)


def _espresso(config: WorkflowConfig) -> Iterator[Mistake]:
    """What pw.x is told: cutoffs that it takes, elements that there are, and no key that is ours."""
    oracle, elements = config.calculation.oracle, config.campaign.elements
    if not isinstance(oracle, EspressoSection):
        return
    path: KeyPath = ("calculation", "oracle")
    if oracle.ecutwfc_ry and oracle.ecutrho_ry and oracle.ecutrho_ry < DUAL_MIN * oracle.ecutwfc_ry:
        expected = f"expected at least {DUAL_MIN * oracle.ecutwfc_ry:g}, {DUAL_MIN:g} times ecutwfc_ry"
        yield Mistake((*path, "ecutrho_ry"), shown(oracle.ecutrho_ry), expected)
    for element in oracle.starting_magnetization:
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake((*path, "starting_magnetization", element), shown(element), expected)
    for key in oracle.system:
        if key.partition("(")[0] in OWN_SYSTEM_KEYS:
            expected = "expected another key: this one is said by calculation.oracle's own"
            yield Mistake((*path, "system", key), shown(oracle.system[key]), expected)
    if (words := _no_command(oracle.command)) is not None:
        yield Mistake((*path, "command"), shown(oracle.command), words)


def _references(config: WorkflowConfig) -> Iterator[Mistake]:
    """Energies by hand are of the campaign's elements, each of them; atoms alone are what the oracle can calculate."""
    asked, elements = config.training.reference_energies_ev, config.campaign.elements
    path: KeyPath = ("training", "reference_energies_ev")
    if isinstance(asked, str):
        if asked == "isolated_atoms" and isinstance(config.calculation.oracle, EspressoSection):
            yield from _atoms_alone(path, config.calculation.oracle, elements)
        return
    for element, energy_ev in asked.items():
        if element not in elements:
            expected = f"expected one of campaign.elements ({', '.join(elements)})"
            yield Mistake((*path, element), shown(energy_ev), expected, nearest(element, elements, _SYMBOLS_ALIKE))
    for element in elements:
        if element not in asked and element in SYMBOLS:
            yield Mistake(path, f"no {element}", "expected an energy in eV for each of campaign.elements")


def _atoms_alone(path: KeyPath, oracle: EspressoSection, elements: tuple[str, ...]) -> Iterator[Mistake]:
    open_shells = [element for element in elements if element in SYMBOLS and element not in CLOSED_SHELLS]
    if oracle.smearing is None and open_shells:
        expected = (
            "expected with calculation.oracle.smearing, or energies by hand: with fixed occupations pw.x finds no"
            f" ground state of an atom with open shells ({', '.join(open_shells)})"
        )
        yield Mistake(path, shown("isolated_atoms"), expected)
    if oracle.charge:
        expected = (
            f"expected with calculation.oracle.charge 0, or energies by hand: {oracle.charge:g} makes ions of atoms"
        )
        yield Mistake(path, shown("isolated_atoms"), expected)


def _no_command(command: str) -> str | None:
    """Why this starts nothing; None if it may."""
    try:
        words = shlex.split(command)
        filled = command.format(cores=1, ranks=1)
    except (ValueError, KeyError, IndexError, AttributeError):
        return "expected words as in a shell, with no other braces than {cores} and {ranks}"
    return None if words and filled.strip() else "expected a program such as pw.x"


def _rule(rule: Rule, *needs: str) -> tuple[Rule, frozenset[str]]:
    return rule, frozenset(needs)


_CRYSTALS = ("generation.prototypes", "exploration.walkers")
_STRUCTURES = ("generation.structures", "generation.test_structures")
#: Every rule with the values that it reads; it is given no others.
RULES: tuple[tuple[Rule, frozenset[str]], ...] = (
    _rule(_symbols, "campaign.elements"),
    _rule(_begun, "campaign.elements", "generation.prototypes", "generation.variations", "generation.files"),
    _rule(
        _variations,
        *("campaign.elements", "generation.prototypes", "generation.variations"),
        *("distance_min_angstrom", "training.cutoff_angstrom"),
    ),
    _rule(partial(_known, _in_generation), "campaign.elements", "generation.prototypes"),
    _rule(partial(_known, _in_exploration), "campaign.elements", "exploration.walkers"),
    _rule(partial(_crystals, _in_generation), "generation.prototypes"),
    _rule(partial(_crystals, _in_exploration), "exploration.walkers"),
    _rule(_distance, "distance_min_angstrom", *_CRYSTALS),
    _rule(_cutoff, "distance_min_angstrom", "training.cutoff_angstrom", *_CRYSTALS),
    _rule(
        _environments,
        *("campaign.elements", "generation.prototypes", "generation.structures", "generation.variations"),
        *("generation.files", "training.functions_per_element"),
    ),
    _rule(
        _functions,
        *("training.trainer", "training.functions_per_element", "training.cutoff_angstrom", "campaign.elements"),
    ),
    _rule(_phonons, "training.gate", "generation.prototypes"),
    _rule(_first_labels, "calculation.first_labels", "generation.prototypes"),
    _rule(_starts, "exploration.walkers"),
    _rule(_pairs, "campaign.elements", "exploration.distances_min_angstrom"),
    _rule(_gamma, "exploration.gamma_select", "exploration.gamma_halt"),
    _rule(_window, "selection.gamma_max", "exploration.gamma_halt"),
    _rule(
        _window_of_target,
        *("selection.gamma_max", "exploration.gamma_halt", "exploration.gamma_select"),
        "exploration.force_error_target_mev_per_angstrom",
    ),
    _rule(
        _embedding,
        *("selection.embedding", "training.cutoff_angstrom", "exploration.walkers"),
        *("campaign.elements", "generation.prototypes"),
    ),
    _rule(_per_element, "campaign.elements", "selection.embedding"),
    _rule(_strides, "exploration.walkers", "exploration.stride"),
    _rule(_conditions, "exploration.walkers"),
    _rule(_cores, "site.scheduler", "site.login_cores", "site.resources"),
    _rule(_without_slurm, "site.scheduler", "site.resources"),
    _rule(_ranks, "site.resources"),
    _rule(_extras, "site.resources"),
    _rule(_reach, "site.root", "site.transport"),
    _rule(_labels, "convergence.labels_max", *_STRUCTURES),
    _rule(_cycles, "convergence.quiet_cycles", "convergence.cycles_max"),
    _rule(_calculator, "calculation.oracle"),
    _rule(_espresso, "calculation.oracle", "campaign.elements"),
    _rule(_references, "training.reference_energies_ev", "calculation.oracle", "campaign.elements"),
)
