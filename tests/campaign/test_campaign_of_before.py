"""A campaign that an earlier program began, and whose daemon was killed.

This program brings it to its verdict.
"""

import tarfile
from pathlib import Path

import pytest
from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict

pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(600)]

BEGUN = Path(__file__).parents[1] / "data/campaigns/begun-under-0.1.0.tar.xz"


def test_a_campaign_of_an_earlier_program_converges(tmp_path: Path) -> None:
    with tarfile.open(BEGUN) as archive:
        archive.extractall(tmp_path, filter="data")
    campaign = Campaign(tmp_path / "site.yaml", tmp_path / "campaign", tmp_path / "site")
    (segment,) = (campaign.folder / "journal").glob("*.jsonl")
    written = segment.read_bytes()
    before = campaign.events()
    assert isinstance(before[-1], ev.SubmissionBegun)  # killed before it knew more

    assert campaign.to_verdict(500) == 0, campaign.output()

    events = campaign.events()
    assert segment.read_bytes().startswith(written)
    assert events[: len(before)] == before
    (verdict,) = [event for event in events if isinstance(event, ev.VerdictReached)]
    assert verdict.verdict is Verdict.CONVERGED
    outcomes = [event.outcome.task for event in before if isinstance(event, ev.TaskEnded)]
    assert len(outcomes) > 8  # labels of cycle 0 are kept: none of them is made again
    assert_nothing_doubled_or_lost(campaign)
    assert_replays(campaign)
