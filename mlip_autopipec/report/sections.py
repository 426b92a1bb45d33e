"""The sections of the report: each a function from projections to HTML."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.contract.results.train import Errors
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import CycleSummary
from mlip_autopipec.orchestration.levels import levels_text
from mlip_autopipec.report import figures as fg
from mlip_autopipec.report.blocks import ROWS_MAX, details, figure, quiet, rest
from mlip_autopipec.report.durations import PhaseTime
from mlip_autopipec.report.gamma import (
    gamma_cycles,
    gamma_height_inch,
    gamma_histogram,
    gamma_panels,
)
from mlip_autopipec.report.markup import element, escape, table
from mlip_autopipec.report.overview import Overview
from mlip_autopipec.report.parity import Parity, read_parity
from mlip_autopipec.report.projections import (
    Attempts,
    GammaHistogram,
    LabelOrigin,
    LadderRung,
    LineFit,
    Potentials,
    WalkerTrace,
    on_last_test_set,
)
from mlip_autopipec.telling.words import beside, count, duration, figures3, one_line

_HEADLINES = {
    Verdict.CONVERGED: "Converged",
    Verdict.BUDGET_EXHAUSTED: "Budget exhausted",
    Verdict.STALLED: "Stalled",
    Verdict.INACCURATE: "Inaccurate",
    Verdict.FAILED: "Failed",
}
#: Above this part of MD's time, looking at γ is worth a word.
_GAMMA_SHARE_MAX = 0.1


def headline(
    about: Overview,
    fits: Sequence[LineFit],
    cycles: Sequence[CycleSummary],
    times: Sequence[PhaseTime],
) -> str:
    """The verdict, its reason, and the numbers to remember."""
    if about.verdict is None:
        state = "Paused" if about.paused else "Under way"
        where = (
            f"Cycle {about.cycle}, {about.phase}."
            if about.phase
            else "No phase has been started yet."
        )
        title, reason, kind = state, where, "open"
    else:
        title, reason, kind = _HEADLINES[about.verdict], about.verdict_reason, about.verdict.value
    cards = "".join(
        f"<div>{element('dt', name)}<dd>{escape(value)} {element('small', unit)}</dd></div>"
        for name, value, unit in _numbers(about, fits, cycles, times)
    )
    return f"""{element("p", f"Campaign {about.campaign}", class_="quiet")}
{element("h1", title, class_=kind)}
{element("p", reason, class_="reason")}
<dl class="numbers">{cards}</dl>"""


def _numbers(
    about: Overview,
    fits: Sequence[LineFit],
    cycles: Sequence[CycleSummary],
    times: Sequence[PhaseTime],
) -> Iterable[tuple[str, str, str]]:
    test = about.potential.test if about.potential else None
    yield "Test force error", _force(test) if test else "–", "meV/Å"
    yield "Test energy error", _energy(test) if test else "–", "meV/atom"
    yield (
        "Labels",
        str(fits[-1].labels_train if fits else 0),
        f"and {fits[-1].labels_test if fits else 0} to test on",
    )
    yield "Cycles closed", str(len(cycles)), ""
    if cycles and cycles[-1].walkers:
        yield (
            "Halts in the last cycle",
            str(cycles[-1].halts),
            f"of {count(cycles[-1].walkers, 'walker')}",
        )
    yield "Wall time", duration(about.wall_s), ""
    yield "CPU time of tasks", duration(sum(time.task_cpu_s for time in times)), ""


def learning(fits: Sequence[LineFit]) -> str:
    """Errors against labels."""
    if not fits:
        return quiet("No potential has been fitted yet.")
    (first, before), (last, after) = on_last_test_set(fits)[0], on_last_test_set(fits)[-1]
    alt = (
        f"Errors against training labels. Test force error {_force(before)} meV/Å at"
        f" {first.labels_train} labels, {_force(after)} meV/Å at {last.labels_train} labels; test"
        f" energy error {_energy(before)} and {_energy(after)} meV/atom."
    )
    return figure(
        fg.learning_curves(fits),
        "learning",
        alt,
        "Root-mean-square errors on logarithmic axes. The test set is never trained on and grows"
        " by audits of random frames, so every promoted potential is measured again on the test"
        " set of the last fit (circles); the dashed line is each fit on its own, growing training"
        " set. A hollow circle is a fit that was not promoted.",
    )


def gamma(
    traces: Sequence[WalkerTrace],
    rungs: Sequence[LadderRung],
    histograms: Sequence[GammaHistogram] = (),
    cycles: Sequence[CycleSummary] = (),
) -> str:
    """γ over every walker's steps, how often it was met, and how far each ladder was climbed."""
    if not traces:
        return quiet("No walker has ended yet.")
    halts = [trace for trace in traces if trace.halted_at is not None]
    alt = (
        f"γ over MD steps of {count(len(traces), 'walker')}; {len(halts)} halted. The numbers are"
        " in the table below."
    )
    left_out = len({trace.cycle for trace in traces}) - len(gamma_cycles(traces))
    caption = (
        (
            "Largest extrapolation grade of any atom. Frames above γ select are collected for"
            " labelling; at γ halt the walker is stopped and its last frame is labelled."
        )
        + (f" {count(left_out, 'cycle')} in between are left out." if left_out else "")
        + _continued(traces)
        + _price(traces)
    )
    rows = [
        (
            str(trace.cycle),
            trace.label,
            trace.ending.value,
            f"{trace.steps} of {trace.steps_planned}",
            figures3(trace.gamma_max),
            _began(trace),
        )
        for trace in traces[-ROWS_MAX:]
    ]
    head = ("cycle", "walker", "ending", "steps", "largest γ", "began")
    drawing = figure(
        gamma_panels(traces), "gamma", alt, caption, height_inch=gamma_height_inch(traces)
    )
    return (
        drawing
        + _conditions(traces)
        + _histogram(histograms)
        + _levels(cycles)
        + _ladders(rungs)
        + details("Every walker", table(head, rows, text_columns=(1, 2, 5)), len(traces))
    )


def _conditions(traces: Sequence[WalkerTrace]) -> str:
    """How each condition's walkers ended over all cycles, and where the last of them halted."""
    ended: dict[str, Counter[str]] = {}
    halted: dict[str, WalkerTrace] = {}
    for trace in traces:
        ended.setdefault(trace.label, Counter())[trace.ending.value] += 1
        if trace.halted_at is not None:
            halted[trace.label] = trace
    rows = [
        (
            label,
            str(counts.total()),
            *(str(counts[ending.value]) for ending in Ending),
            f"cycle {halted[label].cycle}, step {halted[label].steps}" if label in halted else "–",
        )
        for label, counts in list(ended.items())[-ROWS_MAX:]
    ]
    head = ("condition", "walkers", *(ending.value for ending in Ending), "last halt")
    return table(head, rows) + rest(len(ended))


def _histogram(found: Sequence[GammaHistogram]) -> str:
    if not found:
        return ""
    above = {}
    for cycle in dict.fromkeys((found[0].cycle, found[-1].cycle)):
        histogram = next(each for each in found if each.cycle == cycle)
        looks = sum(histogram.looks.values())
        least, most = (f"{over / looks:.1%}" for over in histogram.selected)
        share = least if least == most else f"between {least} and {most}"
        above[cycle] = f"{share} of {count(looks, 'look')} in cycle {cycle}"
    text = f"γ at or above γ select in {' and '.join(above.values())}."
    caption = (
        f"Every look that walkers had at γ, by its height; {text} Bins are an eighth of a decade"
        " wide."
    )
    return figure(
        gamma_histogram(found), "histogram", f"Histogram of γ. {text}", caption, height_inch=2.6
    )


def _levels(cycles: Sequence[CycleSummary]) -> str:
    """Cycle by cycle; nothing where the levels are the site file's throughout."""
    aimed = [
        (cycle.cycle, cycle.levels)
        for cycle in cycles
        if cycle.levels is not None and cycle.levels.force_error_target_mev_per_angstrom is not None
    ]
    if not aimed:
        return ""
    rows = [
        (
            str(cycle),
            *map(
                figures3,
                (levels.select, levels.halt, levels.force_error_target_mev_per_angstrom or 0),
            ),
            "–"
            if levels.expected_at is None
            else f"{'' if levels.reached else '> '}{figures3(levels.expected_at)}",
        )
        for cycle, levels in aimed[-ROWS_MAX:]
    ]
    head = ("cycle", "γ select", "γ halt", "target, meV/Å", "expected at γ")
    text = (
        "The levels follow a target in force, within bounds about the site file's. Last:"
        f" {levels_text(aimed[-1][1])}."
    )
    return element("p", text) + details("The levels of every cycle", table(head, rows), len(aimed))


def _began(trace: WalkerTrace) -> str:
    before = trace.continues
    return "anew" if before is None else f"on from step {before.step} in cycle {before.cycle}"


def _continued(traces: Sequence[WalkerTrace]) -> str:
    onward = sum(trace.continues is not None for trace in traces)
    return (
        f" {onward} went on from an earlier halt: new runs, of which only their own steps count."
        if onward
        else ""
    )


def _price(traces: Sequence[WalkerTrace]) -> str:
    """What γ cost, and what to do where that is much."""
    shares = sorted(trace.gamma_share for trace in traces if trace.gamma_share is not None)
    if not shares:
        return ""
    middle = shares[len(shares) // 2]
    advice = " A larger exploration.stride makes it less." if middle > _GAMMA_SHARE_MAX else ""
    return f" Looking at γ took {middle:.0%} of the time of MD (the median walker).{advice}"


def _ladders(rungs: Sequence[LadderRung]) -> str:
    """Stage by stage; nothing where no ladder has more than one."""
    tall = [rung for rung in rungs if rung.stages > 1]
    rows = [
        (
            str(rung.cycle),
            str(rung.group + 1),
            f"{rung.stage + 1} of {rung.stages}",
            *map(str, (rung.walkers, rung.completed, rung.halted, rung.continued)),
            figures3(rung.time_ps),
        )
        for rung in tall[-ROWS_MAX:]
    ]
    head = ("cycle", "ladder", "stage", "walkers", "completed", "halted", "went on", "ps")
    return details("Every stage", table(head, rows), len(tall)) if tall else ""


def origins(labels: Sequence[LabelOrigin]) -> str:
    """Labels by origin and cycle."""
    if not labels:
        return quiet("No structure has been labelled yet.")
    total = sum(origin.count for origin in labels)
    kinds = {origin.kind: 0 for origin in labels}
    for origin in labels:
        kinds[origin.kind] += origin.count
    text = ", ".join(f"{number} {kind}" for kind, number in kinds.items())
    return figure(
        fg.origin_bars(labels),
        "origins",
        f"{count(total, 'label')} by cycle and origin: {text}.",
        f"{count(total, 'label')} in all: {text}. Test structures are held out in every cycle.",
        height_inch=2.8,
    )


def lessons(cycles: Sequence[CycleSummary]) -> str:
    """What the labels of each way of choosing taught; nothing if no potential came before them."""
    rows = [
        [
            str(cycle.cycle),
            lesson.source,
            str(lesson.labels),
            figures3(lesson.before_mev_per_angstrom),
            figures3(lesson.after_mev_per_angstrom),
        ]
        for cycle in cycles
        for lesson in cycle.lessons
    ]
    if not rows:
        return ""
    head = ("cycle", "chosen by", "labels", "meV/Å before", "meV/Å after")
    text = (
        "Force errors at the labels of each cycle before they were learned, by the way in which"
        " they were chosen, and after. Random labels tell what any label would have taught; the"
        " shares of the next batch follow."
    )
    return element("p", text) + details(
        "What labels taught", table(head, rows[-ROWS_MAX:]), len(rows)
    )


def parity(found: Potentials, fits: Sequence[LineFit], root: Path) -> str:
    """Prediction against label, of the first and the current potential."""
    by_cycle = {fit.cycle: fit for fit in fits}
    if not found.shown:
        return quiet("No potential has been promoted yet.")
    columns: list[tuple[str, Parity, LineFit]] = []
    missing = []
    for cycle in found.shown:
        file = found.parity.get(cycle)
        data = read_parity(root / file.path) if file else "its training wrote no parity data"
        if isinstance(data, Parity):
            columns.append((f"cycle {cycle}", data, by_cycle[cycle]))
        else:
            missing.append(quiet(f"The parity data of cycle {cycle} are missing: {data}."))
    if not columns:
        return "".join(missing)
    alt = "Predicted against labelled energies and force components of " + " and ".join(
        f"{title} (test force error {_force(fit.test)} meV/Å)" for title, _, fit in columns
    )
    caption = (
        "The first and the current potential, each on the training and the test set of its own"
        " cycle. Beside each: what the prediction is off by, against the same labels."
    )
    return figure(fg.parity_panels(columns), "parity", alt, caption, height_inch=5.2) + "".join(
        missing
    )


def time(times: Sequence[PhaseTime]) -> str:
    """Wall time by cycle, phase and use."""
    wall_s = sum(time.wall_s for time in times)
    if not wall_s:
        return quiet("No phase has taken any time yet.")
    shares = {
        "tasks were running": sum(time.running_s for time in times),
        "none ran and some waited in the queue": sum(time.queued_s for time in times),
        "neither": sum(time.overhead_s for time in times),
    }
    text = "; ".join(f"{text} {share_s / wall_s:.1%}" for text, share_s in shares.items())
    rows = [
        (
            f"{time.cycle}",
            time.phase.value,
            *map(duration, (time.wall_s, time.running_s, time.queued_s, time.overhead_s)),
            *map(duration, (time.task_wall_s, time.task_cpu_s)),
        )
        for time in times[-ROWS_MAX:]
    ]
    head = (
        "cycle",
        "phase",
        "wall",
        "running",
        "queued",
        "neither",
        "sum of tasks' wall",
        "sum of tasks' CPU",
    )
    caption = (
        f"Of {duration(wall_s)} in phases: {text}. The last is the daemon's own share, with every"
        " pause and every hour in which no daemon was up."
    )
    drawing = figure(fg.time_bars(times), "time", f"Wall time per cycle. {caption}", caption)
    return drawing + details("Every phase", table(head, rows, text_columns=(1,)), len(times))


def cycles(closed: Sequence[CycleSummary]) -> str:
    """One row per closed cycle."""
    if not closed:
        return quiet("No cycle has been closed yet.")
    text = element(
        "p",
        "Errors are those on the test set: of the potential before → of this cycle's fit, both on"
        " the same structures.",
        class_="quiet",
    )
    head = (
        "cycle",
        "walkers",
        "halts",
        "candidates",
        "labels",
        "test labels",
        "failed",
        "force, meV/Å",
        "energy, meV/atom",
        "potential",
    )
    return text + table(head, [_cycle(cycle) for cycle in closed], text_columns=(0, 9))


def _cycle(cycle: CycleSummary) -> tuple[str, ...]:
    fate = "no fit" if cycle.test is None else "promoted" if cycle.promoted else "not promoted"
    return (
        f"{cycle.cycle}{' (bootstrap)' if cycle.bootstrap else ''}",
        *map(str, (cycle.walkers, cycle.halts, cycle.candidates)),
        beside(cycle.labels_train, cycle.adopted_train),
        beside(cycle.labels_test, cycle.adopted_test),
        str(cycle.labels_failed),
        _change(cycle.test_of_current, cycle.test, _force),
        _change(cycle.test_of_current, cycle.test, _energy),
        fate,
    )


def _change(before: Errors | None, after: Errors | None, pick: Callable[[Errors], str]) -> str:
    if after is None:
        return "–"
    return f"{pick(before)} → {pick(after)}" if before else pick(after)


def failures(tries: Attempts) -> str:
    """Attempts by reason, and the tasks that failed at least once."""
    failed = sum(tries.failed.values())
    if not failed:
        return quiet(f"None of {count(tries.begun, 'attempt')} failed.")
    text = ", ".join(
        f"{number} {reason.replace('_', ' ')}" for reason, number in tries.failed.items()
    )
    rows = [
        (
            task.task,
            str(len(task.attempts)),
            ", ".join(dict.fromkeys(failure.reason.replace("_", " ") for failure in task.attempts)),
            task.fate,
            one_line(task.attempts[-1].message, 300),
        )
        for task in tries.tasks[-ROWS_MAX:]
    ]
    head = ("task", "failed attempts", "reason", "what became of it", "last message")
    sentence = element("p", f"{failed} of {count(tries.begun, 'attempt')} failed: {text}.")
    return sentence + table(head, rows, text_columns=(0, 2, 3, 4)) + rest(len(tries.tasks))


def provenance(about: Overview, *, others_may_write: bool = False) -> str:
    """What one needs to know to trust or repeat the campaign."""
    potential = about.potential
    facts = {
        "campaign": about.campaign,
        "began": f"{about.began_at:%Y-%m-%d %H:%M:%S} UTC" if about.began_at else "",
        "last event": f"{about.last_at:%Y-%m-%d %H:%M:%S} UTC" if about.last_at else "",
        "program versions": ", ".join(about.versions),
        "daemon starts": f"{about.daemon_starts} on {', '.join(about.hosts)}"
        if about.hosts
        else "0",
        "site file, sha256": ", ".join(about.config_sha256s),
        "payload, sha256": ", ".join(about.payload_sha256s),
        "label settings, fingerprint": ", ".join(about.label_settings),
        "current potential": potential.folder if potential else "",
        "its fingerprint": potential.fingerprint if potential else "",
    }
    if others_may_write:
        facts["folder of the program"] = (
            "others may write in it, and so exchange what jobs run (site.others_may_write: true)"
        )
    return table(
        ("what", "value"),
        [(name, value or "–") for name, value in facts.items()],
        text_columns=(0, 1),
    )


def standing(about: Overview) -> str:
    """Up to when the journal told."""
    return (
        f"Last event {about.last_at:%Y-%m-%d %H:%M:%S} UTC"
        if about.last_at
        else "The journal is empty."
    )


def _force(errors: Errors) -> str:
    return figures3(errors.force_mev_per_angstrom)


def _energy(errors: Errors) -> str:
    return figures3(errors.energy_mev_per_atom)
