"""explain: why is nothing running? The same facts that decide looks at, in words."""

from collections.abc import Iterator
from datetime import datetime

from mlip_autopipec.contract.explore import ExploreParameters
from mlip_autopipec.data_models.base import Mender, Phase
from mlip_autopipec.data_models.digest import ExplorationDigest
from mlip_autopipec.data_models.events import SiteHealth
from mlip_autopipec.data_models.faults import Heard, fault_of
from mlip_autopipec.data_models.state import BatchStatus, Stage, TaskStatus, WorkflowState
from mlip_autopipec.orchestration.census import census
from mlip_autopipec.orchestration.changing import override_lines
from mlip_autopipec.orchestration.decide import decide
from mlip_autopipec.orchestration.exclusion import excluded
from mlip_autopipec.orchestration.levels import levels_text
from mlip_autopipec.orchestration.machine import complaint_of
from mlip_autopipec.orchestration.needs import shortcoming_of
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.restart import onward_text


def explain(state: WorkflowState, policy: Policy, now: datetime) -> tuple[str, ...]:
    """What the campaign is doing and what it waits for, one sentence each. Pure."""
    if state.stage is Stage.EMPTY:
        return ("No campaign has been created yet.",)
    lines = [_position(state), *(f"Set: {line}." for line in override_lines(state))]
    if state.pause is not None:
        who = state.pause.by.name or f"uid {state.pause.by.uid}"
        why = f": {state.pause.reason}" if state.pause.reason else ""
        lines.append(
            f"Paused by {who} since {state.pause.at:%Y-%m-%d %H:%M:%S} UTC{why}. Nothing new is"
            " submitted."
        )
    if state.site is not SiteHealth.OK:
        lines.append(f"The site is {state.site}: {state.site_message}")
    lines += _troubles(state, now)
    lines += [*_not_right(state, policy), *_levels(state), *_batches(state), *_left_over(state)]
    lines += _held(state)
    lines += [
        (
            f"Job {job.job_id} ({job.job_name}: {job.detail}) is in the queue under the campaign's"
            " name, and the campaign does not wait for it. It is left alone: scancel"
            f" {job.job_id}, if nobody else does."
        )
        for job in state.orphans
    ]
    lines += [
        (
            f"{subject} is put off until {deferral.until:%H:%M:%S} UTC (time {deferral.times}):"
            f" {deferral.message}"
        )
        for subject, deferral in state.deferrals.items()
    ]
    lines += [
        f"Next: {command.type} ({command.subject})." for command in decide(state, policy, now)
    ]
    return tuple(lines)


def _position(state: WorkflowState) -> str:
    if state.verdict is not None:
        return (
            f"The campaign has ended: {state.verdict}. {state.verdict_reason}"
            f" {onward_text(state.verdict)}"
        ).strip()
    if state.stage is Stage.BETWEEN:
        return (
            f"Cycle {state.cycle_index} is between two phases (last:"
            f" {state.current_phase or 'none yet'})."
        )
    counts = census(state).own
    message = ", ".join(f"{counts[status]} {status}" for status in TaskStatus if counts[status])
    return f"Cycle {state.cycle_index}, {state.current_phase}: {message or 'no tasks'}."


def _troubles(state: WorkflowState, now: datetime) -> Iterator[str]:
    """What jobs have shown wrong with the site and its nodes, and what a person is to mend."""
    complaint = complaint_of(state)
    if complaint and (state.pause is None or state.pause.reason != complaint):
        yield f"A person must mend: {complaint}"
    if state.trouble is not None:
        yield (
            "The site is in trouble, by its jobs' own words; nothing new is submitted before"
            f" {state.trouble.until:%H:%M:%S} UTC (time {state.trouble.times}):"
            f" {state.trouble.message}"
        )
    for name in excluded(state, now):
        node = state.nodes[name]
        yield (
            f"Node {name} is excluded until {node.until:%H:%M:%S} UTC (time {node.times}):"
            f" {node.message}"
        )
    if state.row is not None and len(state.row.sources) > 1 and not complaint:
        yield f"{len(state.row.sources)} failures in a row are equal: {state.row.message}"


def _not_right(state: WorkflowState, policy: Policy) -> Iterator[str]:
    """Why a campaign goes on although its last cycle was quiet, and what is done about it."""
    if state.verdict is not None or not state.cycles or not state.cycles[-1].quiet:
        return
    if remedy := state.cycles[-1].remedy:
        yield f"Exploration is quiet, and the potential is not as right as asked: {remedy.message}."
    elif lack := shortcoming_of(state.cycles, policy.convergence):
        yield (
            "Exploration is quiet, and the potential is not shown to be as right as asked:"
            f" {lack.message}."
        )


def _levels(state: WorkflowState) -> Iterator[str]:
    """What this cycle's walkers are watched at.

    Once they have ended, it is what a target in force had to do with it, too.
    """
    exploration = state.digests.get(Phase.EXPLORATION)
    if isinstance(exploration, ExplorationDigest) and exploration.levels is not None:
        if exploration.levels.force_error_target_mev_per_angstrom is not None:
            yield f"Walkers had {levels_text(exploration.levels)}."
        return
    if state.current_phase is not Phase.EXPLORATION:
        return
    parameters = (record.task.parameters for record in state.tasks.values())
    walker = next((walker for walker in parameters if isinstance(walker, ExploreParameters)), None)
    if walker is not None:
        frames = (
            "frames of every γ"
            if walker.pool_frames
            else f"frames above γ {walker.gamma_select:.3g}"
        )
        yield f"Walkers collect {frames}, and halt above γ {walker.gamma_halt:.3g}."


def _left_over(state: WorkflowState) -> Iterator[str]:
    """Labels that missed their round, and what was given up."""
    late = census(state).late
    if any(late.values()):
        message = ", ".join(f"{late[status]} {status}" for status in TaskStatus if late[status])
        yield (
            f"Late labels: {message}. They join the next round; the campaign does not converge"
            " before."
        )
    if state.quarantine:
        task, record = list(state.quarantine.items())[-1]
        why = f": {record.failures[-1].message}" if record.failures else ""
        yield (
            f"{len(state.quarantine)} calculations were given up (`autopipecctl retry TASK`), the"
            f" last is {task}{why}"
        )


def _batches(state: WorkflowState) -> list[str]:
    lines = []
    seen: dict[str | None, dict[str, int]] = {}
    for (job_name, job_state), number in census(state).seen.items():
        seen.setdefault(job_name, {})[job_state or "not seen yet"] = number
    for batch in state.batches.values():
        shown = ", ".join(
            f"{number} {name}" for name, number in sorted(seen.get(batch.job_name, {}).items())
        )
        match batch.status:
            case BatchStatus.BEGUN:
                lines.append(
                    f"{batch.job_name} is about to be submitted ({len(batch.live)} tasks)."
                )
            case BatchStatus.UNCLEAR:
                lines.append(
                    f"{batch.job_name}: the scheduler's answer was lost; it is being looked up."
                )
            case BatchStatus.ACCEPTED:
                lines.append(f"{batch.job_name} is job {batch.job_id}: {shown}.")
    return lines


def _held(state: WorkflowState) -> list[str]:
    """What will not start by itself, once for each of the scheduler's reasons."""
    held: dict[str, list[str]] = {}
    for record in census(state).held:
        held.setdefault(record.detail, []).append(f"{record.job_name}.{record.index}")
    return [
        (
            f"{attempts[0]}{f' and {len(attempts) - 1} more' if len(attempts) > 1 else ''}"
            f" {_holding(detail)}"
        )
        for detail, attempts in held.items()
    ]


def _holding(detail: str) -> str:
    fault = fault_of(Heard.PENDING, detail)
    if fault is not None and fault.mender is Mender.SITE:
        return f"waits for the site: {detail}. It starts by itself."
    return (
        f"will not start by itself: {detail}. Change what holds it (release, limits of the"
        " partition), or scancel it to have it submitted anew."
    )
