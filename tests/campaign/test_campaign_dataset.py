"""Labels that a user has already begin a campaign: it converges with fewer new ones than from nothing."""

import shutil
import time
from pathlib import Path

import pytest
from campaign_stand import Campaign, assert_replays

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender
from mlip_autopipec.data_models.digest import CalculationDigest
from mlip_autopipec.data_models.outcome import CalculateMetrics

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]

LABELS = Path(__file__).parents[1] / "data" / "labels"
CORE_EV = -45059.3
#: The three kinds, and what the site file has to say of them.
KINDS = {
    "reference_names.extxyz": "",
    "atomic_units.extxyz": "energy_unit: Ha, forces_unit: Ha/bohr, offsets: fit",
    "fitting.pckl.gzip": "",
}


def from_labels(place: Path, name: str, keys: str) -> Campaign:
    """The demo in small, with a set instead of generated structures; the gate has its crystal all the same."""
    campaign = Campaign.small(place)
    shutil.copy(LABELS / name, place / name)
    text = campaign.config.read_text()
    old = text[text.index("  structures: 6") : text.index("exploration:")]
    more = f", {keys}" if keys else ""
    new = f"  structures: 0\n  test_structures: 0\n\ndataset: {{files: [{name}]{more}}}\n\n"
    campaign.config.write_text(text.replace(old, new))
    return campaign


def new_labels(campaign: Campaign) -> int:
    """What the oracle has labelled."""
    metrics = [event.outcome.metrics for event in campaign.events() if isinstance(event, ev.TaskEnded)]
    return sum(isinstance(one, CalculateMetrics) for one in metrics)


@pytest.fixture(scope="module")
def from_nothing(tmp_path_factory: pytest.TempPathFactory) -> int:
    """New labels of the campaign that makes its first structures itself."""
    campaign = Campaign.small(tmp_path_factory.mktemp("nothing"))
    assert campaign.to_verdict(timeout_s=300) == 0, campaign.output()
    return new_labels(campaign)


@pytest.mark.parametrize("name", KINDS)
def test_a_set_of_the_user_s_saves_labels(name: str, from_nothing: int, tmp_path: Path) -> None:
    """Whichever tool has written it: its 60 labels are trained on by the oracle's zeros, and a few are made again."""
    campaign = from_labels(tmp_path, name, KINDS[name])
    assert campaign.to_verdict(timeout_s=300) == 0, campaign.output()
    assert new_labels(campaign) < from_nothing
    ended = [event.digest for event in campaign.events() if isinstance(event, ev.PhaseEnded)]
    first = next(digest for digest in ended if isinstance(digest, CalculationDigest))
    assert first.adopted is not None
    assert first.adopted.train + first.adopted.test == 60
    offsets = {"Cu": pytest.approx(-CORE_EV, abs=1e-3)} if "offsets" in KINDS[name] else {}
    assert first.adopted.offsets_ev == offsets
    text = campaign.datasets()["000.extxyz"]
    assert text.count('origin="adopted: frame') == 60
    assert_replays(campaign)


def test_a_set_in_other_units_pauses_the_campaign_and_trains_nothing(tmp_path: Path) -> None:
    """With the frame and the keys that would mend it; nothing else has been labelled."""
    campaign = from_labels(tmp_path, "atomic_units.extxyz", "")
    daemon = campaign.start()
    try:
        for _ in range(600):
            if campaign.folder.joinpath("journal").exists() and _pauses(campaign):
                break
            assert daemon.poll() is None, campaign.output()
            time.sleep(0.2)
        (pause, *_) = _pauses(campaign)
    finally:
        daemon.kill()
        daemon.wait()
    assert pause.mender is Mender.PERSON
    assert "of atomic_units.extxyz has" in pause.reason
    assert "energies agree with `dataset: {energy_unit: Ha, offsets: fit}`" in pause.reason
    assert "`forces_unit: Ha/bohr`" in pause.reason
    assert new_labels(campaign) < 20
    assert not (campaign.root / "potentials").exists() or not any((campaign.root / "potentials").iterdir())


def _pauses(campaign: Campaign) -> list[ev.Paused]:
    return [event for event in campaign.events() if isinstance(event, ev.Paused)]
