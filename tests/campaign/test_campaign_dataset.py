"""Labels that a user has already begin a campaign.

It converges with fewer new ones than from nothing.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from kit.daemons import Campaign, assert_replays
from kit.files import NO_PROPERTIES
from kit.steered import steered_once
from kit.waiting import DAEMON_PATIENCE_S

from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.train import TrainMetrics
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.journal.replay import replay

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]

LABELS = Path(__file__).parents[1] / "data" / "labels"
CORE_EV = -45059.3
#: The three kinds, and what the site file has to say of them.
KINDS = {
    "reference_names.extxyz": "",
    "atomic_units.extxyz": "energy_unit: Ha, forces_unit: Ha/bohr, offsets: fit",
    "fitting.pckl.gzip": "",
}


def from_labels(folder: Path, name: str, keys: str) -> Campaign:
    """The demo in small, with a set instead of generated structures."""
    campaign = Campaign.small(folder)
    shutil.copy(LABELS / name, folder / name)
    text = campaign.config.read_text()
    old = text[text.index("  structures: 6") : text.index("exploration:")]
    more = f", {keys}" if keys else ""
    new = f"  structures: 0\n  test_structures: 0\n\ndataset: {{files: [{name}]{more}}}\n\n"
    campaign.config.write_text(text.replace(old, new))
    return campaign


def new_labels(campaign: Campaign) -> int:
    """What the oracle has labelled."""
    metrics = [
        event.outcome.metrics for event in campaign.events() if isinstance(event, ev.TaskEnded)
    ]
    return sum(isinstance(metric, CalculateMetrics) for metric in metrics)


def fits(campaign: Campaign) -> list[TrainMetrics]:
    """What every training has found."""
    metrics = [
        event.outcome.metrics for event in campaign.events() if isinstance(event, ev.TaskEnded)
    ]
    return [metric for metric in metrics if isinstance(metric, TrainMetrics)]


def properties(campaign: Campaign) -> int:
    """How many of them are of the gate's cells."""
    digests = [event.digest for event in campaign.events() if isinstance(event, ev.PhaseEnded)]
    return sum(
        label.role is Role.PROPERTY
        for digest in digests
        if isinstance(digest, CalculationDigest)
        for label in digest.labels
    )


@pytest.fixture(scope="module")
def from_nothing(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """The campaign that makes its first structures itself."""
    return steered_once(tmp_path_factory)


def test_a_potential_of_the_user_s_explores_first(from_nothing: Campaign, tmp_path: Path) -> None:
    """With its own active set; the first fit is made when something new was labelled."""
    campaign = from_labels(tmp_path, "reference_names.extxyz", "")
    for suffix in ("yaml", "asi"):
        shutil.copy(
            from_nothing.root / "potentials" / "000" / f"potential.{suffix}",
            tmp_path / f"mine.{suffix}",
        )
    text = campaign.config.read_text()
    campaign.config.write_text(f"{text}\nstart: {{potential: mine.yaml, active_set: mine.asi}}\n")
    with under_way(campaign, lambda campaign: len(fits(campaign)) > 1):
        first, second = ([fit.start for fit in metrics.fits] for metrics in fits(campaign))
    assert first == ["given"]
    assert "given" not in second
    given = campaign.root / "potentials" / "000" / "potential.yaml"
    assert given.read_bytes() == (tmp_path / "mine.yaml").read_bytes()
    assert replay(campaign.folder / "journal").check() == ()


def test_a_pool_is_labelled_until_it_is_quiet_and_right(tmp_path: Path) -> None:
    """Without a step of MD; no frame is labelled twice, and none that tests is trained on."""
    campaign = Campaign.small(tmp_path)
    shutil.copy(LABELS / "reference_names.extxyz", tmp_path / "frames.extxyz")
    text = campaign.config.read_text()
    old = text[
        text.index(
            "    - prototype: {structure: fcc, elements: [Cu], lattice_constant_angstrom: 3.61,"
            " repeat: [2"
        ) :
    ]
    campaign.config.write_text(
        text.replace(old[: old.index("selection:")], "    - pool: frames.extxyz\n\n")
    )
    assert campaign.to_verdict(timeout_s=300) == 0, campaign.output()
    labels = [
        label
        for text in campaign.datasets().values()
        for label in text.splitlines()
        if "pool frames" in label
    ]
    numbers = [int(re.findall(r'origin="[^"]*, step (\d+)"', label)[0]) for label in labels]
    assert numbers
    assert len(numbers) == len(set(numbers))
    assert all(
        ("role=test" in label) is (number % 5 == 0)
        for label, number in zip(labels, numbers, strict=True)
    )
    assert not list(campaign.root.rglob("in.lammps"))
    assert_replays(campaign)


def test_a_set_of_the_user_s_saves_labels(from_nothing: Campaign, tmp_path: Path) -> None:
    """Its 60 labels are trained on by the oracle's zeros, and a few are made again.

    The gate has its crystal all the same.
    """
    campaign = from_labels(tmp_path, "reference_names.extxyz", KINDS["reference_names.extxyz"])
    text = campaign.config.read_text()
    assert NO_PROPERTIES in text
    campaign.config.write_text(text.replace(NO_PROPERTIES, ""))
    assert campaign.to_verdict(timeout_s=300) == 0, campaign.output()
    assert new_labels(campaign) - properties(campaign) < new_labels(from_nothing)
    assert properties(campaign)
    assert_adopted(campaign, {})
    assert_replays(campaign)


@pytest.mark.parametrize("name", list(KINDS)[1:])
def test_whichever_tool_has_written_it(name: str, tmp_path: Path) -> None:
    """The first potential is fitted to all of the set."""
    campaign = from_labels(tmp_path, name, KINDS[name])
    with under_way(campaign, fits):
        (fitted,) = fits(campaign)
    offsets = {"Cu": pytest.approx(-CORE_EV, abs=1e-3)} if "offsets" in KINDS[name] else {}
    assert_adopted(campaign, offsets)
    assert fitted.train.structures + fitted.test.structures >= 60


def assert_adopted(campaign: Campaign, offsets_ev: dict[str, Any]) -> None:
    """All 60 labels are in the first data set."""
    ended = [event.digest for event in campaign.events() if isinstance(event, ev.PhaseEnded)]
    first = next(digest for digest in ended if isinstance(digest, CalculationDigest))
    assert first.adopted is not None
    assert first.adopted.train + first.adopted.test == 60
    assert first.adopted.offsets_ev == offsets_ev
    assert campaign.datasets()["000.extxyz"].count('origin="adopted: frame') == 60


@contextmanager
def under_way(campaign: Campaign, far_enough: Callable[[Campaign], object]) -> Iterator[None]:
    """A daemon that has come so far, and ends with what is done here."""
    daemon = campaign.start()
    try:
        ends_s = time.monotonic() + DAEMON_PATIENCE_S
        while not (campaign.folder.joinpath("journal").exists() and far_enough(campaign)):
            assert daemon.poll() is None, campaign.output()
            assert time.monotonic() < ends_s, campaign.output()
            time.sleep(0.2)
        yield
    finally:
        daemon.kill()
        daemon.wait()


def test_a_set_in_other_units_pauses_the_campaign_and_trains_nothing(tmp_path: Path) -> None:
    """With the frame and the keys that would mend it; nothing else has been labelled."""
    campaign = from_labels(tmp_path, "atomic_units.extxyz", "")
    with under_way(campaign, _pauses):
        (pause, *_) = _pauses(campaign)
    assert pause.mender is Mender.PERSON
    assert "of atomic_units.extxyz has" in pause.reason
    assert "energies agree with `dataset: {energy_unit: Ha, offsets: fit}`" in pause.reason
    assert "`forces_unit: Ha/bohr`" in pause.reason
    assert new_labels(campaign) < 20
    assert not (campaign.root / "potentials").exists() or not any(
        (campaign.root / "potentials").iterdir()
    )


def _pauses(campaign: Campaign) -> list[ev.Paused]:
    return [event for event in campaign.events() if isinstance(event, ev.Paused)]
