"""The package under tests/outside, installed as another package would be."""

import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

from kit.files import SMALL, TESTS

PACKAGE = TESTS / "outside"
EMT = "{kind: ase, calculator: ase.calculators.emt.EMT}"
LOCAL = "{kind: local, cores: 2}"
TURNS = "{kind: turns, at_a_time: 2}"
#: Keys of `training:` before and behind.
CUTOFF = "  cutoff_angstrom: 4.5\n"
#: A trainer whose potentials have an evaluator, and files, of their own.
PAIRS = f"  trainer: {{kind: pairs, penalty: 1e-8}}\n{CUTOFF}"
QUICK = f"  trainer: {{kind: quick, penalty: 1e-8}}\n{CUTOFF}"
SQUEEZE = "  gate: {measures: [{kind: squeeze, part: 0.98}]}\n"
#: A Morse potential whose copper has the lattice constant of the site file.
MORSE = "{kind: morse, depth_ev: 0.35, distance_angstrom: 2.6}"


def laid_out(
    folder: Path,
    changes: Mapping[str, str] | None = None,
    name: str = "toy-codes",
    seam: str = "oracles",
) -> Path:
    """What an installer leaves in a folder for Python's path.

    That is the package, and its entry points with changes.
    """
    project = tomllib.loads((PACKAGE / "pyproject.toml").read_text())["project"]
    shutil.copytree(
        PACKAGE / "toy_codes",
        folder / "toy_codes",
        ignore=shutil.ignore_patterns("__pycache__"),
        dirs_exist_ok=True,
    )
    info = folder / f"{name.replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {project['version']}\n"
    )
    points = {group: dict(entries) for group, entries in project["entry-points"].items()}
    points[f"mlip_autopipec.{seam}"] |= changes or {}
    lines = [
        f"[{group}]\n" + "".join(f"{key} = {path}\n" for key, path in of.items())
        for group, of in points.items()
    ]
    (info / "entry_points.txt").write_text("\n".join(lines))
    return folder


def installed(folder: Path) -> Path:
    """By pip, from its own pyproject.toml, without the network; out of a copy of the sources."""
    sources = folder / "sources"
    shutil.copytree(PACKAGE, sources, ignore=shutil.ignore_patterns("__pycache__"))
    options = [
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "--quiet",
        "--disable-pip-version-check",
    ]
    command: list[str | Path] = [sys.executable, "-m", "pip", "install", *options]
    command += ["--target", folder / "installed", sources]
    subprocess.run(command, check=True, timeout=300)
    return folder / "installed"


def site_file(folder: Path, changes: Mapping[str, str]) -> Path:
    """The small campaign with other words in it; each of them must be there."""
    text = SMALL.read_text()
    for before, after in changes.items():
        assert before in text
        text = text.replace(before, after)
    path = folder / "site.yaml"
    path.write_text(text)
    return path


def python(
    path: Path, *arguments: str | Path, stdin: str = ""
) -> "subprocess.CompletedProcess[str]":
    """A Python that finds what is installed in `path`."""
    environment = {**os.environ, "PYTHONPATH": str(path)}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
        timeout=110,
        input=stdin,
    )
