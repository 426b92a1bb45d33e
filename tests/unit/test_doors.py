"""Every field of every document goes through every door.

Terminal, markup, log, HTML and figures show plain words.
"""

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from io import StringIO
from pathlib import Path
from pkgutil import iter_modules
from types import ModuleType
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from rich.console import Console

from mlip_autopipec import cli
from mlip_autopipec.cli import campaign, options
from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.contract.tasks import Input, Resources
from mlip_autopipec.contract.values import given
from mlip_autopipec.control.api import Status
from mlip_autopipec.control.documents import view
from mlip_autopipec.control.logs import render_line
from mlip_autopipec.control.paint import Painter
from mlip_autopipec.control.screen import render_status
from mlip_autopipec.control.task_screen import document_lines, list_lines
from mlip_autopipec.control.tasks import TaskDocument, TaskList, book_of, task_document, task_list
from mlip_autopipec.control.watch_screen import Recent, Seen, frame
from mlip_autopipec.daemon import service
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason
from mlip_autopipec.data_models.finding import Colour, Finding
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.data_models.terminal import harmless_json, say, say_json
from mlip_autopipec.doctor.diagnosis import render
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.report.canvas import svg
from mlip_autopipec.report.page import report_html
from mlip_autopipec.telling.console import final_text, footer
from mlip_autopipec.telling.describe import describe
from mlip_autopipec.telling.log import LogObserver, configure
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

HOSTILE = (
    "[/] [bold]b[/bold] \x1b[2J\x1b]0;t\x07\x9b31m \u202egnp <script>x</script> $\\frac{$ :smile: "
    "\0\x7f\r\na & \U000e0001"
)
#: What must reach nobody's terminal as it is.
COMMANDS = re.compile("[\0-\x08\x0b-\x1a\x1c-\x1f\x7f-\x9f\u202e\U000e0001]|\x1b[^\\[]|\x1b\\[2J")
AT = datetime(2030, 1, 1, tzinfo=UTC)


def soiled(model: BaseModel) -> Iterator[BaseModel]:
    """The model with each of its free texts in turn made hostile, however deep it lies."""
    for name, value in model:
        for soil in soiled_values(value):
            try:
                yield type(model).model_validate({**dict(model), name: soil})
            # no free text: a word of a closed set, an id with a pattern, a path
            except ValidationError:
                continue


def soiled_values(value: object) -> Iterator[object]:
    match value:
        case str():
            yield HOSTILE
        case BaseModel():
            yield from soiled(value)
        case tuple() if value:
            for index in range(min(len(value), 2)):
                yield from (
                    (*value[:index], soil, *value[index + 1 :])
                    for soil in soiled_values(value[index])
                )
        case dict() if value:
            key, inner = next(iter(value.items()))
            yield {**value, HOSTILE: inner}
            yield from ({**value, key: soil} for soil in soiled_values(inner))
        case Input() | Resources():
            for name, inner in given(value).items():
                others: list[dict[str, Any]] = [{name: soil} for soil in soiled_values(inner)]
                yield from (replace(value, **other) for other in others)
        case _:
            return


def a_campaign() -> Walk:
    """With work in the queue, a failure, a pause and a site in trouble."""
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    batch = campaign.submitted(Phase.CALCULATION, cycle=1)
    now = campaign.now
    held = ev.Sighting(
        job_name=batch.job_name, index=1, state=ev.JobState.HELD, detail="JobHeldUser"
    )
    campaign.tell(
        ev.DaemonStarted(
            at=now, version="0", host="login1", pid=1, config_sha256="0", payload_sha256="0"
        ),
        ev.JobsSighted(at=now, sightings=(held,)),
        ev.TaskEnded(at=now, outcome=campaign.outcome(batch.job_name, 0, Reason.CRASHED)),
        ev.OrphansSeen(
            at=now,
            jobs=(
                ev.QueuedJob(job_name="copper-3f9a1c.c000.training.b00", job_id="9", detail="x"),
            ),
        ),
        ev.EffectDeferred(at=now, subject="campaign", message="cut", until=now),
        ev.SiteChanged(at=now, health=ev.SiteHealth.DEGRADED, message="cut"),
        ev.Paused(at=now, by=ev.Actor(uid=1, pid=1, name="ada"), reason="why"),
        ev.AttemptLost(
            at=now, job_name=batch.job_name, index=1, reason=Reason.LOST, message="gone"
        ),
        ev.DaemonStopped(at=now, why="SIGTERM", by=ev.Actor(uid=1, pid=1, name="ada")),
    )
    return campaign


CAMPAIGN = a_campaign()
STATE = CAMPAIGN.state
STATUS = view(STATE, CAMPAIGN.policy, CAMPAIGN.now).status.model_copy(
    update={
        "progress": {name: Progress(done=0.5, message="half") for name in list(STATE.tasks)[2:4]}
    }
)


def shown(document: Any) -> str:
    """As a terminal gets it from rich."""
    stream = StringIO()
    Console(file=stream, force_terminal=True, width=400, markup=False, emoji=False).print(document)
    return stream.getvalue()


@pytest.mark.slow
def test_every_field_of_a_status_is_shown_as_words() -> None:
    """In no terminal a command, and no markup: `[/]` ends nothing."""
    seen = 0
    for status in soiled(STATUS):
        assert isinstance(status, Status)
        screen = shown(render_status(status))
        assert not COMMANDS.search(screen)
        seen += "[/] [bold]b[/bold]" in screen
        assert not COMMANDS.search(harmless_json(status.model_dump_json(indent=1)))
        assert json.loads(harmless_json(status.model_dump_json())) == json.loads(
            status.model_dump_json()
        )
    assert seen > 10


def test_every_field_of_an_event_is_told_as_words(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By describe, the log and its reader, and as JSON."""
    logger = LogObserver(configure(tmp_path / "log", "debug"))
    kinds = {type(event): event for event in CAMPAIGN.events}
    for event in kinds.values():
        for soil in soiled(event):
            assert isinstance(soil, ev.Event)
            logger(soil, STATE)
            say(describe(soil, STATE))
            say_json(soil.model_dump_json())
    lines = (tmp_path / "log").read_text(encoding="utf-8").splitlines()
    assert len(lines) > 40
    for line in lines:
        say(render_line(line))
        say_json(line)
    assert not COMMANDS.search((tmp_path / "log").read_text(encoding="utf-8"))
    assert not COMMANDS.search(capsys.readouterr().out)


def test_every_field_of_the_state_is_shown_as_words() -> None:
    """In the footer and the closing words of a daemon in the foreground."""
    for state in soiled(STATE):
        assert isinstance(state, WorkflowState)
        assert not COMMANDS.search(
            shown(footer(state, 1.0, {HOSTILE: Progress(done=0, message=HOSTILE)}))
        )


def test_every_field_of_the_state_is_painted_as_words() -> None:
    """On the live screen no letter of others is a command, nor two columns wide."""
    sent: list[str] = []
    for state in soiled(STATE):
        assert isinstance(state, WorkflowState)
        progress = {name: Progress(done=0.5, message=HOSTILE) for name in list(STATE.tasks)[2:4]}
        seen = Seen(state, AT, [Recent(1, AT, HOSTILE)], progress, absence=HOSTILE)
        Painter(sent.append, colour=True).paint(frame(seen, 80, 24), 80, 24)
    painted = re.sub(
        "\x1b\\[[0-9;]*[Hm]", "", "".join(sent).replace("\x1b[?1049h\x1b[?25l\x1b[2J", "")
    )
    assert len(sent) > 10
    assert not COMMANDS.search(painted.replace("\x1b[2J", ""))


def test_every_field_of_a_task_is_shown_as_words(capsys: pytest.CaptureFixture[str]) -> None:
    """In the list and alone, for a terminal and for a program; none begins a line of its own."""
    book = book_of(CAMPAIGN.events)
    listed = task_list(book)
    for document in soiled(task_document(book, next(iter(book.attempts)))):
        assert isinstance(document, TaskDocument)
        for line in document_lines(document, None):
            assert "\n" not in line
            say(line)
        say_json(document.model_dump_json())
    for soil in soiled(listed.model_copy(update={"tasks": listed.tasks[:2]})):
        assert isinstance(soil, TaskList)
        for line in (*list_lines(soil, 60), *list_lines(soil, None)):
            assert "\n" not in line
            say(line)
    assert not COMMANDS.search(capsys.readouterr().out)


def test_the_closing_words_and_findings_are_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Through the same door as every message."""
    say(
        final_text(
            STATE.model_copy(update={"campaign": HOSTILE, "verdict_reason": HOSTILE}),
            Path("r"),
            HOSTILE,
        )
    )
    for line in render((Finding(about=HOSTILE, colour=Colour.RED, seen=HOSTILE, remedy=HOSTILE),)):
        say(line, error=True)
    captured = capsys.readouterr()
    assert not COMMANDS.search(captured.out + captured.err)


@pytest.mark.slow
def test_every_text_of_a_report_is_text(tmp_path: Path) -> None:
    """In the page escaped, in its figures neither mathematics nor broken SVG."""
    events = [
        next((soil for soil in reversed(list(soiled(event)))), event) for event in CAMPAIGN.events
    ]
    page = report_html([*CAMPAIGN.events, *events[1:]], tmp_path)  # type: ignore[list-item]

    assert "&lt;script&gt;x" in page
    assert "<script" not in page
    assert not COMMANDS.search(page)


@pytest.mark.parametrize("message", [HOSTILE, "$x_{$", "a$b$", "\\$", "$\\frac{1}{$", "x" * 5000])
def test_words_in_a_figure_are_no_mathematics(message: str) -> None:
    """Titles, labels, legends and notes; what would not parse, and what would."""

    def draw(figure: Any) -> None:
        axes = figure.subplots()
        axes.plot([1, 2], [1, 2], label=message)
        axes.set(title=message, xlabel=message, ylabel=message)
        axes.text(1, 1, message)
        axes.legend()
        figure.suptitle(message)

    assert not COMMANDS.search(svg(draw, "f", "a figure"))


ROOM = [import_module(f"{cli.__name__}.{each.name}") for each in iter_modules(cli.__path__)]


@pytest.mark.slow
@pytest.mark.parametrize("module", [cli, *ROOM, service])
def test_there_is_no_other_way_to_a_terminal(module: ModuleType) -> None:
    """The client and the daemon print by the door, or by rich without markup."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    calls = [node.func for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    names = {ast.unparse(function) for function in calls}
    assert names.isdisjoint(
        {"print", "typer.echo", "click.echo", "sys.stdout.write", "sys.stderr.write", "Console()"}
    )
    assert names & {"say", "say_json"} or module in (campaign, options)  # which print nothing
