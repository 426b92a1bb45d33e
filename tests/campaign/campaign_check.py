"""Whether a campaign's potential is as good as promised, by labels the campaign has never seen.

The structures come from MD by EMT with seeds of its own (campaign_frames.py), their labels from the
campaign's own oracle, called as the campaign's tasks call it; the potential is evaluated by pyace.
Lattice constants and bulk moduli are those of the gate, which has the oracle's own beside the
potential's.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import inf
from multiprocessing import get_context

from ase import Atoms
from campaign_errors import errors
from campaign_frames import Condition, as_walkers, copper_and_gold, snapshots
from kit.table import Row

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.oracle import oracle_of
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import TrainingDigest
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.work.job import Job
from mlip_autopipec.work.steps import label as calculation
from mlip_autopipec.work.structures import read_frames, write_frames

#: Numbers of properties are looked up by the gate's own words.
_LATTICE, _BULK = "lattice_constant", "bulk_modulus"


@dataclass(frozen=True)
class Targets:
    """What is promised; None: nothing is.

    Errors of properties are parts of the oracle's own value.
    """

    verdicts: frozenset[Verdict]
    conditions: Callable[[WorkflowConfig, float | None], Iterator[Condition]] | None = None
    energy_mev_per_atom: float | None = None
    force_mev_per_angstrom: float | None = None
    lattice_constant: float | None = None
    bulk_modulus: float | None = None
    #: Whether it is held against a campaign that labels large frames whole (campaign_twin.py).
    twin: bool = False


TARGETS: Mapping[str, Targets] = {
    "cuau": Targets(
        verdicts=frozenset({Verdict.CONVERGED}),
        conditions=copper_and_gold,
        energy_mev_per_atom=2,
        force_mev_per_angstrom=20,
    ),
    "al": Targets(
        verdicts=frozenset({Verdict.CONVERGED}),
        conditions=as_walkers,
        energy_mev_per_atom=3,
        force_mev_per_angstrom=50,
        lattice_constant=0.003,
        bulk_modulus=0.05,
    ),
    "embedded": Targets(
        verdicts=frozenset({Verdict.CONVERGED, Verdict.BUDGET_EXHAUSTED}), twin=True
    ),
    "si": Targets(verdicts=frozenset(Verdict) - {Verdict.FAILED}),
}
#: Of a campaign that nobody has promised anything of.
ANY = Targets(verdicts=frozenset({Verdict.CONVERGED}))


def check(config: WorkflowConfig, targets: Targets) -> list[Row]:
    """Every number with its target.

    Labels of the independent set are left in the campaign's folder, in `check/`.
    """
    state = replay(config.campaign.folder / "journal")
    rows = [_verdict(state, targets), *_of_campaign(state)]
    if state.potential is None:
        return rows
    last = _last_promoted(config)
    if targets.conditions is not None:
        lattice_angstrom = (
            _oracles(last, _LATTICE) if config.calculation.oracle.kind != "ase" else None
        )
        frames = independent(config, targets.conditions(config, lattice_angstrom))
        rows += _errors(config, state, frames, targets)
    return [*rows, *_properties(last, targets)]


def independent(config: WorkflowConfig, conditions: Iterator[Condition]) -> list[Atoms]:
    """Labelled structures, each with its group in `info`."""
    # Forked processes would inherit the threads of pyace.
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn"), initializer=_one_thread) as pool:
        bare = [frame for frames in pool.map(snapshots, conditions) for frame in frames]
        return list(pool.map(partial(_labelled, config), range(len(bare)), bare))


def _one_thread() -> None:
    """A process per core, for the codes that it starts too."""
    os.environ["OMP_NUM_THREADS"] = "1"


def _labelled(config: WorkflowConfig, number: int, atoms: Atoms) -> Atoms:
    """One structure with its label, by the task's own code.

    What the oracle read and wrote stays in the folder.
    """
    folder = config.campaign.folder / "check" / f"{number:04d}"
    folder.mkdir(parents=True, exist_ok=True)
    structure = folder / "structure.extxyz"
    write_frames(structure, [atoms])
    parameters = CalculateParameters(
        role=Role.TEST,
        origin=f"independent: {atoms.info['condition']}",
        oracle=oracle_of(config.calculation.oracle, config.campaign.elements),
        force_max_ev_per_angstrom=config.calculation.force_max_ev_per_angstrom,
        pressure_max_gpa=config.calculation.pressure_max_gpa,
    )
    job = Job(
        root=config.campaign.folder / "check",
        workdir=folder,
        task=f"check.{number:04d}",
        parameters=parameters,
        inputs={"structure": [structure]},
        cores=1,
    )
    (label,) = read_frames(calculation.run(job).artefacts["label"])
    label.info["group"] = atoms.info["group"]
    return label


def _verdict(state: WorkflowState, targets: Targets) -> Row:
    missed = 0.0 if state.verdict in targets.verdicts else 1.0
    return Row("unwanted verdict", missed, "", 0.0, f"{state.status}: {state.verdict_reason}")


def _of_campaign(state: WorkflowState) -> Iterator[Row]:
    train = sum(cycle.labels_train for cycle in state.cycles)
    test = sum(cycle.labels_test for cycle in state.cycles)
    yield Row("cycles", len(state.cycles), "", None, f"{train} labels to train on, {test} to test")
    if state.potential is not None:
        yield Row(
            "force error, its own test set", state.potential.test.force_mev_per_angstrom, "meV/Å"
        )
        yield Row(
            "energy error, its own test set", state.potential.test.energy_mev_per_atom, "meV/atom"
        )


def _errors(
    config: WorkflowConfig, state: WorkflowState, frames: Sequence[Atoms], targets: Targets
) -> Iterator[Row]:
    if state.potential is None:
        return
    folder, references = (
        config.site.root / state.potential.folder,
        state.potential.reference_energies_ev,
    )
    groups = sorted({frame.info["group"] for frame in frames})
    sets = {"": frames} | {
        f", {group}": [frame for frame in frames if frame.info["group"] == group]
        for group in groups
    }
    for message, part in sets.items():
        energy, force = errors(folder, references, part)
        note = f"{len(part)} structures, {sum(map(len, part))} atoms"
        whole = not message
        yield Row(
            f"energy error, independent{message}",
            energy,
            "meV/atom",
            targets.energy_mev_per_atom if whole else None,
            note,
        )
        yield Row(
            f"force error, independent{message}",
            force,
            "meV/Å",
            targets.force_mev_per_angstrom if whole else None,
        )


def _last_promoted(config: WorkflowConfig) -> TrainingDigest:
    """Of the potential that the campaign ends with."""
    digests = [
        record.event.digest
        for record in read(config.campaign.folder / "journal")
        if isinstance(record.event, ev.PhaseEnded)
        and isinstance(record.event.digest, TrainingDigest)
    ]
    return [digest for digest in digests if digest.promoted][-1]


def _oracles(digest: TrainingDigest, rule: str) -> float | None:
    """The oracle's own value for the first crystal."""
    return next((measure.oracle for measure in digest.measures if measure.rule == rule), None)


def _properties(digest: TrainingDigest, targets: Targets) -> Iterator[Row]:
    """The relative errors in per cent."""
    for measure in digest.measures:
        target = {_LATTICE: targets.lattice_constant, _BULK: targets.bulk_modulus}.get(measure.rule)
        if measure.rule in {_LATTICE, _BULK} and measure.oracle is not None:
            value = (
                inf
                if measure.potential is None
                else 100 * abs(measure.potential / measure.oracle - 1)
            )
            potential = "none" if measure.potential is None else f"{measure.potential:.4g}"
            note = f"{potential} beside the oracle's {measure.oracle:.4g} {measure.unit}"
            message = f"{measure.rule.replace('_', ' ')} of {measure.subject}"
            yield Row(message, value, "%", None if target is None else 100 * target, note)
