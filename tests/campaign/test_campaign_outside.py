"""A whole campaign with codes of a package outside, which pip has installed; no file of this one knows of it."""

import json
import sys
from pathlib import Path
from typing import Any

import ase.io
import pytest
from campaign_stand import Campaign
from outside_stand import CUTOFF, EMT, LOCAL, MORSE, QUICK, SQUEEZE, TURNS, installed, site_file


def judged(campaign: Campaign) -> list[dict[str, Any]]:
    """Every end of a training, as the command line has it."""
    said = campaign.ctl("events", "--json").stdout
    events = [json.loads(line)["event"] for line in said.splitlines()]
    return [event for event in events if event.get("digest", {}).get("phase") == "training"]


pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]


def test_a_campaign_runs_to_its_verdict_with_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is installed beside the daemon alone: jobs have it out of the archive that was shipped."""
    packages = installed(tmp_path)
    jobs_python = tmp_path / "python"
    jobs_python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} "$@"\n')
    jobs_python.chmod(0o755)
    monkeypatch.setenv("PYTHONPATH", str(packages))
    changes = {EMT: MORSE, LOCAL: TURNS, CUTOFF: SQUEEZE, "  root: site\n": f"  root: site\n  python: {jobs_python}\n"}
    changes[CUTOFF] = changes[CUTOFF].replace(CUTOFF, QUICK)
    changes["  gamma_select: "] = "  engine: {kind: counted}\n  gamma_select: "
    path = site_file(tmp_path, changes)
    campaign = Campaign(path, tmp_path / "campaign", tmp_path / "site")
    code = campaign.to_verdict(timeout_s=800)
    assert code in {0, 10, 13}, campaign.output()
    assert campaign.status()["verdict"] is not None
    verified = campaign.ctl("journal", "verify")
    assert verified.returncode == 0, verified.stderr
    labels = [ase.io.read(label) for label in (campaign.root / "cycles").rglob("label.extxyz")]
    assert {label.info["settings"] for label in labels} == {"morse 0.35 2.6"}
    fits = [json.loads(path.read_text()) for path in (campaign.root / "potentials").rglob("metrics.json")]
    assert {fit["fit"] for fit in fits} == {None}, "the report of the linear trainer"
    assert list((campaign.root / "cycles").rglob("quick.yaml"))
    assert list((campaign.root / "cycles").rglob("runs.txt")), "of the engine"
    squeezed = [measure for fit in fits for measure in fit["measures"] if measure["rule"] == "squeeze"]
    assert len(squeezed) == len(fits)
    assert all(isinstance(measure["oracle"], float) for measure in squeezed)
    rules = [rule for event in judged(campaign) for rule in event["digest"]["rules"]]
    assert {rule["allowed"] for rule in rules if rule["rule"] == "energy of squeezing"} == {20.0}
    batches = [int(path.read_text()) for path in (campaign.root / "turns").iterdir()]
    assert max(batches) == 3, "the scheduler's own limit holds"
    (archive,) = (campaign.root / ".ap").glob("payload-*.pyz")
    assert b"toy_codes/morse/run.py" in archive.read_bytes()
