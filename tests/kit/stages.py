"""States of every stage, and the events that each takes: the material of the machine's tests."""

from collections.abc import Iterator

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.results.structure import Structure
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.data_models.state import Stage, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.strategies import summarise
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

ADA = ev.Actor(uid=1000, pid=77, name="ada")


def walk() -> Walk:
    """A campaign that has just been created."""
    config = copper_config()
    return Walk(config, phase_runners(config))


def always(campaign: Walk) -> Iterator[ev.Event]:
    """What may happen in every stage but the first."""
    at = campaign.now
    yield ev.DaemonStarted(
        at=at, version="0", host="login1", pid=1, config_sha256="0", payload_sha256="0"
    )
    yield ev.DaemonStopped(at=at, why="SIGTERM")
    yield ev.EffectDeferred(at=at, subject="campaign", message="cut", until=at)
    yield ev.SiteChanged(at=at, health=ev.SiteHealth.DEGRADED, message="cut")
    yield ev.SitePrepared(at=at, array_tasks_max=1000)
    yield ev.Paused(at=at, by=ADA)
    yield ev.Resumed(at=at, by=ADA)
    yield ev.ClockStepped(at=at, by_s=3600)
    yield ev.TasksCancelled(at=at, tasks=("c000.calculation.0000-000000",), by=ADA, reason="enough")
    yield ev.SettingsTaken(
        at=at, by=ADA, config_sha256="1", settings={"campaign": {"name": "copper"}}
    )
    yield ev.OrphansSeen(
        at=at, jobs=(ev.QueuedJob(job_name="copper-3f9a1c.c000.training.b00", job_id="9"),)
    )
    yield ev.JournalRepaired(at=at, kept_as="journal.torn", bytes_cut=3)
    yield ev.JournalRebuilt(
        at=at, events=3, kept_as="journal.damaged-1", unused=("copper-3f9a1c.c009.training.b00",)
    )


def added(campaign: Walk) -> ev.StructuresAdded:
    """A structure of a person's, to be labelled."""
    file = FileRef(path="inputs/abc-mine.extxyz", sha256="a" * 64)
    mine = Structure(
        file=file, role=Role.TRAIN, origin="added: mine.cif frame 1", n_atoms=4, why="added"
    )
    return ev.StructuresAdded(at=campaign.now, by=ADA, reason="a surface", structures=(mine,))


def redone_now(campaign: Walk) -> ev.PhaseRedone:
    """The current cycle from its begin, with what there is."""
    state = campaign.state
    return ev.PhaseRedone(
        at=campaign.now,
        by=ADA,
        reason="another trainer",
        cycle=state.cycle_index,
        phase=Phase.EXPLORATION if state.potential is not None else Phase.GENERATION,
        summary=summarise(state) if state.current_phase is not None else None,
        digests=(),
        potential=state.potential,
        datasets=state.datasets,
        measured=state.measured,
        halted=dict(state.halted),
        ladders=state.ladders,
    )


def submission_news(campaign: Walk) -> Iterator[tuple[WorkflowState, ev.Event]]:
    """News about a batch that is begun but not accepted yet."""
    state, at = campaign.until(lambda state: bool(state.batches)), campaign.now
    job_name = next(iter(state.batches))
    yield state, ev.SubmissionAccepted(at=at, job_name=job_name, job_id="1")
    yield state, ev.SubmissionRejected(at=at, job_name=job_name, message="Invalid account")
    yield state, ev.SubmissionUnclear(at=at, job_name=job_name, message="timed out")
    yield state, ev.SubmissionVoided(at=at, job_name=job_name, message="never was")


def attempt_news(campaign: Walk) -> Iterator[tuple[WorkflowState, ev.Event]]:
    """News about a live attempt."""
    job_name, at = campaign.submitted(Phase.CALCULATION).job_name, campaign.now
    yield (
        campaign.state,
        ev.JobsSighted(
            at=at, sightings=(ev.Sighting(job_name=job_name, index=0, state=ev.JobState.ABSENT),)
        ),
    )
    yield campaign.state, campaign.ended(job_name, 0)
    yield (
        campaign.state,
        ev.AttemptLost(at=at, job_name=job_name, index=0, reason=Reason.LOST, message="gone"),
    )


def legal() -> Iterator[tuple[WorkflowState, ev.Event]]:
    """For every stage, each kind of event that it takes, with a state that takes it."""
    at = walk().now
    created = walk().events[0]
    yield WorkflowState(), created
    yield WorkflowState(), ev.JournalRepaired(at=at, kept_as="journal.torn", bytes_cut=3)
    yield from _legal_between()
    yield from _legal_working()
    over = ev.VerdictReached(at=at, verdict=Verdict.FAILED, reason="quorum")
    for state, event in (*submission_news(walk()), *attempt_news(walk())):
        yield evolve(state, over), event
    ended = walk().tell(over)
    yield from ((ended, event) for event in always(walk()))
    yield ended, redone_now(walk())
    yield ended, ev.CampaignReopened(at=at, by=ADA, reason="a mended site", first_cycle=0)


def _legal_between() -> Iterator[tuple[WorkflowState, ev.Event]]:
    between = walk()
    yield between.state, between.follow(between.commands()[0])
    yield (
        between.state,
        ev.CycleClosed(at=between.now, summary=CycleSummary(cycle=0, bootstrap=True)),
    )
    yield (
        between.state,
        ev.VerdictReached(at=between.now, verdict=Verdict.FAILED, reason="no potential"),
    )
    yield between.state, added(between)
    yield between.state, redone_now(between)
    yield from ((between.state, event) for event in always(between))
    yield from _late_between()


def late_round() -> Walk:
    """A round of Calculation that has closed at its first label; nothing of the others is known."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.policy = campaign.policy.model_copy(update={"round_quorum": 0.3})
    campaign.tell(campaign.ended(batch.job_name, 0))
    campaign.until(lambda state: state.stage is Stage.BETWEEN)
    return campaign


def given_up() -> Walk:
    """A round of Calculation that has closed, with its last task given up."""
    campaign = walk()
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 2, Reason.NUMERICAL))
    campaign.until(lambda state: state.stage is Stage.BETWEEN)
    return campaign


def _late_between() -> Iterator[tuple[WorkflowState, ev.Event]]:
    """What may still be heard of a round that has closed."""
    late, retried = late_round(), given_up()
    (job_name,) = late.state.batches
    sighting = ev.Sighting(job_name=job_name, index=1, state=ev.JobState.ABSENT)
    yield late.state, ev.JobsSighted(at=late.now, sightings=(sighting,))
    yield late.state, late.ended(job_name, 1)
    yield (
        late.state,
        ev.AttemptLost(at=late.now, job_name=job_name, index=1, reason=Reason.LOST, message="gone"),
    )
    yield (
        retried.state,
        ev.TaskRetried(at=retried.now, task=next(iter(retried.state.quarantine)), by=ADA),
    )
    begun = walk()
    begun.policy = begun.policy.model_copy(update={"batch_tasks_max": 1, "round_quorum": 0.3})
    batch = begun.submitted(Phase.CALCULATION)
    second = begun.until(lambda state: len(state.batches) > 1)
    begun.tell(begun.ended(batch.job_name, 0))
    digest = begun.follow(next(each for each in begun.commands() if each.type == "DigestPhase"))
    begun.tell(digest)
    other = list(second.batches)[-1]
    yield begun.state, ev.SubmissionAccepted(at=begun.now, job_name=other, job_id="1")
    yield (
        begun.state,
        ev.SubmissionRejected(at=begun.now, job_name=other, message="Invalid account"),
    )
    yield begun.state, ev.SubmissionUnclear(at=begun.now, job_name=other, message="timed out")
    yield begun.state, ev.SubmissionVoided(at=begun.now, job_name=other, message="never was")


def _legal_working() -> Iterator[tuple[WorkflowState, ev.Event]]:
    working = walk()
    state = working.planned(Phase.CALCULATION)
    yield state, working.follow(working.commands()[0])
    yield state, ev.VerdictReached(at=working.now, verdict=Verdict.FAILED, reason="quorum")
    yield state, added(working)
    yield state, redone_now(working)
    yield from ((state, event) for event in always(working))
    yield from submission_news(walk())
    yield from attempt_news(walk())
    failed = walk()
    job_name = failed.submitted(Phase.CALCULATION).job_name
    state = failed.tell(failed.ended(job_name, 0, Reason.NUMERICAL))
    yield (
        state,
        ev.TaskQuarantined(at=failed.now, task=state.batches[job_name].tasks[0], message="SCF"),
    )
    failed.until(
        lambda state: any(each.status is TaskStatus.QUARANTINED for each in state.tasks.values())
    )
    yield failed.state, ev.TaskRetried(at=failed.now, task=state.batches[job_name].tasks[0], by=ADA)
    done = walk()
    state = done.until(lambda state: state.stage is Stage.WORKING and not _open(state))
    yield state, done.follow(done.commands()[0])


def _open(state: WorkflowState) -> bool:
    return any(record.outcome is None for record in state.tasks.values())
