"""The state diagram, drawn from the transition tables, so that it cannot go stale.

`python -m mlip_autopipec.orchestration.diagram` prints it; ARCHITECTURE.md holds it, and a test compares the two.
"""

from collections.abc import Iterator

from mlip_autopipec.data_models.state import Stage
from mlip_autopipec.orchestration.machine import FLOW, STAGES

_EDGE_NAMES = {True: "bootstrap cycle", False: "every later cycle"}


def mermaid() -> tuple[str, str]:
    """Two diagrams in Mermaid's language: the stages with the events between them, and the phases of a cycle."""
    return "\n".join(_stages()), "\n".join(_phases())


def anywhere() -> frozenset[str]:
    """Events that every stage but the first allows and that leave the stage as it is; the diagram leaves them out."""
    rows = [row for stage, row in STAGES.items() if stage is not Stage.EMPTY]
    quiet = [{event.__name__ for event, after in row.items() if after is None} for row in rows]
    return frozenset(quiet[0].intersection(*quiet[1:]))


def _stages() -> Iterator[str]:
    hidden = anywhere()
    yield "stateDiagram-v2"
    yield "    [*] --> empty"
    for stage, row in STAGES.items():
        edges: dict[str, list[str]] = {}
        for event, after in row.items():
            if event.__name__ in hidden:
                continue
            edges.setdefault((after or stage).value, []).append(event.__name__)
        for after_name, events in edges.items():
            yield f"    {stage.value} --> {after_name}: {', '.join(sorted(events))}"
    yield "    ended --> working: CampaignReopened (of an open phase)"


def _phases() -> Iterator[str]:
    yield "flowchart LR"
    for bootstrap, row in FLOW.items():
        name = _EDGE_NAMES[bootstrap]
        yield f'    subgraph {"bootstrap" if bootstrap else "later"}["{name}"]'
        prefix = "b" if bootstrap else "l"
        for phase, after in row.items():
            yield f"        {_node(prefix, phase, 'begin')} --> {_node(prefix, after, 'end')}"
        yield "    end"


def _node(prefix: str, phase: object, border: str) -> str:
    if phase is None:
        return f"{prefix}_{border}(({border}))"
    return f"{prefix}_{phase}[{phase}]"


if __name__ == "__main__":
    print("\n\n".join(mermaid()))
