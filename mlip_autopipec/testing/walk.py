"""A campaign walked by hand: events told one by one, with no loop, no files and no waiting."""

import random
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.oracle import KMesh
from mlip_autopipec.data_models import commands as cm
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Mender, Phase, Reason
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.errors import BugError
from mlip_autopipec.orchestration import adoption
from mlip_autopipec.orchestration.decide import decide
from mlip_autopipec.orchestration.first_labels import CHECK
from mlip_autopipec.orchestration.machine import evolve
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.ports import PhaseRunner
from mlip_autopipec.testing.physics import Attempt, done_outcome, failed_outcome

CAMPAIGN = "copper-3f9a1c"
_STEPS_MAX = 10_000


class Walk:
    """The journal so far and the state it folds to; one minute passes with each step.

    `follow` gives the event that a perfect site would answer a command with; other answers are told
    by `tell`.
    """

    def __init__(
        self,
        config: WorkflowConfig,
        runners: Mapping[Phase, PhaseRunner],
        *,
        seed: int = 0,
        k_mesh: KMesh = "cell",
    ) -> None:
        self.policy = Policy.from_config(config)
        self.now = datetime(2030, 1, 1, tzinfo=UTC)
        self.events: list[ev.Event] = []
        self.state = WorkflowState()
        self.runners = runners
        self._chance = random.Random(seed)
        begun = {
            "campaign": CAMPAIGN,
            "name": "copper",
            "version": "0",
            "config_sha256": "0",
            "k_mesh": k_mesh,
        }
        self.tell(ev.CampaignCreated.model_validate({"at": self.now, **begun}))

    def tell(self, *events: ev.Event) -> WorkflowState:
        """Fold events in. Raises IllegalTransition."""
        for event in events:
            self.state = evolve(self.state, event)
            self.events.append(event)
        return self.state

    def commands(self) -> tuple[cm.Command, ...]:
        """What decide asks for now."""
        return decide(self.state, self.policy, self.now)

    def follow(self, command: cm.Command) -> ev.Event:  # noqa: C901, PLR0911, PLR0912 - one per command
        """The event that ends `command` where nothing goes wrong.

        Raises BugError where something has already.
        """
        match command:
            case cm.PrepareSite():
                return ev.SitePrepared(at=self.now)
            case cm.PlanPhase():
                tasks = self.runners[command.phase].plan(self.state)
                return ev.PhaseStarted(
                    at=self.now, cycle=command.cycle, phase=command.phase, tasks=tasks
                )
            case cm.BeginBatch():
                return ev.SubmissionBegun(
                    at=self.now,
                    job_name=command.job_name,
                    tasks=command.tasks,
                    runs_on=command.runs_on,
                )
            case cm.SubmitBatch():
                return ev.SubmissionAccepted(at=self.now, job_name=command.job_name, job_id="4711")
            case cm.LocateBatch():
                return ev.SubmissionAccepted(
                    at=self.now, job_name=command.job_name, job_id="4711", adopted=True
                )
            case cm.DoubtOracle():
                return ev.Paused(
                    at=self.now, by=CHECK, reason=command.reason, oracle=command.oracle
                )
            case cm.RefuseDataset():
                return ev.Paused(
                    at=self.now, by=adoption.CHECK, reason=command.reason, mender=Mender.PERSON
                )
            case cm.QuarantineTask():
                return ev.TaskQuarantined(at=self.now, task=command.task, message=command.message)
            case cm.PauseCampaign():
                return ev.Paused(
                    at=self.now, by=ev.DAEMON, reason=command.reason, mender=Mender.PERSON
                )
            case cm.DigestPhase():
                digest = self.runners[command.phase].digest(self.state)
                return ev.PhaseEnded(at=self.now, cycle=command.cycle, digest=digest)
            case cm.CloseCycle():
                return ev.CycleClosed(at=self.now, summary=command.summary)
            case cm.ReachVerdict():
                return ev.VerdictReached(
                    at=self.now, verdict=command.verdict, reason=command.reason
                )
            case cm.CancelAttempts():
                until = self.now + timedelta(minutes=1)
                return ev.EffectDeferred(
                    at=self.now, subject=command.subject, message="told to end", until=until
                )
            case cm.InquireAttempt():
                raise BugError("on a perfect site no attempt is missing")

    def step(self) -> bool:
        """One event: follow the first command, else let the first live attempt be done.

        Returns False at the end.
        """
        self.now += timedelta(minutes=1)
        command = next(iter(self.commands()), None)
        if command is not None:
            self.tell(self.follow(command))
            return True
        attempt = next(self.live(), None)
        if attempt is not None:
            self.tell(self.ended(attempt[0].job_name, attempt[1]))
        return attempt is not None

    def until(self, reached: Callable[[WorkflowState], bool]) -> WorkflowState:
        """Step until the state is as wanted. Raises BugError if it never is."""
        for _ in range(_STEPS_MAX):
            if reached(self.state):
                return self.state
            if not self.step():
                break
        raise BugError(
            f"the walk ended in cycle {self.state.cycle_index}, stage {self.state.stage}"
        )

    def planned(self, phase: Phase, cycle: int = 0) -> WorkflowState:
        """Walk to where `phase` of `cycle` has its tasks and nothing is submitted yet."""
        return self.until(
            lambda state: (
                bool(state.tasks) and (state.current_phase, state.cycle_index) == (phase, cycle)
            )
        )

    def submitted(self, phase: Phase, cycle: int = 0) -> Batch:
        """Walk to where the first batch of `phase` is accepted and every attempt in it is live."""
        self.planned(phase, cycle)
        self.until(lambda state: any(batch.job_id is not None for batch in state.batches.values()))
        return next(iter(self.state.batches.values()))

    def live(self) -> Iterator[tuple[Batch, int]]:
        """Every attempt whose end is still to come."""
        for batch in self.state.batches.values():
            for index in sorted(batch.live):
                yield batch, index

    def ended(self, job_name: str, index: int, reason: Reason | None = None) -> ev.TaskEnded:
        """A live attempt is done, or has failed for `reason`."""
        return ev.TaskEnded(at=self.now, outcome=self.outcome(job_name, index, reason))

    def outcome(self, job_name: str, index: int, reason: Reason | None = None) -> Outcome:
        """What a live attempt would write."""
        batch = self.state.batches[job_name]
        attempt = Attempt(
            campaign=self.state.campaign,
            task=self.state.tasks[batch.tasks[index]].task,
            job_name=job_name,
            index=index,
            job_id=batch.job_id or "4711",
            started_at=self.now - timedelta(seconds=30),
            ended_at=self.now,
        )
        return (
            done_outcome(attempt, self._chance)
            if reason is None
            else failed_outcome(attempt, reason)
        )
