"""Rules of the section `calculation`."""

import shlex
from collections.abc import Iterator

from mlip_autopipec.config.rules.crystals import complete
from mlip_autopipec.config.schemas.oracles import DUAL_MIN, OWN_SYSTEM_KEYS, EspressoSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.crystals import crystal_name
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, nearest, shown


def first_labels(config: WorkflowConfig) -> Iterator[Mistake]:
    """Silent while the prototypes are wrong: their names would be, too."""
    prototypes = config.generation.prototypes
    if not all(map(complete, prototypes)):
        return
    known = [prototype.name for prototype in prototypes]
    for index, name in enumerate(config.calculation.first_labels.unstable):
        if crystal_name(name) not in known:
            expected = f"expected one of generation.prototypes ({', '.join(dict.fromkeys(known))})"
            path: KeyPath = ("calculation", "first_labels", "unstable", index)
            yield Mistake(path, shown(name), expected, nearest(name, known))


def calculator(config: WorkflowConfig) -> Iterator[Mistake]:
    """An ASE calculator is named by an import path."""
    oracle = config.calculation.oracle
    if oracle.kind != "ase":
        return
    parts = oracle.calculator.split(".")
    if len(parts) == 1 or not all(part.isidentifier() for part in parts):
        expected = "expected an import path such as 'ase.calculators.emt.EMT'"
        yield Mistake(("calculation", "oracle", "calculator"), shown(oracle.calculator), expected)


def espresso(config: WorkflowConfig) -> Iterator[Mistake]:
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


def _no_command(command: str) -> str | None:
    """Why this starts nothing; None if it may."""
    try:
        words = shlex.split(command)
        filled = command.format(cores=1, ranks=1)
    except (ValueError, KeyError, IndexError, AttributeError):
        return "expected words as in a shell, with no other braces than {cores} and {ranks}"
    return None if words and filled.strip() else "expected a program such as pw.x"
