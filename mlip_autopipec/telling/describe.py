"""describe: what an event says in one line of plain words, for logs, progress and the live view."""

from collections import Counter
from collections.abc import Iterator

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.contract.results.explore import Ending, ExploreMetrics
from mlip_autopipec.contract.results.generate import GenerateMetrics
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.results.train import Errors, TrainMetrics
from mlip_autopipec.data_models import digest as dg
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import TaskRecord, WorkflowState
from mlip_autopipec.orchestration.changing import change_text
from mlip_autopipec.orchestration.contract import INTEGER_MAX
from mlip_autopipec.orchestration.levels import levels_text
from mlip_autopipec.orchestration.restart import onward_text
from mlip_autopipec.telling.words import count, duration, loss_texts, one_line

#: So many tasks of one event are named.
_NAMES_MAX = 5
_ENDINGS = {
    Ending.HALTED: "halted",
    Ending.EXPLODED: "exploded",
}


def describe(event: ev.Event, state: WorkflowState | None = None) -> str:
    """One line for any event.

    `state`, the one after the event, lets tasks be called by what they are.
    """
    return one_line(_text(event, state))


def _text(event: ev.Event, state: WorkflowState | None) -> str:  # noqa: C901, PLR0911, PLR0912 - one per event
    match event:
        case ev.CampaignCreated():
            return f"campaign {event.campaign} created by version {event.version}"
        case ev.DaemonStarted():
            return f"daemon {event.version} started on {event.host}, pid {event.pid}"
        case ev.DaemonStopped():
            return f"daemon stopped{_by(event.by)}: {event.why}"
        case ev.SettingsTaken():
            return _settings(event)
        case ev.StructuresAdded():
            labelled = count(len(event.structures), "structure") + " to label"
            walked = count(len(event.walks), "structure") + " to walk from"
            what = ", ".join(
                w for w, n in ((labelled, event.structures), (walked, event.walks)) if n
            )
            return f"added{_by(event.by)}{_because(event.reason)}: {what or 'nothing'}"
        case ev.PhaseStarted():
            return f"cycle {event.cycle} {event.phase}: {count(len(event.tasks), 'task')} planned"
        case ev.SubmissionBegun():
            return f"{event.job_name}: about to submit {count(len(event.tasks), 'task')}"
        case ev.SubmissionAccepted():
            return (
                f"{event.job_name} is job"
                f" {event.job_id}{' (found in the queue)' if event.adopted else ''}"
            )
        case ev.SubmissionRejected():
            return f"{event.job_name} was refused for good: {event.message}"
        case ev.SubmissionUnclear():
            return (
                f"{event.job_name} may or may not have been submitted, it will be looked up:"
                f" {event.message}"
            )
        case ev.SubmissionVoided():
            return (
                f"{event.job_name} never reached the scheduler, its tasks are free again:"
                f" {event.message}"
            )
        case ev.JobsSighted():
            return f"seen in the queue: {_sightings(event.sightings)}"
        case ev.OrphansSeen():
            return _orphans(event.jobs)
        case ev.TaskEnded():
            return _outcome(event.outcome, state)
        case ev.AttemptLost():
            return f"{_attempt(event, state)} was lost ({event.reason}): {event.message}"
        case ev.TaskQuarantined():
            return f"{event.task} is given up: {event.message}"
        case ev.TasksCancelled():
            named = ", ".join(event.tasks[:_NAMES_MAX])
            more = (
                f" and {len(event.tasks) - _NAMES_MAX} more"
                if len(event.tasks) > _NAMES_MAX
                else ""
            )
            return f"cancelled{_by(event.by)}{_because(event.reason)}: {named}{more}"
        case ev.TaskRetried():
            return f"{event.task} is brought back{_by(event.by)}{_because(event.reason)}"
        case ev.PhaseEnded():
            return _digest(event.cycle, event.digest)
        case ev.CycleClosed():
            return _summary(event.summary)
        case ev.VerdictReached():
            onward = onward_text(event.verdict)
            return f"verdict {event.verdict}: {event.reason}{'. ' if onward else ''}{onward}"
        case ev.CampaignReopened():
            return f"the campaign is reopened{_by(event.by)}{_because(event.reason)}"
        case ev.PhaseRedone():
            again = f"{event.phase} of cycle {event.cycle}"
            return (
                f"going back{_by(event.by)}{_because(event.reason)}: {again} is done again, in a"
                " new cycle"
            )
        case ev.EffectDeferred():
            return f"{event.subject} is put off until {event.until:%H:%M:%S} UTC: {event.message}"
        case ev.SiteChanged():
            return f"the site is {event.health}{_because(event.message)}"
        case ev.SitePrepared():
            limit = (
                f", arrays of at most {event.array_tasks_max} tasks"
                if event.array_tasks_max
                else ""
            )
            return f"the site is prepared{limit}"
        case ev.Paused():
            return f"paused{_by(event.by)}{_because(event.reason)}"
        case ev.Resumed():
            return f"resumed{_by(event.by)}{_because(event.reason)}"
        case ev.ClockStepped():
            return (
                f"the clock was set {'forward' if event.by_s > 0 else 'back'} by"
                f" {duration(abs(event.by_s))}"
            )
        case ev.JournalRepaired():
            return (
                f"the journal's torn end was cut off ({count(event.bytes_cut, 'byte')}, kept as"
                f" {event.kept_as})"
            )
        case ev.JournalRebuilt():
            kept = f", the journal of before is kept as {event.kept_as}" if event.kept_as else ""
            return f"{count(event.events, 'event')} made again from what the site holds{kept}"


def _settings(event: ev.SettingsTaken) -> str:
    if not event.changes:
        return f"the site file's settings are in force{_because(event.reason)}"
    named = "; ".join(change_text(change) for change in event.changes[:_NAMES_MAX])
    more = f" and {len(event.changes) - _NAMES_MAX} more" if len(event.changes) > _NAMES_MAX else ""
    return f"settings changed{_by(event.by)}{_because(event.reason)}: {named}{more}"


def _outcome(outcome: Outcome, state: WorkflowState | None) -> str:
    record = state.tasks.get(outcome.task) if state else None
    if outcome.status == "failed":
        return f"{_name(outcome.task, record)} failed ({outcome.reason}): {outcome.message}"
    if isinstance(outcome.metrics, ExploreMetrics | CalculateMetrics):
        labelled = " labelled:" if isinstance(outcome.metrics, CalculateMetrics) else ""
        named = outcome.task if labelled else _name(outcome.task, record)
        return f"{named}{labelled} {achieved(outcome)}"
    return achieved(outcome)


def achieved(outcome: Outcome) -> str:
    """What a done attempt gave, without the name of its task."""
    match outcome.metrics:
        case ExploreMetrics():
            return _ending(outcome.metrics)
        case GenerateMetrics():
            return f"{count(len(outcome.metrics.structures), 'structure')} generated"
        case SelectMetrics():
            metrics = outcome.metrics
            chosen = (
                f"{count(len(metrics.structures), 'structure')} selected of"
                f" {count(metrics.frames, 'frame')}"
            )
            return "; ".join((chosen, *_dropped(metrics)))
        case CalculateMetrics():
            return _label(outcome.metrics)
        case TrainMetrics():
            loss = "".join(f", loss of {text}" for text in loss_texts(outcome.metrics.loss))
            return f"fit done in {duration(outcome.wall_s)}: {_errors(outcome.metrics.test)}{loss}"
        case None:
            raise AssertionError("a done outcome carries metrics")


def _digest(cycle: int, digest: dg.Digest) -> str:
    match digest:
        case dg.GenerationDigest():
            return (
                f"cycle {cycle} generation: {count(len(digest.structures), 'structure')} to label"
            )
        case dg.ExplorationDigest():
            walkers = count(len(digest.walkers), "walker")
            quiet = ", quiet" if digest.quiet else ""
            halted = f"{digest.halts} of {walkers} halted{quiet}"
            return (
                f"cycle {cycle} exploration:"
                f" {halted}{_stages(digest.ladders)}{_levels(digest.levels)}"
            )
        case dg.SelectionDigest():
            structures = count(len(digest.structures), "structure")
            return (
                f"cycle {cycle} selection: {structures} to label of {count(digest.frames, 'frame')}"
            )
        case dg.CalculationDigest():
            parts = {"late": digest.late, "failed": digest.failed, "still awaited": digest.awaited}
            rest = "".join(f", {number} {word}" for word, number in parts.items() if number)
            alone = ", ".join(
                f"{element} {energy:.4f} eV" for element, energy in digest.isolated_atoms_ev.items()
            )
            beside = f"; isolated atoms: {alone}" if alone else ""
            if (brought := digest.adopted) is not None:
                beside += (
                    f"; {count(brought.train + brought.test, 'label')} of the data set adopted:"
                    f" {brought.message}"
                )
            return f"cycle {cycle} calculation: {count(len(digest.labels), 'label')}{rest}{beside}"
        case dg.TrainingDigest():
            promoted = (
                "promoted" if digest.verdict == "pass" else f"promoted conditionally: {digest.gate}"
            )
            gate = promoted if digest.promoted else f"not promoted: {digest.gate}"
            return f"fit of cycle {cycle}: {_force_error(digest.potential.test)}, {gate}"


def _stages(ladders: tuple[dg.Ladder, ...]) -> str:
    """How far ladders of more than one stage are open; nothing where there are none."""
    tall = [ladder for ladder in ladders if ladder.stages > 1]
    if not tall:
        return ""
    return (
        f", {sum(ladder.open for ladder in tall)} of {sum(ladder.stages for ladder in tall)}"
        " stages open"
    )


def _levels(levels: dg.GammaLevels | None) -> str:
    """What γ was held to, where a target in force had a say in it."""
    aimed = levels is not None and levels.force_error_target_mev_per_angstrom is not None
    return f"; {levels_text(levels)}" if levels is not None and aimed else ""


def _summary(summary: dg.CycleSummary) -> str:
    labels = count(summary.labels_train + summary.labels_test, "label")
    if adopted := summary.adopted_train + summary.adopted_test:
        labels += f" and {adopted} of the data set"
    walkers = (
        f", {summary.halts} of {count(summary.walkers, 'walker')} halted" if summary.walkers else ""
    )
    fit = f", {_force_error(summary.test)}" if summary.test else ", no fit"
    return f"cycle {summary.cycle} closed: {labels}{walkers}{fit}{_needs(summary)}"


def _needs(summary: dg.CycleSummary) -> str:
    """How many needs are met, and what is done if exploration is quiet and the potential wrong."""
    met = sum(need.met for need in summary.needs)
    needs = f", {met} of {len(summary.needs)} needs met" if summary.needs else ""
    return (
        f"{needs}; remedy ({summary.remedy.kind}): {summary.remedy.message}"
        if summary.remedy
        else needs
    )


def _ending(metrics: ExploreMetrics) -> str:
    if metrics.ending is Ending.COMPLETED:
        return f"completed {count(metrics.steps, 'step')}, γ at most {metrics.gamma_max:.1f}"
    detail = (
        f" ({metrics.detail})" if metrics.detail and metrics.ending is not Ending.HALTED else ""
    )
    return f"{_ENDINGS[metrics.ending]} at step {metrics.steps}, γ {metrics.gamma_max:.1f}{detail}"


def _label(metrics: CalculateMetrics) -> str:
    # an old journal may hold any count
    energy = metrics.energy_ev / min(metrics.n_atoms, INTEGER_MAX)
    healed = f", healed in {len(metrics.tries)} runs" if len(metrics.tries) > 1 else ""
    return (
        f"{energy:.3f} eV/atom, largest force {metrics.force_max_ev_per_angstrom:.2f} eV/Å{healed}"
    )


def _errors(errors: Errors) -> str:
    return f"{_force_error(errors)}, energy error {errors.energy_mev_per_atom:.2f} meV/atom"


def _force_error(errors: Errors) -> str:
    return f"test force error {errors.force_mev_per_angstrom:.1f} meV/Å"


def _sightings(sightings: tuple[ev.Sighting, ...]) -> str:
    """How many are in which state; and of those that will not start by themselves, why."""
    states = Counter(sighting.state for sighting in sightings)
    counts = ", ".join(f"{states[state]} {state}" for state in ev.JobState if states[state])
    reasons = sorted(
        {sighting.detail for sighting in sightings if sighting.state is ev.JobState.HELD}
    )
    return f"{counts}; will not start by itself: {', '.join(reasons)}" if reasons else counts


def _orphans(jobs: tuple[ev.QueuedJob, ...]) -> str:
    if not jobs:
        return "no job is in the queue any more that the campaign does not wait for"
    names = ", ".join(f"job {job.job_id} ({job.job_name}: {job.detail})" for job in jobs)
    return f"in the queue, and the campaign does not wait for it: {names}"


def _attempt(event: ev.AttemptLost, state: WorkflowState | None) -> str:
    """The task of a lost attempt.

    Its batch may be forgotten by now, but its record still says where it ran.
    """
    for name, record in state.tasks.items() if state else ():
        if (record.job_name, record.index) == (event.job_name, event.index):
            return _name(name, record)
    return f"attempt {event.job_name}.{event.index}"


def _name(task: str, record: TaskRecord | None) -> str:
    """Walkers are known by their condition, everything else by its id."""
    parameters = record.task.parameters if record else None
    if isinstance(parameters, ExploreParameters):
        before = parameters.walker.continues
        onward = f" (on from step {before.step} in cycle {before.cycle})" if before else ""
        return f"walker {parameters.walker.label}{onward}"
    return task


def _by(actor: ev.Actor | None) -> str:
    return f" by {actor.name or f'uid {actor.uid}'}" if actor else ""


def _dropped(metrics: SelectMetrics) -> Iterator[str]:
    """What was left out of the candidates, and why."""
    fates = (
        "below_window",
        "above_window",
        "near_audit",
        "too_short",
        "duplicates",
        "not_offered",
        "not_embedded",
    )
    for word in (*fates, "capped"):
        if number := getattr(metrics, word):
            yield f"{number} {word.replace('_', ' ')}"


def _because(reason: str) -> str:
    return f": {reason}" if reason else ""
