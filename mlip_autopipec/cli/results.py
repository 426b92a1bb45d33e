"""Commands that write what a campaign has found."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from mlip_autopipec.cli.campaign import campaign
from mlip_autopipec.cli.options import Config, Json
from mlip_autopipec.cli.printing import say_document, say_folded
from mlip_autopipec.data_models.terminal import say, say_json


def report(
    config: Config = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Left out: report.html beside the journal."),
    ] = None,
    *,
    missing: Annotated[
        bool,
        typer.Option(
            "--missing", help="Write none: list, as JSON, which files of the site it would lack."
        ),
    ] = False,
    figures: Annotated[
        Path | None,
        typer.Option(
            "--figures", metavar="FOLDER", help="Instead: its figures as SVG, their numbers as CSV."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a report of the campaign so far."""
    from mlip_autopipec.contract.values import plain
    from mlip_autopipec.report import leftovers
    from mlip_autopipec.report.page import leftovers_shown, render_report

    named = campaign(config)
    loaded = named.load()
    index = leftovers.folder_of_leftovers(loaded.config)
    events = (event for _, event in named.events())
    if missing:
        lacking = leftovers.missing(leftovers_shown(events), index)
        say_json(json.dumps([plain(file) for file in lacking]))
        return
    if figures is not None:
        from mlip_autopipec.answers import FiguresWritten
        from mlip_autopipec.report.exporting import write_figures

        written = tuple(map(str, write_figures(tuple(events), index, figures)))
        if as_json:
            say_document(FiguresWritten(files=written))
        else:
            say("\n".join(written))
        return
    target = output or loaded.config.campaign.folder / "report.html"
    render_report(events, index, target, others_may_write=loaded.config.site.others_may_write)
    if as_json:
        from mlip_autopipec.answers import ReportWritten

        say_document(ReportWritten(path=str(target)))
        return
    say(str(target))


def export(
    folder: Annotated[Path, typer.Argument(help="to make; with --verify, to check")],
    config: Config = None,
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Check an exported folder; no campaign is needed.")
    ] = False,
) -> None:
    """Put labels, potential, report and all a paper needs into its own folder; no daemon is needed.

    The site is asked for its files, each of which must be what the journal says. Nobody's name, no
    machine and no folder of yours is in there. With --verify: whether each file is as it was
    written; exit code 1 if one is not.
    """
    if verify:
        _verify_export(folder)
        return
    from mlip_autopipec.export import texts
    from mlip_autopipec.export.writing import export as write

    exported = asyncio.run(write(campaign(config).load(), folder))
    say(texts.verdict_text(exported.manifest).replace("**", ""))
    say(f"{folder} holds {len(exported.manifest.files)} files; begin with README.md.")
    for doubt in exported.doubts:
        say(f"Look at it before you publish: {doubt}.")


def _verify_export(folder: Path) -> None:
    from mlip_autopipec.export.manifest import verify

    manifest, wrong = verify(folder)
    for message in wrong:
        say(message, error=True)
    if wrong:
        raise typer.Exit(1)
    say(f"{folder} is as it was written: {len(manifest.files)} files of {manifest.campaign}.")


def whatif(
    changes: Annotated[
        list[str] | None,
        typer.Option("--set", help="KEY=VALUE, such as training.ridge=1e-6; may be repeated."),
    ] = None,
    config: Config = None,
    folder: Annotated[
        Path | None,
        typer.Option("--folder", help="Keep the potentials here; it must not be there yet."),
    ] = None,
    *,
    as_json: Json = False,
) -> None:
    """Redo a campaign's fits over its recorded labels with other fit settings; nothing is labelled.

    Errors, gate and verdict stand beside those of the journal. Fits run on this machine, one after
    the other, in a folder of their own; nothing of the campaign changes, and a daemon may run
    meanwhile.
    """
    from mlip_autopipec.whatif import asked_of, kept_in, lines

    loaded = campaign(config).load()
    asked = asked_of(loaded, changes or ())
    with tempfile.TemporaryDirectory(prefix="autopipec-whatif-") as name:
        found = asyncio.run(
            kept_in(asked, Path(name), folder, lambda message: say(message, error=True))
        )
    if as_json:
        say_json(found.model_dump_json(indent=1))
    else:
        for line in lines(found):
            say_folded(line, 4)
    if any(cycle.what_if is None for cycle in found.cycles):
        raise typer.Exit(1)
