"""A campaign that labels cells cut from large frames, against a twin that labels such frames whole.

The twin's site file is the campaign's own but for `selection.embedding.mode`, so both begin with
the same potential. What is promised:

- every label of what the walkers met is a certified cell, and none of the twin's is;
- in the last cycle that both have, the force error on structures that neither has seen is at most
  1.5 times the twin's, and a third of what it was after the bootstrap, or less.

The structures are crystals of the walkers' kind, in a smaller box: MD by the oracle at the walkers'
temperatures.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms
from campaign_check import independent
from campaign_errors import errors
from campaign_frames import Condition
from kit.table import Row
from ruamel.yaml import YAML

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.select import Certificate, SelectMetrics
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import TrainingDigest
from mlip_autopipec.data_models.potential import Potential
from mlip_autopipec.journal.replay import read
from mlip_autopipec.work.structures import read_frames

_WORSE_MAX = 1.5
_LEFT_MAX = 1 / 3
_REPEAT = (4, 4, 4)
_SNAPSHOTS = 4


@dataclass(frozen=True)
class Cycle:
    """What a campaign had at the end of a cycle."""

    force_mev_per_angstrom: float
    labels: int  # to train on, since the bootstrap
    atoms: int


def twin_of(site_file: Path, config: WorkflowConfig) -> Path:
    """The twin's site file, written beside the campaign's folder."""
    yaml = YAML()
    content = yaml.load(site_file.read_text(encoding="utf-8"))
    folder = config.campaign.folder.with_name(f"{config.campaign.folder.name}-whole")
    content["campaign"].update(name=f"{config.campaign.name}-whole", folder=str(folder))
    content["site"]["root"] = str(folder / "root")
    content["selection"]["embedding"]["mode"] = "whole"
    folder.parent.mkdir(parents=True, exist_ok=True)
    copy = folder.with_suffix(".yaml")
    with copy.open("w", encoding="utf-8") as stream:
        yaml.dump(content, stream)
    return copy


def compare(config: WorkflowConfig, twin: WorkflowConfig) -> list[Row]:
    """Both curves side by side, and what is promised of them."""
    frames = independent(config, conditions(config))
    return [
        *rows_of_curves(curve(config, frames), curve(twin, frames)),
        *_of_labels(config, twin),
        *_of_certificates(config),
    ]


def conditions(config: WorkflowConfig) -> Iterator[Condition]:
    """The walkers' crystals at their temperatures, in their box but smaller, from other seeds."""
    for section in config.exploration.walkers:
        if section.prototype is None:
            continue
        prototype = replace(section.prototype, repeat=_REPEAT)
        for number, kelvin in enumerate(section.temperatures_kelvin):
            yield Condition(
                group=f"{kelvin:g} K",
                name=f"{prototype.structure} {kelvin:g} K",
                prototype=prototype,
                temperature_kelvin=kelvin,
                snapshots=_SNAPSHOTS,
                seed=7000 + number,
                lattice_angstrom=prototype.lattice_constant_angstrom,
            )


def curve(config: WorkflowConfig, frames: Sequence[Atoms]) -> list[Cycle]:
    """The current potential's force error at each cycle's end, and what was labelled by then."""
    found: list[Cycle] = []
    current: Potential | None = None
    labels = atoms = 0
    for digest in _trainings(config):
        current = digest.potential if digest.promoted or current is None else current
        if found:
            new = _labels(config, digest)
            labels, atoms = labels + len(new), atoms + sum(map(len, new))
        _, force = errors(config.site.root / current.folder, current.reference_energies_ev, frames)
        found.append(Cycle(force, labels, atoms))
    return found


def _trainings(config: WorkflowConfig) -> Iterator[TrainingDigest]:
    for record in read(config.campaign.folder / "journal"):
        if isinstance(record.event, ev.PhaseEnded) and isinstance(
            record.event.digest, TrainingDigest
        ):
            yield record.event.digest


def _labels(config: WorkflowConfig, digest: TrainingDigest, *roles: str) -> list[Atoms]:
    """The labels that a cycle added, of these roles; to train on if none is named."""
    frames = read_frames(config.site.root / digest.dataset.path)
    return [frame for frame in frames if frame.info["role"] in (roles or ("train",))]


def rows_of_curves(embedded: Sequence[Cycle], whole: Sequence[Cycle]) -> Iterator[Row]:
    """The force errors cycle by cycle, and what is promised of the last cycle that both have."""
    both = list(zip(embedded, whole, strict=False))
    for number, (ours, theirs) in enumerate(both):
        note = f"{theirs.force_mev_per_angstrom:.2f} by whole frames"
        if number:
            note += (
                f"; {ours.labels} labels of {ours.atoms} atoms beside {theirs.labels} of"
                f" {theirs.atoms}"
            )
        yield Row(
            f"force error after cycle {number}", ours.force_mev_per_angstrom, "meV/Å", None, note
        )
    (first, theirs_first), (last, theirs) = both[0], both[-1]
    left, theirs_left = (
        end.force_mev_per_angstrom / begin.force_mev_per_angstrom
        for begin, end in ((first, last), (theirs_first, theirs))
    )
    worse = last.force_mev_per_angstrom / theirs.force_mev_per_angstrom
    yield Row(
        "force error beside that by whole frames",
        worse,
        "times",
        _WORSE_MAX,
        f"after cycle {len(both) - 1}",
    )
    yield Row(
        "what is left of the bootstrap's",
        100 * left,
        "%",
        100 * _LEFT_MAX,
        f"{100 * theirs_left:.3g} % by whole frames",
    )


def _of_labels(config: WorkflowConfig, twin: WorkflowConfig) -> Iterator[Row]:
    """Labels of what walkers met: cells here, frames there."""
    ours, theirs = (
        [
            frame
            for digest in list(_trainings(item))[1:]
            for frame in _labels(item, digest, "train", "test")
        ]
        for item in (config, twin)
    )
    sizes = [len(frame) for frame in ours] or [0]
    note = f"of {len(ours)}, with {min(sizes)} to {max(sizes)} atoms"
    yield Row(
        "labels that are no certified cell",
        sum("core" not in frame.arrays for frame in ours),
        "",
        0,
        note,
    )
    sizes = [len(frame) for frame in theirs] or [0]
    note = f"of {len(theirs)}, with {min(sizes)} to {max(sizes)} atoms"
    yield Row(
        "labels of the twin that are no whole frame",
        sum("core" in frame.arrays for frame in theirs),
        "",
        0,
        note,
    )


def certificates(config: WorkflowConfig) -> list[Certificate]:
    """What embedding found out about every frame that it was given."""
    return [
        certificate
        for record in read(config.campaign.folder / "journal")
        if isinstance(record.event, ev.TaskEnded)
        and isinstance(record.event.outcome.metrics, SelectMetrics)
        for certificate in record.event.outcome.metrics.certificates
    ]


def _of_certificates(config: WorkflowConfig) -> Iterator[Row]:
    every = certificates(config)
    refused = [each for each in every if not each.kept]
    note = (
        f"{len(refused)} of {len(every)}; {sum(each.attempts for each in every)} cells were tried"
    )
    yield Row(
        "frames without a certified cell", 100 * len(refused) / max(len(every), 1), "%", None, note
    )
    changed = max((each.projections_off or 0.0 for each in every if each.kept), default=0.0)
    tolerance = config.selection.embedding.projection_tolerance
    yield Row("largest change of a core's B-projections", changed, "", tolerance)
