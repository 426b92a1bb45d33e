"""The demo as a newcomer runs it, judged on structures that it has never seen."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk
from ase.calculators.emt import EMT
from ase.calculators.singlepoint import SinglePointCalculator
from ase.md.langevin import Langevin
from campaign_errors import errors
from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays

from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.digest import CalculationDigest, ExplorationDigest, TrainingDigest

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(1500)]

SITE_FILE = Path(__file__).parents[2] / "config" / "demo.yaml"
TEMPERATURES_KELVIN = (300, 600, 1000, 2000)
SNAPSHOTS = 5


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """config/demo.yaml, run to its verdict in a folder of its own."""
    folder = tmp_path_factory.mktemp("demo")
    (folder / "config").mkdir()
    config = folder / "config" / "demo.yaml"
    shutil.copy(SITE_FILE, config)
    campaign = Campaign(
        config, folder / "campaigns" / "copper", folder / "campaigns" / "copper" / "root"
    )
    daemon = campaign.start("--exit-on-verdict")
    try:
        assert daemon.wait(timeout=1200) == 0, campaign.output()
    finally:
        daemon.kill()
        daemon.wait()
    return campaign


def test_it_learns_from_loud_walks_until_there_are_none(demo: Campaign) -> None:
    """Early walks meet γ that is too high and batches of what teaches most.

    The last are quiet; nothing is doubled.
    """
    loud: set[int] = set()
    quiet: set[int] = set()
    sources: set[str] = set()
    for event in demo.events():
        match event:
            case ev.PhaseEnded(digest=ExplorationDigest() as digest):
                (quiet if digest.quiet else loud).add(event.cycle)
            case ev.PhaseEnded(digest=CalculationDigest() as digest) if event.cycle in loud:
                taught = [label for label in digest.labels if label.role is Role.TRAIN]
                assert taught
                sources |= {label.origin.partition(":")[0] for label in taught}
    assert loud
    assert max(quiet) > max(loud)
    assert "informed" in sources
    assert sources <= {"informed", "d_optimal", "random", "halt", "element_floor"}
    assert_replays(demo)
    assert_nothing_doubled_or_lost(demo)


def test_the_potential_is_right_where_nobody_looked(demo: Campaign) -> None:
    """On the oracle's own MD: below 10 meV/Å and 2 meV/atom.

    It is four times better in force than the bootstrap.
    """
    frames = oracle_trajectories()
    bootstrap, final = (
        errors(folder, references_ev(folder), frames) for folder in potentials(demo)
    )
    energy_mev_per_atom, force_mev_per_angstrom = final
    print(f"bootstrap {bootstrap}, final {final} (meV/atom, meV/Å)")
    assert force_mev_per_angstrom < 10
    assert energy_mev_per_atom < 2
    assert bootstrap[1] >= 4 * force_mev_per_angstrom


def potentials(demo: Campaign) -> tuple[Path, Path]:
    """The folders of the first and the current potential."""
    promoted = [
        demo.root / event.digest.potential.folder
        for event in demo.events()
        if isinstance(event, ev.PhaseEnded)
        and isinstance(event.digest, TrainingDigest)
        and event.digest.promoted
    ]
    return promoted[0], promoted[-1]


def references_ev(folder: Path) -> dict[str, float]:
    """The energies of single atoms that labels were lessened by."""
    pinned: dict[str, float] = json.loads((folder / "metrics.json").read_text())[
        "reference_energies_ev"
    ]
    return pinned


def oracle_trajectories() -> list[Atoms]:
    """Snapshots of 108 atoms from EMT's own Langevin MD at the demo's temperatures.

    They have energies and forces.
    """
    frames = []
    for kelvin in TEMPERATURES_KELVIN:
        rng = np.random.RandomState(kelvin)
        atoms = bulk("Cu", a=3.61, cubic=True).repeat(3)
        atoms.calc = EMT()
        spread = np.sqrt(2 * kelvin * units.kB * atoms.get_masses())[:, None]
        atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * spread)
        dynamics = Langevin(
            atoms,
            2 * units.fs,
            temperature_K=kelvin,
            friction=0.02 / units.fs,
            fixcm=False,
            rng=rng,
        )
        dynamics.run(100)
        for _ in range(SNAPSHOTS):
            dynamics.run(40)
            frame = atoms.copy()
            frame.calc = SinglePointCalculator(
                frame, energy=atoms.get_potential_energy(), forces=atoms.get_forces()
            )
            frames.append(frame)
    return frames
