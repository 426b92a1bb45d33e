"""Selection: of all frames that the walkers kept, the few whose labels teach the potential most.

In this order, and every frame ends with one word about itself (`candidates.json`):

1. **Window**: with `acquisition: gamma_window` γ of at least gamma_select; a batch is chosen from
   frames of every γ. Above `gamma_max`, if given, a frame is taken for unphysical. What lies near a
   test structure in its trajectory is left out, except for the frame that halted it.
2. **Cloud**, if asked for: copies of each halting frame with small displacements, for D-optimality
   to choose from what lies around the place where the walker stopped; they pass the same window.
3. **Distances and duplicates**: what is too tight is no candidate. Of two frames that are nearly
   one, the higher γ stays, in a γ window; in a batch a copy has nothing to teach, and need not be
   told from others. Of large frames only what is around the extrapolating atom is compared: the
   rest is not labelled. Of more than `pool_max` frames, conditions give in turn.
4. **Embedding** (`work/embedding/embedder.py`) of frames with more than `atoms_max` atoms, at most
   `frames_max`: walkers in turn, each halting frame first. What is offered from here on is what
   would be labelled. A large frame in which no atom extrapolates has no place to cut, and is left
   out.
5. **Choice** (`work/choosing/acquisition.py`): with the whole batch in view, or by D-optimality
   alone.

Audit frames pass by all that: drawn at random, whatever their γ, they are labelled as test
structures, and measure what the potential is worth where MD goes. Large ones are embedded around an
atom drawn at random too.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from itertools import zip_longest
from pathlib import Path
from typing import cast

import numpy as np
from ase import Atoms
from ase.geometry import find_mic

from mlip_autopipec.contract.origin import Origin
from mlip_autopipec.contract.results.select import Certificate, SelectMetrics
from mlip_autopipec.contract.results.structure import Structure, Why
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.values import plain
from mlip_autopipec.contract.words import Role
from mlip_autopipec.work import families
from mlip_autopipec.work.choosing.acquisition import Candidate, LabelJudge, by_batch, by_window
from mlip_autopipec.work.choosing.farthest import Farthest
from mlip_autopipec.work.choosing.information import Information
from mlip_autopipec.work.codes.evaluator import checked_potential
from mlip_autopipec.work.embedding.embedder import Embedder
from mlip_autopipec.work.evaluation import Evaluator
from mlip_autopipec.work.job import AnyJob, Job, Result, write_atomic
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


def run(job: Job[SelectParameters]) -> Result[SelectMetrics]:
    """Choose candidates and audit structures; each goes to a file of its own."""
    frames = [frame for path in job.inputs.get("frames", []) for frame in read_frames(path)]
    tools = _Tools(job)
    audit = _audit(frames, tools)
    candidates = [Candidate(frame) for frame in frames if frame.info["kind"] != "audit"]
    candidates += list(_cloud(candidates, tools))
    _drop(candidates, [candidate.frame for candidate in audit], tools)
    _embed(_offered(candidates), tools)
    chosen = _choose(_offered(candidates), tools)
    known = _known(frames, audit, chosen, tools)
    chosen = [*chosen, *known]
    structures = _write(job, chosen, Role.TRAIN, 0) + _write(job, audit, Role.TEST, len(chosen))
    table = job.workdir / "candidates.json"
    write_atomic(table, _as_table([*candidates, *known, *audit]))
    counts = Counter(candidate.verdict for candidate in candidates)
    certificates = [
        found for item in [*candidates, *audit] if (found := _certificate(item)) is not None
    ]
    metrics = SelectMetrics(
        frames=len(frames),
        cloud=sum(candidate.frame.info["kind"] == "cloud" for candidate in candidates),
        below_window=counts["below_window"],
        above_window=counts["above_window"],
        near_audit=counts["near_audit"],
        too_short=counts["too_short"],
        duplicates=counts["duplicates"],
        not_offered=counts["not_offered"],
        not_embedded=counts["not_embedded"],
        beyond_pool=counts["beyond_pool"],
        capped=counts["capped"],
        not_chosen=counts["not_chosen"],
        certificates=tuple(certificates[:_CERTIFICATES_MAX]),
        structures=structures,
    )
    return Result(metrics, {"candidates": table})


class _Tools:
    """The potential and what embeds with it, made when first asked for.

    Most campaigns of small cells need neither.
    """

    def __init__(self, job: Job[SelectParameters]) -> None:
        self.parameters = job.parameters
        self._job = job
        self._potential = checked_potential(
            job, job.parameters.evaluator, job.parameters.fingerprint
        )

    @cached_property
    def evaluator(self) -> Evaluator:
        return self._potential.evaluator()

    def embed(self, candidate: Candidate, centre: int) -> bool:
        """Give the candidate its cell; False, with the certificate's reason, if there is none."""
        seed = [self.parameters.seed, int(candidate.frame.info["step"]), centre]
        embedded = Embedder(self.evaluator, self.parameters).embed(
            candidate.frame, centre, seed=_number(seed)
        )
        candidate.cell = embedded.atoms
        candidate.certificate = embedded.certificate
        return embedded.atoms is not None

    @cached_property
    def trained(self) -> list[Atoms]:
        """All training labels so far; none are told of where a γ window chooses."""
        labels = [
            frame for path in self._job.inputs.get("dataset", []) for frame in read_frames(path)
        ]
        return [frame for frame in labels if frame.info["role"] == "train"]

    @property
    def by_batch(self) -> bool:
        """Whether the whole batch is in view, or the γ window alone."""
        return self.parameters.acquisition == "batch"

    def teacher(self, candidates: Sequence[Candidate], rng: np.random.Generator) -> LabelJudge:
        """What knows how much each candidate would teach, beside all training labels so far."""
        trained, offers = self.trained, [candidate.labelled for candidate in candidates]
        self._job.progress(0.5, f"choosing among {len(offers)} structures")
        if (design := self._potential.design()) is None:
            return Farthest(self.evaluator, trained, offers)
        conditions = [candidate.condition for candidate in candidates]
        return Information(design, trained, offers, conditions, rng=rng)

    def ranking(self, structures: Sequence[Atoms]) -> list[int]:
        """Places of the structures that would enter the active set, the first first."""
        return self._potential.ranking(self._job, structures)

    def is_large(self, frame: Atoms) -> bool:
        """Whether a frame is to be embedded."""
        embedding = self.parameters.embedding
        return embedding.mode != "whole" and len(frame) > embedding.atoms_max


def _number(seed: Sequence[int]) -> int:
    return int(np.random.SeedSequence(list(seed)).generate_state(1)[0])


def _offered(candidates: Sequence[Candidate]) -> list[Candidate]:
    return [candidate for candidate in candidates if candidate.verdict == "not_chosen"]


def _cloud(candidates: Sequence[Candidate], tools: _Tools) -> Iterator[Candidate]:
    """Copies of the halting frames with small displacements, graded anew."""
    copies, width = tools.parameters.cloud, tools.parameters.cloud_angstrom
    for item in candidates if copies else ():
        if not item.halts:
            continue
        for number in range(copies):
            frame = item.frame.copy()
            seed = [tools.parameters.seed, int(frame.info["step"]), number]
            frame.positions += np.random.default_rng(seed).normal(0.0, width, frame.positions.shape)
            frame.set_array("gamma", tools.evaluator.gamma(frame))
            step = int(frame.info["step"])
            note_origin(
                frame,
                Origin(kind="cloud", subject=item.condition, condition=item.condition, step=step),
            )
            frame.info.update(kind="cloud", gamma_max=float(frame.arrays["gamma"].max()))
            yield Candidate(frame)


def _drop(candidates: Sequence[Candidate], audit: Sequence[Atoms], tools: _Tools) -> None:
    """Window, distances, duplicates, and what is beyond the pool."""
    parameters = tools.parameters
    highest = parameters.gamma_max or float("inf")
    for candidate in candidates:
        known = candidate.gamma_max < parameters.gamma_select
        if known and (not tools.by_batch or tools.is_large(candidate.frame)):
            candidate.verdict = "below_window"
        elif candidate.gamma_max > highest:
            candidate.verdict = "above_window"
        elif not candidate.halts and any(_close_in_time(candidate.frame, other) for other in audit):
            candidate.verdict = "near_audit"
        elif not _long_enough(candidate.frame, parameters.distance_min_angstrom):
            candidate.verdict = "too_short"
    left = _offered(candidates)
    if tools.by_batch:
        for candidate in _beyond(left, parameters.pool_max, np.random.default_rng(parameters.seed)):
            candidate.verdict = "beyond_pool"
        return
    large = parameters.embedding.atoms_max
    distinct = without_duplicates(
        [candidate.frame for candidate in left], parameters.duplicate_rmsd_angstrom, large
    )
    for candidate in left:
        if not any(candidate.frame is other for other in distinct):
            candidate.verdict = "duplicates"


def _beyond(
    candidates: Sequence[Candidate], most: int, rng: np.random.Generator
) -> list[Candidate]:
    """What is left when conditions give the pool frames in turn, by chance, halting ones first."""
    by_condition: dict[str, list[Candidate]] = {}
    for index in rng.permutation(len(candidates)):
        by_condition.setdefault(candidates[index].condition, []).append(candidates[index])
    rows = [
        sorted(of_condition, key=lambda candidate: not candidate.halts)
        for of_condition in by_condition.values()
    ]
    return [
        candidate for turn in zip_longest(*rows) for candidate in turn if candidate is not None
    ][most:]


def _close_in_time(frame: Atoms, other: Atoms) -> bool:
    gap = abs(int(frame.info["step"]) - int(other.info["step"]))
    apart = int(frame.info.get("apart", _AUDIT_GAP_STRIDES * int(frame.info["stride"])))
    return bool(frame.info["walker"] == other.info["walker"]) and gap < apart


def _long_enough(frame: Atoms, shortest_angstrom: float) -> bool:
    return shortest_distance(frame, 2 * shortest_angstrom) >= shortest_angstrom


def without_duplicates(
    frames: Sequence[Atoms], rmsd_angstrom: float, large: int = 10**9
) -> list[Atoms]:
    """Drop frames closer to an earlier one than `rmsd_angstrom`; those of higher γ are kept first.

    Frames of more than `large` atoms are alike if the same atom extrapolates and its surroundings
    are.
    """
    kept: list[Atoms] = []
    for frame in sorted(frames, key=lambda frame: -frame.info["gamma_max"]):
        if all(_rmsd(frame, other, large) >= rmsd_angstrom for other in kept):
            kept.append(frame)
    return kept


def _rmsd(atoms: Atoms, other: Atoms, large: int) -> float:
    """Root-mean-square displacement per atom in Å between two frames of one trajectory.

    It is ∞ if they are not alike.
    """
    alike = len(atoms) == len(other) and bool((atoms.numbers == other.numbers).all())
    if not alike or not np.allclose(atoms.cell.array, other.cell.array, rtol=1e-3):
        return float("inf")
    displacements, _ = find_mic(atoms.positions - other.positions, atoms.cell, pbc=True)
    if len(atoms) > large:
        centre = int(np.argmax(atoms.arrays["gamma"]))
        if centre != int(np.argmax(other.arrays["gamma"])):
            return float("inf")
        _, distances = find_mic(atoms.positions - atoms.positions[centre], atoms.cell, pbc=True)
        displacements = displacements[distances <= _ALIKE_ANGSTROM]
    return float(np.sqrt((displacements**2).sum(axis=1).mean()))


def _embed(candidates: Sequence[Candidate], tools: _Tools) -> None:
    """Give each large candidate its cell, walkers in turn, until `frames_max` have been tried."""
    walkers: dict[str, list[Candidate]] = {}
    for candidate in sorted(
        candidates, key=lambda candidate: (not candidate.halts, -candidate.gamma_max)
    ):
        if tools.is_large(candidate.frame):
            walkers.setdefault(candidate.walker, []).append(candidate)
    turns = [
        candidate
        for turn in zip_longest(*walkers.values())
        for candidate in turn
        if candidate is not None
    ]
    for index, candidate in enumerate(turns):
        if index >= tools.parameters.embedding.frames_max:
            candidate.verdict = "not_offered"
        elif not tools.embed(candidate, candidate.centre):
            candidate.verdict = "not_embedded"


def _choose(candidates: Sequence[Candidate], tools: _Tools) -> list[Candidate]:
    """The chosen; verdicts are set, and in a batch each origin begins with how it was chosen."""
    parameters = tools.parameters
    rng = np.random.default_rng([parameters.seed, 1])
    if not tools.by_batch:
        return by_window(
            candidates,
            tools.ranking([candidate.labelled for candidate in candidates]),
            parameters,
            rng,
        )
    known = [
        index
        for index, candidate in enumerate(candidates)
        if candidate.gamma_max >= parameters.gamma_select
    ]
    ranking = [
        known[position]
        for position in tools.ranking([candidates[index].labelled for index in known])
    ]
    labelled = Counter(origin_of(frame).condition for frame in tools.trained)
    chosen = by_batch(
        candidates, ranking, lambda: tools.teacher(candidates, rng), parameters, rng, labelled
    )
    for candidate in chosen:
        origin = origin_of(candidate.frame)
        if origin.kind == "collected":
            note_origin(candidate.frame, replace(origin, kind=candidate.verdict))
    return chosen


def _audit(frames: Sequence[Atoms], tools: _Tools) -> list[Candidate]:
    """Random frames: of each condition as many as asked for, the rest spread over the conditions.

    Frames of one trajectory are taken apart in time as long as there are any. The draw depends on
    the campaign's seed and the cycle alone.
    """
    parameters = tools.parameters
    rng = np.random.default_rng(parameters.seed)
    walkers: dict[str, list[Candidate]] = {}
    for frame in frames:
        if frame.info["kind"] == "audit" and _long_enough(frame, parameters.distance_min_angstrom):
            walkers.setdefault(frame.info["walker"], []).append(Candidate(frame, "audit"))
    shuffled = [[kept[index] for index in rng.permutation(len(kept))] for kept in walkers.values()]
    order = [shuffled[index] for index in rng.permutation(len(shuffled))]
    left = [
        candidate for turn in zip_longest(*order) for candidate in turn if candidate is not None
    ]
    asked = Counter(parameters.audit_conditions)
    spare, drawn = parameters.audit - asked.total(), list[Candidate]()
    while left and (spare > 0 or any(asked[candidate.condition] > 0 for candidate in left)):
        counted = Counter(candidate.condition for candidate in drawn)
        candidate = min(
            left,
            key=lambda candidate: (
                asked[candidate.condition] <= 0,
                _near(candidate, drawn),
                counted[candidate.condition],
            ),
        )
        left.remove(candidate)
        atoms = (
            rng.permutation(len(candidate.frame))[:_AUDIT_ATOMS]
            if tools.is_large(candidate.frame)
            else ()
        )
        if len(atoms) and not any(tools.embed(candidate, int(atom)) for atom in atoms):
            continue
        drawn.append(candidate)
        if asked[candidate.condition] > 0:
            asked[candidate.condition] -= 1
        else:
            spare -= 1
    return drawn


def _known(
    frames: Sequence[Atoms], audit: Sequence[Candidate], chosen: Sequence[Candidate], tools: _Tools
) -> list[Candidate]:
    """What `random_min` still lacks, from frames kept at random: a quiet walker has few others.

    Large ones are embedded around an atom drawn at random, as audits are.
    """
    parameters = tools.parameters
    missing = parameters.random_min - sum(candidate.verdict == "random" for candidate in chosen)
    rng = np.random.default_rng([parameters.seed, 1])
    spent = {id(candidate.frame) for candidate in audit}
    conditions: dict[str, list[Candidate]] = {}
    for index in rng.permutation(len(frames)) if missing > 0 else ():
        candidate = Candidate(frames[index], "random")
        wanted = (
            not parameters.random_conditions or candidate.condition in parameters.random_conditions
        )
        if candidate.frame.info["kind"] == "audit" and wanted and id(candidate.frame) not in spent:
            conditions.setdefault(candidate.condition, []).append(candidate)
    drawn: list[Candidate] = []
    for candidate in (
        candidate
        for turn in zip_longest(*conditions.values())
        for candidate in turn
        if candidate is not None
    ):
        if len(drawn) >= missing:
            break
        if not _long_enough(candidate.frame, parameters.distance_min_angstrom) or _near(
            candidate, [*audit, *chosen, *drawn]
        ):
            continue
        atoms = (
            rng.permutation(len(candidate.frame))[:_AUDIT_ATOMS]
            if tools.is_large(candidate.frame)
            else ()
        )
        if not len(atoms) or any(tools.embed(candidate, int(atom)) for atom in atoms):
            drawn.append(candidate)
    return drawn


def _near(candidate: Candidate, others: Sequence[Candidate]) -> bool:
    return any(_close_in_time(candidate.frame, other.frame) for other in others)


def _write(
    job: AnyJob, chosen: Sequence[Candidate], role: Role, first: int
) -> tuple[Structure, ...]:
    return tuple(
        _structure(job, candidate, role, job.workdir / f"{first + n:03d}.extxyz")
        for n, candidate in enumerate(chosen)
    )


def _structure(job: AnyJob, candidate: Candidate, role: Role, path: Path) -> Structure:
    structure = candidate.labelled.copy()
    structure.info.update(candidate.frame.info)
    if (
        candidate.cell is not None
        and candidate.certificate is not None
        and candidate.certificate.verdict != "whole"
    ):
        for name in families.of(structure):
            del structure.info[name]
        structure.info.update(families.of_cut(structure, candidate.frame))
    write_frames(path, [structure])
    return Structure(
        file=job.ref(path),
        role=role,
        origin=candidate.frame.info["origin"],
        came_from=origin_of(candidate.frame),
        n_atoms=len(structure),
        gamma_max=candidate.gamma_max,
        why=cast("Why", candidate.verdict),  # no fate: it is chosen
    )


def _certificate(candidate: Candidate) -> Certificate | None:
    """With the origin that the frame has in the end, which begins with how it was chosen."""
    return candidate.certificate and replace(
        candidate.certificate, origin=candidate.frame.info["origin"]
    )


def _as_table(candidates: Sequence[Candidate]) -> bytes:
    """One line per frame: its origin, what became of it, and its certificate if it was embedded."""
    rows = [
        {
            "origin": candidate.frame.info["origin"],
            "walker": candidate.walker,
            "step": int(candidate.frame.info["step"]),
            "kind": candidate.frame.info["kind"],
            "n_atoms": len(candidate.frame),
            "gamma_max": candidate.gamma_max,
            "verdict": candidate.verdict,
            "embedding": plain(_certificate(candidate)),
        }
        for candidate in candidates
    ]
    return ("[" + ",\n".join(json.dumps(row, allow_nan=False) for row in rows) + "]\n").encode()
