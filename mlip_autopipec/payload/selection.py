"""Selection: of all frames that the walkers kept, the few whose labels teach the potential most.

Window, short distances and duplicates are dropped first; `pace_select` then chooses by D-optimality over the rest
together with the current active set. Audit frames pass by all that: drawn at random, whatever their γ, they are
labelled as test structures, and measure what the potential is worth where MD goes. What lies near them in their
trajectory is not trained on, except for the frame that halted it.
"""

import pickle
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.geometry import find_mic

from mlip_autopipec.payload.ace import run_tool
from mlip_autopipec.payload.frame import Job, Result, TaskFailed
from mlip_autopipec.payload.potential import checked_potential
from mlip_autopipec.payload.structures import read_frames, shortest_distance, write_frames

#: Frames of one trajectory closer than this are too alike for one to test what the other taught.
_AUDIT_GAP_STRIDES = 10


def run(job: Job) -> Result:
    """Choose candidates and audit structures; each goes to a file of its own."""
    parameters = job.parameters
    checked_potential(job)
    frames = [frame for path in job.inputs.get("frames", []) for frame in read_frames(path)]
    audit = _audit(frames, parameters)
    collected = [frame for frame in frames if frame.info["kind"] != "audit"]
    in_window = [frame for frame in collected if _in_window(frame, audit, parameters["gamma_select"])]
    apart = [frame for frame in in_window if _long_enough(frame, parameters["distance_min_angstrom"])]
    distinct = without_duplicates(apart, parameters["duplicate_rmsd_angstrom"])
    chosen = _d_optimal(job, distinct)
    structures = _write(job, chosen, "train", "d_optimal", 0) + _write(job, audit, "test", "audit", len(chosen))
    metrics = {
        "frames": len(frames),
        "below_window": len(collected) - len(in_window),
        "too_short": len(in_window) - len(apart),
        "duplicates": len(apart) - len(distinct),
        "not_chosen": len(distinct) - len(chosen),
        "structures": structures,
    }
    return Result(metrics)


def _in_window(frame: Atoms, audit: Sequence[Atoms], gamma_select: float) -> bool:
    """Whether γ asks for a label, and no test structure is close by in the same trajectory."""
    if frame.info["gamma_max"] < gamma_select:
        return False
    return frame.info["kind"] == "halt" or not any(_close_in_time(frame, other) for other in audit)


def _close_in_time(frame: Atoms, other: Atoms) -> bool:
    gap = abs(int(frame.info["step"]) - int(other.info["step"]))
    return bool(frame.info["walker"] == other.info["walker"]) and gap < _AUDIT_GAP_STRIDES * int(frame.info["stride"])


def _long_enough(frame: Atoms, shortest_angstrom: float) -> bool:
    return shortest_distance(frame, 2 * shortest_angstrom) >= shortest_angstrom


def without_duplicates(frames: Sequence[Atoms], rmsd_angstrom: float) -> list[Atoms]:
    """Drop frames that are closer to an earlier one than `rmsd_angstrom`; those of higher γ are kept first."""
    kept: list[Atoms] = []
    for frame in sorted(frames, key=lambda frame: -frame.info["gamma_max"]):
        if all(_rmsd(frame, other) >= rmsd_angstrom for other in kept):
            kept.append(frame)
    return kept


def _rmsd(one: Atoms, other: Atoms) -> float:
    """Root-mean-square displacement per atom in Å between two frames of one trajectory; ∞ if they are not alike."""
    alike = one.get_chemical_symbols() == other.get_chemical_symbols()
    if not alike or not np.allclose(one.cell.array, other.cell.array, rtol=1e-3):
        return float("inf")
    displacements, _ = find_mic(one.positions - other.positions, one.cell, pbc=True)
    return float(np.sqrt((displacements**2).sum(axis=1).mean()))


def _d_optimal(job: Job, frames: Sequence[Atoms]) -> list[Atoms]:
    """At most `candidates_max` frames, by pace_select."""
    if not frames:
        return []
    parameters = job.parameters
    candidates, selected = job.workdir / "candidates.pkl.gz", job.workdir / "selected.pkl.gz"
    pd.DataFrame({"ase_atoms": [_bare(frame, number) for number, frame in enumerate(frames)]}).to_pickle(candidates)
    selected.unlink(missing_ok=True)
    run_tool(
        "pyace.cli.pace_select",
        [
            *("-p", str(job.one("potential_yaml")), "-a", str(job.one("potential_asi"))),
            *("-e", " ".join(parameters["elements"]), "-m", str(parameters["candidates_max"])),
            *("-o", selected.name, candidates.name),
        ],
        job.workdir,
    )
    try:
        table = pd.read_pickle(selected)  # noqa: S301 - written by the tool that ran a moment ago in this folder
    except (FileNotFoundError, pickle.UnpicklingError) as error:
        raise TaskFailed("crashed", f"pace_select left no readable {selected.name}: {error}") from error
    chosen = [frames[atoms.info["candidate"]] for atoms in table["ase_atoms"]]
    if len(chosen) > parameters["candidates_max"]:
        raise TaskFailed("crashed", f"pace_select chose {len(chosen)}, {parameters['candidates_max']} were asked for")
    return chosen


def _bare(frame: Atoms, number: int) -> Atoms:
    """The structure alone, numbered so that it is found again."""
    bare = Atoms(frame.get_chemical_symbols(), positions=frame.positions, cell=frame.cell, pbc=True)
    bare.info["candidate"] = number
    return bare


def _audit(frames: Sequence[Atoms], parameters: Mapping[str, Any]) -> list[Atoms]:
    """Random frames, spread over the walkers; the draw depends on the campaign's seed and the cycle alone."""
    rng = np.random.default_rng(parameters["seed"])
    walkers: dict[str, list[Atoms]] = {}
    for frame in frames:
        if frame.info["kind"] == "audit" and _long_enough(frame, parameters["distance_min_angstrom"]):
            walkers.setdefault(frame.info["walker"], []).append(frame)
    shuffled = [[kept[place] for place in rng.permutation(len(kept))] for kept in walkers.values()]
    order = [shuffled[place] for place in rng.permutation(len(shuffled))]
    rounds = [frame for turn in zip_longest(*order) for frame in turn if frame is not None]
    return rounds[: parameters["audit"]]


def _write(job: Job, frames: Sequence[Atoms], role: str, why: str, first: int) -> list[dict[str, Any]]:
    return [
        _structure(job, frame, role, why, job.workdir / f"{first + n:03d}.extxyz") for n, frame in enumerate(frames)
    ]


def _structure(job: Job, frame: Atoms, role: str, why: str, path: Path) -> dict[str, Any]:
    write_frames(path, [frame])
    return {
        "file": job.ref(path),
        "role": role,
        "origin": frame.info["origin"],
        "n_atoms": len(frame),
        "gamma_max": float(frame.info["gamma_max"]),
        "why": why,
    }
