"""Commands: what decide asks for.

Each has a subject; a subject has at most one command in flight; each command ends in one event.
"""

from typing import Literal

from mlip_autopipec.data_models.base import Model, Phase, RunsOn, Verdict
from mlip_autopipec.data_models.digest import CycleSummary, OracleFigure


class PrepareSite(Model):
    """Put there what every job needs, once per daemon. Ends in SitePrepared or EffectDeferred."""

    type: Literal["PrepareSite"] = "PrepareSite"

    @property
    def subject(self) -> str:
        return "site"


class PlanPhase(Model):
    """Work out the tasks of the next phase. Ends in PhaseStarted."""

    type: Literal["PlanPhase"] = "PlanPhase"
    cycle: int
    phase: Phase

    @property
    def subject(self) -> str:
        return "campaign"


class BeginBatch(Model):
    """Write down the intent to submit. Ends in SubmissionBegun."""

    type: Literal["BeginBatch"] = "BeginBatch"
    job_name: str
    tasks: tuple[str, ...]
    runs_on: RunsOn = RunsOn.QUEUE

    @property
    def subject(self) -> str:
        return "campaign"


class SubmitBatch(Model):
    """Hand the batch to the scheduler.

    Ends in SubmissionAccepted, -Rejected, -Unclear or EffectDeferred.
    """

    type: Literal["SubmitBatch"] = "SubmitBatch"
    job_name: str

    @property
    def subject(self) -> str:
        return f"batch:{self.job_name}"


class LocateBatch(Model):
    """Find out whether the scheduler has the batch.

    Ends in SubmissionAccepted, -Voided or EffectDeferred.
    """

    type: Literal["LocateBatch"] = "LocateBatch"
    job_name: str

    @property
    def subject(self) -> str:
        return f"batch:{self.job_name}"


class InquireAttempt(Model):
    """Find out how an attempt ended.

    Ends in TaskEnded, AttemptLost, JobsSighted or EffectDeferred.
    """

    type: Literal["InquireAttempt"] = "InquireAttempt"
    job_name: str
    index: int

    @property
    def subject(self) -> str:
        return f"attempt:{self.job_name}.{self.index}"


class CancelAttempts(Model):
    """End live attempts that a person wants no more.

    Ends in EffectDeferred: it is said again until they have ended.
    """

    type: Literal["CancelAttempts"] = "CancelAttempts"
    job_name: str
    indices: tuple[int, ...]

    @property
    def subject(self) -> str:
        return f"cancel:{self.job_name}"


class DoubtOracle(Model):
    """Let a person see to an oracle that contradicts itself. Ends in Paused."""

    type: Literal["DoubtOracle"] = "DoubtOracle"
    reason: str
    oracle: tuple[OracleFigure, ...]

    @property
    def subject(self) -> str:
        return "campaign"


class RefuseDataset(Model):
    """Let a person see to labels of his that the oracle does not agree with. Ends in Paused."""

    type: Literal["RefuseDataset"] = "RefuseDataset"
    reason: str

    @property
    def subject(self) -> str:
        return "campaign"


class QuarantineTask(Model):
    """Give a task up. Ends in TaskQuarantined."""

    type: Literal["QuarantineTask"] = "QuarantineTask"
    task: str
    message: str

    @property
    def subject(self) -> str:
        return f"task:{self.task}"


class PauseCampaign(Model):
    """Pause for what a person must mend. Ends in Paused."""

    type: Literal["PauseCampaign"] = "PauseCampaign"
    reason: str

    @property
    def subject(self) -> str:
        return "pause"


class DigestPhase(Model):
    """Work out what the outcomes mean. Ends in PhaseEnded."""

    type: Literal["DigestPhase"] = "DigestPhase"
    cycle: int
    phase: Phase

    @property
    def subject(self) -> str:
        return "campaign"


class CloseCycle(Model):
    """Fold the cycle to a summary. Ends in CycleClosed."""

    type: Literal["CloseCycle"] = "CloseCycle"
    summary: CycleSummary

    @property
    def subject(self) -> str:
        return "campaign"


class ReachVerdict(Model):
    """End the campaign. Ends in VerdictReached."""

    type: Literal["ReachVerdict"] = "ReachVerdict"
    verdict: Verdict
    reason: str

    @property
    def subject(self) -> str:
        return "campaign"


Command = (
    PrepareSite
    | PlanPhase
    | BeginBatch
    | SubmitBatch
    | LocateBatch
    | InquireAttempt
    | CancelAttempts
    | DoubtOracle
    | RefuseDataset
    | QuarantineTask
    | PauseCampaign
    | DigestPhase
    | CloseCycle
    | ReachVerdict
)
