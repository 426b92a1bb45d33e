"""scripts/bench labels SYSTEM: what the loop learns per label, beside chance and two other ways.

Error on one independent test set (MD by the oracle, all conditions of `exploration.walkers` evenly)
against training labels beyond the generated ones, for
  a  this program's whole loop, a real daemon to its verdict,
  b  random frames of the oracle's own MD,
  c  random frames of MD by the bootstrap potential (the fit to the generated structures),
  d  the frames of (c) by farthest point on the structure's mean B-projections,
  e  the frames of (c) by a committee of four in batches of twenty, as DP-GEN chooses.
All have the same generated structures, the same fit and the same test set. SYSTEM is one of
tests/bench/labels or a site file whose oracle is an ASE calculator.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import labels_curves as cv
import numpy as np
from kit.table import Row
from labels_campaign import Cycle, Follower, data_sets, moved, run, verdict
from labels_choice import Choice, at_random, by_committee, farthest
from labels_fit import Rows, Sums, TestSet
from labels_pools import Store, fitter_of, generated_frames, pools, test_frames

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig

_HERE = Path(__file__).parent
SYSTEMS = _HERE / "labels"
#: This program, chance, and the others.
_LOOP, _CHANCE = "a program", "b random, oracle's MD"
_WAYS: Mapping[str, tuple[str, Choice, int]] = {
    _CHANCE: ("of_oracle", at_random, 10),
    "c random, bootstrap MD": ("of_bootstrap", at_random, 10),
    "d farthest point": ("of_bootstrap", farthest, 1),
    "e committee": ("of_bootstrap", by_committee, 3),
}
#: Changes with what the curves of pools are made of.
_CURVES_VERSION = 3


@dataclass(frozen=True)
class Aim:
    """What the program is to reach on a system: errors in meV/Å after so many labels and cycles."""

    force: float
    force_worst: float
    labels: int
    cycles: int


_AIMS: Mapping[str, Aim] = {"ni3al": Aim(force=17.5, force_worst=26, labels=40, cycles=3)}
#: Of the labels that chance needs.
_RATIO_AIM = 0.6


@dataclass
class Found:
    """Everything that was measured of one system."""

    system: str
    curves: list[cv.Curve] = field(default_factory=list)
    cycles: dict[int, list[Cycle]] = field(default_factory=dict)
    verdicts: dict[int, str] = field(default_factory=dict)


def measure(args: argparse.Namespace) -> list[Row]:
    """Run what was asked for; print tables, write `labels.md` and `labels.png` into the folder."""
    site_file = _site_file(args.system)
    sys.path[:0] = [str(site_file.absolute().parent), str(_HERE)]  # an oracle may be a module there
    folder: Path = (
        args.folder or _HERE.parents[1] / ".bench" / "labels" / site_file.stem
    ).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()

    def say(what: str) -> None:
        print(f"{time.monotonic() - began:7.0f} s  {what}", flush=True)

    found = Found(site_file.stem)
    for seed in range(1, args.seeds + 1):
        config = _with_seed(load_config(site_file).config, seed)
        store = Store(folder, config)
        if args.only != "a":
            found.curves += _of_pools(config, store, say)
        else:
            found.curves += cv.read_curves(folder / f"seed-{seed}" / "curves.json")
        if args.only != "pools":
            _of_loop(args, site_file, seed, store, found, say)
    text = report(found)
    (folder / "labels.md").write_text(text, encoding="utf-8")
    cv.picture(found.curves, folder / "labels.png", f"{found.system}: error against labels")
    print(text)
    print(f"{folder / 'labels.md'} and {folder / 'labels.png'}")
    return rows(found)


def _site_file(system: str) -> Path:
    own = SYSTEMS / f"{system}.yaml"
    return own if own.exists() else Path(system)


def _with_seed(config: WorkflowConfig, seed: int) -> WorkflowConfig:
    return config.model_copy(update={"campaign": config.campaign.model_copy(update={"seed": seed})})


def _of_pools(config: WorkflowConfig, store: Store, say: "cv.Say") -> list[cv.Curve]:
    """Curves of chance and of the other ways, made or read."""

    def make() -> list[object]:
        parts = pools(config, store, say)
        test = TestSet.of(parts.test)
        before = parts.fitter.sums()
        before.add(parts.generated)
        found: list[cv.Curve] = []
        for way, (pool, choice, draws) in _WAYS.items():
            for draw in range(draws):
                rng = np.random.default_rng([config.campaign.seed, draw])
                chosen = choice(
                    parts.fitter, parts.generated, getattr(parts, pool), max(cv.COUNTS), rng
                )
                found.append(
                    _curve(
                        way,
                        [getattr(parts, pool)[index] for index in chosen],
                        before,
                        parts.test,
                        test,
                    )
                )
            say(f"{way}: {draws} draws, force error {_last(found, way)}")
        return cv.curves_as_json(found)

    seed = config.campaign.seed
    functions = fitter_of(config, store, say).digest
    curves = cv.curves_of_json(
        store.json(f"seed-{seed}/curves", make, _CURVES_VERSION, seed, functions)
    )
    path = store.folder / f"seed-{seed}" / "curves.json"
    path.write_text(cv.as_text(curves), encoding="utf-8")
    return curves


def _last(curves: Sequence[cv.Curve], way: str) -> str:
    draws = [curve for curve in curves if curve.way == way]
    return ", ".join(
        (
            f"{cv.with_spread([curve.points[index].values['force, all'] for curve in draws])} at"
            f" {point.labels}"
        )
        for index, point in enumerate(draws[0].points)
    )


def _curve(
    way: str, chosen: Sequence[Rows], generated: Sums, rows_: Sequence[Rows], test: TestSet
) -> cv.Curve:
    """One draw, measured at every count."""
    sums, points, before = generated.copy(), list[cv.Point](), 0
    for count in (0, *cv.COUNTS):
        if count > len(chosen):
            break
        sums.add(chosen[before:count])
        before = count
        points.append(cv.Point(count, cv.values(test.scores_of_fit(rows_, sums.solve()))))
    return cv.Curve(way, points)


def _of_loop(
    args: argparse.Namespace, site_file: Path, seed: int, store: Store, found: Found, say: "cv.Say"
) -> None:
    """A campaign, measured as it goes; one that the folder holds is measured, not run, again."""
    config = store.config
    frames = test_frames(config, store, say)
    generated = generated_frames(config, store)
    fitter = fitter_of(config, store, say)
    follower = Follower(fitter, len(generated), fitter.rows(frames), frames)
    folder = store.folder / f"seed-{seed}" / "loop"
    if args.loop is not None:
        folder = args.loop.absolute()
        datasets: Iterable[Path] = data_sets(folder / "root")
    else:
        if args.again and folder.exists():
            folder.rename(folder.with_name(f"loop.{time.strftime('%Y%m%dT%H%M%S')}"))
        datasets = run(
            moved(site_file, folder, seed=seed),
            folder,
            modules=site_file.absolute().parent,
            timeout_s=args.timeout,
        )
    cycles: list[Cycle] = []
    for dataset in datasets:
        cycles.append(follower.after(dataset))
        say(_told(cycles[-1]))
    found.cycles[seed], found.verdicts[seed] = cycles, verdict(folder)
    say(f"{_LOOP}: {found.verdicts[seed]}")
    judged = [
        cycle.own if args.own and cycle.own is not None else cycle.refitted for cycle in cycles
    ]
    points = [
        cv.Point(cycle.train_labels, cv.values(item))
        for cycle, item in zip(cycles, judged, strict=True)
    ]
    found.curves.append(cv.Curve(_LOOP, points))


def _told(cycle: Cycle) -> str:
    scores = cycle.refitted
    own = "" if cycle.own is None else f"; its own potential {cycle.own.everything.force:.1f} meV/Å"
    return (
        f"{_LOOP}: cycle {cycle.cycle}, {cycle.train_labels} labels and {cycle.other_labels} to"
        f" test: {scores.everything.force:.1f} meV/Å, worst {scores.worst:.1f}, 99 %"
        f" {scores.everything.tail:.0f}, {scores.everything.energy:.2f} meV/atom{own}"
    )


def report(found: Found) -> str:
    """Markdown: the loop cycle by cycle, the pools, and labels to chance's errors."""
    lines = [f"## {found.system}", ""]
    for seed, cycles in found.cycles.items():
        lines += [
            f"This program, seed {seed}: {found.verdicts[seed]}",
            "",
            *_cycle_table(cycles),
            "",
        ]
    if not any(curve.way == _CHANCE for curve in found.curves):
        return "\n".join(lines)
    for measure_, unit in cv.MEASURES.items():
        pools_ = [curve for curve in found.curves if curve.way != _LOOP]
        lines += [
            f"{measure_}, {unit}: median and range over draws",
            "",
            *cv.pool_table(pools_, measure_),
            "",
        ]
    for measure_ in cv.MEASURES:
        message = "labels to the error that random frames have, and as a part of these"
        lines += [
            f"{measure_}: {message}",
            "",
            *cv.ratio_table(found.curves, _CHANCE, measure_),
            "",
        ]
    message = (
        "99th percentile of |ΔF| by condition, meV/Å: labels to that of random frames at 50, as a"
        " part of these"
    )
    lines += [message, "", *cv.condition_table(found.curves, _CHANCE, 50), ""]
    return "\n".join(lines)


def _cycle_table(cycles: Sequence[Cycle]) -> list[str]:
    titles = [
        "cycle",
        "labels",
        "labels to test",
        "force, all",
        "worst condition",
        "99 %",
        "energy",
        "its own fit",
    ]
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    for cycle in cycles:
        scores = cycle.refitted
        own = (
            ""
            if cycle.own is None
            else f"{cycle.own.everything.force:.1f}, {cycle.own.everything.energy:.2f}"
        )
        figures = [
            f"{scores.everything.force:.1f}",
            f"{scores.worst:.1f}",
            f"{scores.everything.tail:.0f}",
        ]
        cells = [
            cycle.cycle,
            cycle.train_labels,
            cycle.other_labels,
            *figures,
            f"{scores.everything.energy:.2f}",
            own,
        ]
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return lines


def rows(found: Found) -> list[Row]:
    """The figures with aims: labels beside those of random frames, errors after so many labels."""
    ways = cv.by_way(found.curves)
    if _LOOP not in ways:
        return []
    table = _beside_chance(ways) if _CHANCE in ways else []
    aim = _AIMS.get(found.system)
    if aim is None:
        return table
    for measure_, error in (("force, all", aim.force), ("force, worst condition", aim.force_worst)):
        needed = [curve.labels_to(error, measure_) for curve in ways[_LOOP]]
        what = f"labels to {error:g} meV/Å, {measure_}"
        table.append(
            Row(what, float(np.median(needed)), "labels", aim.labels, cv.with_spread(needed))
        )
    cycles = [_cycles_to(aim, curve) for curve in ways[_LOOP]]
    table.append(
        Row(
            "cycles to both", float(np.median(cycles)), "cycles", aim.cycles, cv.with_spread(cycles)
        )
    )
    return table


def _cycles_to(aim: Aim, curve: cv.Curve) -> float:
    """Cycles beyond the bootstrap until both errors are there; infinity if they never are."""
    good = (
        index
        for index, point in enumerate(curve.points)
        if point.values["force, all"] <= aim.force
        and point.values["force, worst condition"] <= aim.force_worst
    )
    return float(next(good, np.inf))


def _beside_chance(ways: Mapping[str, Sequence[cv.Curve]]) -> list[Row]:
    """Labels of the loop as a part of those of random frames with the same error.

    They are taken at fixed counts, and at the loop's end.
    """
    table: list[Row] = []
    loop = ways[_LOOP]
    ends = [curve.points[-1].labels for curve in loop]
    for measure_, unit in cv.MEASURES.items():
        ratios = []
        for count in cv.COMPARED_AT:
            error = cv.error_of(ways[_CHANCE], count, measure_)
            if error is None:
                continue
            what = f"labels beside random at {count}, {measure_}"
            needed = [curve.labels_to(error, measure_) for curve in loop]
            if min(needed) == np.inf and max(ends) < count:  # what it needed it had with fewer
                table.append(
                    Row(
                        what,
                        np.inf,
                        "",
                        None,
                        f"its campaigns ended with {cv.with_spread(ends)} labels",
                    )
                )
                continue
            ratios.append(float(np.median(needed)) / count)
            table.append(
                Row(
                    what,
                    ratios[-1],
                    "",
                    1.0,
                    f"{cv.with_spread(needed)} labels to {error:.3g} {unit}",
                )
            )
        if ratios and measure_ == "force, all":
            table.append(
                Row(f"the same, median, {measure_}", float(np.median(ratios)), "", _RATIO_AIM)
            )
        table.append(_at_the_end(loop, ways[_CHANCE], measure_))
    return table


def _at_the_end(loop: Sequence[cv.Curve], chance: Sequence[cv.Curve], measure_: str) -> Row:
    """The labels with which campaigns ended beside those of random frames.

    Those are at least all that chance drew, if it never gets there.
    """
    drawn = max(curve.points[-1].labels for curve in chance)
    parts, needed = [], []
    for curve in loop:
        last = curve.points[-1]
        needed.append(
            float(np.median([draw.labels_to(last.values[measure_], measure_) for draw in chance]))
        )
        parts.append(last.labels / min(max(needed[-1], 1.0), drawn))
    note = f"{cv.with_spread(needed)} random labels to the same error; 'never': beyond {drawn}"
    return Row(
        f"labels beside random at its end, {measure_}", float(np.median(parts)), "", 1.0, note
    )
