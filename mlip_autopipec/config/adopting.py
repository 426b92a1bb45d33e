"""What the work half is told of the user's labels, from the site file."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.dataset import AdoptParameters, DatasetSettings
from mlip_autopipec.contract.values import given


def adopting(config: WorkflowConfig) -> AdoptParameters | None:
    """How they are read and judged; None if there are none."""
    if config.dataset is None:
        return None
    return AdoptParameters(
        **given(config.dataset, DatasetSettings),
        files=_names(config.dataset.files),
        force_max_ev_per_angstrom=config.calculation.force_max_ev_per_angstrom,
        pressure_max_gpa=config.calculation.pressure_max_gpa,
    )


def _names(files: Sequence[Path]) -> tuple[str, ...]:
    """What each is called: its name, with as many folders before it as tell it from the others."""
    names = [file.name for file in files]
    for depth in range(2, max((len(file.parts) for file in files), default=1) + 1):
        counted = Counter(names)
        names = [
            "/".join(file.parts[-depth:]) if counted[name] > 1 else name
            for name, file in zip(names, files, strict=True)
        ]
    return tuple(names)
