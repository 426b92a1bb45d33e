"""Selection: of all frames that the walkers kept, the few whose labels teach the potential most.

In this order, and every frame ends with one word about itself (`candidates.json`):

1. **Window**: with `acquisition: gamma_window` γ of at least gamma_select; a batch is chosen from frames of every γ.
   Above `gamma_max`, if given, a frame is taken for unphysical. What lies near a test structure in its trajectory is
   left out, except for the frame that halted it.
2. **Cloud**, if asked for: copies of each halting frame with small displacements, for D-optimality to choose from what
   lies around the place where the walker stopped; they pass the same window.
3. **Distances and duplicates**: what is too tight is no candidate. Of two frames that are nearly one, the higher γ
   stays, in a γ window; in a batch a copy has nothing to teach, and need not be told from others. Of large frames only
   what is around the extrapolating atom is compared: the rest is not labelled. Of more than `pool_max` frames,
   conditions give in turn.
4. **Embedding** (`work/embedding/embedder.py`) of frames with more than `atoms_max` atoms, at most `frames_max`:
   walkers in turn, each halting frame first. What is offered from here on is what would be labelled. A large frame in
   which no atom extrapolates has no place to cut, and is left out.
5. **Choice** (`work/choosing/acquisition.py`): with the whole batch in view, or by `pace_select` alone.

Audit frames pass by all that: drawn at random, whatever their γ, they are labelled as test structures, and measure
what the potential is worth where MD goes. Large ones are embedded around an atom drawn at random too.
"""

import json
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from ase import Atoms
from ase.geometry import find_mic
from pyace import ACEBBasisSet
from pyace.basis import BBasisConfiguration

from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.values import plain
from mlip_autopipec.work import families
from mlip_autopipec.work.ace.evaluator import Evaluator, run_tool
from mlip_autopipec.work.ace.potential import checked_potential
from mlip_autopipec.work.choosing.acquisition import Candidate, Teacher, by_batch, by_window
from mlip_autopipec.work.choosing.farthest import Farthest
from mlip_autopipec.work.choosing.information import Information, is_linear
from mlip_autopipec.work.embedding.embedder import Embedder
from mlip_autopipec.work.job import AnyJob, Job, Result, TaskFailed, write_atomic
from mlip_autopipec.work.origins import note_origin, origin_of
from mlip_autopipec.work.structures import read_frames, shortest_distance, write_frames

#: Frames of one trajectory closer than this are too alike for one to test what the other taught.
_AUDIT_GAP_STRIDES = 10
#: Å around the extrapolating atom within which large frames are compared.
_ALIKE_ANGSTROM = 6.0
#: Atoms of one audit frame that embedding is tried around.
_AUDIT_ATOMS = 3
#: Certificates that the outcome carries; candidates.json has them all.
_CERTIFICATES_MAX = 100


def run(job: Job[SelectParameters]) -> Result:
    """Choose candidates and audit structures; each goes to a file of its own."""
    checked_potential(job, job.parameters.fingerprint)
    frames = [frame for path in job.inputs.get("frames", []) for frame in read_frames(path)]
    tools = _Tools(job)
    audit = _audit(frames, tools)
    candidates = [Candidate(frame) for frame in frames if frame.info["kind"] != "audit"]
    candidates += list(_cloud(candidates, tools))
    _drop(candidates, [one.frame for one in audit], tools)
    _embed(_offered(candidates), tools)
    chosen = _choose(_offered(candidates), job, tools)
    known = _known(frames, audit, chosen, tools)
    chosen = [*chosen, *known]
    structures = _write(job, chosen, "train", 0) + _write(job, audit, "test", len(chosen))
    table = job.workdir / "candidates.json"
    write_atomic(table, _as_table([*candidates, *known, *audit]))
    counts = Counter(one.verdict for one in candidates)
    fates = ("below_window", "above_window", "near_audit", "too_short", "duplicates", "not_offered", "not_embedded")
    metrics = {
        "frames": len(frames),
        "cloud": sum(one.frame.info["kind"] == "cloud" for one in candidates),
        **{fate: counts[fate] for fate in (*fates, "beyond_pool", "capped", "not_chosen")},
        "certificates": [_certificate(one) for one in [*candidates, *audit] if one.certificate][:_CERTIFICATES_MAX],
        "structures": structures,
    }
    return Result(metrics, {"candidates": table})


class _Tools:
    """The potential and what embeds with it, made when first asked for: most campaigns of small cells need neither."""

    def __init__(self, job: Job[SelectParameters]) -> None:
        self.parameters = job.parameters
        self._job = job
        self._evaluator: Evaluator | None = None

    @property
    def evaluator(self) -> Evaluator:
        if self._evaluator is None:
            self._evaluator = Evaluator(self._job.one("potential_yaml"), self._job.one("potential_asi"))
        return self._evaluator

    def embed(self, one: Candidate, centre: int) -> bool:
        """Give the candidate its cell; False, with the certificate's reason, if there is none."""
        seed = [self.parameters.seed, int(one.frame.info["step"]), centre]
        embedded = Embedder(self.evaluator, self.parameters).embed(one.frame, centre, seed=_number(seed))
        one.cell = embedded.atoms
        one.certificate = {"source_atoms": len(one.frame), "centre": centre, **embedded.record}
        return embedded.atoms is not None

    @cached_property
    def trained(self) -> list[Atoms]:
        """All training labels so far; none are told of where a γ window chooses."""
        labels = [frame for path in self._job.inputs.get("dataset", []) for frame in read_frames(path)]
        return [frame for frame in labels if frame.info["role"] == "train"]

    @property
    def by_batch(self) -> bool:
        """Whether the whole batch is in view, or the γ window alone."""
        return self.parameters.acquisition == "batch"

    def teacher(self, candidates: Sequence[Candidate], rng: np.random.Generator) -> Teacher:
        """What knows how much each candidate would teach, beside all training labels so far."""
        trained, offers = self.trained, [one.labelled for one in candidates]
        potential = self._job.one("potential_yaml")
        self._job.progress(0.5, f"choosing among {len(offers)} structures")
        if not is_linear(BBasisConfiguration(str(potential))):
            return Farthest(self.evaluator, trained, offers)
        conditions = [one.condition for one in candidates]
        return Information(ACEBBasisSet(str(potential)), trained, offers, conditions, rng=rng)

    def is_large(self, frame: Atoms) -> bool:
        """Whether a frame is to be embedded."""
        embedding = self.parameters.embedding
        return embedding.mode != "whole" and len(frame) > embedding.atoms_max


def _number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0])


def _offered(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [one for one in candidates if one.verdict == "not_chosen"]


def _cloud(candidates: Sequence[Candidate], tools: _Tools) -> Iterator[Candidate]:
    """Copies of the halting frames with small displacements, graded anew."""
    copies, width = tools.parameters.cloud, tools.parameters.cloud_angstrom
    for one in candidates if copies else ():
        if not one.halts:
            continue
        for number in range(copies):
            frame = one.frame.copy()
            seed = [tools.parameters.seed, int(frame.info["step"]), number]
            frame.positions += np.random.default_rng(seed).normal(0.0, width, frame.positions.shape)
            frame.set_array("gamma", tools.evaluator.gamma(frame))
            step = int(frame.info["step"])
            note_origin(frame, Origin(kind="cloud", subject=one.condition, condition=one.condition, step=step))
            frame.info.update(kind="cloud", gamma_max=float(frame.arrays["gamma"].max()))
            yield Candidate(frame)


def _drop(candidates: Sequence[Candidate], audit: Sequence[Atoms], tools: _Tools) -> None:
    """Window, distances, duplicates, and what is beyond the pool."""
    parameters = tools.parameters
    highest = parameters.gamma_max or float("inf")
    for one in candidates:
        known = one.gamma_max < parameters.gamma_select
        if known and (not tools.by_batch or tools.is_large(one.frame)):
            one.verdict = "below_window"
        elif one.gamma_max > highest:
            one.verdict = "above_window"
        elif not one.halts and any(_close_in_time(one.frame, other) for other in audit):
            one.verdict = "near_audit"
        elif not _long_enough(one.frame, parameters.distance_min_angstrom):
            one.verdict = "too_short"
    left = _offered(candidates)
    if tools.by_batch:
        for one in _beyond(left, parameters.pool_max, np.random.default_rng(parameters.seed)):
            one.verdict = "beyond_pool"
        return
    large = parameters.embedding.atoms_max
    distinct = without_duplicates([one.frame for one in left], parameters.duplicate_rmsd_angstrom, large)
    for one in left:
        if not any(one.frame is other for other in distinct):
            one.verdict = "duplicates"


def _beyond(candidates: Sequence[Candidate], most: int, rng: np.random.Generator) -> list[Candidate]:
    """What is left when conditions give their frames to the pool in turn, by chance, halting ones first."""
    by_condition: dict[str, list[Candidate]] = {}
    for index in rng.permutation(len(candidates)):
        by_condition.setdefault(candidates[index].condition, []).append(candidates[index])
    rows = [sorted(of_condition, key=lambda one: not one.halts) for of_condition in by_condition.values()]
    return [one for turn in zip_longest(*rows) for one in turn if one is not None][most:]


def _close_in_time(frame: Atoms, other: Atoms) -> bool:
    gap = abs(int(frame.info["step"]) - int(other.info["step"]))
    apart = int(frame.info.get("apart", _AUDIT_GAP_STRIDES * int(frame.info["stride"])))
    return bool(frame.info["walker"] == other.info["walker"]) and gap < apart


def _long_enough(frame: Atoms, shortest_angstrom: float) -> bool:
    return shortest_distance(frame, 2 * shortest_angstrom) >= shortest_angstrom


def without_duplicates(frames: Sequence[Atoms], rmsd_angstrom: float, large: int = 10**9) -> list[Atoms]:
    """Drop frames that are closer to an earlier one than `rmsd_angstrom`; those of higher γ are kept first.

    Frames of more than `large` atoms are alike if the same atom extrapolates and its surroundings are.
    """
    kept: list[Atoms] = []
    for frame in sorted(frames, key=lambda frame: -frame.info["gamma_max"]):
        if all(_rmsd(frame, other, large) >= rmsd_angstrom for other in kept):
            kept.append(frame)
    return kept


def _rmsd(one: Atoms, other: Atoms, large: int) -> float:
    """Root-mean-square displacement per atom in Å between two frames of one trajectory; ∞ if they are not alike."""
    alike = len(one) == len(other) and bool((one.numbers == other.numbers).all())
    if not alike or not np.allclose(one.cell.array, other.cell.array, rtol=1e-3):
        return float("inf")
    displacements, _ = find_mic(one.positions - other.positions, one.cell, pbc=True)
    if len(one) > large:
        centre = int(np.argmax(one.arrays["gamma"]))
        if centre != int(np.argmax(other.arrays["gamma"])):
            return float("inf")
        _, distances = find_mic(one.positions - one.positions[centre], one.cell, pbc=True)
        displacements = displacements[distances <= _ALIKE_ANGSTROM]
    return float(np.sqrt((displacements**2).sum(axis=1).mean()))


def _embed(candidates: Sequence[Candidate], tools: _Tools) -> None:
    """Give each large candidate its cell, walkers in turn, until `frames_max` have been tried."""
    walkers: dict[str, list[Candidate]] = {}
    for one in sorted(candidates, key=lambda one: (not one.halts, -one.gamma_max)):
        if tools.is_large(one.frame):
            walkers.setdefault(one.walker, []).append(one)
    turns = [one for turn in zip_longest(*walkers.values()) for one in turn if one is not None]
    for place, one in enumerate(turns):
        if place >= tools.parameters.embedding.frames_max:
            one.verdict = "not_offered"
        elif not tools.embed(one, one.centre):
            one.verdict = "not_embedded"


def _choose(candidates: Sequence[Candidate], job: AnyJob, tools: _Tools) -> list[Candidate]:
    """The chosen; verdicts are set, and in a batch each origin begins with the way in which it was chosen."""
    parameters = tools.parameters
    rng = np.random.default_rng([parameters.seed, 1])
    if not tools.by_batch:
        return by_window(candidates, _ranking(job, tools, [one.labelled for one in candidates]), parameters, rng)
    known = [index for index, one in enumerate(candidates) if one.gamma_max >= parameters.gamma_select]
    ranking = [known[place] for place in _ranking(job, tools, [candidates[index].labelled for index in known])]
    labelled = Counter(origin_of(frame).condition for frame in tools.trained)
    chosen = by_batch(candidates, ranking, lambda: tools.teacher(candidates, rng), parameters, rng, labelled)
    for one in chosen:
        origin = origin_of(one.frame)
        if origin.kind == "collected":
            note_origin(one.frame, replace(origin, kind=one.verdict))
    return chosen


def _ranking(job: AnyJob, tools: _Tools, structures: Sequence[Atoms]) -> list[int]:
    """Places of the structures that enter the active set, by how many of their environments do: pace_select's order."""
    if not structures:
        return []
    candidates, selected = job.workdir / "candidates.pkl.gz", job.workdir / "selected.pkl.gz"
    pd.DataFrame({"ase_atoms": [_bare(atoms, number) for number, atoms in enumerate(structures)]}).to_pickle(candidates)
    selected.unlink(missing_ok=True)
    run_tool(
        "pyace.cli.pace_select",
        [
            *("-p", str(job.one("potential_yaml")), "-a", str(job.one("potential_asi"))),
            *("-e", " ".join(tools.parameters.elements), "-m", str(len(structures))),
            *("-o", selected.name, candidates.name),
        ],
        job.workdir,
    )
    try:
        table = pd.read_pickle(selected)  # noqa: S301 - written by the tool that ran a moment ago in this folder
    except (FileNotFoundError, pickle.UnpicklingError) as error:
        raise TaskFailed("crashed", f"pace_select left no readable {selected.name}: {error}") from error
    return [int(atoms.info["candidate"]) for atoms in table["ase_atoms"]]


def _bare(frame: Atoms, number: int) -> Atoms:
    """The structure alone, numbered so that it is found again."""
    bare = Atoms(frame.get_chemical_symbols(), positions=frame.positions, cell=frame.cell, pbc=True)
    bare.info["candidate"] = number
    return bare


def _audit(frames: Sequence[Atoms], tools: _Tools) -> list[Candidate]:
    """Random frames: of each condition as many as are asked for, and what is left over spread over the conditions.

    Frames of one trajectory are taken apart in time as long as there are any. The draw depends on the campaign's seed
    and the cycle alone.
    """
    parameters = tools.parameters
    rng = np.random.default_rng(parameters.seed)
    walkers: dict[str, list[Candidate]] = {}
    for frame in frames:
        if frame.info["kind"] == "audit" and _long_enough(frame, parameters.distance_min_angstrom):
            walkers.setdefault(frame.info["walker"], []).append(Candidate(frame, "audit"))
    shuffled = [[kept[place] for place in rng.permutation(len(kept))] for kept in walkers.values()]
    order = [shuffled[place] for place in rng.permutation(len(shuffled))]
    left = [one for turn in zip_longest(*order) for one in turn if one is not None]
    asked = Counter(parameters.audit_conditions)
    spare, drawn = parameters.audit - asked.total(), list[Candidate]()
    while left and (spare > 0 or any(asked[one.condition] > 0 for one in left)):
        counted = Counter(one.condition for one in drawn)
        one = min(left, key=lambda one: (asked[one.condition] <= 0, _near(one, drawn), counted[one.condition]))
        left.remove(one)
        atoms = rng.permutation(len(one.frame))[:_AUDIT_ATOMS] if tools.is_large(one.frame) else ()
        if len(atoms) and not any(tools.embed(one, int(atom)) for atom in atoms):
            continue
        drawn.append(one)
        if asked[one.condition] > 0:
            asked[one.condition] -= 1
        else:
            spare -= 1
    return drawn


def _known(
    frames: Sequence[Atoms], audit: Sequence[Candidate], chosen: Sequence[Candidate], tools: _Tools
) -> list[Candidate]:
    """What `random_min` is still short of, out of the frames that were kept at random: a quiet walker has few others.

    Large ones are embedded around an atom drawn at random, as audits are.
    """
    parameters = tools.parameters
    missing = parameters.random_min - sum(one.verdict == "random" for one in chosen)
    rng = np.random.default_rng([parameters.seed, 1])
    spent = {id(one.frame) for one in audit}
    conditions: dict[str, list[Candidate]] = {}
    for index in rng.permutation(len(frames)) if missing > 0 else ():
        one = Candidate(frames[index], "random")
        wanted = not parameters.random_conditions or one.condition in parameters.random_conditions
        if one.frame.info["kind"] == "audit" and wanted and id(one.frame) not in spent:
            conditions.setdefault(one.condition, []).append(one)
    drawn: list[Candidate] = []
    for one in (one for turn in zip_longest(*conditions.values()) for one in turn if one is not None):
        if len(drawn) >= missing:
            break
        if not _long_enough(one.frame, parameters.distance_min_angstrom) or _near(one, [*audit, *chosen, *drawn]):
            continue
        atoms = rng.permutation(len(one.frame))[:_AUDIT_ATOMS] if tools.is_large(one.frame) else ()
        if not len(atoms) or any(tools.embed(one, int(atom)) for atom in atoms):
            drawn.append(one)
    return drawn


def _near(one: Candidate, others: Sequence[Candidate]) -> bool:
    return any(_close_in_time(one.frame, other.frame) for other in others)


def _write(job: AnyJob, chosen: Sequence[Candidate], role: str, first: int) -> list[dict[str, Any]]:
    return [_structure(job, one, role, job.workdir / f"{first + n:03d}.extxyz") for n, one in enumerate(chosen)]


def _structure(job: AnyJob, one: Candidate, role: str, path: Path) -> dict[str, Any]:
    structure = one.labelled.copy()
    structure.info.update(one.frame.info)
    if one.cell is not None and one.certificate["verdict"] != "whole":
        for name in families.of(structure):
            del structure.info[name]
        structure.info.update(families.of_cut(structure, one.frame))
    write_frames(path, [structure])
    return {
        "file": job.ref(path),
        "role": role,
        "origin": one.frame.info["origin"],
        "came_from": plain(origin_of(one.frame)),
        "n_atoms": len(structure),
        "gamma_max": one.gamma_max,
        "why": one.verdict,
    }


def _certificate(one: Candidate) -> dict[str, Any]:
    return {"origin": one.frame.info["origin"], "kept": one.cell is not None, **one.certificate}


def _as_table(candidates: Sequence[Candidate]) -> bytes:
    """One line per frame: where it came from, what became of it, and its certificate if it was embedded."""
    rows = [
        {
            "origin": one.frame.info["origin"],
            "walker": one.walker,
            "step": int(one.frame.info["step"]),
            "kind": one.frame.info["kind"],
            "n_atoms": len(one.frame),
            "gamma_max": one.gamma_max,
            "verdict": one.verdict,
            "embedding": one.certificate or None,
        }
        for one in candidates
    ]
    return ("[" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "]\n").encode()
