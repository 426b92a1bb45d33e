"""Golden journals: a folder per released version, as that version wrote them.

With them stands what is to be seen at their ends.
"""

from typing import Any

from kit.files import DATA
from mlip_autopipec.data_models.state import WorkflowState

GOLDEN = DATA / "journal"


def facts(state: WorkflowState) -> dict[str, Any]:
    """What a person would ask of a campaign.

    There is no hash of the state: every new field would change it.
    """
    return {
        "seq": state.seq,
        "campaign": state.campaign,
        "status": state.status,
        "verdict_reason": state.verdict_reason,
        "phase": state.current_phase,
        "tasks": {name: record.status for name, record in state.tasks.items()},
        "live": [attempt.task for attempt in state.active_tasks],
        "cycles": len(state.cycles),
        "labels": sum(cycle.labels_train + cycle.labels_test for cycle in state.cycles),
        "labels_failed": sum(cycle.labels_failed for cycle in state.cycles),
        "datasets": [dataset.path for dataset in state.datasets],
        "potential": state.potential and state.potential.fingerprint,
        "given_up": sorted(state.quarantine),
    }
