"""pacemaker: the nonlinear fit, as render → run → parse, in a folder where it can be rerun by hand.

Stages follow each other as separate runs, `stage-1/`, `stage-2/` …: forces first, because they are
many and fix the shape of the energy surface, energies after that, because they are few and would
pull an unformed basis about.

Positions, each against a trap of the tool:

- Weights go through ExternalWeightingPolicy, which joins by index: a structure without weights
  vanishes from the fit and nothing is said. So there is a weight for every row, and what pacemaker
  says it fits to is counted.
- Energies go in as `energy_corrected`, less references that the campaign has pinned. Below -20 or
  above 250 eV/atom pacemaker would fit references of its own, and two cycles would not mean the
  same; such labels are refused.
- A warm start takes the current potential's coefficients with `-p`, which takes its shape too; so
  only one of the shape that is asked for is a start, and its core repulsion is taken off, or close
  pairs that are new would stay invisible.
- The core repulsion is not `repulsion: auto`: that begins at the shortest distance of the training
  set, which is long as long as the set is tame, and ZBL is 16 eV for two Cu atoms at 2.3 Å. See
  `ace.with_core_repulsion`.
- pacemaker leaves `interim_potential_0.yaml` at each iteration. It is the checkpoint: the run that
  follows one without walltime goes on from a copy, with the iterations that are left. It may be
  torn, and is then passed over.
"""

import os
import pickle
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from pyace import create_multispecies_basis_config
from pyace.basis import BBasisConfiguration

from mlip_autopipec.contract.train import PacemakerStage, TrainParameters
from mlip_autopipec.work.job import Job, TaskFailed, as_json, write_atomic
from mlip_autopipec.work.structures import read_frames, write_frames

#: As pacemaker's own template has them: one, two, three and more elements in a function.
_FUNCTIONS = {
    "UNARY": {"nradmax_by_orders": [15, 6, 4, 3, 2, 2], "lmax_by_orders": [0, 3, 3, 2, 2, 1]},
    "BINARY": {"nradmax_by_orders": [15, 6, 3, 2, 2, 1], "lmax_by_orders": [0, 3, 2, 1, 1, 0]},
    "TERNARY": {"nradmax_by_orders": [15, 3, 3, 2, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
    "ALL": {"nradmax_by_orders": [15, 3, 2, 1, 1], "lmax_by_orders": [0, 2, 2, 1, 1]},
}
#: eV/atom; outside, pacemaker takes references of its own.
_ENERGY_RANGE_EV = (-20.0, 250.0)
_LOOK_S = 0.5
#: In the folder of a stage: its result, the checkpoint that was gone on from, and the one that
#: pacemaker writes.
_POTENTIALS = ("fitted.yaml", "checkpoint.yaml", "interim_potential_0.yaml")
_CURVE_POINTS_MAX = 200
_TEXT_MAX = 1500
_COUNTED = re.compile(r"Fitting dataset size: (\d+) structures / (\d+) atoms")


#: Per block: elements, densities, cutoff in Å, functions.
Shape = list[tuple[str, int, float, int]]


@dataclass(frozen=True)
class WeightedLabels:
    """What the fit is to explain.

    Structures, cohesive energies in eV, and weights per structure and per atom.
    """

    frames: Sequence[Atoms]
    energies_ev: Sequence[float]
    energy_weights: Sequence[float]
    force_weights: Sequence[np.ndarray]


@dataclass(frozen=True)
class PacemakerFit:
    """A fitted potential, and the loss on the way: stage, iteration, loss, meV/atom, meV/Å."""

    potential: Path
    loss: tuple[tuple[int, int, float, float, float], ...]


def fit(
    job: Job[TrainParameters], name: str, labels: WeightedLabels, start: Path | None
) -> PacemakerFit:
    """Fit in `<workdir>/<name>/`, from the potential `start` or from scratch.

    Finished stages are not run again.
    """
    folder = job.workdir / name
    folder.mkdir(exist_ok=True)
    job.carry_over(lambda run: _remains(run, name))
    settings = job.parameters.pacemaker
    python = settings.python or sys.executable
    _tabulate(folder, labels, settings.python)
    curve: list[tuple[int, int, float, float, float]] = []
    for number, stage in enumerate(settings.stages, 1):
        stage_folder = folder / f"stage-{number}"
        stage_folder.mkdir(exist_ok=True)
        fitted = stage_folder / "fitted.yaml"
        if not fitted.exists():
            document = render(job.parameters, stage, from_nothing=start is None)
            _run_stage(job, stage_folder, number, document, start, python, len(labels.frames))
        curve += [(number, *point) for point in _points(stage_folder)]
        start = fitted
    if start is None:
        raise TaskFailed("bad_input", "training.pacemaker.stages is empty")
    return PacemakerFit(start, tuple(_thinned(curve)))


def _remains(run: Path, name: str) -> list[str]:
    """What a fit goes on from.

    Finished stages and the checkpoint, with what was told on the way; empty if neither.
    """
    goes_on = [path for kind in _POTENTIALS for path in (run / name).glob(f"stage-*/{kind}")]
    files = (run / name).glob("stage-*/metrics*.txt") if goes_on else ()
    return [path.relative_to(run).as_posix() for path in (*goes_on, *files)]


def render(
    parameters: TrainParameters, stage: PacemakerStage, *, from_nothing: bool
) -> dict[str, Any]:
    """input.yaml of one stage.

    A ladder is for a start from nothing: given a potential, it would throw that away.
    """
    settings = parameters.pacemaker
    fitting: dict[str, Any] = {
        "loss": {"kappa": stage.kappa, "L1_coeffs": settings.l1, "L2_coeffs": settings.l2},
        "weighting": {"type": "ExternalWeightingPolicy", "filename_or_df": "../weights.pckl.gzip"},
        "optimizer": "BFGS",
        "maxiter": stage.iterations,
    }
    if from_nothing and settings.ladder_step is not None:
        fitting |= {"ladder_step": settings.ladder_step, "ladder_type": "power_order"}
    return {
        "seed": parameters.seed % 2**31,
        "potential": potential_section(parameters),
        "data": {"filename": "../dataset.pckl.gzip"},
        "fit": fitting,
        "backend": {
            "evaluator": "tensorpot",
            "batch_size": settings.batch_structures,
            "display_step": 50,
        },
    }


def potential_section(parameters: TrainParameters) -> dict[str, Any]:
    """The basis: one density per element is linear.

    Two with a square root in between are Finnis-Sinclair's.
    """
    densities = parameters.pacemaker.densities
    return {
        "deltaSplineBins": 0.001,
        "elements": sorted(parameters.elements),
        "embeddings": {
            "ALL": {
                "npot": "FinnisSinclairShiftedScaled",
                "fs_parameters": [1, 1, 1, 0.5][: 2 * densities],
                "ndensity": densities,
            }
        },
        "bonds": {
            "ALL": {
                "radbase": "SBessel",
                "radparameters": [5.25],
                "rcut": parameters.cutoff_angstrom,
                "dcut": 0.01,
                "NameOfCutoffFunction": "cos",
            }
        },
        "functions": {
            "number_of_functions_per_element": parameters.functions_per_element,
            **_FUNCTIONS,
        },
    }


def basis_of(parameters: TrainParameters) -> BBasisConfiguration:
    """The basis before any fit."""
    return create_multispecies_basis_config(potential_section(parameters))


def warm_start(current: Path, parameters: TrainParameters, target: Path) -> Path | None:
    """The current potential without its core repulsion, as a start.

    None if its shape is not the one asked for.
    """
    before = BBasisConfiguration(str(current))
    if _shape(before) != _shape(basis_of(parameters)):
        return None
    for block in before.funcspecs_blocks:
        block.r_in, block.delta_in, block.core_rep_parameters = 0.0, 0.0, (0.0, 0.0)
        block.inner_cutoff_type, block.rho_cut, block.drho_cut = "distance", 100000.0, 250.0
    before.save(str(target))
    return target


def _shape(basis: BBasisConfiguration) -> Shape:
    return sorted(
        (block.block_name, block.ndensityi, round(block.rcutij, 6), len(block.funcspecs))
        for block in basis.funcspecs_blocks
    )


def _tabulate(folder: Path, labels: WeightedLabels, python: str | None) -> None:
    """The tables that pacemaker reads, pickled by its own Python.

    Pickles of one pandas are no other's.
    """
    frames = []
    for frame, energy_ev, weights in zip(
        labels.frames, labels.energies_ev, labels.force_weights, strict=True
    ):
        low, high = _ENERGY_RANGE_EV
        if not low < energy_ev / len(frame) < high:
            raise TaskFailed(
                "bad_input",
                f"{frame.info['task']}: {energy_ev / len(frame):.1f} eV/atom beside the reference"
                f" energies is outside {low:g} … {high:g}: pacemaker would take references of its"
                " own",
            )
        bare = Atoms(frame.get_chemical_symbols(), frame.positions, cell=frame.cell, pbc=True)
        bare.arrays |= {
            "label_forces": frame.get_forces(),
            "force_weight": np.asarray(weights, dtype=float),
        }
        bare.info["energy_corrected"] = energy_ev
        frames.append(bare)
    for bare, weight in zip(frames, labels.energy_weights, strict=True):
        bare.info["energy_weight"] = float(weight)
    write_frames(folder / "labels.extxyz", frames)
    if python:
        _call(
            folder,
            [python, "-c", f"from {__name__} import tabulate; tabulate('labels.extxyz')"],
            "tabulate",
        )
    else:
        tabulate(str(folder / "labels.extxyz"))


def tabulate(labels: str) -> None:
    """Write dataset.pckl.gzip and weights.pckl.gzip beside the labels, in pacemaker's Python."""
    frames, folder = read_frames(Path(labels)), Path(labels).parent
    bare = [
        Atoms(frame.get_chemical_symbols(), frame.positions, cell=frame.cell, pbc=True)
        for frame in frames
    ]
    columns = {
        "ase_atoms": bare,
        "energy_corrected": [float(frame.info["energy_corrected"]) for frame in frames],
        "forces": [frame.arrays["label_forces"] for frame in frames],
    }
    weights = {
        "w_energy": [float(frame.info["energy_weight"]) for frame in frames],
        "w_forces": [frame.arrays["force_weight"] for frame in frames],
    }
    for name, table in (("dataset", columns), ("weights", weights)):
        with (folder / f"{name}.pckl.gzip").open("wb") as stream:
            pd.DataFrame(table).to_pickle(
                stream, compression="gzip", protocol=pickle.HIGHEST_PROTOCOL
            )


def _run_stage(
    job: Job[TrainParameters],
    folder: Path,
    number: int,
    document: Mapping[str, Any],
    start: Path | None,
    python: str,
    structures: int,
) -> None:
    """Run one stage to its end, telling of its loss as it goes.

    An earlier attempt's checkpoint is gone on from.
    """
    ladder = "ladder_step" in document["fit"]
    checkpoint = _checkpoint(folder, None if ladder else _shape(basis_of(job.parameters)))
    iterations = document["fit"]["maxiter"]
    if checkpoint is not None and not ladder:
        document["fit"]["maxiter"] = max(iterations - len(_points(folder)), 1)
    write_atomic(folder / "input.yaml", as_json(document))  # JSON is YAML
    arguments = ["--no-predict", "input.yaml"]
    if checkpoint is not None and ladder:
        arguments += ["-ip", checkpoint.name]
    elif (begin := checkpoint or start) is not None:
        arguments += ["-p", os.path.relpath(begin, folder)]
    with (folder / "pacemaker.out").open("ab") as output:
        running = subprocess.Popen(
            [python, "-m", "pyace.cli.pacemaker", *arguments],
            cwd=folder,
            env={
                **os.environ,
                "OMP_NUM_THREADS": str(job.cores),
                "TF_NUM_INTRAOP_THREADS": str(job.cores),
            },
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            _watch(job, folder, number, iterations, running)
        finally:
            if running.poll() is None:
                running.terminate()
                running.wait()
    _judge(folder, running.returncode, structures)
    (folder / "output_potential.yaml").rename(folder / "fitted.yaml")


def _watch(
    job: Job[TrainParameters],
    folder: Path,
    number: int,
    iterations: int,
    running: "subprocess.Popen[bytes]",
) -> None:
    """Until pacemaker ends.

    Raises TaskFailed (timeout) when the job is asked to stop: the checkpoint is there.
    """
    stages, reported = len(job.parameters.pacemaker.stages), -1
    while running.poll() is None:
        if job.stopping.is_set():
            raise TaskFailed(
                "timeout", f"asked to stop in stage {number}; {folder} holds the checkpoint"
            )
        points = _points(folder)
        if points and len(points) != reported:
            reported = len(points)
            iteration, loss, energy_mev, force_mev = points[-1]
            part = (number - 1 + min(reported / iterations, 1)) / stages
            job.progress(
                0.1 + 0.4 * part,
                f"stage {number} of {stages}, iteration {iteration}: loss {loss:.3g},"
                f" {energy_mev:.2f} meV/atom, {force_mev:.1f} meV/Å",
            )
        time.sleep(_LOOK_S)


def _judge(folder: Path, status: int, structures: int) -> None:
    """Raise TaskFailed unless a potential, with finite numbers, was fitted to every structure."""
    said = (folder / "pacemaker.out").read_text(encoding="utf-8", errors="replace")
    if status != 0 or not (folder / "output_potential.yaml").exists():
        last = said.strip().rpartition("\n")[2][:_TEXT_MAX]
        raise TaskFailed(
            "crashed", f"pacemaker ended with status {status}: {last} (all of it: {folder})"
        )
    counted = _COUNTED.findall(said)
    if not counted or int(counted[-1][0]) != structures:
        found = counted[-1][0] if counted else "an unknown number of"
        raise TaskFailed(
            "crashed", f"pacemaker fitted to {found} structures of {structures}: see {folder}"
        )
    points = _points(folder)
    if not points or not np.isfinite(points[-1][1]):
        raise TaskFailed(
            "numerical", f"the loss of pacemaker's fit is no number any more: see {folder}"
        )


def _checkpoint(folder: Path, shape: Shape | None) -> Path | None:
    """The last whole potential of an attempt that was cut off, kept with what it told.

    None if there is none.
    """
    interim, metrics, kept = (
        folder / "interim_potential_0.yaml",
        folder / "metrics.txt",
        folder / "checkpoint.yaml",
    )
    if _whole(interim, shape):
        interim.replace(kept)
        if metrics.exists():  # pacemaker begins it anew
            metrics.rename(folder / f"metrics-{len(list(folder.glob('metrics-*.txt'))):03d}.txt")
    interim.unlink(missing_ok=True)
    metrics.unlink(missing_ok=True)
    return kept if kept.exists() else None


def _whole(potential: Path, shape: Shape | None) -> bool:
    """Whether it is there, can be read and has the shape asked for; on a ladder it may have any."""
    if not potential.exists():
        return False
    try:
        basis = BBasisConfiguration(str(potential))
    except RuntimeError:  # of pyace, on half a file
        return False
    return shape in (None, _shape(basis))


def _points(folder: Path) -> list[tuple[int, float, float, float]]:
    """Iteration, loss, meV/atom and meV/Å of each whole line of pacemaker's, over all attempts."""
    points: list[tuple[int, float, float, float]] = []
    for path in (*sorted(folder.glob("metrics-*.txt")), folder / "metrics.txt"):
        if path.exists():
            points += [(len(points) + turn, *values) for turn, values in enumerate(_lines(path))]
    return points


def _lines(path: Path) -> Iterator[tuple[float, float, float]]:
    whole = path.read_text(encoding="utf-8").rpartition("\n")[0].splitlines()
    names = whole[0].split() if whole else []
    for line in whole[1:]:
        values = dict(zip(names, line.split(), strict=False))
        yield (
            float(values["loss"]),
            1000 * float(values["rmse_epa"]),
            1000 * float(values["rmse_f_comp"]),
        )


def _thinned(curve: Sequence[Any]) -> list[Any]:
    """At most so many points, evenly, the last among them."""
    stride = -(-len(curve) // _CURVE_POINTS_MAX) or 1
    return list(curve[::-1][::stride][::-1])


def _call(folder: Path, command: Sequence[str], name: str) -> None:
    """Run a helper in another Python that sees this very package.

    Raises TaskFailed (crashed) with its last line.
    """
    package = Path(__file__).parents[4]
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(package)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if done.returncode != 0:
        last = done.stdout.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise TaskFailed(
            "crashed",
            f"{name} in {command[0]} ended with status {done.returncode}: {last[:_TEXT_MAX]}",
        )
