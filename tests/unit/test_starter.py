"""config init: a first site file that passes the check, whatever the system."""

import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

import pytest
from ase.build import bulk
from typer.testing import CliRunner, Result

from mlip_autopipec.cli import app
from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.evaluator import evaluator_code
from mlip_autopipec.starter import demo_file, use_of
from mlip_autopipec.work.codes.espresso.settings import EspressoSection

#: One of each crystal.
SIMPLE = ("Ag", "Fe", "Ti", "Po", "Si")


def init(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(
        app, ["config", "init", "--output", str(folder / "site.yaml"), *options]
    )


def written(folder: Path, *options: str) -> WorkflowConfig:
    """What `config init` writes, read back; it has said that nothing is lacking."""
    result = init(folder, *options)
    assert result.exit_code == 0, result.output
    assert "config check" in result.output
    return load_config(folder / "site.yaml").config


@pytest.mark.parametrize("element", SIMPLE)
def test_every_element_with_a_simple_crystal_has_a_site_file(tmp_path: Path, element: str) -> None:
    """For a cluster, whose pseudopotentials nobody can look at from here."""
    config = written(tmp_path, "--elements", element, "--cluster")
    assert config.site.transport.kind == "ssh"
    assert config.site.scheduler.kind == "slurm"
    assert {each for prototype in config.generation.prototypes for each in prototype.elements} == {
        element
    }


@pytest.mark.parametrize("pair", list(combinations(["Al", "Fe", "Mg"], 2)))
def test_alloys_have_an_ordered_crystal_and_random_ones(
    tmp_path: Path, pair: tuple[str, str]
) -> None:
    """Each of the two alone, both in order with exchanges, and both at random."""
    config = written(tmp_path, "--elements", ",".join(pair), "--cluster")
    assert [len(prototype.elements) for prototype in config.generation.prototypes] == [1, 1, 2]
    assert "alloy" in {variation.kind for variation in config.generation.variations}
    assert any(walkers.swaps for walkers in config.exploration.walkers)


@pytest.mark.parametrize(
    "words",
    [("--elements", "Cu", "Au"), ("-e", "Cu,", "Au"), ("Cu", "Au"), ("--elements", "Cu,Au")],
)
def test_elements_are_understood_however_they_are_typed(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    """With commas or without."""
    assert written(tmp_path, *words, "--cluster").campaign.elements == ("Cu", "Au")


def test_a_file_without_its_option_is_no_element(tmp_path: Path) -> None:
    """As a shell's pattern leaves it: `--structure *.cif`."""
    result = init(tmp_path, "--structure", "a.cif", "b.cif")
    assert result.exit_code == 2
    assert "b.cif: each file takes a --structure of its own" in " ".join(result.output.split())


def test_a_structure_of_the_users_is_walked_and_labelled(tmp_path: Path) -> None:
    """Its elements are the campaign's, and its path is written as seen from the site file."""
    bulk("Cu", cubic=True).write(tmp_path / "grain.cif")
    config = written(tmp_path, "--structure", str(tmp_path / "grain.cif"), "--oracle", "ase")
    assert config.campaign.elements == ("Cu",)
    assert config.generation.files == (tmp_path / "grain.cif",)
    assert [walkers.file for walkers in config.exploration.walkers][-1] == tmp_path / "grain.cif"
    assert "- file: grain.cif" in (tmp_path / "site.yaml").read_text()


def test_what_has_no_simple_crystal_comes_by_files(tmp_path: Path) -> None:
    """And the file says what to look at."""
    bulk("MgO", "rocksalt", a=4.21).write(tmp_path / "mgo.cif")
    config = written(tmp_path, "--structure", str(tmp_path / "mgo.cif"), "--cluster")
    assert set(config.campaign.elements) == {"Mg", "O"}
    assert "O is in `files` alone" in (tmp_path / "site.yaml").read_text()


def test_an_insulator_by_its_crystal(tmp_path: Path) -> None:
    """Nobody knows the crystal of a compound but the user; its labels have no smearing."""
    config = written(tmp_path, "--prototype", "rocksalt:Mg,O:4.21", "--cluster", "--insulator")
    assert config.campaign.elements == ("Mg", "O")
    assert isinstance(config.calculation.oracle, EspressoSection)
    assert config.calculation.oracle.smearing is None


def test_pseudopotentials_that_are_here_are_named(tmp_path: Path) -> None:
    """The file of the folder that is named for the element, PBE before others."""
    for name in ("Al.pz-vbc.UPF", "al_pbe_v1.upf", "Alloy.txt"):
        (tmp_path / name).touch()
    config = written(tmp_path, "--elements", "Al", "--pseudo-folder", str(tmp_path))
    assert isinstance(config.calculation.oracle, EspressoSection)
    assert config.calculation.oracle.pseudopotentials["Al"].file == "al_pbe_v1.upf"


def test_what_only_a_person_can_fill_in_is_listed(tmp_path: Path) -> None:
    """The file is written all the same."""
    result = init(tmp_path, "--elements", "Al", "--pseudo-folder", str(tmp_path / "nowhere"))
    assert result.exit_code == 0
    assert "only you can fill in" in result.output
    assert "pseudo_folder" in result.output
    assert (tmp_path / "site.yaml").is_file()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "which elements?"),
        (["--elements", "Xy"], "no chemical symbol"),
        (["--elements", "Mg,O"], "--prototype"),
        (["--elements", "Ti", "--oracle", "ase"], "EMT does not know Ti"),
        (["--elements", "Ti", "--oracle", "vasp"], "there are ase, espresso"),
        (["--elements", "Ti", "--oracle", "expresso"], "did you mean 'espresso'?"),
        (["--prototype", "rocksalt:Mg,O"], "expected structure:elements:lattice constant"),
        (["--prototype", "rocksalt:Mg:4.2"], "takes 2 elements"),
        (["--structure", "nowhere.cif"], "cannot be read"),
    ],
)
def test_a_wish_that_cannot_be_met_is_refused(
    tmp_path: Path, options: list[str], said: str
) -> None:
    result = init(tmp_path, *options)
    assert result.exit_code == 2
    assert said in result.output
    assert not (tmp_path / "site.yaml").exists()


@pytest.mark.slow
def test_at_a_terminal_it_asks(tmp_path: Path) -> None:
    """Elements, oracle and site, where nothing is said."""
    ours, theirs = os.openpty()
    command = [
        sys.executable,
        "-c",
        "from mlip_autopipec.cli import main; main()",
        "config",
        "init",
    ]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, cwd=tmp_path) as process:
        os.write(ours, b"Cu,Au\nase\ny\n")
        said, _ = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == 0, said
    config = load_config(tmp_path / "site.yaml").config
    assert config.campaign.elements == ("Cu", "Au")
    assert config.calculation.oracle.kind == "ase"
    assert config.site.scheduler.kind == "slurm"


def test_a_file_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "site.yaml").write_text("mine")
    result = init(tmp_path, "--elements", "Cu", "--oracle", "ase")
    assert result.exit_code == 2
    assert "left as it is" in result.output
    assert (tmp_path / "site.yaml").read_text() == "mine"


def test_the_demo_is_in_the_package(tmp_path: Path) -> None:
    """Its site file is written beside its campaign, and a second demo finds the first one's."""
    site_file = demo_file(tmp_path / "demo")
    config = load_config(site_file).config
    assert config.campaign.folder == tmp_path / "demo" / "campaign"
    assert config.site.root == tmp_path / "demo" / "campaign" / "root"
    site_file.write_text(site_file.read_text() + "# mine\n")
    assert demo_file(tmp_path / "demo").read_text().endswith("# mine\n")


def test_a_potential_is_used_with_its_types_in_order(tmp_path: Path) -> None:
    said = use_of(tmp_path, evaluator_code("pyace"), ["Cu", "Au"])
    assert f"pair_coeff * * {tmp_path}/potential.yace Cu Au\n" in said
    assert f"pair_coeff * * {tmp_path}/potential.yaml {tmp_path}/potential.asi Cu Au\n" in said


def test_the_version_is_the_packages() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert result.exit_code == 0
    assert result.output.split()[-1].count(".") == 2
