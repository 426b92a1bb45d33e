"""The lives of a task and of a batch, as tables: from which status which event leads where.

A row names the events that are about a task or a batch of that status, and for each every status
that it may have then. What a row lacks is not allowed. None is before the first event and after the
last: there is nothing to be kept. `evolve` takes no step that is not here, and
`orchestration/diagram.py` draws these tables.
"""

from collections.abc import Mapping

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import BatchStatus, TaskStatus

TASK_LIFE: Mapping[TaskStatus | None, Mapping[type[ev.Event], tuple[TaskStatus | None, ...]]] = {
    # A way back brings the labels that no fit had read then, and leaves out whatever came after.
    None: {ev.PhaseStarted: (TaskStatus.READY,), ev.PhaseRedone: (TaskStatus.DONE,)},
    TaskStatus.READY: {
        ev.SubmissionBegun: (TaskStatus.SUBMITTED,),
        ev.TasksCancelled: (TaskStatus.FAILED,),
        ev.PhaseRedone: (None,),
    },
    TaskStatus.SUBMITTED: {
        ev.JobsSighted: (TaskStatus.SUBMITTED,),
        # A refusal fails a task only where the task itself is refused; else it is as if nothing had
        # been tried.
        ev.SubmissionRejected: (TaskStatus.FAILED, TaskStatus.READY),
        # One that a person has cancelled in the meantime has failed.
        ev.SubmissionVoided: (TaskStatus.READY, TaskStatus.FAILED),
        ev.TaskEnded: (TaskStatus.DONE, TaskStatus.FAILED),
        ev.AttemptLost: (TaskStatus.FAILED,),
        ev.TasksCancelled: (TaskStatus.SUBMITTED,),
    },
    TaskStatus.FAILED: {
        ev.SubmissionBegun: (TaskStatus.SUBMITTED,),
        ev.TaskQuarantined: (TaskStatus.QUARANTINED,),
        ev.TasksCancelled: (TaskStatus.FAILED,),
        # Where a person has mended the cause of all of its failures; FAILED if a person has
        # cancelled it, too.
        ev.Resumed: (TaskStatus.READY, TaskStatus.FAILED),
        ev.PhaseRedone: (None,),
    },
    # Calculations stay until a fit has read them, and where they are given up, for good.
    TaskStatus.DONE: {
        ev.TaskQuarantined: (TaskStatus.QUARANTINED,),
        ev.PhaseEnded: (TaskStatus.DONE, None),
        ev.PhaseRedone: (None,),
    },
    TaskStatus.QUARANTINED: {
        ev.TaskRetried: (TaskStatus.READY,),
        ev.CampaignReopened: (TaskStatus.READY,),
        ev.PhaseEnded: (TaskStatus.QUARANTINED, None),
        ev.PhaseRedone: (TaskStatus.DONE, None),
    },
}

BATCH_LIFE: Mapping[BatchStatus | None, Mapping[type[ev.Event], tuple[BatchStatus | None, ...]]] = {
    None: {ev.SubmissionBegun: (BatchStatus.BEGUN,)},
    BatchStatus.BEGUN: {
        ev.SubmissionAccepted: (BatchStatus.ACCEPTED,),
        ev.SubmissionRejected: (None,),
        ev.SubmissionUnclear: (BatchStatus.UNCLEAR,),
        ev.SubmissionVoided: (None,),
        # It may have been handed over as it was asked for before.
        ev.SettingsTaken: (BatchStatus.UNCLEAR,),
        # An outcome may overtake the answer to its own submission.
        ev.JobsSighted: (BatchStatus.BEGUN,),
        ev.TaskEnded: (BatchStatus.BEGUN, None),
        ev.AttemptLost: (BatchStatus.BEGUN, None),
    },
    BatchStatus.UNCLEAR: {
        ev.SubmissionAccepted: (BatchStatus.ACCEPTED,),
        ev.SubmissionRejected: (None,),
        # The answer to a submission that was under way as settings were taken.
        ev.SubmissionUnclear: (BatchStatus.UNCLEAR,),
        ev.SubmissionVoided: (None,),
        ev.JobsSighted: (BatchStatus.UNCLEAR,),
        ev.TaskEnded: (BatchStatus.UNCLEAR, None),
        ev.AttemptLost: (BatchStatus.UNCLEAR, None),
    },
    BatchStatus.ACCEPTED: {
        ev.JobsSighted: (BatchStatus.ACCEPTED,),
        ev.TaskEnded: (BatchStatus.ACCEPTED, None),
        ev.AttemptLost: (BatchStatus.ACCEPTED, None),
    },
}
