"""A whole campaign with codes of a package outside, which pip has installed.

No file of this one knows of it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import ase.io
import pytest
from kit.daemons import Campaign
from kit.files import NO_PROPERTIES
from kit.outside import (
    CUTOFF,
    EMT,
    LOCAL,
    MORSE,
    PAIRS,
    QUICK,
    SQUEEZE,
    TURNS,
    installed,
    python,
    site_file,
)


def judged(campaign: Campaign) -> list[dict[str, Any]]:
    """Every end of a training, as the command line has it."""
    said = campaign.ctl("events", "--json").stdout
    events = [json.loads(line)["event"] for line in said.splitlines()]
    return [event for event in events if event.get("digest", {}).get("phase") == "training"]


def beside_the_daemon_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Install the package for the daemon.

    The result is what a site file says so that jobs find it in the archive alone.
    """
    monkeypatch.setenv("PYTHONPATH", str(installed(folder)))
    jobs_python = folder / "python"
    jobs_python.write_text(f'#!/bin/sh\nunset PYTHONPATH\nexec {sys.executable} "$@"\n')
    jobs_python.chmod(0o755)
    return {"  root: site\n": f"  root: site\n  python: {jobs_python}\n"}


pytestmark = [pytest.mark.codes, pytest.mark.campaign, pytest.mark.timeout(900)]


def test_a_campaign_runs_to_its_verdict_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package is installed beside the daemon alone.

    Jobs have it out of the archive that was shipped.
    """
    changes = {
        EMT: MORSE,
        LOCAL: TURNS,
        NO_PROPERTIES: SQUEEZE,
        CUTOFF: QUICK,
        "cycles_max: 6": "cycles_max: 1",
        **beside_the_daemon_alone(tmp_path, monkeypatch),
    }
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
    fits = [
        json.loads(path.read_text())
        for path in (campaign.root / "potentials").rglob("metrics.json")
    ]
    assert {fit["fit"] for fit in fits} == {None}, "the report of the linear trainer"
    assert list((campaign.root / "cycles").rglob("quick.yaml"))
    assert list((campaign.root / "cycles").rglob("runs.txt")), "of the engine"
    squeezed = [
        measure for fit in fits for measure in fit["measures"] if measure["rule"] == "squeeze"
    ]
    assert len(squeezed) == len(fits)
    assert all(isinstance(measure["oracle"], float) for measure in squeezed)
    rules = [rule for event in judged(campaign) for rule in event["digest"]["rules"]]
    assert {rule["allowed"] for rule in rules if rule["rule"] == "energy of squeezing"} == {20.0}
    batches = [int(path.read_text()) for path in (campaign.root / "turns").iterdir()]
    assert max(batches) == 3, "the scheduler's own limit holds"
    (archive,) = (campaign.root / ".ap").glob("payload-*.pyz")
    assert b"toy_codes/morse/run.py" in archive.read_bytes()


def test_a_campaign_learns_a_potential_of_another_format(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its evaluator, its files and its γ are the package's.

    Walks, choice, gate, report and export are as ever.
    """
    changes = {EMT: MORSE, CUTOFF: PAIRS, "cycles_max: 6": "cycles_max: 1"}
    changes |= beside_the_daemon_alone(tmp_path, monkeypatch)
    campaign = Campaign(site_file(tmp_path, changes), tmp_path / "campaign", tmp_path / "site")
    code = campaign.to_verdict(timeout_s=800)
    assert code in {0, 10, 13}, campaign.output()
    assert campaign.status()["verdict"] is not None
    potential = judged(campaign)[-1]["digest"]["potential"]
    assert (potential["evaluator"], list(potential["files"])) == ("pairs", ["json", "known"])
    assert {path.name for path in (campaign.root / "potentials" / "000").iterdir()} == {
        "potential.json",
        "known.json",
        "metrics.json",
        "parity.json",
    }
    walks = [
        json.loads(path.read_text())["metrics"]
        for path in (campaign.root / "cycles").rglob("outcome.json")
    ]
    probes = [metrics["probe"] for metrics in walks if metrics and metrics["kind"] == "explore"]
    assert probes
    assert all(probe["gamma_max"] > 1 and probe["forces_difference"] < 1e-6 for probe in probes)
    verified = campaign.ctl("journal", "verify")
    assert verified.returncode == 0, verified.stderr
    exported = campaign.ctl("export", str(tmp_path / "exported"))
    assert exported.returncode == 0, exported.stderr
    monkeypatch.chdir(tmp_path / "exported")
    example = python(tmp_path / "installed", "example.py")
    assert example.returncode == 0, example.stderr
    assert not (tmp_path / "exported" / "lammps" / "potential.lammps").exists(), (
        "LAMMPS has no pair style for it"
    )
    assert "lmp -in" not in (tmp_path / "exported" / "lammps" / "in.lammps").read_text()
    readme = (tmp_path / "exported" / "README.md").read_text()
    assert "a pair potential for Cu" in readme
    assert "energies lack the reference energies" in readme
