"""The user's labels are adopted where the oracle agrees with those it labels again.

Otherwise a person is asked.
"""

from dataclasses import replace
from typing import Any

import pytest

from mlip_autopipec.config.schemas.dataset import DatasetSection
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.adoption import check_tasks
from mlip_autopipec.orchestration.machine import is_stale
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.restart import after_change
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.report.projections import learning_curve
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.physics import file_ref
from mlip_autopipec.testing.walk import Walk

ADA = ev.Actor(uid=1000, pid=1, name="ada")
ALONE: dict[str, Any] = {"prototypes": [], "structures": 0}
N_ATOMS = 32
#: Of each of the three frames: its energy in eV/atom by the set, by the oracle; meV/Å; GPa; copper
#: in parts.
Frames = tuple[tuple[float, float, float, float, float], ...]
AGREED: Frames = (
    (-3.5, -3.501, 12, 0.1, 1),
    (-3.4, -3.401, 5, 0.0, 0.75),
    (-3.45, -3.451, 9, 0.2, 0.5),
)


def campaign(frames: Frames = AGREED, generation: dict[str, Any] = ALONE, **changes: Any) -> Walk:
    """One whose frames were labelled again, to what the oracle says of them."""
    config = copper_config(dataset={"files": ("mine.extxyz",), **changes}, generation=generation)
    supplies = (
        {file: file_ref(f"inputs/0a1b-{file.name}") for file in config.dataset.files}
        if config.dataset
        else {}
    )
    walk = Walk(config, phase_runners(config, supplies))
    batch = walk.submitted(Phase.CALCULATION)
    for index, (given, right, force, stress, copper) in enumerate(frames):
        ended = walk.ended(batch.job_name, index)
        metrics = ended.outcome.metrics
        assert isinstance(metrics, CalculateMetrics)
        assert metrics.difference is not None
        gold = round((1 - copper) * metrics.n_atoms)
        changed: dict[str, Any] = {
            "set_energy_ev": given * metrics.n_atoms,
            "composition": {"Cu": metrics.n_atoms - gold, **({"Au": gold} if gold else {})},
            "force_mev_per_angstrom": float(force),
            "stress_gpa": stress,
        }
        difference = replace(metrics.difference, **changed)
        metrics = replace(metrics, energy_ev=right * metrics.n_atoms, difference=difference)
        walk.tell(
            ended.model_copy(
                update={"outcome": ended.outcome.model_copy(update={"metrics": metrics})}
            )
        )
    return walk


def begun(config: WorkflowConfig) -> Walk:
    """A campaign with a data set, at its begin."""
    assert config.dataset is not None
    supplies = {file: file_ref("inputs/1-m") for file in config.dataset.files}
    return Walk(config, phase_runners(config, supplies))


def below(ev_per_atom: float) -> Frames:
    """The same set, with lower energies."""
    return tuple((given - ev_per_atom, *rest) for given, *rest in AGREED)  # type: ignore[misc] # five each


def refusal(walk: Walk) -> str:
    """Why the set is refused."""
    (command,) = walk.commands()
    assert isinstance(command, cm.RefuseDataset)
    return command.reason


def calculation(walk: Walk) -> CalculationDigest:
    """The digest of the first labels."""
    walk.planned(Phase.TRAINING)
    (digest,) = (
        e.digest
        for e in walk.events
        if isinstance(e, ev.PhaseEnded) and e.digest.phase == "calculation"
    )
    assert isinstance(digest, CalculationDigest)
    return digest


def test_a_set_may_be_the_whole_bootstrap() -> None:
    """Three frames are labelled again and nothing else.

    Training reads the set, and later cycles read it no more.
    """
    walk = campaign()
    assert [record.task.parameters.kind for record in walk.state.own_tasks] == ["calculate"] * 3
    adopted = calculation(walk).adopted
    assert adopted is not None
    assert (adopted.train, adopted.test, adopted.offsets_ev) == (18, 2, {})
    assert adopted.message == "3 frames labelled again agree to 1 meV/atom, 12 meV/Å, 0.2 GPa"
    (ended,) = (
        e for e in walk.events if isinstance(e, ev.PhaseEnded) and e.digest.phase == "calculation"
    )
    assert "20 labels of the data set adopted: 3 frames" in describe(ended)
    (training,) = walk.state.own_tasks
    assert [item.name for item in training.task.inputs] == ["label"] * 3 + ["adopted"]
    walk.planned(Phase.TRAINING, 1)
    (training,) = walk.state.own_tasks
    assert "adopted" not in [item.name for item in training.task.inputs]
    (first, *_) = walk.state.cycles
    assert (first.labels_train + first.labels_test, first.adopted_train, first.adopted_test) == (
        0,
        18,
        2,
    )
    (closed, *_) = (e for e in walk.events if isinstance(e, ev.CycleClosed))
    assert "0 labels and 20 of the data set" in describe(closed)
    assert next(fit.labels_train + fit.labels_test for fit in learning_curve(walk.events)) == 20
    assert walk.state.check() == ()


def test_beside_other_structures_the_frames_are_labelled_first() -> None:
    """What the oracle says of the set comes before anything else is spent."""
    config = copper_config(
        dataset={"files": ("mine.extxyz",)}, training={"gate": {"properties": False}}
    )
    walk = begun(config)
    batch = walk.submitted(Phase.CALCULATION)
    assert set(batch.tasks) == check_tasks(walk.state).keys()
    walk.planned(Phase.TRAINING)
    assert sum(isinstance(e, ev.TaskEnded) for e in walk.events) == 1 + 3 + 3


def test_no_round_closes_before_a_frame_that_is_labelled_once_more() -> None:
    """A check that a person brings back may yet show that the set is wrong; labels wait for it."""
    config = copper_config(
        dataset={"files": ("mine.extxyz",)}, training={"gate": {"properties": False}}
    )
    walk = begun(config)
    walk.planned(Phase.CALCULATION)
    (check, *_) = check_tasks(walk.state)
    walk.tell(ev.TasksCancelled(at=walk.now, tasks=(check,), by=ADA, reason="too long"))
    walk.until(
        lambda state: len(state.batches) == 1 and not check_tasks(state).keys() & set(_live(state))
    )
    walk.tell(ev.TaskRetried(at=walk.now, task=check, by=ADA, reason="mended"))
    for batch, index in [*walk.live()]:
        walk.tell(walk.ended(batch.job_name, index))
    assert not any(isinstance(command, cm.DigestPhase) for command in walk.commands())
    walk.planned(Phase.TRAINING)
    (adopted,) = (
        e.digest.adopted
        for e in walk.events
        if isinstance(e, ev.PhaseEnded) and e.digest.phase == "calculation"
    )
    assert adopted is not None
    assert adopted.message.startswith("3 frames")


def _live(state: WorkflowState) -> list[str]:
    return [batch.tasks[index] for batch in state.batches.values() for index in batch.live]


def test_a_set_that_differs_asks_a_person_again_and_again() -> None:
    """A resume alone changes nothing; a site file with wider tolerances, or with offsets, does."""
    walk = campaign(below(0.5))
    reason = refusal(walk)
    assert (
        "frame 1 of mine.extxyz has -4.0000 eV/atom, the oracle -3.5010 (499 meV/atom apart,"
        " at most 5"
    ) in reason
    assert (
        "agree up to one number for each element (eV: Au +0.4990, Cu +0.4990): say `dataset:"
        " {offsets: fit}`"
    ) in reason
    assert "None of it is trained on" in reason
    for _ in range(2):
        (command,) = walk.commands()
        paused = walk.follow(command)
        assert isinstance(paused, ev.Paused)
        assert paused.mender is Mender.PERSON
        assert not is_stale(walk.state, paused)
        walk.tell(ev.EVENT_ADAPTER.validate_json(paused.model_dump_json()))
        assert is_stale(walk.state, paused)
        assert walk.commands() == ()
        walk.tell(ev.Resumed(at=walk.now, by=ADA, reason="all the same"))
    mended = campaign(below(0.5), offsets="fit")
    adopted = calculation(mended).adopted
    assert adopted is not None
    assert adopted.offsets_ev == pytest.approx({"Cu": 0.499, "Au": 0.499}, abs=1e-6)
    assert mended.state.own_tasks[0].task.parameters.adopted_offsets_ev == adopted.offsets_ev  # type: ignore[union-attr] # of Training


def test_a_mended_site_file_goes_on_by_itself() -> None:
    """It resumes what a person had to mend, and its tolerances count at once."""
    walk = campaign(below(0.02))
    walk.tell(walk.follow(walk.commands()[0]))
    section = DatasetSection(files=("mine.extxyz",), energy_max_mev_per_atom=30.0)  # type: ignore[arg-type] # a path
    mended = walk.policy.model_copy(update={"dataset": section})
    (resumed,) = after_change(walk.state, "another", mended, walk.now, ADA)
    assert isinstance(resumed, ev.Resumed)
    walk.tell(resumed)
    assert any(isinstance(command, cm.DigestPhase) for command in _commands(walk, mended))


def _commands(walk: Walk, policy: Policy) -> tuple[cm.Command, ...]:
    from mlip_autopipec.orchestration.decide import decide  # noqa: PLC0415 - as a daemon with another site file would

    return decide(walk.state, policy, walk.now)


def scaled(factor: float, zero: float = 0.0) -> Frames:
    """The set in another unit, from another zero."""
    return tuple(((given + zero) * factor, *rest) for given, *rest in AGREED)  # type: ignore[misc] # five each


WRONG = {
    "Hartree": (scaled(1 / 27.211386), "`dataset: {energy_unit: Ha}`"),
    "Rydberg": (scaled(2 / 27.211386), "`dataset: {energy_unit: Ry}`"),
    "kcal": (scaled(23.0605), "`dataset: {energy_unit: kcal/mol}`"),
    "kJ": (scaled(96.485), "`dataset: {energy_unit: kJ/mol}`"),
    "one atom's": (scaled(1 / N_ATOMS), "`dataset: {energy_per_atom: true}`"),
    "another functional": (
        ((-3.5, -3.6, 1, 0, 1), (-3.4, -3.2, 1, 0, 1), (-3.45, -3.451, 1, 0, 1)),
        "other functional, cutoffs or k-points give other energies",
    ),
    "forces": (
        ((-3.5, -3.5, 800, 0, 1), *AGREED[1:]),
        "a force of frame 1 of mine.extxyz is 800 meV/Å off",
    ),
    "stress": (
        ((-3.5, -3.5, 1, 12, 1), *AGREED[1:]),
        "the stress of frame 1 of mine.extxyz is 12 GPa off",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_would_explain_the_difference_is_told(name: str) -> None:
    """With the frame, both figures and the key that says so; and nothing is trained on."""
    frames, message = WRONG[name]
    walk = campaign(frames)
    reason = refusal(walk)
    assert message in reason
    assert "of mine.extxyz" in reason
    assert not any(isinstance(command, cm.DigestPhase) for command in walk.commands())


def test_offsets_are_not_fitted_to_as_many_numbers() -> None:
    """Two frames of two compositions fit any two numbers."""
    walk = campaign(AGREED[:2], offsets="fit", checks=2)
    assert "2 offsets are to be fitted to them: nothing is left to show" in refusal(walk)


def test_an_oracle_that_labels_none_of_them_shows_nothing() -> None:
    """The campaign ends with the oracle's words, as it does wherever a quorum is lost.

    The set is not adopted.
    """
    config = copper_config(dataset={"files": ("mine.extxyz",)}, generation=ALONE)
    walk = begun(config)
    batch = walk.submitted(Phase.CALCULATION)
    walk.tell(*(walk.ended(batch.job_name, index, Reason.NUMERICAL) for index in range(3)))
    walk.until(lambda state: state.verdict is not None or state.pause is not None)
    assert not any(
        isinstance(event, ev.PhaseStarted) and event.phase is Phase.TRAINING
        for event in walk.events
    )


def test_a_journal_of_before_is_written_as_it_was() -> None:
    """No key of a data set stands in the tasks and events of a campaign without one."""
    config = copper_config()
    walk = Walk(config, phase_runners(config))
    walk.planned(Phase.TRAINING)
    for event in walk.events:
        for word in (
            b'"dataset":{',
            b'"adopted_',
            b'"adopted":n',
            b'"difference"',
            b'"dataset":null',
        ):
            assert word not in event.model_dump_json().encode(), (word, event)
