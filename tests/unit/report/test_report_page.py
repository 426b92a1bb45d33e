"""The report of a synthetic campaign."""

import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from kit.campaign import Campaign, whole_campaign, write_parity

from mlip_autopipec.contract.results.explore import Ending
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Verdict
from mlip_autopipec.data_models.digest import ExplorationDigest
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.report.canvas import png, svg
from mlip_autopipec.report.figures import learning_curves
from mlip_autopipec.report.gamma import gamma_cycles, gamma_height_inch, gamma_panels
from mlip_autopipec.report.markup import table
from mlip_autopipec.report.page import leftovers_shown, render_report
from mlip_autopipec.report.projections import gamma_traces, ladder_rungs, learning_curve
from mlip_autopipec.report.sections import gamma
from mlip_autopipec.report.stylesheet import stylesheet
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

SECTIONS = [
    *("learning", "gamma", "candidates", "origins", "labels", "fit", "parity", "needs", "gate"),
    *("time", "cycles", "failures", "people", "provenance"),
]
_VOID = {"meta", "link", "br", "img", "hr"}


class Page(HTMLParser):
    """A page taken apart; every element that is opened has to be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sections: list[str] = []
        self.ids: list[str] = []
        self.targets: list[str] = []
        self.figures: list[str] = []
        self.tags: set[str] = set()
        self.lang = ""
        self.text = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.ids += [values["id"]] if "id" in values else []
        self.targets += re.findall(r"url\(#([^)]+)\)", " ".join(values.values()))
        self.targets += [values["href"][1:]] if values.get("href", "").startswith("#") else []
        if tag == "section":
            self.sections.append(values["id"])
        if tag == "svg":
            assert values["role"] == "img"
            self.figures.append(values["aria-label"])
        if tag == "html":
            self.lang = values["lang"]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(campaign: Campaign, tmp_path: Path) -> tuple[str, Page]:
    """The report as text and taken apart."""
    output = tmp_path / "report.html"
    render_report(iter(campaign.events), tmp_path, output)
    text = output.read_text(encoding="utf-8")
    return text, Page(text)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Page]:
    """The report of a finished campaign with parity data."""
    campaign, folder = whole_campaign(), tmp_path_factory.mktemp("whole")
    write_parity(campaign, folder)
    return rendered(campaign, folder)


def test_the_page_is_whole(whole: tuple[str, Page]) -> None:
    """Every element is closed, and every section is there in order.

    Every figure has a text for those who can't see.
    """
    _, page = whole
    assert (page.open, page.lang, page.sections) == ([], "en", SECTIONS)
    assert len(page.figures) == 6
    assert all(len(alt) > 30 for alt in page.figures)


def test_the_page_needs_nothing_else(whole: tuple[str, Page]) -> None:
    """No address of another site, no script, no style sheet or picture from elsewhere.

    And it is small.
    """
    text, page = whole
    assert not re.findall(r"https?:|//[a-z]", re.sub(r"base64,[^\"]*", "", text))
    assert not {"script", "link", "iframe", "img"} & page.tags
    assert len(text.encode()) < 2_000_000


def test_ids_are_unique_and_every_reference_is_met(whole: tuple[str, Page]) -> None:
    """Figures in one page do not borrow each other's clips and markers."""
    _, page = whole
    assert len(page.ids) == len(set(page.ids))
    assert set(page.targets) <= set(page.ids)


def test_the_numbers_are_on_the_page(whole: tuple[str, Page]) -> None:
    """Verdict, reason, final errors, the failed task and where it all comes from."""
    text, page = whole
    for message in (
        "Converged",
        "all walkers <completed>",
        "final 10.0",
        "bootstrap 88.0",
        "90.0 → 40.0",
        "15 labels in all: 6 generated, 3 audit, 3 collected, 3 halt.",
        "2 of 31 attempts failed: 2 crashed.",
        "done later",
        "Cu fcc 900 K nvt",
        "148 of 2000",
        "γ at or above γ select in 1.9% of 108 looks in cycle 1 and 0.0% of 200 looks in cycle 3.",
        "Of 120 frames that walkers kept, 9 were chosen to be labelled.",
        "γ halt 10",
        "γ select 2",
        "potentials/003",
        "c" * 64,
    ):
        assert message in page.text
    assert "<completed>" not in text


def test_light_and_dark(whole: tuple[str, Page]) -> None:
    """The ink of the figures is a colour that the dark style sheet replaces."""
    text, _ = whole
    dark = text[text.index("prefers-color-scheme: dark") : text.index("@media print")]
    for kind in ("fill", "stroke"):
        assert f'[style*="{kind}: #1f2328"]' in dark
    drawings = text[text.index("<main>") :]
    assert "fill: #1f2328" in drawings
    assert "stroke: #d9dde3" in drawings
    assert not re.search(r"(fill|stroke): #(000000|ffffff)", drawings)


@pytest.mark.parametrize("events", [0, 2, 3, 8])
def test_a_campaign_that_is_only_begun(tmp_path: Path, events: int) -> None:
    """Every section is there and says that it has nothing yet."""
    campaign = whole_campaign(learning_cycles=1)
    campaign.events = campaign.events[:events]
    _, page = rendered(campaign, tmp_path)
    assert page.sections == SECTIONS
    assert "Under way" in page.text
    assert "No potential has been fitted yet." in page.text
    assert "No walker has ended yet." in page.text


@pytest.mark.parametrize(("index", "figures"), [("labelled", 2), ("fitted", 3), ("explored", 5)])
def test_a_campaign_that_is_under_way(tmp_path: Path, index: str, figures: int) -> None:
    """Each figure comes as soon as there is something to draw.

    Origins and time come first, then learning, then two of γ.
    """
    campaign = Campaign()
    campaign.create()
    campaign.calculation(campaign.generation())
    if index != "labelled":
        campaign.training()
    if index == "explored":
        campaign.close_cycle()
        campaign.exploration(halts=True)
    _, page = rendered(campaign, tmp_path)
    assert (page.sections, len(page.figures)) == (SECTIONS, figures)


def test_each_cell_of_a_table_knows_its_head() -> None:
    """Where a screen is narrow, a row is a block of lines that lead with it."""
    made = table(("cycle", "test <b>"), [("1", "2")])
    assert (
        '<td class="text" data-head="cycle">1</td><td class="number" data-head="test &lt;b&gt;">2</td>'  # noqa: E501 - text for another program
        in made
    )
    style = stylesheet()
    assert "content: attr(data-head)" in style.partition("@media (max-width: 40rem)")[2]


def test_missing_parity_data_are_said_to_be_missing(tmp_path: Path) -> None:
    """A root on another machine is no reason to have no report."""
    _, page = rendered(whole_campaign(learning_cycles=1), tmp_path)
    assert "The parity data of cycle 0 are missing" in page.text
    assert "No such file or directory" in page.text
    assert len(page.figures) == 5


def test_a_report_knows_which_files_it_shows() -> None:
    """The parity data of the first and the last potential.

    It does not show those of fits in between, whose plots nobody sees.
    """
    campaign = whole_campaign()
    shown = leftovers_shown(campaign.events)
    every = [
        event.outcome.artefacts["parity"]
        for event in campaign.events
        if isinstance(event, ev.TaskEnded) and event.outcome.kind == "train"
    ]
    assert len(every) > 2
    assert shown == (every[0], every[-1])


def test_damaged_parity_data_are_said_to_be_damaged(tmp_path: Path) -> None:
    """What can be read is shown, what cannot is named."""
    campaign = whole_campaign(learning_cycles=1)
    write_parity(campaign, tmp_path)
    damaged = min(tmp_path.rglob("parity.json"))
    damaged.write_text('{"train": 1}')
    _, page = rendered(campaign, tmp_path)
    assert "The parity data of cycle 0 are missing" in page.text
    assert "is not as it should be" in page.text
    assert len(page.figures) == 6


def test_a_paused_campaign_says_so(tmp_path: Path) -> None:
    """The headline tells why nothing moves."""
    campaign = Campaign()
    campaign.create()
    campaign.add(ev.Paused(at=campaign.now, by=ev.Actor(uid=0, pid=1)))
    assert "Paused" in rendered(campaign, tmp_path)[1].text


def test_what_others_wrote_is_escaped(tmp_path: Path) -> None:
    """A reason, or the words of a job, are text on the page and never a part of it."""
    campaign = Campaign()
    campaign.create()
    evil = "<script>alert(1)</script>"
    campaign.add(ev.VerdictReached(at=campaign.now, verdict=Verdict.FAILED, reason=evil))
    html, page = rendered(campaign, tmp_path)
    assert evil in page.text
    assert evil not in html


def test_an_older_report_is_replaced_whole(tmp_path: Path) -> None:
    """Whoever reads while it is written sees one or the other, and nothing is left lying about."""
    (tmp_path / "report.html").write_text("old")
    rendered(Campaign(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_reports_are_the_same_each_time(tmp_path: Path) -> None:
    """The same journal gives the same bytes: no clock and no chance is in it."""
    campaign = Campaign()
    campaign.create()
    campaign.bootstrap()
    assert rendered(campaign, tmp_path)[0] == rendered(campaign, tmp_path)[0]


@pytest.mark.slow
def test_a_long_campaign_makes_a_small_page() -> None:
    """Panels and points are bounded; the first and the last cycles are shown."""
    (trace,) = gamma_traces(whole_campaign(learning_cycles=1).events)[:1]
    points = tuple((step, 1.0 + step % 7) for step in range(200))
    traces = [
        trace.__class__(
            **{
                **{name: getattr(trace, name) for name in trace.__slots__},
                "cycle": cycle,
                "points": points,
            }
        )
        for cycle in range(1, 31)
        for _ in range(8)
    ]
    cycles = gamma_cycles(traces)
    assert (len(cycles), cycles[0], cycles[7], cycles[8], cycles[-1]) == (24, 1, 8, 15, 30)
    drawing = svg(gamma_panels(traces), "gamma", "many", height_inch=gamma_height_inch(traces))
    assert len(drawing) < 700_000


def test_every_ending_has_a_mark_of_its_own() -> None:
    """Halted and exploded differ without colour; more conditions than colours are no error."""
    (trace,) = gamma_traces(whole_campaign(learning_cycles=1).events)[:1]
    values = {name: getattr(trace, name) for name in trace.__slots__}
    traces = [
        trace.__class__(
            **{**values, "ending": ending, "label": f"condition {number}", "points": points}
        )
        for number, ending in enumerate([*Ending, *Ending])
        for points in ((), trace.points)
    ]
    drawing = svg(gamma_panels(traces), "gamma", "all endings")
    assert all(f">{ending}<" in drawing for ending in ("halted", "exploded"))
    assert ">completed<" not in drawing
    assert ">condition 0<" not in drawing


def test_figures_can_be_had_for_slides() -> None:
    """The same drawing gives pixels."""
    fits = learning_curve(whole_campaign(learning_cycles=1).events)
    assert png(learning_curves(fits)).startswith(b"\x89PNG")


@pytest.mark.slow
def test_ladders_and_continuations_are_told(tmp_path: Path) -> None:
    """By stage and walker: what is open, what halted, where it went on, and what γ cost."""
    group = {
        "prototype": {"structure": "fcc", "elements": ["Cu"], "lattice_constant_angstrom": 3.61},
        "temperatures_kelvin": [300, 900],
        "replicas": 2,
        "steps": 1000,
        "stages": [{"steps": 2000}, {"steps": 4000}],
    }
    window = {"acquisition": "gamma_window"}
    config = copper_config(
        exploration={"walkers": [group]}, convergence={"cycles_max": 6}, selection=window
    )
    campaign = Walk(config, phase_runners(config))
    while campaign.step():
        pass
    rungs = ladder_rungs(campaign.events)
    assert [(rung.cycle, rung.stage) for rung in rungs[:2]] == [(1, 0), (2, 0)]
    assert {rung.walkers for rung in rungs} == {4}
    assert max(rung.stage for rung in rungs) > 0
    (first, *_) = (rung for rung in rungs if rung.halted)
    onward = next(rung for rung in rungs if rung.cycle == first.cycle + 1)
    assert onward.continued == sum(
        walker.ending == "halted"
        for event in campaign.events
        if isinstance(event, ev.PhaseEnded) and isinstance(event.digest, ExplorationDigest)
        for walker in event.digest.walkers
        if event.cycle == first.cycle
    )
    lines = [describe(event, campaign.state) for event in campaign.events]
    assert any(line.endswith(" of 3 stages open") for line in lines)
    render_report(campaign.events, tmp_path, tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "on from step 250 in cycle 1" in text
    assert "1 of 3" in text
    assert "went on from an earlier halt: new runs" in text


def test_the_price_of_gamma_is_told_and_advised_on() -> None:
    """The median walker's; above a tenth the stride is named."""
    (trace,) = gamma_traces(whole_campaign(learning_cycles=1).events)[:1]
    shares = {share: gamma([replace(trace, gamma_share=share)], []) for share in (0.04, 0.3)}
    assert "took 4% of the time of MD" in shares[0.04]
    assert "exploration.stride" not in shares[0.04]
    assert "took 30% of the time of MD" in shares[0.3]
    assert "exploration.stride" in shares[0.3]


def test_that_others_may_exchange_the_program_is_told(tmp_path: Path) -> None:
    """Who reads the report must know; nothing is said of a root that is the user's alone."""
    campaign = Campaign()
    for allowed in (True, False):
        render_report(campaign.events, tmp_path, tmp_path / "report.html", others_may_write=allowed)
        assert ("site.others_may_write" in (tmp_path / "report.html").read_text()) == allowed
