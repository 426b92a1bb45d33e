"""Rules of the section `exploration`, beside those of its prototypes."""

from collections.abc import Iterator

from mlip_autopipec.config.schemas.phases import WalkersSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import MISSING, KeyPath, Mistake, nearest, shown

_STARTS = ("prototype", "file", "pool")


def starts(config: WorkflowConfig) -> Iterator[Mistake]:
    """Walkers start from a prototype or from a file."""
    for index, walkers in enumerate(config.exploration.walkers):
        path: KeyPath = ("exploration", "walkers", index)
        given = [name for name in _STARTS if getattr(walkers, name) is not None]
        if not given:
            yield Mistake(
                path,
                "neither prototype nor file",
                "expected one of them: where the walkers start from",
            )
        if "prototype" in given and "file" in given:
            yield Mistake(
                (*path, "file"),
                shown(str(walkers.file)),
                "expected no file where there is a prototype",
            )
        elif walkers.pool is not None:
            for name, info in WalkersSection.model_fields.items():
                if name != "pool" and (value := getattr(walkers, name)) != info.default:
                    yield Mistake(
                        (*path, name),
                        shown(value),
                        "expected nothing beside pool: its frames are as they are",
                    )
            continue
        for name in ("temperatures_kelvin", "steps"):
            if not getattr(walkers, name):
                meaning = WalkersSection.model_fields[name].description
                yield Mistake((*path, name), MISSING, f"required: {meaning}")
        if walkers.file is None and walkers.repeat != (1, 1, 1):
            expected = "expected only with file; a prototype has a repeat of its own"
            yield Mistake((*path, "repeat"), shown(list(walkers.repeat)), expected)


def pairs(config: WorkflowConfig) -> Iterator[Mistake]:
    """Distances are of pairs of the elements of the campaign."""
    elements = config.campaign.elements
    known = [f"{element}-{other}" for element in elements for other in elements]
    for pair in config.exploration.distances_min_angstrom:
        if pair not in known:
            expected = "expected two of campaign.elements, such as " + shown(known[-1])
            yield Mistake(
                ("exploration", "distances_min_angstrom", pair),
                shown(pair),
                expected,
                nearest(pair, known),
            )


def gamma(config: WorkflowConfig) -> Iterator[Mistake]:
    """A walker halts at a higher γ than the one at which its frames are kept."""
    section = config.exploration
    if section.gamma_halt <= section.gamma_select:
        expected = f"expected more than exploration.gamma_select ({section.gamma_select:g})"
        yield Mistake(("exploration", "gamma_halt"), shown(section.gamma_halt), expected)


def strides(config: WorkflowConfig) -> Iterator[Mistake]:
    """A stage is at least as long as the stride at which γ is looked at."""
    stride = config.exploration.stride
    for path, stage in _stages(config):
        # one without is a pool, or lacks it, which is told elsewhere
        if stage.steps and stage.steps < stride:
            expected = (
                f"expected at least exploration.stride ({stride}): γ is looked at every so many"
                " steps"
            )
            yield Mistake((*path, "steps"), shown(stage.steps), expected)


def conditions(config: WorkflowConfig) -> Iterator[Mistake]:
    """A stage has only conditions that its ensemble can keep, each of them once."""
    for path, stage in _stages(config):
        if stage.ensemble == "nvt" and stage.pressures_gpa != (0.0,):
            expected = "expected only with ensemble npt; nvt keeps the volume"
            yield Mistake((*path, "pressures_gpa"), shown(list(stage.pressures_gpa)), expected)
        if stage.ensemble == "npt" and stage.deform is not None:
            yield Mistake(
                (*path, "deform"),
                shown("npt"),
                "expected only with ensemble nvt; npt changes the box itself",
            )
        yield from _repeated((*path, "temperatures_kelvin"), stage.temperatures_kelvin)
        yield from _repeated((*path, "pressures_gpa"), stage.pressures_gpa)


def _stages(config: WorkflowConfig) -> Iterator[tuple[KeyPath, WalkersSection]]:
    """Every stage of every ladder; the first stands in the section itself."""
    for index, walkers in enumerate(config.exploration.walkers):
        path: KeyPath = ("exploration", "walkers", index)
        for position, stage in enumerate(walkers.ladder()):
            yield path if position == 0 else (*path, "stages", position - 1), stage


def _repeated(path: KeyPath, values: tuple[float, ...]) -> Iterator[Mistake]:
    for index, value in enumerate(values):
        if value in values[:index]:
            yield Mistake(
                (*path, index),
                shown(value),
                "expected each value once; `replicas` makes more walkers alike",
            )
