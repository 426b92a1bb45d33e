"""A typing error, a drained partition, a sick node, a full disk: a campaign waits and converges."""

import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import pytest
from kit.daemons import Campaign, assert_replays
from kit.lab import running_lab
from kit.lab_faults import Count, count_jobs, count_labels
from kit.slurm_lab import Lab, full_disk, partition

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason, Verdict
from mlip_autopipec.data_models.faults import MENDERS

pytestmark = [pytest.mark.lab, pytest.mark.timeout(600)]
T = TypeVar("T")
PATIENCE_S = 120.0
#: What is changed of the soak's campaign, whose physics takes milliseconds.
CHANGES = {
    "scheduler: {kind: local, cores: 2}": """scheduler:
    kind: slurm
    partition: mian
    prologue: ['[ "$(cat SICK)" != "$SLURMD_NODENAME" ] || { echo "$SLURMD_NODENAME has no modules"; exit 1; }']
  resources: {training: {memory: 300 MiB}, calculation: {memory: 300 MiB}, exploration: {memory: 300 MiB}}""",  # noqa: E501 - text for another program
    "{quiet_cycles: 1, cycles_max: 4}": "{needs: null, quiet_cycles: 1, cycles_max: 8}",
}


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The cluster; Slurm's commands and the daemons of this process speak to it."""
    with running_lab() as settings, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", settings["SLURM_CONF"])
        yield Lab(Path(settings["AUTOPIPEC_LAB"]))


@dataclass
class Day:
    """A campaign of quick physics on the lab, and its daemon."""

    campaign: Campaign
    sick: Path
    _seen: int = 0
    _daemon: "subprocess.Popen[str] | None" = None

    @classmethod
    def begun(cls, folder: Path) -> "Day":
        """Its site file, in which the partition is misspelt."""
        campaign, sick = Campaign.quick(folder, "site.yaml"), folder / "sick"
        sick.write_text("none\n", encoding="utf-8")
        text = campaign.config.read_text(encoding="utf-8")
        for old, new in CHANGES.items():
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        campaign.config.write_text(text.replace("SICK", str(sick)), encoding="utf-8")
        return cls(campaign, sick)

    @contextmanager
    def daemon(self) -> Iterator["subprocess.Popen[str]"]:
        """A daemon, stopped at the end if it still runs."""
        self._daemon = self.campaign.start("--exit-on-verdict")
        try:
            yield self._daemon
        finally:
            self._daemon.terminate()
            self._daemon.wait(timeout=PATIENCE_S)

    def until(self, look: Callable[[ev.Event], T | None]) -> T:
        """The first event from here on in which there is something."""
        until = time.monotonic() + PATIENCE_S
        while True:
            events = self.campaign.events()
            for event in events[self._seen :]:
                self._seen += 1
                if (found := look(event)) is not None:
                    return found
            assert time.monotonic() < until, self.campaign.output()[-3000:]
            assert self._daemon is None or self._daemon.poll() is None, self.campaign.output()[
                -3000:
            ]
            time.sleep(0.1)


def lost_to(reason: Reason) -> Callable[[ev.Event], ev.AttemptLost | None]:
    """An attempt that ended for this reason."""
    return lambda event: (
        event if isinstance(event, ev.AttemptLost) and event.reason is reason else None
    )


def test_ordinary_days_cost_a_campaign_nothing_but_time(lab: Lab, tmp_path: Path) -> None:
    """None of them counts against tasks, nothing is doubled or lost, and the campaign converges."""
    day = Day.begun(tmp_path)
    with day.daemon():
        pause = day.until(lambda event: event if isinstance(event, ev.Paused) else None)
    assert pause.mender is Mender.PERSON
    assert "'mian'" in pause.reason
    assert "did you mean 'main'?" in pause.reason
    text = day.campaign.config.read_text(encoding="utf-8")
    day.campaign.config.write_text(text.replace("mian", "main"), encoding="utf-8")

    day.sick.write_text("lab1\n", encoding="utf-8")
    with partition(lab, "drain"), day.daemon() as daemon:
        day.until(lambda event: event if isinstance(event, ev.Resumed) else None)
        refused = day.until(
            lambda event: event if isinstance(event, ev.EffectDeferred) and event.refused else None
        )
        assert "inactive or drain" in refused.message
        assert day.campaign.status()["site"] == "degraded"
        lab.run("scontrol", "update", "partitionname=main", "state=up")
        assert day.until(lost_to(Reason.NODE_UNFIT)).node == "lab1"
        day.until(
            lambda event: (
                event
                if isinstance(event, ev.PhaseStarted) and event.phase is Phase.EXPLORATION
                else None
            )
        )
        day.sick.write_text("none\n", encoding="utf-8")
        with full_disk(day.campaign.root / "outbox"):
            day.until(lost_to(Reason.STORAGE))
        assert daemon.wait(timeout=300) == 0, day.campaign.output()[-3000:]

    events = day.campaign.events()
    assert [event.verdict for event in events if isinstance(event, ev.VerdictReached)] == [
        Verdict.CONVERGED
    ]
    lost = {event.reason for event in events if isinstance(event, ev.AttemptLost)}
    assert {Reason.NODE_UNFIT, Reason.STORAGE} <= lost
    assert {MENDERS[reason] for reason in lost} <= {Mender.SITE, Mender.NODE}
    assert not [event for event in events if isinstance(event, ev.TaskQuarantined)]
    assert_replays(day.campaign)
    found = Count()
    count_labels(day.campaign.root, events, found)
    name = next(event.campaign for event in events if isinstance(event, ev.CampaignCreated))
    count_jobs(day.campaign.root, events, lab.records(name), found)
    assert (found.doubled, found.lost, found.wrong) == ([], [], [])
