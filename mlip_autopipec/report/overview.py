"""The campaign at a glance: how it stands, and all one needs to know to trust or repeat it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Verdict
from mlip_autopipec.data_models.digest import CalculationDigest, TrainingDigest
from mlip_autopipec.data_models.potential import Potential

_Versioned = ev.CampaignCreated | ev.DaemonStarted


@dataclass(frozen=True, slots=True)
class Overview:
    """Standing and provenance; empty where the journal does not say yet."""

    campaign: str
    began_at: datetime | None
    last_at: datetime | None
    verdict: Verdict | None
    verdict_reason: str
    cycle: int
    phase: Phase | None  # the one that was started last
    paused: bool
    potential: Potential | None  # the current one
    daemon_starts: int
    versions: tuple[str, ...]  # each once, in order of appearance; likewise below
    hosts: tuple[str, ...]
    config_sha256s: tuple[str, ...]
    payload_sha256s: tuple[str, ...]
    label_settings: tuple[str, ...]

    @property
    def wall_s(self) -> float:
        """From the first event to the last."""
        return (
            (self.last_at - self.began_at).total_seconds()
            if self.began_at and self.last_at
            else 0.0
        )


def overview(events: Iterable[ev.Event]) -> Overview:
    """Fold the events to how the campaign stands and where it comes from."""
    journal = tuple(events)
    created = [event for event in journal if isinstance(event, ev.CampaignCreated)]
    started = [event for event in journal if isinstance(event, ev.DaemonStarted)]
    phases = [event for event in journal if isinstance(event, ev.PhaseStarted)]
    digests = [event.digest for event in journal if isinstance(event, ev.PhaseEnded)]
    ends = [
        event for event in journal if isinstance(event, ev.VerdictReached | ev.CampaignReopened)
    ][-1:]
    verdicts = [event for event in ends if isinstance(event, ev.VerdictReached)]
    pauses = [
        event
        for event in journal
        if isinstance(event, ev.Paused | ev.Resumed | ev.CampaignReopened)
    ]
    fits = [digest for digest in digests if isinstance(digest, TrainingDigest) and digest.promoted]
    labels = [
        label
        for digest in digests
        if isinstance(digest, CalculationDigest)
        for label in digest.labels
    ]
    return Overview(
        campaign=created[0].campaign if created else "",
        began_at=journal[0].at if journal else None,
        last_at=journal[-1].at if journal else None,
        verdict=verdicts[-1].verdict if verdicts else None,
        verdict_reason=verdicts[-1].reason if verdicts else "",
        cycle=phases[-1].cycle if phases else 0,
        phase=phases[-1].phase if phases else None,
        paused=bool(pauses) and isinstance(pauses[-1], ev.Paused),
        potential=fits[-1].potential if fits else None,
        daemon_starts=len(started),
        versions=_each_once([event.version for event in journal if isinstance(event, _Versioned)]),
        hosts=_each_once([event.host for event in started]),
        config_sha256s=_each_once(
            [event.config_sha256 for event in journal if isinstance(event, _Versioned)]
        ),
        payload_sha256s=_each_once([event.payload_sha256 for event in started]),
        label_settings=_each_once([label.settings for label in labels]),
    )


def _each_once(lines: Sequence[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(lines))
