"""pw.x in a site file: what is told before a job finds out, and what a task is told in the end."""

import json
from pathlib import Path

import pytest
from kit.site_files import mistakes, spoiled, write

from mlip_autopipec.config.loader import effective_yaml, load_config
from mlip_autopipec.contract.oracle import oracle_of
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle

ASE = "    kind: ase\n    calculator: ase.calculators.emt.EMT\n"
ESPRESSO = """\
    kind: espresso
    pseudo_folder: {folder}
    pseudopotentials:
      Cu: {{file: Cu.pbe.UPF, ecutwfc_ry: 40}}
      Au: {{file: Au_pbe.UPF, ecutwfc_ry: 45, ecutrho_ry: 360}}
    k_spacing_inverse_angstrom: 0.2
"""
SSSP = {
    "Cu": {
        "filename": "Cu.pbe.UPF",
        "md5": "0" * 32,
        "cutoff_wfc": 90.0,
        "cutoff_rho": 720.0,
        "dual": 8.0,
    },
    "Au": {
        "filename": "Au_pbe.UPF",
        "md5": "1" * 32,
        "cutoff_wfc": 50.0,
        "cutoff_rho": 200.0,
        "pseudopotential": "SG15",
    },
    "Ag": {"filename": "Ag.UPF", "md5": "2" * 32, "cutoff_wfc": 55.0, "cutoff_rho": 220.0},
}


def site(folder: Path, *changes: tuple[str, str]) -> str:
    """A site file with pw.x and pseudopotentials in a folder of this machine; then spoiled."""
    pseudo = folder / "pseudo"
    pseudo.mkdir(exist_ok=True)
    for name in ("Cu.pbe.UPF", "Au_pbe.UPF", "Ag.UPF"):
        (pseudo / name).touch()
    text = spoiled((ASE, ESPRESSO.format(folder=pseudo)))
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def oracle(folder: Path, text: str) -> EspressoOracle:
    """What the tasks of such a campaign carry."""
    config = load_config(write(folder, text)).config
    found = oracle_of(config.calculation.oracle, config.campaign.elements)
    assert isinstance(found, EspressoOracle)
    return found


def test_one_cutoff_serves_the_whole_campaign(tmp_path: Path) -> None:
    """It is the largest that an element asks for; the density's is at least four times as much."""
    found = oracle(tmp_path, site(tmp_path))
    assert (found.ecutwfc_ry, found.ecutrho_ry) == (45, 360)
    found = oracle(tmp_path, site(tmp_path, (", ecutrho_ry: 360", "")))
    assert (found.ecutwfc_ry, found.ecutrho_ry) == (45, 180)
    found = oracle(
        tmp_path, site(tmp_path, ("    k_spacing", "    ecutwfc_ry: 100\n    k_spacing"))
    )
    assert (found.ecutwfc_ry, found.ecutrho_ry) == (100, 400)


def test_the_sssp_table_is_read_as_published(tmp_path: Path) -> None:
    """Files, md5 sums and cutoffs of the campaign's elements; an entry by hand comes before it."""
    (tmp_path / "sssp.json").write_text(json.dumps(SSSP))
    by_hand = "      Cu: {file: Cu.pbe.UPF, ecutwfc_ry: 40}\n"
    table = (by_hand, ""), ("    k_spacing", "    sssp_file: sssp.json\n    k_spacing")
    text = site(tmp_path, *table)
    found = oracle(tmp_path, text)
    assert found.pseudopotentials["Cu"].md5 == "0" * 32
    assert found.pseudopotentials["Au"].md5 is None
    assert (found.ecutwfc_ry, found.ecutrho_ry) == (90, 720)
    assert set(found.pseudopotentials) == {"Cu", "Au"}


def test_a_table_that_changes_later_changes_nothing(tmp_path: Path) -> None:
    """What was read is in the configuration, which can be written and reread without the file."""
    path = tmp_path / "sssp.json"
    path.write_text(json.dumps(SSSP))
    first = load_config(
        write(
            tmp_path, site(tmp_path, ("    k_spacing", "    sssp_file: sssp.json\n    k_spacing"))
        )
    )
    path.unlink()
    assert load_config(write(tmp_path, effective_yaml(first.config))).config == first.config


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "file: Cu.pbe.UPF",
            "file: Cu.pbe.upf",
            (
                "site.yaml:45  calculation.oracle.pseudopotentials.Cu.file  'Cu.pbe.upf' →"
                " expected a file of {pseudo}; did you mean 'Cu.pbe.UPF'?"
            ),
        ),
        (
            "      Au: {file: Au_pbe.UPF, ecutwfc_ry: 45, ecutrho_ry: 360}\n",
            "",
            (
                "site.yaml:44  calculation.oracle.pseudopotentials  no Au → expected a"
                " pseudopotential for Au; did you mean 'Au_pbe.UPF'?"
            ),
        ),
        (
            "file: Cu.pbe.UPF, ecutwfc_ry: 40",
            "file: Cu.pbe.UPF",
            (
                "site.yaml:45  calculation.oracle.pseudopotentials.Cu.ecutwfc_ry  missing →"
                " required: its cutoff in Ry, or calculation.oracle.ecutwfc_ry"
            ),
        ),
        (
            "    k_spacing_inverse",
            "    ecutwfc_ry: 50\n    ecutrho_ry: 100\n    k_spacing_inverse",
            (
                "site.yaml:48  calculation.oracle.ecutrho_ry  100.0 → expected at least 200, 4"
                " times ecutwfc_ry"
            ),
        ),
        (
            "k_spacing_inverse_angstrom: 0.2",
            "k_spacing: 0.2",
            (
                "site.yaml:47  calculation.oracle.k_spacing  0.2 → no such key; did you mean"
                " 'k_spacing_inverse_angstrom'?"
            ),
        ),
        (
            "    k_spacing",
            "    starting_magnetization: {Fe: 0.5}\n    k_spacing",
            (
                "site.yaml:47  calculation.oracle.starting_magnetization.Fe  'Fe' → expected one"
                " of campaign.elements (Cu, Au)"
            ),
        ),
        (
            "    k_spacing",
            "    system: {degauss: 0.5, vdw_corr: dft-d3}\n    k_spacing",
            (
                "site.yaml:47  calculation.oracle.system.degauss  0.5 → expected another key: this"
                " one is said by calculation.oracle's own"
            ),
        ),
        (
            "    k_spacing",
            "    command: mpirun -np {core} pw.x\n    k_spacing",
            (
                "site.yaml:47  calculation.oracle.command  'mpirun -np {{core}} pw.x' → expected"
                " words as in a shell, with no other braces than {{cores}} and {{ranks}}"
            ),
        ),
        (
            "    k_spacing",
            "    sssp_file: no.json\n    k_spacing",
            (
                "site.yaml:47  calculation.oracle.sssp_file  'no.json' → expected a file that can"
                " be read: No such file or directory"
            ),
        ),
        (
            "    k_spacing",
            "    smearing: {kind: cold}\n    k_spacing",
            (
                "site.yaml:47  calculation.oracle.smearing.kind  'cold' → expected 'mv', 'mp',"
                " 'gaussian' or 'fermi_dirac'"
            ),
        ),
        (
            "    k_spacing_inverse_angstrom: 0.2\ntraining:",
            (
                "    k_spacing_inverse_angstrom: 0.2\n    smearing: null\ntraining:\n"
                "  reference_energies_ev: isolated_atoms"
            ),
            (
                "site.yaml:50  training.reference_energies_ev  'isolated_atoms' → expected with"
                " calculation.oracle.smearing, or energies by hand: with fixed occupations pw.x"
                " finds no ground state of an atom with open shells (Cu, Au)"
            ),
        ),
        (
            "    k_spacing_inverse_angstrom: 0.2\ntraining:",
            (
                "    k_spacing_inverse_angstrom: 0.2\n    charge: 1\ntraining:\n "
                " reference_energies_ev: isolated_atoms"
            ),
            (
                "site.yaml:50  training.reference_energies_ev  'isolated_atoms' → expected with"
                " calculation.oracle.charge 0, or energies by hand: 1 makes ions of atoms"
            ),
        ),
        (
            "    kind: espresso",
            "    kind: expresso",
            (
                "site.yaml:42  calculation.oracle.kind  'expresso' → expected 'ase', 'espresso';"
                " did you mean 'espresso'?"
            ),
        ),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    """One line for one mistake, which names what was expected and the nearest right word."""
    assert mistakes(tmp_path, site(tmp_path, (old, new))) == [
        message.format(pseudo=tmp_path / "pseudo")
    ]


def test_a_folder_of_another_machine_is_not_looked_for(tmp_path: Path) -> None:
    """The jobs will; its path must be whole all the same."""
    far = (
        ("transport: {kind: local}", "transport: {kind: ssh, host: far}"),
        ("scheduler: {kind: local, cores: 2}", "scheduler: {kind: slurm}"),
        ("root: run/root", "root: /scratch/run"),
        (f"pseudo_folder: {tmp_path / 'pseudo'}", "pseudo_folder: /far/pseudo"),
    )
    assert oracle(tmp_path, site(tmp_path, *far)).pseudo_folder == "/far/pseudo"
    (line,) = mistakes(
        tmp_path,
        site(tmp_path, *far[:3], (f"pseudo_folder: {tmp_path / 'pseudo'}", "pseudo_folder: far")),
    )
    assert "calculation.oracle.pseudo_folder  'far' → " in line


def test_a_folder_that_is_not_there_is_told_once(tmp_path: Path) -> None:
    """And nothing is said of the files in it."""
    text = site(tmp_path, (f"pseudo_folder: {tmp_path / 'pseudo'}", "pseudo_folder: /no/pseudo"))
    (line,) = mistakes(tmp_path, text)
    assert line.endswith(
        "calculation.oracle.pseudo_folder  '/no/pseudo' → expected a folder of UPF files"
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "expected JSON: "),
        ("[]", "as SSSP has it (AttributeError"),
        (
            '{"Cu": {"filename": "Cu.UPF"}}',
            "expected filename, md5, cutoff_wfc and cutoff_rho by element, as SSSP has it",
        ),
        (
            '{"Cu": {"filename": "a b", "md5": "x", "cutoff_wfc": -1, "cutoff_rho": 1}}',
            "as SSSP has it (ValueError: file: expected text that matches",
        ),
    ],
)
def test_a_table_that_is_none_is_told(tmp_path: Path, content: str, message: str) -> None:
    """Whatever is in the file."""
    (tmp_path / "sssp.json").write_text(content)
    (line,) = mistakes(
        tmp_path, site(tmp_path, ("    k_spacing", "    sssp_file: sssp.json\n    k_spacing"))
    )
    assert message in line
