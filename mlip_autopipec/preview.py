"""What a site file will lead to, before anything is submitted: structure files read, sizes counted.

The files are read by the work half, in a process of its own on this machine, as they are read here
anyway to be shipped.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import ceil, prod
from pathlib import Path

from mlip_autopipec.config.adopting import adopting
from mlip_autopipec.config.crystals import atoms_of
from mlip_autopipec.config.schemas.phases import WalkersSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.doctor import (
    FILES,
    DatasetSeen,
    FileSeen,
    FilesQuestion,
    FilesSeen,
    StartFiles,
)
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.mistakes import KeyPath, Mistake, shown
from mlip_autopipec.contract.trainer import trainer_code
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.examining import examined_here

#: What labels are for, of which a campaign with first_labels.check asks first.
FOR_PROPERTIES = "for the gate's properties"
_TIMEOUT_S = 60.0
#: Ten thousand labels take minutes.
_DATASET_TIMEOUT_S = 600.0
_MIB = 2**20
#: Of one atom of a walker: positions, a full neighbour list, basis functions. No engine needs less
#: than the first; with the second, ACE of a usual size fits.
_ATOM_BYTES_LEAST = 2_000
_ATOM_BYTES_USUAL = 12_000
#: Sides of a cell under pressure swing by about √(kT / 2VC'): of 8 atoms of aluminium at 900 K by
#: 4 %, and two of them were seen to differ by 23 %; of 32 atoms by half as much.
_FREE_SIDES_ATOMS_LEAST = 32
#: An oracle needs more for each atom than any potential.
_LABEL_ATOMS_WARN = 1_000


@dataclass(frozen=True, slots=True)
class Preview:
    """`mistakes` no campaign could live with; `notes` are for a person to read."""

    mistakes: tuple[Mistake, ...]
    notes: tuple[str, ...]


def preview(config: WorkflowConfig, *, with_bootstrap: bool = True) -> Preview:
    """Read the files the site file names, and count. Blocks for a second or two, a minute at most.

    Without `with_bootstrap`, a campaign that names no file costs nothing.
    """
    asked = dict(_named(config))
    if asked or with_bootstrap or config.dataset is not None or config.start is not None:
        judged = _judged(config, map(str, asked.values()))
    else:
        judged = FilesSeen()
    if isinstance(judged, str):
        return Preview((), (f"the structure files were not looked at: {judged}",))
    files = judged.files
    mistakes = [
        Mistake(path, shown(file.name), files[str(file)].wrong)
        for path, file in asked.items()
        if files[str(file)].wrong
    ]
    notes = [
        f"{file.name}: {found.structures} structures, {found.formula}"
        + ("; walkers start from the last" if path[-1] == "file" else "")
        for path, file in asked.items()
        if (found := files[str(file)]).structures > 1 and not found.wrong
    ]
    if (brought := judged.dataset) is not None:
        mistakes += _wrong_set(config, brought)
        notes += _of_the_set(brought)
    for name, wrong in judged.start.items():
        file = getattr(config.start, name)
        mistakes.append(Mistake(("start", name), shown(file.name), wrong))
    for path, what, atoms in _walkers(config, files):
        mistakes += _too_large(path, what, atoms, _memory_mib(config, Phase.EXPLORATION))
        notes += _of_walkers(config, int(path[2]), what, atoms)
    for index, prototype in enumerate(config.generation.prototypes):
        atoms = sum(atoms_of(prototype).values())
        path = ("generation", "prototypes", index, "repeat")
        mistakes += _too_large(path, prototype.name, atoms, _memory_mib(config, Phase.CALCULATION))
        if atoms > _LABEL_ATOMS_WARN:
            notes.append(f"{prototype.name}: each label has {atoms} atoms")
    if with_bootstrap:
        notes.append(_bootstrap(config, judged))
    return Preview(tuple(mistakes), tuple(notes))


def _named(config: WorkflowConfig) -> Iterator[tuple[KeyPath, Path]]:
    for index, walkers in enumerate(config.exploration.walkers):
        if walkers.source is not None:
            yield (
                ("exploration", "walkers", index, "file" if walkers.file is not None else "pool"),
                walkers.source,
            )
    for index, file in enumerate(config.generation.files):
        yield ("generation", "files", index), file


def _start(config: WorkflowConfig) -> StartFiles | None:
    """A potential of the user's, and what evaluates it; None if there is none."""
    if (start := config.start) is None:
        return None
    return StartFiles(
        evaluator=trainer_code(config.training.trainer).evaluator,
        potential=str(start.potential),
        active_set=str(start.active_set) if start.active_set else None,
    )


def _judged(config: WorkflowConfig, files: Iterable[str]) -> FilesSeen | str:
    """What the work half says of the files; in words why it does not."""
    gate, dataset = config.training.gate, config.dataset
    asked = FilesQuestion(
        elements=config.campaign.elements,
        distance_min_angstrom=config.distance_min_angstrom,
        files=tuple(sorted(set(files))),
        dataset=tuple(map(str, dataset.files)) if dataset is not None else (),
        adopting=adopting(config),
        start=_start(config),
        prototypes=config.generation.prototypes,
        probes=gate.probes() if gate.properties else None,
        twins=gate.properties and config.calculation.first_labels.check,
    )
    return examined_here(FILES, asked, _TIMEOUT_S if dataset is None else _DATASET_TIMEOUT_S)


def _wrong_set(config: WorkflowConfig, brought: DatasetSeen) -> Iterator[Mistake]:
    """Why the user's labels are refused."""
    if brought.wrong and config.dataset is not None:
        yield Mistake(
            ("dataset", "files"),
            ", ".join(file.name for file in config.dataset.files),
            brought.wrong,
        )


def _of_the_set(brought: DatasetSeen) -> Iterator[str]:
    """What becomes of the user's labels."""
    if not brought.wrong:
        yield (
            f"the data set has {brought.train} labels to train on and {brought.test} to test"
            f" ({brought.names}); {brought.checks} of them are labelled again; it is adopted"
            " if they agree"
        )
    if brought.left_out:
        yield f"left out of the data set: {brought.left_out}"


def _walkers(
    config: WorkflowConfig, files: Mapping[str, FileSeen]
) -> Iterator[tuple[KeyPath, str, int]]:
    """Where the repeat of each group of walkers stands, what it starts from, and its atoms."""
    for index, walkers in enumerate(config.exploration.walkers):
        path: KeyPath = ("exploration", "walkers", index)
        if walkers.prototype is not None:
            prototype: Prototype = walkers.prototype
            yield (*path, "prototype", "repeat"), prototype.name, sum(atoms_of(prototype).values())
        elif walkers.source is not None and not files[str(walkers.source)].wrong:
            atoms = files[str(walkers.source)].atoms * prod(walkers.repeat)
            yield (*path, "repeat"), walkers.source.name, atoms


def _of_walkers(config: WorkflowConfig, index: int, what: str, atoms: int) -> Iterator[str]:
    """What a person should know of a group of walkers."""
    memory = _MIB * _memory_mib(config, Phase.EXPLORATION)
    if _ATOM_BYTES_LEAST * atoms <= memory < _ATOM_BYTES_USUAL * atoms:
        yield f"{what}: {atoms} atoms may need more than the memory of site.resources.exploration"
    if atoms < _FREE_SIDES_ATOMS_LEAST and _sides_are_free(config.exploration.walkers[index]):
        yield (
            f"{what}: the sides of a cell of {atoms} atoms swing far apart under pressure control;"
            " `barostat: isotropic` keeps its shape, and a larger cell swings less"
        )


def _sides_are_free(walkers: WalkersSection) -> bool:
    """Whether pressure may change one side of the cell more than another, in any stage."""
    return any(
        stage.ensemble == "npt" and stage.barostat != "isotropic" for stage in walkers.ladder()
    )


def _memory_mib(config: WorkflowConfig, phase: Phase) -> int:
    """Of one task of a phase, on all of its nodes."""
    resources = config.site.resources_of(phase)
    return resources.memory_mib * resources.nodes


def _too_large(path: KeyPath, what: str, atoms: int, memory_mib: int) -> Iterator[Mistake]:
    least_mib = ceil(_ATOM_BYTES_LEAST * atoms / _MIB)
    if least_mib > memory_mib:
        expected = (
            f"expected no more than {memory_mib * _MIB // _ATOM_BYTES_LEAST} atoms for"
            f" {memory_mib} MiB (site.resources): these need {least_mib} MiB at least"
        )
        yield Mistake(path, f"{what}, {atoms} atoms", expected)


def _bootstrap(config: WorkflowConfig, judged: FilesSeen) -> str:
    """Labels and jobs before the first walker."""
    counts = _bootstrap_labels(config, judged)
    labels = sum(counts.values())
    parts = ", ".join(f"{number} {what}" for what, number in counts.items() if number)
    return f"the bootstrap asks for {labels} labels ({parts}) and {labels + 2} tasks in all"


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a campaign is made of.

    It has the labels of the bootstrap by what they are for, and the atoms of each group of walkers.
    """

    labels: Mapping[str, int]
    walker_atoms: tuple[int, ...]


def sizes(config: WorkflowConfig) -> Sizes | str:
    """The same from structure files; in words why they can't be counted. Blocks as `preview`."""
    judged = _judged(config, (str(file) for _, file in _named(config)))
    if isinstance(judged, str):
        return judged
    wrong = [f"{file}: {found.wrong}" for file, found in judged.files.items() if found.wrong]
    if wrong:
        return wrong[0]
    return Sizes(
        _bootstrap_labels(config, judged),
        tuple(atoms for *_, atoms in _walkers(config, judged.files)),
    )


def _bootstrap_labels(config: WorkflowConfig, judged: FilesSeen) -> dict[str, int]:
    section = config.generation
    own = sum(judged.files[str(file)].structures for file in section.files)
    return {
        "train": section.structures
        + sum(variation.count for variation in section.variations)
        + own,
        "test": section.test_structures if section.prototypes else 0,
        FOR_PROPERTIES: judged.property_cells,
        "of isolated atoms": len(config.campaign.elements)
        if config.training.reference_energies_ev == "isolated_atoms"
        else 0,
        "of the data set again": judged.dataset.checks if judged.dataset else 0,
    }
