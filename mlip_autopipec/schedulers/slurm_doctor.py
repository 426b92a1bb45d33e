"""What doctor asks of a Slurm site, and what the answers mean."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mlip_autopipec.config.schemas.schedulers import SlurmQueue
from mlip_autopipec.config.schemas.site import ResourcesSection, SiteSection
from mlip_autopipec.data_models.base import Phase, RunsOn
from mlip_autopipec.data_models.finding import Colour, Finding
from mlip_autopipec.errors import BugError
from mlip_autopipec.ports import Transport
from mlip_autopipec.schedulers import slurm_limits, slurm_script, slurm_text
from mlip_autopipec.telling.words import count, duration

_TIMEOUT_S = 150.0
_MESSAGE_TIMEOUT_LONG_S = 60


@dataclass(frozen=True, slots=True)
class Reply:
    """What one command said, and how it ended."""

    status: int
    message: str
    hint: str = ""  # of what is likely meant; ends with a space


@dataclass(frozen=True, slots=True, kw_only=True)
class SlurmFacts:
    """What Slurm says of itself.

    That is its configuration, whether sacct answers, and sbatch --test-only by phases.
    """

    config: Mapping[str, str]
    array_tasks_max: int | None
    times_s: Mapping[str, int | None]  # MinJobAge, MessageTimeout
    sacct: Reply
    trials: Mapping[str, Reply]


async def examine(site: SiteSection, transport: Transport) -> tuple[Finding, ...]:
    """Ask, and judge. Nothing is queued. Raises AutopipecError where Slurm does not answer."""
    queue = site.scheduler
    if not isinstance(queue, SlurmQueue):
        raise BugError(f"the options of Slurm are those of {queue.kind}")
    slurm = await _asked(site, queue, transport)
    return tuple(judge(slurm, array_max=queue.array_max, poll_interval_s=site.poll_interval))


async def _asked(site: SiteSection, queue: SlurmQueue, transport: Transport) -> SlurmFacts:
    said = await slurm_limits.ask_config(transport)
    trials = {}
    for phases, script in _trial_scripts(site, queue):
        await transport.write({".ap/doctor.sh": script.encode()})
        reply = await _reply(transport, ["sbatch", "--test-only", ".ap/doctor.sh"])
        trials[phases] = await with_partitions(reply, script, transport)
    return SlurmFacts(
        config=said,
        array_tasks_max=slurm_limits.array_tasks_max(said),
        times_s={key: slurm_limits.seconds(said, key) for key in ("MinJobAge", "MessageTimeout")},
        sacct=await _reply(transport, ["sacct", "--noheader", "--allocations", "--starttime=now"]),
        trials=trials,
    )


async def with_partitions(reply: Reply, script: str, transport: Transport) -> Reply:
    """What sbatch said of a script; where there is no such partition, with those that are."""
    asked = [
        line.partition("=")[2]
        for line in script.splitlines()
        if line.startswith("#SBATCH --partition=")
    ]
    if not asked or reply.status == 0 or not slurm_text.is_of_partition(reply.message):
        return reply
    there = await _reply(transport, ["sinfo", "--noheader", "--format=%R"])
    return replace(
        reply, hint=slurm_text.partition_hint(asked[-1], there.message) if there.status == 0 else ""
    )


async def _reply(transport: Transport, command: Sequence[str]) -> Reply:
    done = await transport.run(command, timeout_s=_TIMEOUT_S)
    return Reply(done.exit_status, (done.stdout + done.stderr).decode("utf-8", "replace"))


def _trial_scripts(site: SiteSection, queue: SlurmQueue) -> Iterator[tuple[str, str]]:
    """One for all phases that would ask sbatch for the same."""
    alike = dict[str, list[Phase]]()
    for phase in Phase:
        asked = site.resources.get(phase, ResourcesSection())
        if asked.where is RunsOn.QUEUE:
            script = slurm_script.render_trial(
                asked.resources(), asked.queue(queue), root=str(site.root)
            )
            alike.setdefault(script, []).append(phase)
    for script, phases in alike.items():
        yield ", ".join(phases), script


def judge(slurm: SlurmFacts, *, array_max: int, poll_interval_s: int) -> Iterator[Finding]:
    """What the answers mean; pure. `array_max` is site.scheduler's."""
    yield Finding(
        about="slurm", colour=Colour.GREEN, seen=f"Slurm {slurm.config.get('SLURM_VERSION', '?')}"
    )
    yield _arrays(array_max, slurm.array_tasks_max)
    yield _memory_of_jobs(poll_interval_s, slurm)
    timeout_s = slurm.times_s.get("MessageTimeout")
    if timeout_s is not None and timeout_s > _MESSAGE_TIMEOUT_LONG_S:
        remedy = (
            "a submission whose answer is lost is looked up for twice as long before it counts as"
            " void"
        )
        yield Finding(
            about="timeouts",
            colour=Colour.YELLOW,
            seen=f"MessageTimeout {timeout_s} s",
            remedy=remedy,
        )
    for phases, reply in slurm.trials.items():
        message = " ".join(reply.message.split()) or f"exit status {reply.status}"
        if reply.status == 0:
            yield Finding(about=f"sbatch: {phases}", colour=Colour.GREEN, seen=message)
        else:
            remedy = (
                "mend site.scheduler or site.resources: partition, account, qos, constraint, sizes"
            )
            yield Finding(
                about=f"sbatch: {phases}",
                colour=Colour.RED,
                seen=message,
                remedy=f"{reply.hint}{remedy}",
            )


def _arrays(wanted: int, allowed: int | None) -> Finding:
    if allowed is None:
        remedy = "Slurm says no MaxArraySize; where it is 0 every array is refused"
        return Finding(about="arrays", colour=Colour.YELLOW, seen="no limit is told", remedy=remedy)
    seen = (
        f"{count(min(wanted, allowed), 'task')} at most (site {allowed}, site.scheduler.array_max"
        f" {wanted})"
    )
    return Finding(about="arrays", colour=Colour.GREEN, seen=seen)


def _memory_of_jobs(poll_interval_s: int, slurm: SlurmFacts) -> Finding:
    """Ended jobs are shown for MinJobAge; what is missed then, only the database tells."""
    age_s = slurm.times_s.get("MinJobAge")
    remembered = "?" if age_s is None else duration(age_s)
    seen = (
        f"ended jobs are shown for {remembered}, sacct"
        f" {'answers' if slurm.sacct.status == 0 else 'does not answer'}"
    )
    if slurm.sacct.status == 0 or (age_s is not None and poll_interval_s <= age_s / 3):
        return Finding(about="ends", colour=Colour.GREEN, seen=seen)
    remedy = (
        "why a job died without an outcome may not be known; set site.poll_interval to a third of"
        " that, or less"
    )
    return Finding(about="ends", colour=Colour.YELLOW, seen=seen, remedy=remedy)
