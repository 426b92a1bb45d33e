"""`auto`: cutoff, functions, weights and penalty of the linear fit, cross-validated by trajectory.

Frames of one trajectory are no independent trials, so they are never split between what is fitted
and what is judged: folds are made of whole ones (`trajectory_of`). The test set is not looked at.

Folds are many, for what is left out together with another that is like it decides. On 101 labels of
silicon five folds gave scores of 9.6 to 13.8 by how trajectories were dealt to them, ten 9.7 to
10.2.

Coarse to fine, since the design matrix is what costs:

1. **Cutoff**: a few candidates between 1.5 and 2.7 atomic spacings (cube root of the volume per
   atom), each with a basis of middling size on a sample of the frames. The shortest within 3 % of
   the best is taken: the cost rises with its cube.
2. **Weights, smoothness, penalty and size**, all from the sums of one large basis
   (`work/ace/moments.py`), whose first columns are every smaller one. The basis is made larger
   unless a smaller one than the largest tried is surely as good, within 3 %.
3. **The smallest basis that is surely within a tenth of the best error** (its ratio to it, with the
   standard error by the jackknife over folds) is taken, unless the needs ask for more: then the
   smallest that meets them, or the best if none does. Where audits have shown it to be too
   small (`functions_min`), the smallest of those within a tenth that has so many, or the largest of
   them.
4. **The next cutoffs**, with that basis: which one is best changes with its size. A shorter one is
   taken where it is within 3 %, or where it is no worse if a need is not met. If none is, and the
   largest basis there is was taken, longer ones are tried: it has use for more neighbours. Each has
   to be better by a tenth, or by 3 % where a need is not met. `any_cost`, a remedy for errors that
   audits have shown to be too large, is such a need.

The error that is compared is the geometric mean of those of energy and force, so that a tenth less
of one is worth a tenth more of the other; that of stress has a quarter of their weight. With all of
it a longer cutoff was taken on silicon (50 labels) for half the error of stress, with a third more
in energy and a fifth in force. Of energies it is the mean absolute error: they are few, and with
root-mean-square errors two odd structures of a fold would decide (on molybdenum they made one
cutoff three times as bad as the next).

The penalty is that of a prior that knows smoothness: the width of a coefficient falls with the sum
of n + l over the factors of its function, to a power of 0 (all alike: plain ridge), 1 or 2. Its
strength is found by cross-validation; that which maximises the evidence (MacKay, Neural Comput. 4,
415 (1992)) is tried beside it, and the better is kept.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from ase import Atoms
from scipy.linalg import eigh

from mlip_autopipec.contract.results.train import FittedSettings, TrialWhy
from mlip_autopipec.contract.train import AUTO, FitSettings, functions_max
from mlip_autopipec.work.ace import basis as functions_of
from mlip_autopipec.work.ace.basis import linear_basis
from mlip_autopipec.work.ace.cost import microseconds_per_atom
from mlip_autopipec.work.ace.labels import composition, trajectory_of
from mlip_autopipec.work.ace.moments import (
    KINDS,
    Fold,
    Grid,
    fold_moments,
    normal_equations,
    solve_trial,
    total,
)

#: In atomic spacings: the cube root of the volume per atom.
_CUTOFFS = (1.5, 1.8, 2.1, 2.4, 2.7)
#: Functions and atoms of the trials that choose the cutoff. With 1,000 atoms the sample decided: on
#: silicon 16 of 50 labels took 4.1 Å, all of them 4.9 Å by far.
_CUTOFF_FUNCTIONS, _CUTOFF_ATOMS = 200, (4000, 8000)
#: What the errors that are compared count.
_IMPORTANCE = {"energy": 1.0, "force": 1.0, "stress": 0.25}
#: Sizes of basis that are tried, and where a larger design matrix is made if the last was not large
#: enough.
_SIZES = (15, 25, 40, 60, 90, 140, 200, 300, 450, 700, 1000)
_STAGES = (300, 1000)
#: Atoms of the sample that choices are made on, where there are more labels.
_SAMPLE_ATOMS = 30_000
#: With more columns than that fewer folds, for memory: each has three matrices of columns².
_FOLDS, _FOLDS_FEWER, _COLUMNS_MANY = 10, 5, 1000
_ENERGY_WEIGHTS = (10.0, 30.0, 100.0, 300.0, 1000.0)
_SMOOTHNESS = (0.0, 1.0, 2.0)
_RIDGE_START, _RIDGE_BOUNDS = 1e-8, (1e-12, 1e-2)
#: A weaker penalty has to be so much better: what is fitted extrapolates the worse for it.
_WEAKER = 0.99
#: What is given up for a smaller basis, and for a shorter cutoff.
_TOLERANCE, _CUTOFF_TOLERANCE, _WORTH_MORE = 1.10, 1.03, 0.97
#: A stress weighs so much beside an energy: six of them, each less exact, share what one energy
#: gets.
STRESS_SHARE = 0.01
_EVIDENCE_STEPS = 30
#: Of a sum of weights less one of them, what rounding leaves.
_NOUGHT = 1e-9


@dataclass(frozen=True)
class TriedFit:
    """Settings with their errors in cross-validation.

    They are in eV/atom, eV/Å, and eV/atom of strain; 0 without rows.
    """

    settings: FittedSettings
    errors: Mapping[str, float]
    why: TrialWhy
    energy_mae: float  # eV/atom: what a few outliers among the few energies do not decide
    cost_us: float | None = None
    #: The score again, without each of the folds in turn.
    scores_without: Sequence[float] = ()

    @property
    def score(self) -> float:
        """Weighted geometric mean of the errors, of energies the mean absolute one."""
        return _score({**self.errors, "energy": self.energy_mae})

    def times_worse_than(self, other: "TriedFit") -> float:
        """How many times the other's error this one's may be.

        It is the ratio of the two with its standard error (of its logarithm, by the jackknife over
        the folds) added: with few trajectories cross-validation tells apart little.
        """
        if not other.score or not all((*self.scores_without, *other.scores_without)):
            return self.score / other.score if other.score else 1.0
        logs = np.log(np.divide(self.scores_without, other.scores_without))
        error = np.sqrt((len(logs) - 1) * np.var(logs)) if len(logs) else 0.0
        return float(self.score / other.score * np.exp(error))


@dataclass(frozen=True)
class Chosen:
    """What was chosen, from which trials, and the sums of all labels where they were made."""

    settings: FittedSettings
    trials: Sequence[TriedFit]
    groups: int
    folds: int
    seconds: float
    sums: tuple[Grid, Sequence[Fold]] | None


def choose(
    frames: Sequence[Atoms],
    references: Mapping[str, float],
    asked: FitSettings,
    cores: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Chosen:
    """Settings for these labels; what is named stays as it is named."""
    started = time.monotonic()
    return _Search(frames, references, asked, cores, progress).run(started)


def fixed(asked: FitSettings) -> FittedSettings | None:
    """The settings that are asked for; None if one of them is to be chosen."""
    named = named_of(asked)
    return FittedSettings(**named) if len(named) == len(fields(FittedSettings)) else None


def named_of(asked: FitSettings) -> dict[str, Any]:
    """The settings that are named, as those of FittedSettings; what is `auto` is not among them."""
    every = {each.name: getattr(asked, each.name) for each in fields(FittedSettings)}
    return {name: setting for name, setting in every.items() if setting != AUTO}


def folds_of(frames: Sequence[Atoms], count: int = _FOLDS) -> list[int]:
    """Each frame's fold. Frames of one trajectory share one; folds have about as many atoms each.

    Where there are fewer than three trajectories, they are cut into stretches: better than nothing,
    and told.
    """
    names = [trajectory_of(frame) for frame in frames]
    if len(set(names)) < 3:  # noqa: PLR2004 - so few can't be left out in turn
        stretch = max(1, len(frames) // (4 * count))
        names = [str(index // stretch) for index in range(len(frames))]
    atoms: Counter[str] = Counter()
    for name, frame in zip(names, frames, strict=True):
        atoms[name] += len(frame)
    load = [0] * min(count, len(atoms))
    fold_of: dict[str, int] = {}
    for name, size in atoms.most_common():
        fold_of[name] = load.index(min(load))
        load[fold_of[name]] += size
    return [fold_of[name] for name in names]


class _Search:
    def __init__(
        self,
        frames: Sequence[Atoms],
        references: Mapping[str, float],
        asked: FitSettings,
        cores: int,
        progress: Callable[[str], None],
    ) -> None:
        self._frames, self._references, self._asked = frames, references, asked
        self._cores, self._progress = cores, progress
        self._elements = tuple(sorted(asked.elements))
        self._named = named_of(asked)
        self._trials: list[TriedFit] = []

    def run(self, started: float) -> Chosen:
        folds = folds_of(self._frames, self._folds())
        cutoff = self._named.get("cutoff_angstrom") or self._cutoff(folds)
        sample = thinned(self._frames, _SAMPLE_ATOMS)
        whole = len(sample) == len(self._frames)
        frames, packed = [self._frames[i] for i in sample], _packed([folds[i] for i in sample])
        best, grid, sums = self._grow(cutoff, frames, packed)
        if "cutoff_angstrom" not in self._named:
            found = self._nearer(best, grid, frames, packed)
            best, grid, sums = found or self._farther(best, grid, sums, frames, packed)
        return Chosen(
            settings=best.settings,
            trials=self._trials,
            groups=len({trajectory_of(frame) for frame in self._frames}),
            folds=max(folds) + 1,
            seconds=time.monotonic() - started,
            sums=(grid, sums) if whole else None,
        )

    def _folds(self) -> int:
        most = self._named.get("functions_per_element", self._most())
        return _FOLDS if most * len(self._elements) <= _COLUMNS_MANY else _FOLDS_FEWER

    def _most(self) -> int:
        """No more functions than half of the environments of any element: the active set's rank."""
        counted: Counter[str] = Counter()
        for frame in self._frames:
            counted.update(composition(frame))
        scarce = min(counted[element] for element in self._elements)
        return max(1, min(functions_max(len(self._elements)), scarce // 2))

    def _start(self, cutoff: float, functions: int) -> FittedSettings:
        energy = self._named.get("energy_weight", 100.0)
        return FittedSettings(
            cutoff_angstrom=cutoff,
            functions_per_element=functions,
            energy_weight=energy,
            force_weight=self._named.get("force_weight", 1.0),
            stress_weight=self._named.get("stress_weight", STRESS_SHARE * energy),
            smoothness=self._named.get("smoothness", 1.0),
            ridge=self._named.get("ridge", _RIDGE_START),
        )

    def _cutoff(self, folds: Sequence[int]) -> float:
        atoms = sum(map(len, self._frames))
        sample = thinned(self._frames, min(max(atoms // 4, _CUTOFF_ATOMS[0]), _CUTOFF_ATOMS[1]))
        frames = [self._frames[i] for i in sample]
        size = min(
            _CUTOFF_FUNCTIONS,
            self._most(),
            self._named.get("functions_per_element", _CUTOFF_FUNCTIONS),
        )
        found = []
        for cutoff in cutoffs(self._frames):
            self._progress(f"trying a cutoff of {cutoff:g} Å")
            grid = Grid(self._elements, cutoff, size)
            sums = self._moments(grid, frames, _packed([folds[i] for i in sample]))
            found.append(
                _Sized(grid, sums).tuned(
                    self._start(cutoff, size), self._named, ("ridge",), "cutoff"
                )
            )
        self._trials += found
        best = min(trial.score for trial in found)
        return next(
            trial for trial in found if trial.score <= _CUTOFF_TOLERANCE * best
        ).settings.cutoff_angstrom

    def _grow(
        self, cutoff: float, frames: Sequence[Atoms], folds: Sequence[int]
    ) -> tuple[TriedFit, Grid, Sequence[Fold]]:
        most, named = self._most(), self._named.get("functions_per_element")
        stages = [named] if named else sorted({min(stage, most) for stage in _STAGES})
        for stage in stages:
            grid = Grid(self._elements, cutoff, stage)
            self._progress(f"a basis of {stage} functions per element")
            sums = self._moments(grid, frames, _packed(folds))
            sized = _Sized(grid, sums)
            largest = sized.tuned(
                self._start(cutoff, stage),
                self._named,
                ("ridge", "smoothness", "energy_weight", "ridge"),
                "functions",
            )
            found = [largest]
            if not named:
                for size in sorted((size for size in _SIZES if size < stage), reverse=True):
                    start = replace(found[-1].settings, functions_per_element=size)
                    found.append(sized.tuned(start, self._named, ("ridge",), "functions"))
            best = min(found, key=lambda trial: trial.score)
            if stage >= self._asked.functions_min and _is_large_enough(largest, found[1:]):
                break
        self._trials += [self._costed(trial) for trial in found]
        chosen = self._smallest(best, self._trials[-len(found) :])
        tuned = sized.tuned(
            chosen.settings, self._named, ("energy_weight", "smoothness", "ridge"), "weights"
        )
        by_evidence = sized.by_evidence(tuned.settings, self._named)
        finals = [trial for trial in (tuned, by_evidence) if trial is not None]
        self._trials += finals
        return min(finals, key=lambda trial: trial.score), grid, sums

    def _nearer(
        self, best: TriedFit, grid: Grid, frames: Sequence[Atoms], folds: Sequence[int]
    ) -> tuple[TriedFit, Grid, Sequence[Fold]] | None:
        """The next shorter cutoffs, for the basis that was taken; None if none is as good.

        Which cutoff is best changes with the number of functions, and fewer have chosen it.
        """
        found: tuple[TriedFit, Grid, Sequence[Fold]] | None = None
        lowest = best.score
        for cutoff in reversed(cutoffs(self._frames)):
            if cutoff >= best.settings.cutoff_angstrom:
                continue
            tried = self._at(cutoff, best, grid, frames, folds)
            if tried[0].score > self._allowed(best) * lowest:
                break
            found = best, _, _ = tried
            lowest = min(lowest, best.score)
        return found

    def _farther(
        self,
        best: TriedFit,
        grid: Grid,
        sums: Sequence[Fold],
        frames: Sequence[Atoms],
        folds: Sequence[int],
    ) -> tuple[TriedFit, Grid, Sequence[Fold]]:
        """The next longer cutoffs, where the largest basis was taken.

        It has use for more than those that chose the cutoff.
        """
        for cutoff in cutoffs(self._frames):
            if cutoff <= best.settings.cutoff_angstrom:
                continue
            if best.settings.functions_per_element < grid.functions_per_element:
                break
            tried = self._at(cutoff, best, grid, frames, folds)
            if tried[0].score > self._worth(best) * best.score:
                break
            best, grid, sums = tried
        return best, grid, sums

    def _at(
        self,
        cutoff: float,
        best: TriedFit,
        grid: Grid,
        frames: Sequence[Atoms],
        folds: Sequence[int],
    ) -> tuple[TriedFit, Grid, Sequence[Fold]]:
        """Another cutoff with as many functions as the best so far."""
        functions = best.settings.functions_per_element
        self._progress(f"a cutoff of {cutoff:g} Å with {functions} functions per element")
        other = replace(grid, cutoff_angstrom=cutoff, functions_per_element=functions)
        made = self._moments(other, frames, folds)
        start = replace(best.settings, cutoff_angstrom=cutoff)
        trial = _Sized(other, made).tuned(
            start, self._named, ("ridge", "energy_weight", "ridge"), "cutoff"
        )
        self._trials.append(self._costed(trial))
        return self._trials[-1], other, made

    def _worth(self, best: TriedFit) -> float:
        """What a longer cutoff has to make of the error.

        It costs time in every step of MD, as a larger basis does.
        """
        return 1 / _TOLERANCE if self._is_enough(best) else _WORTH_MORE

    def _allowed(self, best: TriedFit) -> float:
        """How many times the error a shorter cutoff may have: more only where needs are met."""
        return _CUTOFF_TOLERANCE if self._is_enough(best) else 1.0

    def _is_enough(self, trial: TriedFit) -> bool:
        """Whether the errors are below the needs, in meV/atom and meV/Å; None asks nothing."""
        asked = self._asked
        needs = {
            "energy": asked.energy_need_mev_per_atom,
            "force": asked.force_need_mev_per_angstrom,
        }
        return not asked.any_cost and all(
            need is None or trial.errors.get(kind, 0.0) <= need / 1000
            for kind, need in needs.items()
        )

    def _smallest(self, best: TriedFit, trials: Sequence[TriedFit]) -> TriedFit:
        rising = sorted(trials, key=lambda trial: trial.settings.functions_per_element)
        near = [trial for trial in rising if trial.score <= _TOLERANCE * best.score]
        sure = next(trial for trial in near if trial.times_worse_than(best) <= _TOLERANCE)
        least = max(self._asked.functions_min, sure.settings.functions_per_element)
        large = [trial for trial in near if trial.settings.functions_per_element >= least]
        enough = large[0] if large else near[-1]
        if self._is_enough(enough):
            return enough
        return next((trial for trial in rising if self._is_enough(trial)), best)

    def _costed(self, trial: TriedFit) -> TriedFit:
        chosen = trial.settings
        basis = linear_basis(self._elements, chosen.cutoff_angstrom, chosen.functions_per_element)
        return replace(trial, cost_us=microseconds_per_atom(basis, max(self._frames, key=len)))

    def _moments(self, grid: Grid, frames: Sequence[Atoms], folds: Sequence[int]) -> Sequence[Fold]:
        weight = self._asked.buffer_weight
        return fold_moments(grid, frames, folds, self._references, weight, self._cores)


class _Sized:
    """The sums of one design matrix, and what cross-validation says of settings by them."""

    def __init__(self, grid: Grid, folds: Sequence[Fold]) -> None:
        self._folds = folds
        self._without = [total(folds, index) for index in range(len(folds))]
        self._functions = functions_of.columns(
            linear_basis(grid.elements, grid.cutoff_angstrom, grid.functions_per_element)
        )
        self._known: dict[FittedSettings, TriedFit] = {}

    def trial(self, settings: FittedSettings, why: TrialWhy) -> TriedFit:
        """Errors on the folds, each by a fit to all others."""
        if settings not in self._known:
            columns, penalty = self._penalty(settings)
            sums = []  # of each fold: squares and weights by kind, then absolute errors of energies
            for fold, others in zip(self._folds, self._without, strict=True):
                coefficients = solve_trial(others, settings.weights, penalty, columns)
                energies = fold["energy"]
                squares = [
                    fold[kind].weight * fold[kind].mean_square_error(coefficients, columns)
                    for kind in KINDS
                ]
                absolute = energies.rows * energies.mean_absolute_error(coefficients, columns)
                weights = [fold[kind].weight for kind in KINDS]
                sums.append([*squares, absolute, *weights, energies.rows])
            whole = np.sum(sums, axis=0)
            errors, mae = _errors(whole)
            without = [_errors(whole - each) for each in np.array(sums)]
            self._known[settings] = TriedFit(
                settings,
                errors,
                why,
                mae,
                scores_without=[_score({**found, "energy": energy}) for found, energy in without],
            )
        return replace(self._known[settings], why=why)

    def tuned(
        self, start: FittedSettings, named: Mapping[str, Any], order: Sequence[str], why: TrialWhy
    ) -> TriedFit:
        """The best of a walk along one setting after the other; those named are not touched."""
        best = self.trial(start, why)
        for name in order:
            if name not in named:
                best = min(
                    (best, *self._along(best.settings, name, named, why)),
                    key=lambda trial: trial.score,
                )
        return best

    def by_evidence(self, start: FittedSettings, named: Mapping[str, Any]) -> TriedFit | None:
        """The same with the strength of the prior that maximises the evidence of all labels."""
        if "ridge" in named:
            return None
        columns, penalty = self._penalty(replace(start, ridge=1.0))
        whole = total(self._folds)
        matrix, product, square = normal_equations(whole, start.weights, columns)
        rows = sum(whole[kind].rows for kind, weight in start.weights.items() if weight)
        width = 1 / np.sqrt(penalty)
        values, vectors = eigh(matrix * np.outer(width, width))
        values, along = np.clip(values, 0.0, None), vectors.T @ (width * product)
        ridge = start.ridge
        for _ in range(_EVIDENCE_STEPS):
            # MacKay's fixed point: effective parameters over what they explain, noise over what is
            # left.
            solution = along / (values + ridge)
            effective = float(np.sum(values / (values + ridge)))
            noise = max(square - 2 * along @ solution + values @ solution**2, 0.0) / max(
                rows - effective, 1.0
            )
            prior = float(solution @ solution) / max(effective, 1e-12)
            ridge = float(np.clip(noise / max(prior, 1e-300), *_RIDGE_BOUNDS))
        return self.trial(replace(start, ridge=ridge), "evidence")

    def _along(
        self, start: FittedSettings, name: str, named: Mapping[str, Any], why: TrialWhy
    ) -> Iterator[TriedFit]:
        if name == "ridge":
            yield from self._ridges(start, why)
        elif name == "smoothness":
            for smoothness in _SMOOTHNESS:
                changed = replace(start, smoothness=smoothness)
                yield from self._ridges(changed, why)
        else:
            for weight in _ENERGY_WEIGHTS:
                stress = named.get("stress_weight", STRESS_SHARE * weight)
                yield self.trial(replace(start, energy_weight=weight, stress_weight=stress), why)

    def _ridges(self, start: FittedSettings, why: TrialWhy) -> Iterator[TriedFit]:
        """Downhill by factors of ten, either way."""
        first = self.trial(start, why)
        yield first
        for factor, enough in ((10.0, 1.0), (0.1, _WEAKER)):
            last = first
            while _RIDGE_BOUNDS[0] < last.settings.ridge * factor < _RIDGE_BOUNDS[1]:
                step = self.trial(replace(last.settings, ridge=last.settings.ridge * factor), why)
                if step.score >= enough * last.score:
                    break
                yield step
                last = step

    def _penalty(self, settings: FittedSettings) -> tuple[np.ndarray, np.ndarray]:
        columns = functions_of.first_columns(self._functions, settings.functions_per_element)
        rough = functions_of.roughness(self._functions)[columns]
        return columns, penalty_of(rough, settings)


def _is_large_enough(largest: TriedFit, smaller: Sequence[TriedFit]) -> bool:
    """Whether one of the smaller bases is surely as good, within 3 %."""
    return any(trial.times_worse_than(largest) <= 1 / _WORTH_MORE for trial in smaller)


def _score(errors: Mapping[str, float]) -> float:
    found = {kind: error for kind, error in errors.items() if error > 0}
    if not found:
        return 0.0
    weights = [_IMPORTANCE[kind] for kind in found]
    return float(np.exp(np.average(np.log(list(found.values())), weights=weights)))


def _errors(sums: np.ndarray) -> tuple[dict[str, float], float]:
    """Root-mean-square errors by kind, and the mean absolute one of energies, by sums of folds."""
    (*squares, absolute), (*weights, rows) = np.split(sums, 2)
    found = {
        kind: float(np.sqrt(max(square, 0.0) / weight))
        for kind, square, weight in zip(KINDS, squares, weights, strict=True)
        if weight > _NOUGHT
    }
    return found, float(absolute / rows) if rows else 0.0


def penalty_of(roughness: np.ndarray, settings: FittedSettings) -> np.ndarray:
    """The penalty on each squared coefficient."""
    penalty: np.ndarray = settings.ridge * roughness ** (2 * settings.smoothness)
    return penalty


def cutoffs(frames: Sequence[Atoms]) -> list[float]:
    """Candidates in Å, rising. The spacing is the denser quarter's, which no vacuum dilutes."""
    spacing = float(
        np.percentile([(frame.get_volume() / len(frame)) ** (1 / 3) for frame in frames], 25)
    )
    return [round(factor * spacing, 1) for factor in _CUTOFFS]


def thinned(frames: Sequence[Atoms], atoms_max: int) -> list[int]:
    """Indices of a sample that is even over the frames in order, of about so many atoms at most."""
    atoms = sum(map(len, frames))
    count = max(2, int(len(frames) * min(1.0, atoms_max / atoms)))
    return sorted(
        {int(index) for index in np.linspace(0, len(frames) - 1, min(count, len(frames)))}
    )


def _packed(folds: Sequence[int]) -> list[int]:
    """Folds numbered without gaps: a sample may have lost one."""
    numbers = {fold: number for number, fold in enumerate(sorted(set(folds)))}
    return [numbers[fold] for fold in folds]
