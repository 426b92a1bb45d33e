"""From an outcome to the next sbatch, part by part; the chain W1 and the fan-out W2, beside floors.

W1: dependent phases, each one job of a length that is no whole number of seconds, as slurmctld
starts jobs on a tick. W2: independent jobs of no work in one phase. The floors are loops over
Slurm's own commands with nothing between.
"""

import asyncio
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench_rig import BenchSite, Moments, bench_site, lab_settings, run_phases
from kit.table import Row, median

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.ids import attempt_file

_HERE = Path(__file__).parent
#: From written to known: where the time of one reaction goes.
PARTS = ("seen", "journalled", "decided", "accepted")
TARGETS_S = {"ssh": 0.5, "shared": 0.15}
FAN_OUT_FACTOR = 1.2
_FLOOR_LOOK_S = 0.005
#: Slurm starts jobs on ticks of a second: short fan-outs are measured so often.
_ROUNDS, _LONG_FAN_OUT = 5, 1000
_SQUEUE_EVERY_S = 0.5


@dataclass(frozen=True)
class Link:
    """One reaction: seconds from the outcome's rename to each part's end."""

    seen: float
    journalled: float
    decided: float
    accepted: float


def links(site: BenchSite, moments: Moments) -> list[Link]:
    """Every place in a chain where the end of a phase is followed by the submission of the next."""
    placed = site.outbox()
    found, ended = [], None
    for at, event in moments.recorded:
        if isinstance(event, ev.TaskEnded):
            ended = at, attempt_file(event.outcome.job_name, event.outcome.index)
        elif isinstance(event, ev.SubmissionBegun) and ended is not None:
            accepted = site.accepted_at(event.job_name)
            journalled, name = ended
            times = (moments.seen[name], journalled, at, accepted)
            found.append(Link(*(moment - placed[name] for moment in times)))
    return found


async def chain(
    way: str, settings: Mapping[str, str], phases: int, sleep_s: float
) -> tuple[list[Link], float]:
    """W1: the reactions, and seconds per phase from the first sbatch to the last phase's end."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench_site(
            way, settings, Path(folder) / "journal", f"chain-{time.time_ns()}"
        ) as site:
            site.sleep(sleep_s)
            moments = await run_phases(site, {}, phases=phases + 1)
            first = moments.of(ev.SubmissionBegun)[0]
            per_phase_s = (moments.of(ev.TaskEnded)[phases - 1] - first) / phases
            found = links(site, moments)
            shutil.rmtree(site.root)
    return found, per_phase_s


async def fan_out(
    way: str,
    settings: Mapping[str, str],
    number: int,
    *,
    array_max: int = 1000,
    poll_interval_s: float = 15.0,
) -> tuple[float, dict[str, int]]:
    """W2: seconds from a phase's plan to its end, and how often each Slurm command was called."""
    with tempfile.TemporaryDirectory() as folder:
        async with bench_site(
            way, settings, Path(folder) / "journal", f"fan-{time.time_ns()}"
        ) as site:
            paced = replace(site, array_max=array_max, poll_interval_s=poll_interval_s)
            moments = await run_phases(paced, {Phase.GENERATION: number}, phases=1)
            took_s = moments.of(ev.PhaseEnded)[0] - moments.of(ev.PhaseStarted)[0]
            calls = {**site.counters.take(), "polls": moments.polls}
            shutil.rmtree(site.root)
    return took_s, calls


def floor_chain(phases: int, sleep_s: float) -> tuple[list[float], float]:
    """A marker file, then sbatch: seconds from marker to accepted, and seconds per phase."""
    reactions = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _sbatch(f"sleep {sleep_s}; : >{folder}/0")
        began = time.time()
        for phase in range(phases):
            marker = folder / str(phase)
            while not marker.exists():
                time.sleep(_FLOOR_LOOK_S)
            ended = time.time()
            if phase + 1 < phases:
                _sbatch(f"sleep {sleep_s}; : >{folder}/{phase + 1}")
                reactions.append(time.time() - marker.stat().st_ctime)
    return reactions, (ended - began) / phases


def floor_fan_out(number: int) -> float:
    """Arrays of `true`, watched by squeue every half second: seconds."""
    began = time.monotonic()
    ids = [
        _sbatch("true", f"--array=0-{min(1000, number - first) - 1}")
        for first in range(0, number, 1000)
    ]
    while subprocess.run(
        ["squeue", "-h", "-j", ",".join(ids)],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    ).stdout.strip():
        time.sleep(_SQUEUE_EVERY_S)
    return time.monotonic() - began


def _sbatch(command: str, *options: str) -> str:
    arguments = [
        "sbatch",
        "--parsable",
        "--output=/dev/null",
        "--mem=100M",
        *options,
        "--wrap",
        command,
    ]
    return subprocess.run(
        arguments, check=True, capture_output=True, text=True, timeout=60
    ).stdout.strip()


def peer(python: Path, settings: Mapping[str, str], **arguments: object) -> float:
    """What dpdispatcher takes in its own environment: seconds per phase, or of a whole fan-out."""
    with tempfile.TemporaryDirectory() as folder:
        asked = {**arguments, "folder": folder, "settings": dict(settings)}
        done = subprocess.run(
            [python, _HERE / "dpdispatcher_run.py", json.dumps(asked)],
            check=False,
            capture_output=True,
            text=True,
            timeout=900,
            cwd=folder,
        )
    if done.returncode != 0:
        raise RuntimeError(f"dpdispatcher: {done.stderr[-2000:]}")
    return float(done.stdout.splitlines()[-1])


def measure(
    settings: Mapping[str, str],
    *,
    phases: int,
    sleep_s: float,
    fan_outs: Sequence[int],
    peer_python: Path | None,
    peer_default: bool,
) -> list[Row]:
    """Everything in one run, on one machine, one after another."""
    with lab_settings(settings):
        rows = _chain_rows(settings, phases, sleep_s)
        for number in fan_outs:
            rows += _fan_out_rows(settings, number)
        if peer_python is not None:
            rows += _peer_rows(peer_python, settings, sleep_s, default=peer_default)
    return rows


def _chain_rows(settings: Mapping[str, str], phases: int, sleep_s: float) -> list[Row]:
    floor_links, floor_s = floor_chain(phases, sleep_s)
    rows = [
        Row(
            f"W1 floor: marker file, then sbatch ({phases} jobs of {sleep_s:g} s)",
            floor_s,
            "s per phase",
        ),
        Row("  written → accepted, floor", median(floor_links), "s"),
    ]
    for way, target_s in TARGETS_S.items():
        found, per_phase_s = asyncio.run(chain(way, settings, phases, sleep_s))
        ratio = per_phase_s / floor_s
        rows.append(Row(f"W1 {way}", per_phase_s, "s per phase", note=f"{ratio:.2f} × the floor"))
        details: dict[str, object] = {
            part: [getattr(link, part) for link in found] for part in PARTS
        }
        parts = " → ".join(
            f"{part} {median(getattr(link, part) for link in found):.3f}" for part in PARTS
        )
        reaction_s = median(link.accepted for link in found)
        rows.append(
            Row(
                f"  written → accepted, {way}, median of {len(found)}",
                reaction_s,
                "s",
                target_s,
                parts,
                details,
            )
        )
    return rows


def _fan_out_rows(settings: Mapping[str, str], number: int) -> list[Row]:
    """Medians over rounds in which floor and ways take turns; one round if each takes a minute."""
    floors_s: list[float] = []
    found: dict[str, list[tuple[float, dict[str, int]]]] = {way: [] for way in TARGETS_S}
    rounds = _ROUNDS if number < _LONG_FAN_OUT else 1
    for _ in range(rounds):
        floors_s.append(floor_fan_out(number))
        for way, measured in found.items():
            measured.append(asyncio.run(fan_out(way, settings, number)))
    floor_s = median(floors_s)
    title = f"W2 floor: {number} jobs in arrays, squeue every {_SQUEUE_EVERY_S:g} s"
    rows = [Row(title, floor_s, "s", note=f"median of {rounds}")]
    for way, measured in found.items():
        took_s, calls = median(took_s for took_s, _ in measured), measured[-1][1]
        chunks, polls = -(-number // 1000), max(calls["polls"], 1)
        per_poll = sum(calls.get(name, 0) for name in ("squeue", "sacct", "scontrol")) / polls
        rows += [
            Row(
                f"W2 {way}: {number} tasks",
                took_s,
                "s",
                round(FAN_OUT_FACTOR * floor_s, 2),
                f"{took_s / floor_s:.2f} × the floor",
            ),
            Row(
                f"  sbatch calls, {way}",
                calls.get("sbatch", 0),
                "",
                chunks,
                f"{chunks} array chunks",
            ),
            Row(
                f"  scheduler RPCs per poll, {way}", per_poll, "", 2, f"{polls} polls", dict(calls)
            ),
        ]
    return rows


def _peer_rows(
    python: Path, settings: Mapping[str, str], sleep_s: float, *, default: bool
) -> list[Row]:
    rows = []
    for way in ("local", "ssh"):
        for interval_s in (1, 30) if default else (1,):
            phases = 4 if interval_s == 1 else 2
            took_s = peer(
                python, settings, way=way, interval_s=interval_s, phases=phases, sleep_s=sleep_s
            )
            rows.append(
                Row(f"W1 dpdispatcher, {way}, check_interval={interval_s}", took_s, "s per phase")
            )
    for way in ("local", "ssh"):
        took_s = peer(python, settings, way=way, interval_s=1, number=200, array=True)
        rows.append(Row(f"W2 dpdispatcher, {way}, 200 jobs, arrays, check_interval=1", took_s, "s"))
        if default:
            took_s = peer(python, settings, way=way, interval_s=30, number=200, array=False)
            rows.append(Row(f"W2 dpdispatcher, {way}, 200 jobs, default", took_s, "s"))
    return rows
