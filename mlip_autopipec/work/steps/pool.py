"""Frames of the user's in the place of a walk: graded by γ as they are, and offered to be labelled. No MD.

A part of the frames, always the same, is kept for audits: what tests the potential is never offered to be trained on.
What a data set of the campaign holds already is offered no more, so that a campaign comes to the end of its pool.
"""

from collections.abc import Sequence

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.work import families
from mlip_autopipec.work.ace.evaluator import Evaluator
from mlip_autopipec.work.job import Job, Result, TaskFailed
from mlip_autopipec.work.origins import note_origin, origin_of
from mlip_autopipec.work.steps.traces import counted, thinned
from mlip_autopipec.work.structures import read_frames, user_structures, write_frames

#: One frame in so many is kept for audits.
_AUDITS_EACH = 5
#: Offered to Selection: of the highest γ, and by chance.
_HIGHEST_MAX, _RANDOM_MAX = 500, 500
_TOLD_EACH = 50


def graded_pool(job: Job[ExploreParameters], evaluator: Evaluator) -> Result:
    """γ of every frame; the highest, some at random, and audits that no fit will see."""
    parameters = job.parameters
    frames = user_structures(job.one("structure"), parameters.elements)
    trace = np.zeros((len(frames), 2))
    for number, frame in enumerate(frames):
        if job.stopping.is_set():
            raise TaskFailed("timeout", f"stopped at frame {number + 1} of {len(frames)}, to begin again")
        frame.set_array("gamma", evaluator.gamma(frame))
        trace[number] = number + 1, frame.arrays["gamma"].max()
        if number % _TOLD_EACH == 0:
            job.progress(number / len(frames), f"frame {number + 1} of {len(frames)} graded")
    highest = int(trace[:, 1].argmax())
    gamma_max = float(trace[highest, 1])
    halted = gamma_max > parameters.gamma_halt
    offered, audits = _offered(job, frames, trace)
    for number in (*offered, *audits):
        kind = "audit" if number in audits else "halt" if halted and number == highest else "collected"
        _describe(job, frames[number], number + 1, kind)
    kept = [*(frames[number] for number in sorted(offered)), *(frames[number] for number in sorted(audits))]
    write_frames(job.workdir / "frames.extxyz", kept)
    metrics = {
        "ending": "halted" if halted else "completed",
        "detail": f"γ {gamma_max:.3g} in frame {highest + 1}" if halted else "",
        "steps": len(frames),
        "steps_planned": len(frames),
        "time_ps": 0.0,
        "gamma_max": gamma_max,
        "frames_collected": len(offered),
        "temperature_mean_kelvin": 0.0,
        "gamma_trace": thinned(trace),
        "gamma_counts": counted(trace),
        "gamma_selected": int(np.count_nonzero(trace[:, 1] >= parameters.gamma_select)),
    }
    return Result(metrics, {"frames": job.workdir / "frames.extxyz"})


def _offered(job: Job[ExploreParameters], frames: Sequence[Atoms], trace: np.ndarray) -> tuple[list[int], list[int]]:
    """Places of the frames to train on and of the audits, those that are labelled already left out."""
    labelled = _labelled(job)
    left = [number for number in range(len(frames)) if number + 1 not in labelled]
    audits = [number for number in left if number % _AUDITS_EACH == _AUDITS_EACH - 1]
    others = [number for number in left if number % _AUDITS_EACH != _AUDITS_EACH - 1]
    rng = np.random.default_rng(job.parameters.walker.seed)
    drawn = [audits[place] for place in rng.permutation(len(audits))[: job.parameters.audit_frames]]
    by_gamma = sorted(others, key=lambda number: -trace[number, 1])
    loud = [number for number in by_gamma if trace[number, 1] >= job.parameters.gamma_select][:_HIGHEST_MAX]
    rest = [number for number in others if number not in set(loud)]
    if not job.parameters.pool_frames:  # the γ window takes what extrapolates, and nothing else
        return loud, drawn
    return [*loud, *(rest[place] for place in rng.permutation(len(rest))[:_RANDOM_MAX])], drawn


def _labelled(job: Job[ExploreParameters]) -> frozenset[int]:
    """Numbers of the frames of this pool that a data set of the campaign has."""
    origins = (origin_of(label) for path in job.inputs.get("dataset", []) for label in read_frames(path))
    here = job.parameters.label
    return frozenset(each.step for each in origins if each.step is not None and each.subject == here)


def _describe(job: Job[ExploreParameters], frame: Atoms, number: int, kind: str) -> None:
    """What Selection needs to know of a frame."""
    families.begin(frame)
    frame.info.update(
        kind=kind,
        walker=job.task,
        stride=1,
        step=number,
        apart=1,
        gamma_max=float(frame.arrays["gamma"].max()),
    )
    label = job.parameters.label
    note_origin(frame, Origin(kind=kind, subject=label, condition=label, step=number))
