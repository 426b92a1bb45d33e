"""The state diagrams, drawn from the transition tables, so that they cannot go stale.

`python -m mlip_autopipec.orchestration.diagram` prints them; ARCHITECTURE.md holds them, and a test
compares.
"""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import TypeVar

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import Stage
from mlip_autopipec.orchestration.lives import BATCH_LIFE, TASK_LIFE
from mlip_autopipec.orchestration.machine import FLOW, STAGES

S = TypeVar("S", bound=StrEnum)

_EDGE_NAMES = {True: "bootstrap cycle", False: "every later cycle"}


def mermaid() -> tuple[str, ...]:
    """Diagrams in Mermaid's language.

    They show the stages, the phases of a cycle, the life of a task, and that of a batch.
    """
    drawn = (_stages(), _phases(), _life(TASK_LIFE), _life(BATCH_LIFE))
    return tuple("\n".join(lines) for lines in drawn)


def anywhere() -> frozenset[str]:
    """Events that every stage but the first allows and that leave the stage as it is.

    The diagram leaves them out.
    """
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


def _life(rows: Mapping[S | None, Mapping[type[ev.Event], tuple[S | None, ...]]]) -> Iterator[str]:
    """Every event from one status to another; those that leave it as it is are not drawn."""
    yield "stateDiagram-v2"
    for status, row in rows.items():
        edges: dict[str, list[str]] = {}
        for event, thens in row.items():
            for then in thens:
                if then is not status:
                    edges.setdefault(then.value if then is not None else "[*]", []).append(
                        event.__name__
                    )
        for then_name, events in edges.items():
            yield (
                f"    {status.value if status is not None else '[*]'} --> {then_name}:"
                f" {', '.join(sorted(events))}"
            )


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
