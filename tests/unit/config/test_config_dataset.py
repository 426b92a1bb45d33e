"""The section `dataset`: what it may say, and what a campaign may leave out beside it."""

from pathlib import Path

import pytest
from kit.site_files import SITE, mistakes, spoiled, write

from mlip_autopipec.config.adopting import adopting
from mlip_autopipec.config.loader import effective_yaml, load_config
from mlip_autopipec.config.supplies import supplies

GENERATION = SITE[SITE.index("generation:") : SITE.index("exploration:")]


def with_set(folder: Path, keys: str, generation: str = "") -> str:
    """The sample with a data set, and with this generation only."""
    (folder / "mine.extxyz").write_text("1\n\nCu 0 0 0\n")
    return SITE.replace(GENERATION, f"dataset:\n{keys}{generation}")


def test_a_set_may_stand_in_for_generation(tmp_path: Path) -> None:
    """Its files are shipped like the user's other files; what is told of them reaches the task."""
    text = with_set(tmp_path, "  files: [mine.extxyz]\n  energy: REF_energy\n  energy_unit: Ha\n")
    loaded = load_config(write(tmp_path, text))
    config = loaded.config
    assert config.dataset is not None
    assert config.generation.prototypes == ()
    assert [path.name for path in supplies(config)] == ["mine.extxyz"]
    found = adopting(config)
    assert found is not None
    assert (found.energy, found.energy_unit, found.checks, found.force_max_ev_per_angstrom) == (
        "REF_energy",
        "Ha",
        3,
        50.0,
    )
    again = write(tmp_path, effective_yaml(config))
    assert load_config(again).config == config
    assert load_config(again).sha256 == loaded.sha256


def test_files_of_one_name_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    """As many of these as it takes, and no more."""
    for folder in ("a/md", "b/md", "b/relax", "."):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / "OUTCAR").write_text(folder)
    (tmp_path / "more.xyz").write_text("")
    keys = "  files: [a/md/OUTCAR, b/md/OUTCAR, b/relax/OUTCAR, more.xyz]\n"
    config = load_config(write(tmp_path, with_set(tmp_path, keys))).config
    found = adopting(config)
    assert found is not None
    assert found.files == ("a/md/OUTCAR", "b/md/OUTCAR", "relax/OUTCAR", "more.xyz")


def test_without_a_set_the_file_means_what_it_meant(tmp_path: Path) -> None:
    """The hash of a site file of before has not changed with the new section."""
    loaded = load_config(write(tmp_path, SITE))
    assert loaded.config.dataset is None
    assert adopting(loaded.config) is None
    assert loaded.sha256 == load_config(write(tmp_path, f"{SITE}dataset: null\n")).sha256


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ("  files: []\n", "dataset.files  [] → expected 1 or more in the list"),
        (
            "  files: [yours.extxyz]\n",
            "dataset.files[0]  'yours.extxyz' → expected a file; there is none at",
        ),
        (
            "  files: [mine.extxyz, mine.extxyz]\n",
            "dataset.files[1]  'mine.extxyz' → expected each file once",
        ),
        (
            "  files: [mine.extxyz]\n  energy_unit: Hartree\n",
            "dataset.energy_unit  'Hartree' → expected 'eV', 'meV', 'Ha'",
        ),
        ("  files: [mine.extxyz]\n  energi: E\n", "did you mean 'energy'?"),
        (
            "  files: [mine.extxyz]\n  stress: stress\n  virial: virial\n",
            (
                "dataset.virial  'virial' → expected no virial where stress is named (stress): one"
                " of them is read"
            ),
        ),
        ("  files: [mine.extxyz]\n  checks: 0\n", "dataset.checks  0 → expected 1 or more"),
    ],
)
def test_every_mistake_names_its_key(keys: str, message: str, tmp_path: Path) -> None:
    """With the value and what was expected."""
    (line,) = mistakes(tmp_path, with_set(tmp_path, keys))
    assert message in line


def test_without_crystals_nothing_can_be_made_of_them(tmp_path: Path) -> None:
    """Neither structures nor variations."""
    text = with_set(tmp_path, "  files: [mine.extxyz]\n", "generation:\n  structures: 4\n")
    (line,) = mistakes(tmp_path, text)
    assert (
        "generation.structures  4 → expected none without generation.prototypes, which they"
        " are made of"
    ) in line


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            ("structures: 10\n  test", "structures: 0\n  test"),
            "generation.structures  0 → expected 1 or more",
        ),
        (
            ("test_structures: 4", "test_structures: 0"),
            "generation.test_structures  0 → expected 1 or more",
        ),
    ],
)
def test_without_a_set_there_are_structures(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    """As before there was a choice."""
    assert any(message in line for line in mistakes(tmp_path, spoiled(change)))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        (
            "{potential: mine.yace}",
            "start.potential  'mine.yace' → expected python-ace's B-basis, a .yaml",
        ),
        (
            "{potential: mine.yaml, active_set: mine.npz}",
            "start.active_set  'mine.npz' → expected an .asi",
        ),
        (
            "{potential: yours.yaml}",
            "start.potential  'yours.yaml' → expected a file; there is none at",
        ),
    ],
)
def test_a_potential_is_of_two_files(keys: str, message: str, tmp_path: Path) -> None:
    """Each in its own form."""
    for name in ("mine.yaml", "mine.yace", "mine.npz", "mine.asi"):
        (tmp_path / name).write_text("")
    (line,) = mistakes(tmp_path, f"{SITE}start: {keys}\n")
    assert message in line
    config = load_config(
        write(tmp_path, f"{SITE}start: {{potential: mine.yaml, active_set: mine.asi}}\n")
    ).config
    assert [path.name for path in supplies(config)] == ["mine.yaml", "mine.asi"]
    isolated = SITE.replace(
        "  cutoff_angstrom: 6.0\n",
        "  cutoff_angstrom: 6.0\n  reference_energies_ev: isolated_atoms\n",
    )
    (line,) = mistakes(tmp_path, f"{isolated}start: {{potential: mine.yaml}}\n")
    assert (
        "training.reference_energies_ev  'isolated_atoms' → expected fitted with start.potential"
        in line
    )


WALKERS = SITE[
    SITE.index("    - prototype: {structure: fcc, elements: [Au]") : SITE.index("selection:")
]


def test_a_pool_stands_in_the_place_of_walkers(tmp_path: Path) -> None:
    """With nothing beside it: there is no MD."""
    (tmp_path / "frames.extxyz").write_text("")
    loaded = load_config(write(tmp_path, SITE.replace(WALKERS, "    - pool: frames.extxyz\n")))
    (section,) = loaded.config.exploration.walkers
    assert len(section.conditions) == 1
    assert [path.name for path in supplies(loaded.config)] == ["frames.extxyz"]
    assert load_config(write(tmp_path, effective_yaml(loaded.config))).sha256 == loaded.sha256


@pytest.mark.parametrize(
    ("walkers", "message"),
    [
        (
            "{pool: frames.extxyz, steps: 100}",
            "exploration.walkers[0].steps  100 → expected nothing beside pool",
        ),
        (
            "{pool: none.extxyz}",
            "exploration.walkers[0].pool  'none.extxyz' → expected a file; there is none at",
        ),
        (
            "{file: frames.extxyz, steps: 100}",
            "exploration.walkers[0].temperatures_kelvin  missing → required: one walker",
        ),
    ],
)
def test_a_pool_has_no_conditions_and_walkers_have(
    walkers: str, message: str, tmp_path: Path
) -> None:
    """Each mistake names its key."""
    (tmp_path / "frames.extxyz").write_text("")
    (line,) = mistakes(tmp_path, SITE.replace(WALKERS, f"    - {walkers}\n"))
    assert message in line
