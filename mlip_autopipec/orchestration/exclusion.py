"""exclusion: which nodes a submission avoids.

It also says whose fault a refusal is with them in mind. Pure.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from mlip_autopipec.data_models.base import Mender
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.ports import Rejected

UNKNOWN_REMEDY = (
    "These words are not known: ask the site about them, then autopipecctl resume, or mend the"
    " site file"
)
#: A node that was excluded so often is not the only one that is sick, where there is no other to
#: run on.
_EXCLUSIONS_MAX = 3


def excluded(state: WorkflowState, now: datetime) -> tuple[str, ...]:
    """Nodes that a submission avoids now."""
    return tuple(sorted(name for name, node in state.nodes.items() if now < node.until))


def sorted_refusal(
    answer: Rejected, state: WorkflowState, exclude: Sequence[str], *, grown: bool
) -> Rejected:
    """The refusal and who mends it. `grown`: after failures it asks for more than the site file.

    With nodes excluded, a request that no node fits may only mean that no other node is left.
    """
    nodes = {name: state.nodes[name] for name in exclude if name in state.nodes}
    if nodes and (answer.by_size or "node" in answer.message.lower()):
        message = "; ".join(f"{name}: {node.message}" for name, node in nodes.items())
        hopeless = any(node.times >= _EXCLUSIONS_MAX for node in nodes.values())
        remedy = (
            "Mend what the nodes say, then autopipecctl resume, or name others in the site file"
        )
        return Rejected(
            f"no node is left beside those that cannot run the jobs ({message}): {answer.message}",
            Mender.PERSON if hopeless else Mender.SITE,
            remedy if hopeless else "",
        )
    return replace(answer, mender=Mender.TASK) if answer.by_size and grown else answer
