"""Run one of config/campaigns to its verdict with no hand in between, and judge what came of it.

scripts/campaign NAME [--resume] [--folder FOLDER]

What the site file asks for is made first: the one-host Slurm of scripts/lab where the scheduler is
Slurm's, and pacemaker's Python where it is the trainer. Exit code 1 if a target is missed.
"""

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from campaign_check import ANY, TARGETS, check
from campaign_twin import compare, twin_of
from kit.files import CAMPAIGNS, TOP
from kit.shortened import moved
from kit.table import show

from mlip_autopipec.config.loader import load_config
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.errors import AutopipecError
from mlip_autopipec.journal.lock import CampaignLock


def main(arguments: Sequence[str]) -> int:
    """0: every target is met; 1: one is missed; 2: the words or the site file are wrong."""
    args = _parser().parse_args(arguments)
    try:
        return _run(args.name, args.folder, resume=args.resume, only_check=args.check)
    except AutopipecError as error:
        print(error, file=sys.stderr)
        return 2


def _parser() -> argparse.ArgumentParser:
    names = sorted(path.stem for path in CAMPAIGNS.glob("*.yaml"))
    parser = argparse.ArgumentParser(
        prog="scripts/campaign", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("name", choices=names, help="a file of config/campaigns")
    parser.add_argument(
        "--folder", type=Path, help="where journal, report and, on this machine, jobs go"
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the last one, wherever it was stopped"
    )
    parser.add_argument("--check", action="store_true", help="only judge the last one once more")
    return parser


def _run(name: str, folder: Path | None, *, resume: bool, only_check: bool) -> int:
    site_file = CAMPAIGNS / f"{name}.yaml"
    if folder is not None:
        site_file = moved(site_file, folder.resolve())
    config = load_config(site_file).config
    targets = TARGETS.get(name, ANY)
    twin_file = twin_of(site_file, config) if targets.twin else None
    _make_ready(config)
    began, note = time.monotonic(), ""
    if not only_check:
        for file in (site_file, twin_file):
            if file is not None and (code := _to_its_verdict(file, resume=resume)) is not None:
                return code
        note = f", after {(time.monotonic() - began) / 60:.1f} min"
    print("labelling structures that the campaign has never seen …", flush=True)
    rows = check(config, targets)
    if twin_file is not None:
        rows += compare(config, load_config(twin_file).config)
    show(f"{name}{note}", rows, config.campaign.folder / "check.json")
    return int(any(row.met is False for row in rows))


def _to_its_verdict(site_file: Path, *, resume: bool) -> int | None:
    """Run the daemon; its exit code if there is nothing to judge, else None."""
    config = load_config(site_file).config
    if not resume:
        _put_aside(config)
    daemon = [
        str(Path(sys.executable).parent / "autopipecd"),
        "--config",
        str(site_file),
        "--exit-on-verdict",
    ]
    code = subprocess.run(daemon, check=False).returncode
    return (
        code
        if not (config.campaign.folder / "journal").exists() or code in {2, 70, 75, 78}
        else None
    )


def _make_ready(config: WorkflowConfig) -> None:
    """Bring up what the site file takes for granted."""
    pacemaker, python = config.training.trainer == "pacemaker", config.training.pacemaker.python
    if pacemaker and python is not None:
        subprocess.run([TOP / "scripts" / "codes", Path(python).parents[1]], check=True)
    lab = _lab_of(config)
    if lab is not None:
        arguments = ["up", "--codes"] if pacemaker and python is None else ["up"]
        subprocess.run(
            [TOP / "scripts" / "lab", *arguments],
            check=True,
            env={**os.environ, "AUTOPIPEC_LAB": str(lab)},
        )


def _lab_of(config: WorkflowConfig) -> Path | None:
    """The folder of the lab that the site file names: its SSH configuration lies there."""
    transport = config.site.transport
    if (
        config.site.scheduler.kind != "slurm"
        or transport.kind == "local"
        or transport.config_file is None
    ):
        return None
    return transport.config_file.parents[1]


def _put_aside(config: WorkflowConfig) -> None:
    """Rename the folders of an earlier campaign. The lab's files are this machine's too."""
    folder = config.campaign.folder
    if not (folder / "journal").exists():
        return
    now = datetime.now(UTC)
    with CampaignLock(folder, now=now):
        for path in (config.site.root, folder):
            if path.exists():
                path.rename(path.with_name(f"{path.name}.{now:%Y%m%dT%H%M%S}"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
