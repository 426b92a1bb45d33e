"""Frames as walkers leave them, and the whole of Selection over them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from kit.jobs import Fitted, copper, job_of
from kit.judged import judged_value
from mlip_autopipec.contract.origin import Origin, condition_of
from mlip_autopipec.contract.results.select import SelectMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.work.origins import note_origin
from mlip_autopipec.work.structures import read_frames, write_frames

STRIDE = 5


def frame(
    seed: int,
    *,
    rattle_angstrom: float = 0.2,
    gamma_max: float = 5.0,
    kind: str = "collected",
    walker: str = "w0",
    step: int = 0,
) -> Atoms:
    """A frame as a walker leaves it."""
    atoms = copper((1, 1, 2), rattle_angstrom, seed)
    atoms.info = {
        "kind": kind,
        "walker": walker,
        "stride": STRIDE,
        "step": step,
        "gamma_max": gamma_max,
    }
    origin = Origin(
        kind=kind, subject=f"{walker}, seed {seed}", condition=condition_of(walker), step=step
    )
    note_origin(atoms, origin)
    atoms.set_array("gamma", np.full(len(atoms), gamma_max))
    return atoms


def select(
    root: Path, fitted: Fitted, walkers: Sequence[Sequence[Atoms]], **changes: Any
) -> tuple[SelectMetrics, list[Atoms]]:
    """What Selection says of these walkers' frames, and the structures that it wrote."""
    from mlip_autopipec.work.steps import select as selection  # noqa: PLC0415 - needs pyace, which not every machine has

    settings: dict[str, Any] = {
        "elements": ("Cu",),
        "candidates_max": 20,
        "audit": 0,
        "gamma_select": 2.0,
        "distance_min_angstrom": 1.5,
        "duplicate_rmsd_angstrom": 0.05,
        "seed": 9,
    }
    paths = [root / f"walker-{number}.extxyz" for number in range(len(walkers))]
    root.mkdir(parents=True, exist_ok=True)
    for path, frames in zip(paths, walkers, strict=True):
        write_frames(path, frames)
    inputs = {**fitted.inputs, "frames": paths, "dataset": changes.pop("dataset", [])}
    job = job_of(root, SelectParameters(**{**settings, **changes}), inputs)
    metrics = judged_value(SelectMetrics, selection.run(job).metrics)
    return metrics, [read_frames(root / structure.file.path)[0] for structure in metrics.structures]
