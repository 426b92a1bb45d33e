"""Generation by a teacher.

A calculator walks from each strained crystal to a structure, in a Python of its own.
"""

import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.generate import Prototype, Teacher
from mlip_autopipec.work.codes.ase import teacher as walking
from mlip_autopipec.work.job import AnyJob, TaskFailed
from mlip_autopipec.work.structures import crystal, read_frames, write_frames

#: Of a job's folder, where the walks are.
FOLDER = "teacher"
_LOOK_S = 0.2
_TEXT_MAX = 1500
#: MD steps of each crystal that doctor tries: enough to tell how long one takes.
_TRIAL_STEPS = 5
_TRIAL_TIMESTEP_FS = 1.0
#: doctor judges whether it walks, and not where to.
_TRIAL_DISTANCE_ANGSTROM = 0.1


@dataclass(frozen=True)
class Start:
    """Where a walk begins, at which temperature, and what makes its random numbers its own."""

    atoms: Atoms
    temperature_kelvin: float
    seed: tuple[int, ...]


def ends(
    job: AnyJob, teacher: Teacher, starts: Sequence[Start], distance_min_angstrom: float
) -> list[Atoms]:
    """The structure each walk ends with; walks of an earlier run of the task are not made again.

    Raises TaskFailed: bad_input for a teacher that can't walk, crashed for one that dies, timeout
    when asked to stop.
    """
    folder = job.workdir / FOLDER
    folder.mkdir(exist_ok=True)
    job.carry_over(
        lambda run: [
            path.relative_to(run).as_posix() for path in (run / FOLDER).glob("end-*.extxyz")
        ]
    )

    def report(done: int) -> None:
        job.progress(
            done / max(len(starts), 1),
            f"{teacher.name} has walked to {done} of {len(starts)} structures",
        )

    _walk(folder, teacher, starts, distance_min_angstrom, job.stopping, report, job.cores)
    return [
        _moved(start.atoms, folder / walk.end)
        for start, walk in zip(starts, _walks(starts), strict=True)
    ]


def trial(teacher: Teacher, prototypes: Sequence[Prototype]) -> str:
    """What a few steps from each crystal show, in words. Raises TaskFailed as `ends` does."""
    crystals = {prototype.name: crystal(prototype) for prototype in prototypes}
    coldest = min(teacher.temperatures_kelvin)
    few = replace(
        teacher,
        temperatures_kelvin=(coldest,),
        steps=_TRIAL_STEPS,
        timestep_fs=min(teacher.timestep_fs, _TRIAL_TIMESTEP_FS),
    )
    starts = [Start(atoms, coldest, (number,)) for number, atoms in enumerate(crystals.values())]
    with tempfile.TemporaryDirectory() as name:
        _walk(
            Path(name),
            few,
            starts,
            _TRIAL_DISTANCE_ANGSTROM,
            threading.Event(),
            lambda _: None,
            os.cpu_count() or 1,
        )
        speed = json.loads((Path(name) / walking.SPEED).read_text(encoding="utf-8"))
    step_s = speed["s"] / speed["steps"]
    return (
        f"{teacher.calculator} walks {', '.join(crystals)}: a structure of {speed['atoms']} atoms"
        f" takes {step_s * teacher.steps:.2g} s here ({teacher.steps} steps)"
    )


def _walk(
    folder: Path,
    teacher: Teacher,
    starts: Sequence[Start],
    distance_min_angstrom: float,
    stopping: threading.Event,
    found: Callable[[int], None],
    cores: int,
) -> None:
    walks = _walks(starts)
    for start, walk in zip(starts, walks, strict=True):
        write_frames(folder / walk.start, [start.atoms])
    walking.write_request(
        folder,
        walking.Request(
            teacher=teacher, distance_min_angstrom=distance_min_angstrom, walks=tuple(walks)
        ),
    )
    python = teacher.python or sys.executable
    package = Path(__file__).parents[3]
    with (folder / "teacher.out").open("ab") as output:
        try:
            running = subprocess.Popen(
                [python, "-m", walking.__name__, "."],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(package), "OMP_NUM_THREADS": str(cores)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            raise TaskFailed(
                "bad_input", f"generation.teacher.python: {python} cannot be run: {error.strerror}"
            ) from error
        try:
            _watch(folder, running, walks, stopping, found)
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
    _judge(folder, python, running.returncode, walks)


def _walks(starts: Sequence[Start]) -> list[walking.TeacherWalk]:
    return [
        walking.TeacherWalk(
            start=f"start-{number:03d}.extxyz",
            end=f"end-{number:03d}.extxyz",
            temperature_kelvin=start.temperature_kelvin,
            seed=start.seed,
        )
        for number, start in enumerate(starts)
    ]


def _watch(
    folder: Path,
    running: "subprocess.Popen[bytes]",
    walks: Sequence[walking.TeacherWalk],
    stopping: threading.Event,
    found: Callable[[int], None],
) -> None:
    """Until the teacher ends.

    Raises TaskFailed (timeout) when asked to stop: what has been walked is there.
    """
    before = -1
    while running.poll() is None:
        done = sum(1 for _ in _done(folder, walks))
        if stopping.is_set():
            raise TaskFailed(
                "timeout",
                f"asked to stop with {done} of {len(walks)} structures walked",
                done / len(walks),
            )
        if done != before:
            before = done
            found(done)
        time.sleep(_LOOK_S)


def _judge(folder: Path, python: str, status: int, walks: Sequence[walking.TeacherWalk]) -> None:
    """Raise TaskFailed unless every walk has its end."""
    failure = folder / walking.FAILURE
    if failure.exists():
        found = json.loads(failure.read_text(encoding="utf-8"))
        failure.unlink()
        raise TaskFailed(found["reason"], f"{found['message']} (in {python})")
    if status != 0 or sum(1 for _ in _done(folder, walks)) < len(walks):
        said = (folder / "teacher.out").read_text(encoding="utf-8", errors="replace").strip()
        last = said.rpartition("\n")[2][:_TEXT_MAX]
        raise TaskFailed(
            "crashed",
            f"the teacher in {python} ended with status {status}: {last} (all of it: {folder})",
        )


def _done(folder: Path, walks: Sequence[walking.TeacherWalk]) -> Iterator[Path]:
    return (folder / walk.end for walk in walks if (folder / walk.end).exists())


def _moved(start: Atoms, end: Path) -> Atoms:
    """The start with its atoms where the walk has left them."""
    [found] = read_frames(end)
    atoms = start.copy()
    atoms.positions = found.positions
    return atoms
