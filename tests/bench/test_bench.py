"""scripts/bench runs, and Slurm is asked no more often than was promised. Nothing here is timed."""

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from bench_main import TOP, running_lab
from bench_reaction import fan_out
from bench_rig import lab_settings

_BENCH = TOP / "scripts" / "bench"


def table(*arguments: str, folder: Path) -> list[str]:
    """What is measured, by the rows of the JSON file; the table must have been printed too."""
    done = subprocess.run(
        [_BENCH, *arguments, "--json", folder / "table.json"],
        check=False,
        capture_output=True,
        text=True,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads((folder / "table.json").read_text(encoding="utf-8"))["rows"]
    assert all(row["what"].split(",")[0] in done.stdout for row in rows)
    return [row["what"] for row in rows]


def test_the_journal_is_measured(tmp_path: Path) -> None:
    """Appends, group commit, replay."""
    rows = table("journal", "--events", "3000", "--appends", "20", folder=tmp_path)

    assert [row.split(",")[0].split(" ")[0] for row in rows] == [
        "append",
        "append",
        "group",
        "replay",
        "replay",
    ]


def test_a_daemon_under_load_is_measured(tmp_path: Path) -> None:
    """The real process: it answers while a phase is planned, runs and ends.

    It also answers to a restart, and beside a stuck client.
    """
    rows = table("load", "--live", "40", "--events", "500", "--seconds", "0.5", folder=tmp_path)

    assert sum("status, p99" in row for row in rows) == 7
    assert rows[-1] == "memory at its most"


@pytest.mark.lab
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", ["ssh", "shared"])
def test_slurm_is_asked_once_per_chunk_and_once_per_poll(way: str) -> None:
    """120 tasks in chunks of 50: three sbatch, and one squeue for each look at all of them."""
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        pytest.skip("the lab needs root on Debian")
    with running_lab() as settings, lab_settings(settings):
        _, calls = asyncio.run(fan_out(way, settings, 120, array_max=50, poll_interval_s=1.0))

    assert calls["sbatch"] == 3
    assert calls["polls"] > 0
    assert calls["squeue"] <= calls["polls"] + 1  # as it starts, one look for orphans
    assert not {"sacct", "scontrol", "scancel"} & calls.keys()
