"""restart: what a daemon that begins makes of a site file changed since the last one. Pure."""

from collections.abc import Iterator
from datetime import datetime

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Verdict
from mlip_autopipec.data_models.state import Stage, WorkflowState
from mlip_autopipec.orchestration.machine import can_reopen, complaint_of, evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.strategies import quorum_lost, verdict_of

_CHANGED = "the site file has changed"


def after_change(
    state: WorkflowState,
    config_sha256: str,
    policy: Policy,
    now: datetime,
    by: ev.Actor,
    settings: ev.SettingsTaken | None = None,
) -> Iterator[ev.Event]:
    """Go on from a verdict that is void under the new file, or from what a person had to mend.

    `settings` are those of the file where they are news. They come last, and all of it before
    DaemonStarted: where a crash leaves only the first of these events, the next daemon finds the
    file as new as this one did.
    """
    if state.stage is not Stage.EMPTY and config_sha256 != state.config_sha256:
        yield from _onward(state, policy, now, by, settings)
    if settings is not None:
        yield settings


def _onward(
    state: WorkflowState,
    policy: Policy,
    now: datetime,
    by: ev.Actor,
    settings: ev.SettingsTaken | None,
) -> Iterator[ev.Event]:
    if can_reopen(state):
        again = ev.CampaignReopened(at=now, by=by, reason=_CHANGED, first_cycle=state.first_cycle)
        opened = evolve(state, again)
        if not _ends_at_once(evolve(opened, settings) if settings is not None else opened, policy):
            yield again
    elif complaint_of(state) if state.pause is None else state.pause.mender is Mender.PERSON:
        yield ev.Resumed(at=now, by=by, reason=_CHANGED)


def onward_text(verdict: Verdict | None) -> str:
    """How to go on from a verdict, as one sentence.

    It is empty where there is none, and for the verdict that was wanted.
    """
    if verdict is None or verdict is Verdict.CONVERGED:
        return ""
    return (
        "To go on from here: autopipecctl reopen --reason WHY, or start the daemon with a mended"
        " or larger site file."
    )


def reopened(state: WorkflowState, now: datetime, by: ev.Actor, reason: str) -> ev.CampaignReopened:
    """On a person's word: bounds of cycles and labels count from here on, as often as he likes."""
    return ev.CampaignReopened(at=now, by=by, reason=reason, first_cycle=len(state.cycles))


def _ends_at_once(state: WorkflowState, policy: Policy) -> bool:
    """Whether the rules of the file would only give a verdict again."""
    if state.stage is Stage.WORKING:
        return quorum_lost(state, policy.convergence.quorum) is not None
    return state.current_phase is None and verdict_of(state, policy.convergence) is not None
