"""The nonlinear fit by the real pacemaker, on the real TensorFlow."""

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from kit.jobs import Site, copper, job_of, labelled, ref, task_of, train_parameters
from kit.judged import judged_value, judged_value_json

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.train import PacemakerSettings, PacemakerStage
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work.job import Result, TaskFailed
from mlip_autopipec.work.structures import write_frames

pytest.importorskip("pyace", reason="needs the demo extra")

from pyace.basis import BBasisConfiguration

from mlip_autopipec.work.ace.evaluator import with_core_repulsion
from mlip_autopipec.work.codes.pacemaker import run as pacemaker
from mlip_autopipec.work.doctor import examine
from mlip_autopipec.work.steps import train as training

PYTHON = Path(
    os.environ.get(
        "AUTOPIPEC_PACEMAKER_PYTHON", Path(__file__).parents[3] / ".venv-pacemaker/bin/python"
    )
)
#: What a fit may take where TensorFlow starts slowly and others use the machine.
pytestmark = [pytest.mark.codes, pytest.mark.timeout(900)]
needs_pacemaker = [
    pytest.mark.pacemaker,
    pytest.mark.skipif(not PYTHON.exists(), reason="needs the Python that scripts/codes makes"),
]


def small(*stages: tuple[float, int], **more: Any) -> dict[str, Any]:
    """A fit of 15 functions; stages are (kappa, iterations)."""
    settings = PacemakerSettings(
        python=str(PYTHON),
        stages=tuple(
            PacemakerStage(kappa=kappa, iterations=n) for kappa, n in stages or [(0.5, 12)]
        ),
    )
    return {"trainer": "pacemaker", "functions_per_element": 15, "pacemaker": settings, **more}


def cell(number: int, role: str = "train") -> Atoms:
    """Four atoms of copper, strained and rattled."""
    rng = np.random.default_rng([4, number])
    atoms = copper((1, 1, 1), 0.02 * (1 + number % 3), number)
    atoms.set_cell(
        atoms.cell.array @ (np.eye(3) + rng.uniform(-0.03, 0.03, (3, 3))), scale_atoms=True
    )
    return labelled(atoms, role, f"c000.calculation.{number:04d}-abcdef")


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("labels")
    paths = [folder / f"{number:02d}.extxyz" for number in range(24)]
    for number, path in enumerate(paths):
        write_frames(path, [cell(number, "train" if number < 20 else "test")])
    return paths


@pytest.fixture(scope="module")
def fitted(
    labels: list[Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result[TrainMetrics]]:
    """A whole training in two stages, the first of which grows the basis."""
    root = tmp_path_factory.mktemp("pacemaker")
    settings = small((0.95, 25), (0.1, 10))
    settings["pacemaker"] = replace(settings["pacemaker"], ladder_step=8)
    job = job_of(root, train_parameters(**settings, core_repulsion_angstrom=1.5), {"label": labels})
    return root, training.run(job)


def mark(function: Any) -> Any:
    """Needs the Python with TensorFlow."""
    for item in needs_pacemaker:
        function = item(function)
    return function


def scale(potential: Path) -> Sequence[float]:
    """All coefficients of a potential."""
    found: Sequence[float] = BBasisConfiguration(str(potential)).get_all_coeffs()
    return found


@mark
def test_two_stages_reach_the_truth(fitted: tuple[Path, Result[TrainMetrics]]) -> None:
    """A nonlinear potential of 15 functions errs by a few meV.

    The loss that is told falls, stage by stage.
    """
    root, result = fitted
    metrics = judged_value(TrainMetrics, result.metrics)
    assert metrics.functions == 15
    assert metrics.test.force_mev_per_angstrom < 60
    assert metrics.test.energy_mev_per_atom < 10
    assert [fit.start for fit in metrics.fits] == ["scratch"]
    stages = [
        [loss for stage, _, loss, _, _ in metrics.loss if stage == number] for number in (1, 2)
    ]
    assert len(stages[0]) >= 20
    assert all(losses[-1] < losses[0] for losses in stages)
    assert metrics.probe_gamma > 1
    assert {"potential.yaml", "potential.asi", "potential.yace"} <= {
        p.name for p in (root / "potentials/001").iterdir()
    }


@mark
def test_what_pacemaker_read_lies_there_to_be_run_again(
    fitted: tuple[Path, Result[TrainMetrics]],
) -> None:
    """Each stage's input.yaml and the two tables; the second stage begins where the first ended."""
    root, _ = fitted
    (folder,) = root.glob("cycles/*/training/*/scratch")
    assert {path.name for path in folder.iterdir()} >= {
        "dataset.pckl.gzip",
        "weights.pckl.gzip",
        "stage-1",
        "stage-2",
    }
    first, second = folder / "stage-1", folder / "stage-2"
    assert (first / "input.yaml").exists()
    begun = BBasisConfiguration(str(second / "target_potential.yaml")).get_all_coeffs()
    assert begun == pytest.approx(scale(first / "fitted.yaml"), rel=1e-9)


@mark
def test_a_warm_start_goes_on_and_the_better_of_two_fits_is_kept(
    fitted: tuple[Path, Result[TrainMetrics]], labels: list[Path], tmp_path: Path
) -> None:
    """With as few iterations, the fit from the current potential beats the one from scratch."""
    root, before = fitted
    current = {"current_yaml": [root / "potentials/001/potential.yaml"]}
    current["current_asi"] = [root / "potentials/001/potential.asi"]
    settings = small(
        (0.5, 3), reference_energies_ev=before.metrics.reference_energies_ev, from_scratch=True
    )
    result = training.run(
        job_of(tmp_path, train_parameters(**settings), {"label": labels, **current})
    )
    metrics = judged_value(TrainMetrics, result.metrics)
    assert [fit.start for fit in metrics.fits] == ["warm", "scratch"]
    assert 2 * metrics.fits[0].force_mev_per_angstrom < metrics.fits[1].force_mev_per_angstrom
    assert metrics.test.force_mev_per_angstrom == pytest.approx(
        metrics.fits[0].force_mev_per_angstrom
    )
    assert metrics.calibration[0].element == "Cu"
    assert metrics.calibration[0].pairs == 24 * 4
    assert metrics.test_of_current is not None


@mark
def test_after_walltime_the_fit_goes_on_from_its_checkpoint(
    labels: list[Path], tmp_path: Path
) -> None:
    """Stopped in the middle it ends as timeout.

    The next attempt begins with the loss reached and has what is left.
    """
    job = job_of(tmp_path, train_parameters(**small((0.95, 60))), {"label": labels})
    stopping = threading.Event()

    def stop() -> None:
        folder = job.workdir / "scratch/stage-1"
        while len(pacemaker._points(folder)) < 8:
            time.sleep(0.02)
        stopping.set()

    threading.Thread(target=stop, daemon=True).start()
    with pytest.raises(TaskFailed, match=r"asked to stop in stage 1") as stopped:
        training.run(replace(job, stopping=stopping))
    assert stopped.value.reason == "timeout"
    folder = job.workdir / "scratch/stage-1"
    first = pacemaker._points(folder)
    job = replace(job, workdir=tmp_path / "later", before=(job.workdir,))
    job.workdir.mkdir()
    folder = job.workdir / "scratch/stage-1"
    again = judged_value(TrainMetrics, training.run(job).metrics)
    points = pacemaker._points(folder)
    assert points[: len(first)] == first
    assert points[len(first)][1] < 2 * first[-1][1] < first[0][1]
    assert len(points) <= 60 + 2
    assert again.test.force_mev_per_angstrom < 60


@mark
def test_a_structure_that_vanished_from_the_fit_is_a_failure(
    fitted: tuple[Path, Result[TrainMetrics]],
) -> None:
    """Rows without weights are dropped in silence; what pacemaker says it fitted to is counted."""
    root, _ = fitted
    (folder,) = root.glob("cycles/*/training/*/scratch/stage-1")
    (folder / "output_potential.yaml").write_bytes((folder / "fitted.yaml").read_bytes())
    pacemaker._judge(folder, 0, 20)
    with pytest.raises(TaskFailed, match=r"fitted to 20 structures of 21") as failed:
        pacemaker._judge(folder, 0, 21)
    assert failed.value.reason == "crashed"


@mark
def test_what_pacemaker_says_last_is_the_reason(labels: list[Path], tmp_path: Path) -> None:
    """A Python without it is told as it is."""
    settings = small((0.5, 1))
    settings["pacemaker"] = replace(settings["pacemaker"], python="/usr/bin/python3")
    with pytest.raises(
        TaskFailed, match=r"tabulate in /usr/bin/python3 ended with status 1: .*No module"
    ):
        training.run(job_of(tmp_path, train_parameters(**settings), {"label": labels}))


@mark
def test_a_ladder_is_climbed_once(fitted: tuple[Path, Result[TrainMetrics]]) -> None:
    """The first stage grows the basis step by step.

    The next keeps what was fitted and does not climb again.
    """
    root, _ = fitted
    first, second = (
        next(root.glob(f"cycles/*/training/*/scratch/stage-{number}")) for number in (1, 2)
    )
    assert (first / "interim_potential_ladder_step_1.yaml").exists()
    assert not list(second.glob("interim_potential_ladder*"))
    begun = BBasisConfiguration(str(second / "target_potential.yaml")).get_all_coeffs()
    assert begun == pytest.approx(scale(first / "fitted.yaml"), rel=1e-9)
    assert BBasisConfiguration(str(second / "fitted.yaml")).total_number_of_functions == 15


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """Half a file, or a whole one of fewer functions, is no start.

    A good one is, and what it told is kept.
    """
    parameters = train_parameters(**small())
    basis, interim = pacemaker.basis_of(parameters), tmp_path / "interim_potential_0.yaml"
    shape = pacemaker._shape(basis)
    basis.save(str(interim))
    whole = interim.read_bytes()
    (tmp_path / "metrics.txt").write_text(
        "iter_num loss rmse_epa rmse_f_comp\n0 1.0 0.1 0.2\n1 0.5 0.1"
    )
    lines = whole.splitlines(keepends=True)
    for torn in (whole[: len(whole) // 2], b"".join(lines[:-3])):
        interim.write_bytes(torn)
        assert pacemaker._checkpoint(tmp_path, shape) is None
        assert not interim.exists()
    interim.write_bytes(whole)
    (tmp_path / "metrics.txt").write_text(
        "iter_num loss rmse_epa rmse_f_comp\n0 1.0 0.1 0.2\n1 0.5 0.1"
    )
    assert pacemaker._checkpoint(tmp_path, shape) == tmp_path / "checkpoint.yaml"
    assert pacemaker._points(tmp_path) == [(0, 1.0, 100.0, 200.0)]
    assert pacemaker._checkpoint(tmp_path, shape) == tmp_path / "checkpoint.yaml"


def test_only_a_potential_of_the_same_shape_is_a_warm_start(tmp_path: Path) -> None:
    """Its core repulsion is taken off, or pairs closer than it would stay invisible to the fit."""
    parameters = train_parameters(**small())
    current, target = tmp_path / "current.yaml", tmp_path / "start.yaml"
    with_core_repulsion(pacemaker.basis_of(parameters), 1.7).save(str(current))
    assert pacemaker.warm_start(current, parameters, target) == target
    (block,) = BBasisConfiguration(str(target)).funcspecs_blocks
    fresh = pacemaker.basis_of(parameters).funcspecs_blocks[0]
    for name in ("r_in", "delta_in", "inner_cutoff_type", "rho_cut", "drho_cut"):
        assert getattr(block, name) == getattr(fresh, name)
    assert list(block.core_rep_parameters) == list(fresh.core_rep_parameters)
    for other in (
        replace(parameters, functions_per_element=16),
        replace(parameters, cutoff_angstrom=5.0),
    ):
        assert pacemaker.warm_start(current, other, target) is None


def test_energies_that_pacemaker_would_shift_are_refused(tmp_path: Path) -> None:
    """Below -20 eV/atom it fits references of its own, and says so only in its log."""
    label = cell(1)
    found = pacemaker.WeightedLabels([label], [-90.0], [1.0], [np.ones(4)])
    job = job_of(tmp_path, train_parameters(**small()))
    with pytest.raises(
        TaskFailed, match=r"c000.calculation.0001-abcdef: -22.5 eV/atom .* outside -20 … 250"
    ) as failed:
        pacemaker.fit(job, "scratch", found, None)
    assert failed.value.reason == "bad_input"


def test_every_row_has_its_weights(tmp_path: Path) -> None:
    """The two tables agree in their index.

    The buffer of an embedded cell counts less, atom by atom.
    """
    frames = [cell(1), cell(2)]
    weights = [np.ones(4), np.array([1.0, 1.0, 0.3, 0.3])]
    found = pacemaker.WeightedLabels(frames, [-1.0, -2.0], [1.0, 0.65], weights)
    pacemaker._tabulate(tmp_path, found, None)
    pd = pytest.importorskip("pandas")
    data, table = (
        pd.read_pickle(tmp_path / f"{name}.pckl.gzip", compression="gzip")
        for name in ("dataset", "weights")
    )
    assert list(data.index) == list(table.index) == [0, 1]
    assert table["w_forces"][1] == pytest.approx([1.0, 1.0, 0.3, 0.3])
    assert list(table["w_energy"]) == [1.0, 0.65]
    assert list(data["energy_corrected"]) == [-1.0, -2.0]
    assert data["forces"][1] == pytest.approx(frames[1].get_forces(), abs=1e-7)


@mark
def test_the_shipped_work_half_fits_with_it(labels: list[Path], tmp_path: Path) -> None:
    """As a job: from the zipapp to an outcome the daemon takes, with pacemaker in the jobs' Python.

    With a Python of its own, a campaign does it in tests/campaign.
    """
    site = Site.at(tmp_path)
    inputs = []
    for path in labels:
        target = tmp_path / "cycles/000/calculation" / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
        inputs.append(("label", ref(tmp_path, target)))
    settings = small((0.5, 3))
    settings["pacemaker"] = replace(settings["pacemaker"], python=None)
    task = task_of(train_parameters(**settings), inputs)
    site.place(task)
    command = site.command(task)
    done = subprocess.run(
        [str(PYTHON), *command[1:]],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    outcome = site.outcome()
    assert (done.returncode, outcome.status) == (0, "done"), outcome.message or done.stderr
    assert isinstance(outcome.metrics, TrainMetrics)
    assert outcome.metrics.fits[0].start == "scratch"
    assert len(outcome.metrics.loss) >= 3
    progress = judged_value_json(Progress, (tmp_path / task.workdir / "progress.json").read_bytes())
    assert progress.done > 0.4


@mark
def test_the_doctor_hears_the_versions_of_pacemaker_and_its_tensorflow() -> None:
    """From the Python that the site file names."""
    seen = examine.examine(
        "trainer", {"trainer": "pacemaker", "keys": plain(PacemakerSettings(python=str(PYTHON)))}
    )
    assert seen["fit"] is True
    assert re.fullmatch(r"pacemaker \S+ with tensorpotential \S+ and TensorFlow \S+", seen["words"])
