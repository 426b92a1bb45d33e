"""A user's frames in place of a walk: graded by γ as they are, and offered to be labelled. No MD.

A part of the frames, always the same, is kept for audits: what tests the potential is never offered
to be trained on. What a data set of the campaign holds already is offered no more, so that a
campaign comes to the end of its pool. Only what can be trained on says whether the pool is quiet.
"""

import io
from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.work import families
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import Job, Result, TaskFailed, write_atomic
from mlip_autopipec.work.origins import note_origin, origin_of
from mlip_autopipec.work.steps.traces import counted, thinned
from mlip_autopipec.work.structures import read_frames, user_structures, write_frames

#: One frame in so many is kept for audits.
_AUDITS_EACH = 5
#: Offered to Selection: of the highest γ, and by chance.
_HIGHEST_MAX, _RANDOM_MAX = 500, 500
_REPORT_EACH = 50
#: γ of all atoms of the frames that a run has graded, one after another.
_GRADED = "graded.npy"


def graded_pool(job: Job[ExploreParameters], evaluator: Evaluator) -> Result[ExploreMetrics]:
    """γ of every frame; the highest, some at random, and audits that no fit will see."""
    parameters = job.parameters
    frames = user_structures(job.only_input("structure"), parameters.elements)
    gammas = _graded(job, evaluator, frames)
    trace = np.array([(number, gamma.max()) for number, gamma in enumerate(gammas, 1)])
    others, audits = _parts(job, trace)
    highest = max(others, key=lambda number: trace[number, 1], default=None)
    gamma_max = float(trace[highest, 1]) if highest is not None else 0.0
    halting = highest if gamma_max > parameters.gamma_halt else None
    rng = np.random.default_rng(parameters.walker.seed)
    drawn = [audits[index] for index in rng.permutation(len(audits))[: parameters.audit_frames]]
    offered = _offered(job, others, trace, rng)
    for number in drawn:
        _describe(job, frames[number], gammas[number], number + 1, "audit")
    for number in offered:
        kind = "halt" if number == halting else "collected"
        _describe(job, frames[number], gammas[number], number + 1, kind)
    kept = [
        *(frames[number] for number in sorted(offered)),
        *(frames[number] for number in sorted(drawn)),
    ]
    write_frames(job.workdir / "frames.extxyz", kept)
    metrics = ExploreMetrics(
        ending=Ending.COMPLETED if halting is None else Ending.HALTED,
        detail="" if halting is None else f"γ {gamma_max:.3g} in frame {halting + 1}",
        steps=len(frames),
        steps_planned=len(frames),
        time_ps=0.0,
        gamma_max=gamma_max,
        frames_collected=len(offered),
        temperature_mean_kelvin=0.0,
        gamma_trace=thinned(trace),
        gamma_counts=counted(trace),
        gamma_selected=int(np.count_nonzero(trace[:, 1] >= parameters.gamma_select)),
    )
    return Result(metrics, {"frames": job.workdir / "frames.extxyz"})


def _graded(
    job: Job[ExploreParameters], evaluator: Evaluator, frames: Sequence[Atoms]
) -> list[np.ndarray]:
    """γ of every atom of every frame; those an earlier run of the task graded are not graded again.

    Raises TaskFailed (timeout) when asked to stop, with what was graded left to go on from.
    """
    gammas: list[np.ndarray] = []
    if job.carry_over(lambda run: [_GRADED] if (run / _GRADED).exists() else []):
        atoms = [len(frame) for frame in frames]
        whole = np.load(job.workdir / _GRADED)
        done = int(np.searchsorted(np.cumsum(atoms), len(whole), side="right"))
        gammas = np.split(whole, np.cumsum(atoms[:done]))[:done]
    for number in range(len(gammas), len(frames)):
        if job.stopping.is_set():
            content = io.BytesIO()
            np.save(content, np.concatenate([np.zeros(0), *gammas]))
            write_atomic(job.workdir / _GRADED, content.getvalue())
            message = f"stopped at frame {number + 1} of {len(frames)}, to go on from there"
            raise TaskFailed("timeout", message, number / len(frames))
        gammas.append(evaluator.gamma(frames[number]))
        if number % _REPORT_EACH == 0:
            job.progress(number / len(frames), f"frame {number + 1} of {len(frames)} graded")
    return gammas


def _parts(job: Job[ExploreParameters], trace: np.ndarray) -> tuple[list[int], list[int]]:
    """Places of the frames without a label: of those to train on, and of those for audits.

    What is for audits, and above the halt, is trained on once nothing else is above it.
    """
    labelled = _labelled(job)
    left = [number for number in range(len(trace)) if number + 1 not in labelled]
    audits = [number for number in left if number % _AUDITS_EACH == _AUDITS_EACH - 1]
    others = [number for number in left if number % _AUDITS_EACH != _AUDITS_EACH - 1]
    loud = {number for number in left if trace[number, 1] > job.parameters.gamma_halt}
    if not loud.isdisjoint(others):
        return others, audits
    return sorted(loud.union(others)), [number for number in audits if number not in loud]


def _offered(
    job: Job[ExploreParameters],
    others: Sequence[int],
    trace: np.ndarray,
    rng: np.random.Generator,
) -> list[int]:
    """Places of the frames to train on that Selection may choose from: the loudest, and some."""
    by_gamma = sorted(others, key=lambda number: -trace[number, 1])
    loud = [number for number in by_gamma if trace[number, 1] >= job.parameters.gamma_select][
        :_HIGHEST_MAX
    ]
    if not job.parameters.pool_frames:  # the γ window takes what extrapolates, and nothing else
        return loud
    among_loud = set(loud)
    rest = [number for number in others if number not in among_loud]
    return [*loud, *(rest[index] for index in rng.permutation(len(rest))[:_RANDOM_MAX])]


def _labelled(job: Job[ExploreParameters]) -> frozenset[int]:
    """Numbers of the frames of this pool that a data set of the campaign has."""
    origins = (
        origin_of(label) for path in job.inputs.get("dataset", []) for label in read_frames(path)
    )
    here = job.parameters.label
    return frozenset(
        each.step for each in origins if each.step is not None and each.subject == here
    )


def _describe(
    job: Job[ExploreParameters], frame: Atoms, gamma: np.ndarray, number: int, kind: str
) -> None:
    """What Selection needs to know of a frame."""
    families.begin(frame)
    frame.set_array("gamma", gamma)
    frame.info.update(
        kind=kind,
        walker=job.task,
        stride=1,
        step=number,
        apart=1,
        gamma_max=float(gamma.max()),
    )
    label = job.parameters.label
    note_origin(frame, Origin(kind=kind, subject=label, condition=label, step=number))
