"""Frames of the user's are graded by γ as they are.

What tests the potential is never offered to train on.
"""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from ase import Atoms
from ase.io import write
from kit.jobs import Fitted, copper, explore_parameters, fit_once, job_of, labelled
from kit.judged import judged_value

from mlip_autopipec.contract.results.explore import ExploreMetrics
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


def graded(
    folder: Path, fitted: Fitted, dataset: list[Atoms] | None = None, **changes: float
) -> list[Atoms]:
    """What the pool offers."""
    job = pool_job(folder, fitted, dataset, None, **changes)
    result = exploration.run(job)
    metrics = judged_value(ExploreMetrics, result.metrics)
    assert metrics.steps == metrics.steps_planned == 40
    offered = read_frames(result.artefacts["frames"])
    assert metrics.frames_collected == sum(frame.info["kind"] != "audit" for frame in offered)
    return offered


def pool_job(
    folder: Path,
    fitted: Fitted,
    dataset: list[Atoms] | None = None,
    frames_given: Sequence[Atoms] | None = None,
    **changes: float,
) -> Job[object]:
    folder.mkdir(exist_ok=True)
    write(folder / "frames.extxyz", frames_given or frames(), format="extxyz")
    inputs = {**fitted.inputs, "structure": [folder / "frames.extxyz"]}
    if dataset is not None:
        write_frames(folder / "000.extxyz", dataset)
        inputs["dataset"] = [folder / "000.extxyz"]
    job: Job[object] = job_of(
        folder,
        explore_parameters(POOL, **{"gamma_select": 1.5, "audit_frames": 3, **changes}),
        inputs,
    )
    return job


def test_every_frame_is_graded_and_one_in_five_is_for_audits(
    fitted: Fitted, tmp_path: Path
) -> None:
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
    assert result.metrics.ending == "halted"
    (halting,) = (f for f in read_frames(result.artefacts["frames"]) if f.info["kind"] == "halt")
    assert halting.info["gamma_max"] == pytest.approx(result.metrics.gamma_max)


def test_what_lies_above_the_halt_is_trained_on_wherever_it_stands(
    fitted: Fitted, tmp_path: Path
) -> None:
    """Where an audit would be, too: else no cycle could ever be quiet."""
    given = [copper((1, 1, 2), 0.02, number) for number in range(40)]
    given[4] = copper((1, 1, 2), 0.25, 4)
    job = pool_job(tmp_path / "a", fitted, None, given, gamma_halt=10.0, audit_frames=40)
    result = exploration.run(job)
    assert result.metrics.ending == "halted"
    (halting,) = (f for f in read_frames(result.artefacts["frames"]) if f.info["kind"] == "halt")
    assert halting.info["step"] == 5
    tested = labelled(given[4].copy())
    tested.info["origin"] = "audit: pool frames.extxyz, step 5"
    known = pool_job(tmp_path / "b", fitted, [tested], given, gamma_halt=10.0, audit_frames=40)
    result = exploration.run(known)
    assert result.metrics.ending == "completed"
    assert result.metrics.gamma_max < 10.0


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
    offered = {
        frame.info["step"]
        for frame in graded(tmp_path, fitted, known, pool_frames=30, audit_frames=40)
    }
    assert offered == set(range(1, 41)) - {3, 5, 9}


def test_it_stops_when_it_is_told(fitted: Fitted, tmp_path: Path) -> None:
    """Before the walltime."""
    job = pool_job(tmp_path, fitted)
    job.stopping.set()
    with pytest.raises(TaskFailed, match="stopped at frame 1 of 40"):
        exploration.run(job)


def test_a_grading_that_was_stopped_goes_on(fitted: Fitted, tmp_path: Path) -> None:
    """What a run has graded before its walltime is not graded again.

    The frames offered are the same.
    """
    whole = exploration.run(pool_job(tmp_path / "whole", fitted, pool_frames=30))
    first = pool_job(tmp_path / "first", fitted, pool_frames=30)
    after = 13
    with pytest.raises(TaskFailed) as failure:
        exploration.run(replace(first, stopping=StoppedAfter(after)))
    assert failure.value.reason == "timeout"
    assert failure.value.reached == after / 40
    again = replace(pool_job(tmp_path / "again", fitted, pool_frames=30), before=(first.workdir,))
    never = StoppedAfter(100)
    result = exploration.run(replace(again, stopping=never))
    assert never.asked == 40 - after
    assert result.metrics.gamma_max == pytest.approx(whole.metrics.gamma_max)
    for item, other in zip(
        *(read_frames(each.artefacts["frames"]) for each in (whole, result)), strict=True
    ):
        assert item.info["step"] == other.info["step"]
        assert item.arrays["gamma"] == pytest.approx(other.arrays["gamma"])


class StoppedAfter(threading.Event):
    """Set after so many questions whether it is."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times, self.asked = times, 0

    def is_set(self) -> bool:
        self.asked += 1
        return self.asked > self.times


def test_of_many_frames_a_thousand_are_offered(fitted: Fitted, tmp_path: Path) -> None:
    """A pool may have ten thousand; 500 of the highest γ and 500 by chance go on to the choice."""
    many = [copper((1, 1, 1), 0.01 + 0.0002 * number, number) for number in range(1300)]
    job = pool_job(tmp_path, fitted, frames_given=many, pool_frames=30, gamma_select=1.2)
    result = exploration.run(job)
    offered = [
        frame for frame in read_frames(result.artefacts["frames"]) if frame.info["kind"] != "audit"
    ]
    assert len(offered) == 1000
    loud = sorted((frame.info["gamma_max"] for frame in offered), reverse=True)[:500]
    assert result.metrics.gamma_selected > 700
    assert loud[-1] > 1.2
    assert len({frame.info["step"] for frame in offered}) == 1000
    assert not any(frame.info["step"] % 5 == 0 for frame in offered)
