"""The report of a campaign: one HTML file that needs nothing else, neither network nor script.

A section with nothing to show yet says so and stays.
"""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.orchestration.contract import readable
from mlip_autopipec.report import sections
from mlip_autopipec.report.agreement import agreement, oracle
from mlip_autopipec.report.choices import candidates, choices
from mlip_autopipec.report.deeds import deeds, people
from mlip_autopipec.report.durations import phase_times
from mlip_autopipec.report.fitting import fitting, last_fit
from mlip_autopipec.report.judgement import gate, last_judgement, needs
from mlip_autopipec.report.labelling import labelling, labels
from mlip_autopipec.report.markup import element, escape
from mlip_autopipec.report.overview import overview
from mlip_autopipec.report.projections import (
    attempts,
    closed_cycles,
    gamma_histograms,
    gamma_traces,
    label_origins,
    ladder_rungs,
    learning_curve,
    potentials,
)
from mlip_autopipec.report.stylesheet import stylesheet


def render_report(
    events: Iterable[ev.Event], root: Path, output: Path, *, others_may_write: bool = False
) -> None:
    """Write the report of a finished or begun campaign to `output`; an older one is replaced whole.

    What tasks left for it is read under `root` (leftovers.py); what is not there is said to be
    missing. Takes seconds for a long campaign: not for an event loop. Raises OSError if `output`
    cannot be written.
    """
    making = output.with_name(f"{output.name}.making.{os.getpid()}")  # two may be written at a time
    page = report_html(tuple(events), root, others_may_write=others_may_write)
    making.write_text(page, encoding="utf-8")
    making.replace(output)


def leftovers_shown(events: Iterable[ev.Event]) -> tuple[FileRef, ...]:
    """The files that the report of these events reads, in order."""
    every = tuple(events)
    fits, made = potentials(every), choices(every)
    parity = [fits.parity[cycle] for cycle in fits.shown if cycle in fits.parity]
    return (*parity, *(choice.table for choice in made[-1:] if choice.table))


def report_html(events: Sequence[ev.Event], root: Path, *, others_may_write: bool = False) -> str:
    """The whole page; `others_may_write` as the site file says it."""
    events = tuple(map(readable, events))
    about, fits, times = overview(events), learning_curve(events), phase_times(events)
    cycles, tries = closed_cycles(events), attempts(events)
    parts = (
        ("learning", "Learning curves", sections.learning(fits)),
        (
            "gamma",
            "Extrapolation grade",
            sections.gamma(
                gamma_traces(events), ladder_rungs(events), gamma_histograms(events), cycles
            ),
        ),
        ("candidates", "Candidates", candidates(choices(events), root)),
        (
            "origins",
            "Where the labels came from",
            sections.origins(label_origins(events)) + sections.lessons(cycles),
        ),
        ("labels", "Labels", labels(labelling(events), tries) + oracle(agreement(events))),
        ("fit", "The last fit", fitting(last_fit(events))),
        ("parity", "Parity", sections.parity(potentials(events), fits, root)),
        ("needs", "Errors beside needs", needs(cycles)),
        ("gate", "The gate", gate(last_judgement(events))),
        ("time", "Where the time went", sections.time(times)),
        ("cycles", "Cycles", sections.cycles(cycles)),
        ("failures", "Failures", sections.failures(tries)),
        ("people", "What people did", people(deeds(events))),
        ("provenance", "Provenance", sections.provenance(about, others_may_write=others_may_write)),
    )
    title = f"{about.campaign or 'campaign'} – report"
    links = "".join(element("a", name, href=f"#{anchor}") for anchor, name, _ in parts)
    body = "\n".join(
        f'<section id="{anchor}"><h2>{escape(name)}</h2>\n{content}\n</section>'
        for anchor, name, content in parts
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
{element("title", title)}
<style>{stylesheet()}</style>
</head>
<body>
<header>
{sections.headline(about, fits, cycles, times)}
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{body}
</main>
<footer>{escape(sections.standing(about))}</footer>
</body>
</html>
"""
