"""Labels by a real pw.x: what becomes one, what is healed and how.

And what is left for a person to look at.
"""

import json
import re
import shutil
import subprocess
import threading
import time
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import fcc100
from kit.espresso import ALUMINIUM, PSEUDO_FOLDER, aluminium, job_for, needs_pw, oracle_of
from kit.judged import judged_value

from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.work.codes.espresso.input import render_input
from mlip_autopipec.work.codes.espresso.output import ending
from mlip_autopipec.work.job import Job, TaskFailed
from mlip_autopipec.work.steps import label as calculation
from mlip_autopipec.work.structures import read_frames

pytestmark = [pytest.mark.espresso, needs_pw]

#: Slabs whose charge sloshes: hard for an SCF, and a second or two a run.
SLAB: dict[str, Any] = {
    "k_spacing_inverse_angstrom": 2.3,
    "scf_threshold_ry_per_atom": 1e-7,
    "ecutwfc_ry": 8.0,
    "ecutrho_ry": 32.0,
}
#: So few plane waves that Davidson's overlap matrix is singular.
SINGULAR: dict[str, Any] = {"ecutwfc_ry": 2.0, "ecutrho_ry": 8.0}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """With more, the steps that an SCF takes depend on the machine."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def slab(layers: int) -> Atoms:
    """Layers of aluminium with vacuum beside them."""
    atoms: Atoms = fcc100("Al", (1, 1, layers), a=3.97, vacuum=6.0)
    atoms.pbc, atoms.info = True, {}
    atoms.rattle(0.05, seed=1)
    return atoms


def labelled(job: Job[CalculateParameters]) -> CalculateMetrics:
    """Run the task: its metrics as the daemon reads them."""
    return judged_value(CalculateMetrics, calculation.run(job).metrics)


def endings(metrics: CalculateMetrics) -> list[str]:
    """How each run of pw.x ended."""
    return [record.ending for record in metrics.tries]


@pytest.mark.parametrize("element", ["Al", "Si"])
def test_an_atom_alone_is_a_label_as_any_other(tmp_path: Path, element: str) -> None:
    """It converges at the first try and feels no force.

    It has the fingerprint of a crystal's label.
    """
    table = {"pseudopotentials": {item: {"file": f"{item}.pz-vbc.UPF"} for item in ("Al", "Si")}}
    atom = Atoms(element, positions=[[4, 4, 4]], cell=[8, 8, 8])
    found = labelled(job_for(tmp_path / "alone", atom, **table))
    assert endings(found) == ["converged"]
    assert found.force_max_ev_per_angstrom < 0.01
    crystal = labelled(job_for(tmp_path / "crystal", aluminium(), **table))
    assert found.settings == crystal.settings
    if element == "Al":  # a crystal holds together, by an eV or some
        assert 2 < found.energy_ev - crystal.energy_ev / 4 < 6


def test_a_label_by_pw_is_the_derivative_of_its_own_energy(tmp_path: Path) -> None:
    """A force agrees with finite differences of the energy, so units and signs are right."""
    atoms, step = aluminium(), 0.01
    result = calculation.run(job_for(tmp_path / "middle", atoms))
    (label,) = read_frames(result.artefacts["label"])
    energies = []
    for sign in (-1, 1):
        moved = atoms.copy()
        moved.positions[2, 0] += sign * step
        energies.append(labelled(job_for(tmp_path / f"moved{sign}", moved)).energy_ev)
    assert label.get_forces()[2, 0] == pytest.approx(
        -(energies[1] - energies[0]) / (2 * step), abs=5e-3
    )
    assert label.positions == pytest.approx(atoms.positions, abs=1e-7)
    assert result.metrics.pressure_gpa == pytest.approx(
        -np.mean(label.get_stress()[:3]) / units.GPa, abs=1e-4
    )


def test_a_label_can_be_made_again_by_hand(tmp_path: Path) -> None:
    """The folder holds input and output of every run and no scratch.

    Arrays per atom go with the label.
    """
    atoms = aluminium()
    atoms.set_array("core", np.array([True, False, True, False]))
    job = job_for(tmp_path, atoms)
    result = calculation.run(job)
    (label,) = read_frames(result.artefacts["label"])
    assert label.arrays["core"].tolist() == [True, False, True, False]
    assert {path.name for path in job.workdir.glob("pw*")} == {
        "pw.in",
        "pw.out",
        "pw.1.in",
        "pw.1.out",
        "pw.1.err",
    }
    assert not (job.workdir / "scratch").exists()
    again = subprocess.run(
        ["pw.x", "-in", "pw.in"], cwd=job.workdir, capture_output=True, timeout=60, check=True
    )
    line = next(
        line for line in (job.workdir / "pw.out").read_text().splitlines() if line.startswith("!")
    )
    assert line in again.stdout.decode()


def test_the_fingerprint_has_all_that_gives_a_label_its_meaning(tmp_path: Path) -> None:
    """Another cutoff or another content of a pseudopotential is another one.

    Another way to the answer is not.
    """
    shutil.copytree(
        PSEUDO_FOLDER, tmp_path / "pseudo", ignore=lambda _, names: set(names) - {ALUMINIUM}
    )
    other = tmp_path / "pseudo" / ALUMINIUM
    other.write_bytes(other.read_bytes() + b"\n")
    changes: dict[str, dict[str, Any]] = {
        "plain": {},
        "how": {"mixing_beta": 0.5, "electron_maxstep": 50, "command": "env pw.x"},
        "cutoff": {"ecutwfc_ry": 11.0},
        "content": {"pseudo_folder": str(tmp_path / "pseudo")},
    }
    found = {
        name: labelled(job_for(tmp_path / name, aluminium(), **change)).settings
        for name, change in changes.items()
    }
    assert found["plain"] == found["how"]
    assert len(set(found.values())) == 3
    written = json.loads(next((tmp_path / "content").rglob("settings.json")).read_text())
    assert written["version"] == found["plain"].split()[1]
    assert written["pseudopotentials_sha256"] == {"Al": sha256(other.read_bytes()).hexdigest()}


@pytest.mark.parametrize(
    ("item", "message"),
    [
        ({"file": "No.UPF"}, r"pseudopotential of Al: .*/No.UPF: No such file"),
        (
            {"file": ALUMINIUM, "md5": "0" * 32},
            f"{ALUMINIUM} has md5 69dcd8cd7cc1bedf536afd524f174f6a, expected 000",
        ),
        ({"file": ALUMINIUM, "sha256": "0" * 64}, f"{ALUMINIUM} has sha256 .*, expected 000"),
    ],
)
def test_a_pseudopotential_that_is_not_as_asked_is_bad_input(
    tmp_path: Path, item: dict[str, str], message: str
) -> None:
    """pw.x is not even begun."""
    job = job_for(tmp_path, aluminium(), pseudopotentials={"Al": item})
    with pytest.raises(TaskFailed, match=message) as failed:
        calculation.run(job)
    assert failed.value.reason == "bad_input"
    assert not (job.workdir / "pw.1.in").exists()


def test_an_element_without_pseudopotential_is_bad_input(tmp_path: Path) -> None:
    """It is named."""
    with pytest.raises(TaskFailed, match="no pseudopotential for Si") as failed:
        calculation.run(
            job_for(
                tmp_path, Atoms("AlSi", cell=[4, 4, 4], positions=[[0, 0, 0], [2, 2, 2]], pbc=True)
            )
        )
    assert failed.value.reason == "bad_input"


def test_a_program_that_is_not_there_is_bad_input(tmp_path: Path) -> None:
    """With its name."""
    with pytest.raises(TaskFailed, match=r"no-such-pw\.x cannot be run: No such file") as failed:
        calculation.run(job_for(tmp_path, aluminium(), command="no-such-pw.x -nk 2"))
    assert failed.value.reason == "bad_input"


def test_steadier_mixing_heals_an_scf_that_crawls(tmp_path: Path) -> None:
    """As asked it does not converge in 80 steps, with others it does.

    Both runs are kept and told.
    """
    changes = {
        **SLAB,
        "electron_maxstep": 80,
        "mixing_beta": 0.05,
        "smearing": {"kind": "mv", "width_ry": 0.01},
    }
    job = job_for(tmp_path, slab(10), **changes)
    metrics = labelled(job)
    assert endings(metrics) == ["not_converged", "converged"]
    assert metrics.tries[0].message == "convergence NOT achieved after  80 iterations"
    assert metrics.tries[1].changes == {"mixing_beta": 0.3, "mixing_ndim": 12}
    assert "convergence NOT achieved" in (job.workdir / "pw.1.out").read_text()
    assert "mixing_beta = 0.3" in (job.workdir / "pw.2.in").read_text()
    assert (job.workdir / "pw.out").resolve().name == "pw.2.out"
    assert "mixing" not in metrics.settings


def test_screening_heals_what_steadier_mixing_does_not(tmp_path: Path) -> None:
    """With less smearing 72 steps are enough for local-TF, not for the others.

    It takes 51 to 54, by processor, and the others take 98 to 133.
    """
    changes = {
        **SLAB,
        "electron_maxstep": 72,
        "mixing_beta": 0.03,
        "smearing": {"kind": "mv", "width_ry": 0.005},
    }
    metrics = labelled(job_for(tmp_path, slab(10), **changes))
    assert endings(metrics) == ["not_converged"] * 2 + ["converged"]
    assert metrics.tries[2].changes["mixing_mode"] == "local-TF"
    assert "electron_maxstep" not in metrics.tries[2].changes


def test_patience_heals_what_nothing_else_does(tmp_path: Path) -> None:
    """The same slab, allowed 35 steps, needs more of them in the end."""
    changes = {**SLAB, "electron_maxstep": 35, "smearing": {"kind": "mv", "width_ry": 0.005}}
    metrics = labelled(job_for(tmp_path, slab(10), **changes))
    assert endings(metrics) == ["not_converged"] * 3 + ["converged"]
    assert metrics.tries[3].changes["electron_maxstep"] == 400


def test_healing_is_bounded_and_told(tmp_path: Path) -> None:
    """When no try is left the task fails for good, with every try in its message.

    No label is left.
    """
    job = job_for(tmp_path, aluminium(), electron_maxstep=1, tries_max=2)
    with pytest.raises(
        TaskFailed,
        match=r"run 1 as asked: not_converged .*; run 2 mixing_beta=0.3 .*: not_converged",
    ) as failed:
        calculation.run(job)
    assert failed.value.reason == "numerical"
    assert not (job.workdir / "label.extxyz").exists()
    assert len(json.loads((job.workdir / "tries.json").read_text())["tries"]) == 2


def test_another_solver_heals_a_singular_overlap_matrix(tmp_path: Path) -> None:
    """Davidson fails, conjugate gradients do not."""
    metrics = labelled(job_for(tmp_path, aluminium(), **SINGULAR))
    assert endings(metrics) == ["diagonalisation", "converged"]
    assert metrics.tries[0].message == "cdiaghg: S matrix not positive definite"
    assert metrics.tries[1].changes == {"diagonalization": "cg"}


def test_the_last_solver_works_where_the_first_fails(tmp_path: Path) -> None:
    """The rung after conjugate gradients, on an input that Davidson fails on."""
    oracle = oracle_of(**SINGULAR)
    found = []
    for changes in ({}, {"diagonalization": "paro", "startingwfc": "random"}):
        (tmp_path / "pw.in").write_text(render_input(aluminium(), oracle, changes, 60.0))
        done = subprocess.run(
            ["pw.x", "-in", "pw.in"], cwd=tmp_path, capture_output=True, timeout=60, check=False
        )
        found.append(ending(done.stdout.decode(), done.stderr.decode(), done.returncode).kind)
    assert found == ["diagonalisation", "converged"]


def memory_kib(folder: Path, changes: dict[str, Any], settings: dict[str, Any]) -> int:
    """The largest address space that a run takes."""
    folder.mkdir()
    oracle = oracle_of(**settings)
    (folder / "pw.in").write_text(render_input(aluminium(), oracle, changes, 60.0))
    largest = 0
    with (folder / "pw.out").open("wb") as out:
        process = subprocess.Popen(["pw.x", "-in", "pw.in"], cwd=folder, stdout=out)
        while process.poll() is None:
            lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
            largest = max(
                largest, *(int(line.split()[1]) for line in lines if line.startswith("VmPeak")), 0
            )
            time.sleep(0.01)
    assert process.returncode == 0
    return largest


def test_wavefunctions_on_disk_heal_a_want_of_memory(tmp_path: Path) -> None:
    """With memory for one k-point's wavefunctions but not for all of them, the first run fails."""
    settings = {
        "k_spacing_inverse_angstrom": 0.25,
        "scf_threshold_ry_per_atom": 1e-4,
        "ecutwfc_ry": 15.0,
    }
    settings["ecutrho_ry"] = 60.0
    most = memory_kib(tmp_path / "low", {}, settings)
    least = memory_kib(tmp_path / "medium", {"disk_io": "medium"}, settings)
    assert most - least > 1000
    command = f"sh -c 'ulimit -v {(most + least) // 2}; exec pw.x \"$@\"' sh"
    metrics = labelled(job_for(tmp_path / "job", aluminium(), command=command, **settings))
    assert endings(metrics) == ["out_of_memory", "converged"]
    assert metrics.tries[1].changes == {"disk_io": "medium"}


def test_without_memory_for_any_way_the_scheduler_is_asked_for_more(tmp_path: Path) -> None:
    """The reason is the one that the next attempt gets more memory for."""
    with pytest.raises(TaskFailed, match=r"pw\.x gave no label") as failed:
        calculation.run(job_for(tmp_path, aluminium(), command="sh -c 'kill -9 $$'"))
    assert failed.value.reason == "out_of_memory"


def stopped(root: Path) -> Job[CalculateParameters]:
    """A job that was asked to end in the middle of an SCF, and has left what is needed to go on."""
    job = job_for(
        root, slab(12), **SLAB, electron_maxstep=300, smearing={"kind": "mv", "width_ry": 0.005}
    )

    def stop() -> None:
        output = job.workdir / "pw.1.out"
        while not output.exists() or "iteration #  3" not in output.read_text():
            time.sleep(0.01)
        job.stopping.set()

    asking = threading.Thread(target=stop)
    asking.start()
    with pytest.raises(TaskFailed, match="run 1 as asked: out_of_time") as failed:
        calculation.run(job)
    asking.join()
    assert failed.value.reason == "timeout"
    later = job.workdir / "run-2"
    later.mkdir()
    return replace(job, stopping=threading.Event(), workdir=later, before=(job.workdir,))


def test_a_walltime_ends_a_run_in_good_order(tmp_path: Path) -> None:
    """pw.x is told to end by itself before the scheduler would end it.

    The next attempt gets more time.
    """
    settings = {**SLAB, "k_spacing_inverse_angstrom": 0.3, "scf_threshold_ry_per_atom": 1e-12}
    job = replace(job_for(tmp_path, slab(12), **settings), walltime_s=5)
    with pytest.raises(TaskFailed, match="run 1 as asked: out_of_time") as failed:
        calculation.run(job)
    assert failed.value.reason == "timeout"
    (found,) = re.findall(r"max_seconds = (\S+)", (job.workdir / "pw.in").read_text())
    assert 0 < float(found) <= 4.0
    assert (job.workdir / "scratch").is_dir()


def test_the_next_attempt_goes_on_where_time_was_over(tmp_path: Path) -> None:
    """It reads a copy of the density and wavefunctions of the first, and both runs are told."""
    job = stopped(tmp_path)
    metrics = labelled(job)
    assert not [folder for folder in (job.workdir, *job.before) if (folder / "scratch").exists()]
    assert endings(metrics) == ["out_of_time", "converged"]
    assert metrics.tries[1].changes == {"restart_mode": "restart"}
    assert "The initial density is read from file" in (job.workdir / "pw.2.out").read_text()
    fresh = labelled(
        job_for(tmp_path / "fresh", slab(12), **SLAB, smearing={"kind": "mv", "width_ry": 0.005})
    )
    assert metrics.energy_ev == pytest.approx(fresh.energy_ev, abs=1e-4)
    assert metrics.settings == fresh.settings


def test_a_save_that_is_damaged_is_not_gone_on_from(tmp_path: Path) -> None:
    """The attempt begins anew instead, and says so."""
    job = stopped(tmp_path)
    density = job.before[0] / "scratch" / "pw.save" / "charge-density.dat"
    density.write_bytes(density.read_bytes()[:100])
    metrics = labelled(job)
    assert endings(metrics)[0] == "out_of_time"
    assert endings(metrics)[-1] == "converged"
    assert metrics.tries[1].changes == {"restart_mode": "restart"}
    assert metrics.tries[2].changes == {}
