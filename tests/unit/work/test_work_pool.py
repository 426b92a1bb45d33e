"""Frames of the user's are graded by γ as they are; what tests the potential is never offered to train on."""

from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write
from job_stand import Fitted, copper, explore_parameters, fit_once, job_of, labelled

from mlip_autopipec.data_models.outcome import ExploreMetrics
from mlip_autopipec.work.job import Job, TaskFailed
from mlip_autopipec.work.structures import read_frames, write_frames

exploration = pytest.importorskip("mlip_autopipec.work.steps.explore")

pytestmark = pytest.mark.codes

POOL = {"pool": True, "file": {"name": "frames.extxyz"}, "steps": 1, "temperature_kelvin": 1.0}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def frames(count: int = 40) -> list[Atoms]:
    """Copper that is more and more rattled."""
    return [copper((1, 1, 2), 0.01 + 0.004 * number, number) for number in range(count)]


def graded(folder: Path, fitted: Fitted, dataset: list[Atoms] | None = None, **changes: float) -> list[Atoms]:
    """What the pool offers."""
    job = pool_job(folder, fitted, dataset, **changes)
    result = exploration.run(job)
    metrics = ExploreMetrics.model_validate({"kind": "explore", **result.metrics})
    assert metrics.steps == metrics.steps_planned == 40
    offered = read_frames(result.artefacts["frames"])
    assert metrics.frames_collected == sum(frame.info["kind"] != "audit" for frame in offered)
    return offered


def pool_job(folder: Path, fitted: Fitted, dataset: list[Atoms] | None = None, **changes: float) -> Job[object]:
    write(folder / "frames.extxyz", frames(), format="extxyz")
    inputs = {**fitted.inputs, "structure": [folder / "frames.extxyz"]}
    if dataset is not None:
        write_frames(folder / "000.extxyz", dataset)
        inputs["dataset"] = [folder / "000.extxyz"]
    job: Job[object] = job_of(
        folder, explore_parameters(POOL, **{"gamma_select": 1.5, "audit_frames": 3, **changes}), inputs
    )
    return job


def test_every_frame_is_graded_and_one_in_five_is_for_audits(fitted: Fitted, tmp_path: Path) -> None:
    """In batches all others are offered; in a γ window those that extrapolate alone."""
    offered = graded(tmp_path, fitted, pool_frames=30)
    numbers = {frame.info["step"]: frame for frame in offered}
    audits = [number for number, frame in numbers.items() if frame.info["kind"] == "audit"]
    assert len(audits) == 3
    assert all(number % 5 == 0 for number in audits)
    others = sorted(set(numbers) - set(audits))
    assert others == [number for number in range(1, 41) if number % 5]
    assert numbers[39].info["origin"] == "collected: pool frames.extxyz, step 39"
    assert numbers[39].info["gamma_max"] > numbers[2].info["gamma_max"]
    loud = graded(tmp_path, fitted, pool_frames=0)
    loud_ones = [frame for frame in loud if frame.info["kind"] != "audit"]
    assert loud_ones
    assert all(frame.info["gamma_max"] >= 1.5 for frame in loud_ones)


def test_above_the_halt_the_highest_is_first(fitted: Fitted, tmp_path: Path) -> None:
    """As the frame that halts a walker; the pool is not quiet."""
    job = pool_job(tmp_path, fitted, gamma_halt=2.0, pool_frames=30)
    result = exploration.run(job)
    assert result.metrics["ending"] == "halted"
    (halting,) = (f for f in read_frames(result.artefacts["frames"]) if f.info["kind"] == "halt")
    assert halting.info["gamma_max"] == pytest.approx(result.metrics["gamma_max"])


def test_what_is_labelled_is_offered_no_more(fitted: Fitted, tmp_path: Path) -> None:
    """Neither to train on nor as an audit; frames of another pool are none of this one's."""
    known = []
    for number, origin in (
        (3, "halt: pool frames.extxyz, step 3"),
        (5, "audit: pool frames.extxyz, step 5"),
        (7, "informed: pool other.extxyz, step 7"),
        (9, "random: pool frames.extxyz, step 9"),
    ):
        known.append(labelled(copper((1, 1, 1), 0.02, number)))
        known[-1].info["origin"] = origin
    offered = {frame.info["step"] for frame in graded(tmp_path, fitted, known, pool_frames=30, audit_frames=40)}
    assert offered == set(range(1, 41)) - {3, 5, 9}


def test_it_stops_when_it_is_told(fitted: Fitted, tmp_path: Path) -> None:
    """Before the walltime."""
    job = pool_job(tmp_path, fitted)
    job.stopping.set()
    with pytest.raises(TaskFailed, match="stopped at frame 1 of 40"):
        exploration.run(job)
