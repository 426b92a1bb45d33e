"""Exploration: one walker of MD.

It walks until it completes, meets what the potential does not know, or breaks a guard.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from ase import Atoms

from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.explore import ExploreParameters, Walker
from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.engine import Engine
from mlip_autopipec.work.codes.evaluator import checked_potential
from mlip_autopipec.work.codes.lammps.files import (
    Halt,
    find_checkpoint,
    find_halt,
    in_lammps_axes,
    prepare,
    read_dump,
    read_trace,
    remains,
    write_data,
)
from mlip_autopipec.work.codes.lammps.probe import probe
from mlip_autopipec.work.codes.lammps.script import needs_tilt, render_input
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed
from mlip_autopipec.work.origins import note_origin, origin_of
from mlip_autopipec.work.steps.pool import graded_pool
from mlip_autopipec.work.steps.traces import counted, thinned
from mlip_autopipec.work.structures import (
    crystal,
    finite,
    read_frames,
    user_structures,
    write_frames,
)

#: Columns of the trace with the temperature and the potential energy.
_TEMPERATURE, _ENERGY = 2, 4
#: Looks that an autocorrelation takes; what counts as none.
_LOOKS_MIN, _UNCORRELATED = 40, 0.1
#: ps between two frames of a pool, at least and at most.
_APART_PS = (0.04, 0.5)
_FS_IN_PS = 1.0e-3
#: Guard → what it says, of the value that struck.
_GUARDS = {
    "halt_distance": "two atoms {value:.3g} Å apart at step {step}",
    "halt_temperature": "{value:.0f} K at step {step}, {kelvin:g} K were asked for",
    "halt_pressure": "{value:.3g} GPa of one sign or the other at step {step}",
    "halt_volume": "the volume has changed by a factor of {value:.3g} at step {step}",
    "halt_numbers": "energy or γ was no number at step {step}",
}


def run(job: Job[ExploreParameters]) -> Result[ExploreMetrics]:
    """Run the walker and keep the frames above gamma_select, the last one, and a few at random."""
    parameters = job.parameters
    elements = parameters.elements
    potential = checked_potential(job, parameters.evaluator, parameters.fingerprint)
    evaluator = potential.evaluator()
    if parameters.walker.pool:
        return graded_pool(job, evaluator)
    settings = parameters.engine
    engine: Engine = engine_code(settings.kind).work("make")(
        settings, potential, evaluator, elements
    )
    structure = in_lammps_axes(_start(job, parameters))
    reference = _reference(parameters.walker, structure)
    write_data(
        job.workdir / "structure.data", structure, elements, tilt=needs_tilt(parameters.walker)
    )
    job.carry_over(remains)
    checkpoint = find_checkpoint(job.workdir)
    prepare(job.workdir, checkpoint)
    script = render_input(
        parameters,
        engine.potential_lines(parameters.stride),
        volume_angstrom3=structure.get_volume(),
        present=structure.get_chemical_symbols(),
        checkpoint=checkpoint,
    )
    probed = probe(job, parameters, structure, evaluator, engine)
    ran = engine.run(job, parameters, script, "lammps")
    halt = find_halt((job.workdir / "log.lammps").read_text(encoding="utf-8"))
    trace = read_trace(job.workdir / "gamma.csv")
    ending, detail = _ending(parameters, halt, ran.stopped)
    apart = decorrelation_steps(trace, parameters)
    walk = _Walk(trace, structure.get_volume(), ending, apart)
    frames = _frames(job, parameters, len(structure), halt, walk)
    for frame in frames:
        frame.info.update(reference)
    artefacts = {"frames": job.workdir / "frames.extxyz"}
    write_frames(artefacts["frames"], frames)
    metrics = replace(
        _metrics(parameters, trace, frames, ending, detail),
        decorrelation_steps=apart,
        probe=probed,
        gamma_share=None if ran.gamma_share is None else round(ran.gamma_share, 4),
    )
    good = (
        _last_good(job, parameters, len(structure), halt, walk) if ending is Ending.HALTED else None
    )
    if good is not None:
        metrics = replace(metrics, restart_step=int(good.info["step"]))
        good.info.update(reference)
        artefacts["restart"] = job.workdir / "restart.extxyz"
        write_frames(artefacts["restart"], [good])
    return Result(metrics, artefacts)


def _start(job: AnyJob, parameters: ExploreParameters) -> Atoms:
    """Where the walker starts: on from a halted one, from the user's file, or from a crystal."""
    walker = parameters.walker
    if walker.continues is not None:
        return read_frames(job.only_input("restart"))[-1]
    if walker.prototype is not None:
        return _with_a_temperature(crystal(walker.prototype))
    path, repeat = job.only_input("structure"), walker.file.repeat if walker.file else (1, 1, 1)
    return _with_a_temperature(user_structures(path, parameters.elements)[-1].repeat(repeat))


def _with_a_temperature(atoms: Atoms) -> Atoms:
    """A cell of one atom is repeated, twice each way.

    One atom alone has no motion beside that of its centre of mass.
    """
    return atoms.repeat(2) if len(atoms) == 1 else atoms


def _reference(walker: Walker, structure: Atoms) -> dict[str, np.ndarray]:
    """The family of the walker's cells.

    It is that of its crystal, or of the user's structure before the first step.
    """
    if walker.prototype is not None:
        return families.of(crystal(walker.prototype))
    if walker.continues is None and walker.file is not None:
        structure = families.begin(structure.copy(), walker.file.repeat)
    return families.of(structure)


def _ending(
    parameters: ExploreParameters, halt: Halt | None, stopped: str | None
) -> tuple[Ending, str]:
    """The ending and the guard that brought it, in words."""
    if stopped is not None:
        return Ending.EXPLODED, stopped
    if halt is None:
        return Ending.COMPLETED, ""
    if halt.fix == "halt_gamma":
        return Ending.HALTED, f"γ {halt.value:.3g} at step {halt.step}"
    if halt.fix == "halt_asked":
        reached = halt.step / parameters.walker.steps
        raise TaskFailed("timeout", f"stopped at step {halt.step}, to go on from there", reached)
    if halt.fix in _GUARDS:
        kelvin = parameters.walker.temperature_kelvin
        return Ending.EXPLODED, _GUARDS[halt.fix].format(
            value=halt.value, step=halt.step, kelvin=kelvin
        )
    for pair, distance_angstrom in parameters.distances_min_angstrom.items():
        first, other = pair.split("-")
        if halt.fix == "halt_pair_{}_{}".format(
            *(parameters.elements.index(element) + 1 for element in (first, other))
        ):
            return (
                Ending.EXPLODED,
                f"{first} and {other} less than {distance_angstrom:g} Å apart at step {halt.step}",
            )
    raise TaskFailed(
        "crashed", f"LAMMPS was halted by {halt.fix!r}, which no line of in.lammps names"
    )


def decorrelation_steps(trace: np.ndarray, parameters: ExploreParameters) -> int:
    """Steps until a frame tells more, on the stride: two correlation times of the potential energy.

    The correlation time is the integral of the normalised autocorrelation up to its first value
    below a tenth (Allen and Tildesley, Computer Simulation of Liquids (2017), chapter 8). Between
    `_APART_PS`; a short walk tells no better.
    """
    stride, walker = parameters.stride, parameters.walker
    shortest, longest = (ps / _FS_IN_PS / walker.timestep_fs for ps in _APART_PS)
    energies = trace[len(trace) // 4 :, _ENERGY] if len(trace) else np.zeros(0)
    correlated = 0.0
    if len(energies) >= _LOOKS_MIN and (spread := float(energies.var())) > 0.0:
        off = energies - energies.mean()
        for lag in range(1, len(off) // 4):
            value = float((off[:-lag] * off[lag:]).mean()) / spread
            if value < _UNCORRELATED:
                break
            correlated += value
    steps = min(max(2.0 * stride * (0.5 + correlated), shortest), longest)
    return int(np.ceil(steps / stride)) * int(stride)


@dataclass(frozen=True)
class _Walk:
    """What is known of a walk that has ended."""

    trace: np.ndarray
    volume_angstrom3: float  # at its start
    ending: Ending
    apart: int  # steps between two frames that are independent

    def is_sane(self, frame: Atoms, parameters: ExploreParameters) -> bool:
        """Whether volume and temperature are far from a guard: 1/3 and 1/2 of the way (logarithms).

        Beyond it lies what the guard is for: a gas, or an explosion that has begun. Labels of that
        spoil the fit.
        """
        volumes = frame.get_volume(), self.volume_angstrom3
        rows = self.trace[self.trace[:, 0] == int(frame.info["step"])]
        kelvin = float(rows[-1, _TEMPERATURE]) if len(rows) else 0.0
        hot = parameters.walker.temperature_kelvin * float(
            np.sqrt(parameters.temperature_factor_max)
        )
        wide = float(np.cbrt(parameters.volume_factor_max))
        return bool(max(volumes) <= min(volumes) * wide and kelvin <= hot)

    def tells_where_md_goes(self, parameters: ExploreParameters) -> bool:
        """Whether its frames stand for the MD of its condition: not where a walk led far astray."""
        highest = parameters.audit_gamma_max
        return highest is None or bool(
            self.ending is Ending.COMPLETED and self.trace[:, 1].max(initial=0.0) <= highest
        )


def _frames(
    job: AnyJob, parameters: ExploreParameters, n_atoms: int, halt: Halt | None, walk: _Walk
) -> list[Atoms]:
    """Frames for Selection: collected ones or a pool, the halting one, and audits drawn at random.

    A frame at which a guard struck is not kept: the last sane ones are those before it.
    """
    by_gamma = halt is not None and halt.fix == "halt_gamma"
    dumped = _dumped(job, parameters.elements, "audit", n_atoms)
    pool = parameters.pool_frames
    kept = {
        frame.info["step"]: frame
        for frame in _dumped(job, parameters.elements, "collected", n_atoms)
    }
    if halt is not None and by_gamma and halt.step not in kept:
        kept.update(
            (frame.info["step"], frame)
            for frame in _dumped(job, parameters.elements, "last", n_atoms)
        )
        if halt.step not in kept:
            raise TaskFailed(
                "crashed", f"the frame that halted the walker at step {halt.step} is in no dump"
            )
    if pool:
        struck = halt.step if halt is not None and not by_gamma else None
        kept.update(
            (frame.info["step"], frame) for frame in _apart(dumped, walk.apart, pool, struck)
        )
        kept = {step: frame for step, frame in kept.items() if walk.is_sane(frame, parameters)}
    if halt is not None and not by_gamma:
        kept.pop(halt.step, None)
    for step, frame in kept.items():
        halted = halt is not None and step == halt.step
        _describe(job, parameters, frame, "halt" if halted else "collected")
    # Neither the perfect crystal, nor the halting frame: that one is trained on.
    steps = {0} if halt is None else {0, halt.step}
    dumped = [frame.copy() for frame in dumped if frame.info["step"] not in steps]
    rng = np.random.default_rng(parameters.walker.seed)
    if pool:
        dumped = [frame for frame in dumped if walk.is_sane(frame, parameters)]
    audit = [
        dumped[index] for index in sorted(rng.permutation(len(dumped))[: parameters.audit_frames])
    ]
    for frame in audit:
        _describe(job, parameters, frame, "audit")
        if not walk.tells_where_md_goes(parameters):  # a test for the gate, and none of the needs
            note_origin(frame, replace(origin_of(frame), kind="stray"))
    for frame in (*kept.values(), *audit):
        frame.info["apart"] = walk.apart
    return [*(kept[step] for step in sorted(kept)), *audit]


def _apart(frames: Sequence[Atoms], apart: int, most: int, struck: int | None) -> list[Atoms]:
    """At most so many frames, no two closer in time than `apart` steps, spread over the trajectory.

    Neither the start, nor what lies so close before the step at which a guard struck: that is part
    of the disaster.
    """
    last, spread = 0, []
    for frame in frames:
        step = int(frame.info["step"])
        if step >= last + apart and (struck is None or step <= struck - apart):
            spread.append(frame)
            last = step
    indices = np.unique(np.linspace(0, len(spread) - 1, min(most, len(spread))).round().astype(int))
    return [spread[index] for index in indices] if spread else []


def _last_good(
    job: AnyJob, parameters: ExploreParameters, n_atoms: int, halt: Halt | None, walk: _Walk
) -> Atoms | None:
    """The last frame with γ below gamma_select, or else the last that was dumped before the halt.

    With a pool also the halting frame itself, where nothing else was dumped: it is labelled first
    of all, and the next potential will know it. None if there is no frame after the start, which is
    no place to go on.
    """
    names = [path.stem for path in job.workdir.glob("good.*.dump")]
    elements = parameters.elements
    frames = [
        frame
        for name in names
        for frame in _dumped(job, elements, name, n_atoms)
        if frame.info["step"] > 0
    ]
    if not frames and halt is not None and parameters.pool_frames:
        dumped = [
            frame
            for frame in _dumped(job, elements, "audit", n_atoms)
            if 0 < frame.info["step"] < halt.step
        ]
        offered = dumped or _dumped(job, elements, "last", n_atoms)
        frames = [frame for frame in offered if walk.is_sane(frame, parameters)]
    return max(frames, key=lambda frame: int(frame.info["step"]), default=None)


def _dumped(job: AnyJob, elements: Sequence[str], name: str, n_atoms: int) -> list[Atoms]:
    """Frames of a dump.

    Those of a walker that has lost atoms, or whose positions are no numbers any more, are left out.
    """
    frames = read_dump(job.workdir / f"{name}.dump", elements)
    return [
        frame
        for frame in frames
        if len(frame) == n_atoms and finite(frame.positions, frame.cell.array)
    ]


def _describe(job: AnyJob, parameters: ExploreParameters, frame: Atoms, kind: str) -> None:
    """What Selection needs to know of a frame."""
    origin = Origin(
        kind=kind,
        subject=parameters.label,
        condition=parameters.walker.condition,
        step=int(frame.info["step"]),
        continued=parameters.walker.continues is not None,
    )
    frame.info.update(
        kind=kind,
        walker=job.task,
        stride=parameters.stride,
        gamma_max=float(frame.arrays["gamma"].max()),
    )
    note_origin(frame, origin)


def _metrics(
    parameters: ExploreParameters,
    trace: np.ndarray,
    frames: Sequence[Atoms],
    ending: Ending,
    detail: str,
) -> ExploreMetrics:
    walker = parameters.walker
    steps = int(trace[-1, 0]) if len(trace) else 0
    if ending is Ending.COMPLETED:
        if steps < walker.steps - walker.steps % parameters.stride:
            raise TaskFailed(
                "crashed", f"LAMMPS ended at step {steps} of {walker.steps} and says no reason"
            )
        steps = walker.steps
    return ExploreMetrics(
        ending=ending,
        detail=detail,
        steps=steps,
        steps_planned=walker.steps,
        time_ps=steps * walker.timestep_fs * _FS_IN_PS,
        gamma_max=float(trace[:, 1].max()) if len(trace) else 0.0,
        frames_collected=sum(frame.info["kind"] != "audit" for frame in frames),
        temperature_mean_kelvin=float(trace[:, 2].mean()) if len(trace) else 0.0,
        gamma_trace=thinned(trace),
        gamma_counts=counted(trace),
        gamma_selected=int(np.count_nonzero(trace[:, 1] >= parameters.gamma_select))
        if len(trace)
        else 0,
    )
