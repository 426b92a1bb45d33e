"""A label by Quantum ESPRESSO: render, run, read; heal in the same job what numerical settings can.

Every call of pw.x leaves `pw.N.in`, `pw.N.out` and `pw.N.err` in the run's folder, and a line in
`tries.json`, from which a later run knows how the one before it ended: after want of time it goes
on from a copy of the saved density and wavefunctions. `pw.in` and `pw.out` are those of the last
run; `pw.x -in pw.in` there does it again.

An isolated atom (`training.reference_energies_ev`) is a label as any other, with the same settings
and the same fingerprint: an energy of another cutoff, smearing or spin would be no zero of these.
Its box is not periodic, which pw.x does not know of, but the k-mesh does: it is Γ alone. Seen with
12 Å and 15 to 20 Ry: Al and Si converge at the first try in 2 s, with spin in 3 to 7 s. Fixed
occupations are no way: pw.x refuses the odd electron of Al and does not converge for the open shell
of Si, so the site file is refused.
"""

import json
import math
import os
import shlex
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ase import Atoms

from mlip_autopipec.contract.results.label import OracleNotes, OracleRun
from mlip_autopipec.contract.values import plain, read
from mlip_autopipec.work.codes.espresso.fingerprint import check_pseudopotentials, settings
from mlip_autopipec.work.codes.espresso.healing import Changes, next_changes
from mlip_autopipec.work.codes.espresso.input import EXIT_FILE, SCRATCH, render_input
from mlip_autopipec.work.codes.espresso.output import (
    BAD_INPUT,
    CONVERGED,
    CRASHED,
    OUT_OF_MEMORY,
    OUT_OF_TIME,
    PwxEnding,
    UnreadableError,
    ending,
    numbers,
    read_text,
    version,
)
from mlip_autopipec.work.codes.espresso.settings import EspressoOracle
from mlip_autopipec.work.job import AnyJob, TaskFailed, as_json, write_atomic
from mlip_autopipec.work.structures import Numbers

#: How a class of failure is told to the control half; the others are `numerical`.
_REASONS = {
    OUT_OF_TIME: "timeout",
    OUT_OF_MEMORY: "out_of_memory",
    BAD_INPUT: "bad_input",
    CRASHED: "crashed",
}
#: pw.x ends by itself so long before the walltime: before the scheduler's own warning, which may
#: come 180 s ahead.
_SPARE_S = 200.0
_SPARE_PART = 0.2  # of a short walltime
#: With less time left no run is begun.
_RUN_MIN_S = 1.0
#: How long pw.x may take to write what it has, once it is asked to end.
_END_S = 60.0
_POLL_S = 0.1


def label(job: AnyJob, oracle: EspressoOracle, atoms: Atoms) -> tuple[Numbers, OracleNotes]:
    """The numbers of a converged run, and its notes.

    Raises TaskFailed with the reason and every try.
    """
    until = _until(job)
    hashes = check_pseudopotentials(oracle, sorted(set(atoms.get_chemical_symbols())))
    job.carry_over(_remains)
    tries = _earlier_tries(job.workdir)
    changes: Changes = {}
    if tries and tries[-1].ending == OUT_OF_TIME and (job.workdir / SCRATCH).is_dir():
        changes = {**tries[-1].changes, "restart_mode": "restart"}
    first = len(tries)
    while True:
        job.progress(0.1, f"pw.x, run {len(tries) + 1}")
        end = _run(job, oracle, atoms, changes, len(tries) + 1, until, tries)
        if end.kind == CONVERGED:
            break
        changes = _next(tries, first, changes, oracle.tries_max)
        _clean(job.workdir)
    output = read_text(job.workdir / "pw.out")
    try:
        found, said = numbers(output, len(atoms)), version(output)
    except UnreadableError as error:
        raise TaskFailed("numerical", f"pw.x converged, but {error}") from error
    for folder in (job.workdir, *job.before):
        _clean(folder)
    return found, OracleNotes(
        settings=settings(oracle, hashes, said, job.workdir), tries=tuple(tries)
    )


def _until(job: AnyJob) -> float | None:
    """When pw.x must have ended, on the monotonic clock; None if nobody bounds it."""
    if job.walltime_s is None:
        return None
    return time.monotonic() + job.walltime_s - min(_SPARE_S, _SPARE_PART * job.walltime_s)


def _earlier_tries(folder: Path) -> list[OracleRun]:
    path = folder / "tries.json"
    tries = json.loads(path.read_bytes())["tries"] if path.exists() else []
    return [read(OracleRun, record) for record in tries]


def _remains(folder: Path) -> list[str]:
    """What a later run needs of one: its tries, and what pw.x saved if it is to be gone on from."""
    tries = _earlier_tries(folder)
    goes_on = bool(tries) and tries[-1].ending == OUT_OF_TIME and (folder / SCRATCH).is_dir()
    return ["tries.json", *([SCRATCH] if goes_on else [])] if tries else []


def _run(
    job: AnyJob,
    oracle: EspressoOracle,
    atoms: Atoms,
    changes: Changes,
    number: int,
    until: float | None,
    tries: list[OracleRun],
) -> PwxEnding:
    """One run of pw.x, noted in `tries`."""
    left = math.inf if until is None else until - time.monotonic()
    if left < _RUN_MIN_S:
        raise TaskFailed("timeout", f"no time is left for run {number}: {_tries_text(tries)}")
    text = render_input(atoms, oracle, changes, round(min(left, 1e7), 1))
    names = {kind: job.workdir / f"pw.{number}.{kind}" for kind in ("in", "out", "err")}
    names["in"].write_text(text, encoding="utf-8")
    for kind in ("in", "out"):
        _link(job.workdir / f"pw.{kind}", names[kind])
    started = time.monotonic()
    status = _started(job, oracle, names)
    end = ending(read_text(names["out"]), read_text(names["err"]), status)
    wall_s = round(time.monotonic() - started, 3)
    tries.append(
        OracleRun(changes=dict(changes), ending=end.kind, message=end.message, wall_s=wall_s)
    )
    write_atomic(job.workdir / "tries.json", as_json({"tries": plain(tries)}))
    return end


def _link(name: Path, target: Path) -> None:
    """The plain name of the newest run's file."""
    name.unlink(missing_ok=True)
    name.symlink_to(target.name)


def _started(job: AnyJob, oracle: EspressoOracle, names: Mapping[str, Path]) -> int:
    """The exit status of pw.x, which is asked to end when the job is."""
    exit_file = job.workdir / EXIT_FILE
    exit_file.unlink(missing_ok=True)
    command = _command(job, oracle, names["in"].name)
    with names["out"].open("wb") as out, names["err"].open("wb") as err:
        try:
            process = subprocess.Popen(
                command,
                cwd=job.workdir,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=_environment(oracle),
            )
        except OSError as error:
            raise TaskFailed(
                "bad_input", f"{command[0]} cannot be run: {error.strerror}"
            ) from error
        asked_at: float | None = None
        while True:
            try:
                return process.wait(timeout=_POLL_S)
            except subprocess.TimeoutExpired:
                if asked_at is None and job.stopping.is_set():
                    exit_file.touch()
                    asked_at = time.monotonic()
                elif asked_at is not None and time.monotonic() - asked_at > _END_S:
                    process.kill()


def _command(job: AnyJob, oracle: EspressoOracle, input_file: str) -> list[str]:
    command = oracle.command.replace("{cores}", str(job.cores)).replace("{ranks}", str(job.ranks))
    return [*job.launcher, *shlex.split(command), "-in", input_file]


def _environment(oracle: EspressoOracle) -> dict[str, str]:
    """One thread per process where the command starts one per core; no last words lost in a buffer.

    An error in a solver ends pw.x by MPI_ABORT at once, and what it had to say of it would never
    reach a file.
    """
    threads = {"OMP_NUM_THREADS": "1"} if "{cores}" in oracle.command else {}
    return {**os.environ, **threads, "GFORTRAN_UNBUFFERED_PRECONNECTED": "y"}


def _next(tries: Sequence[OracleRun], first: int, changes: Changes, tries_max: int) -> Changes:
    """What to change for the next run.

    Raises TaskFailed if nothing is left to try in this attempt.
    """
    now = tries[first:]
    last = now[-1]
    if changes.get("restart_mode") == "restart" and last.ending not in {OUT_OF_TIME, OUT_OF_MEMORY}:
        # the save was no good
        return {name: value for name, value in changes.items() if name != "restart_mode"}
    following = (
        next_changes([change.ending for change in now], changes) if len(now) < tries_max else None
    )
    if following is None:
        raise TaskFailed(
            _REASONS.get(last.ending, "numerical"), f"pw.x gave no label: {_tries_text(tries)}"
        )
    return following


def _tries_text(tries: Sequence[OracleRun]) -> str:
    """Every try in words."""
    return "; ".join(
        (
            f"run {number}"
            f" {' '.join(f'{name}={value}' for name, value in record.changes.items()) or 'as asked'}:"  # noqa: E501 - text for another program
            f" {record.ending} ({record.message})"
        )
        for number, record in enumerate(tries, 1)
    )


def _clean(folder: Path) -> None:
    """Take away what pw.x keeps for itself: it is large, and a new run must not begin from it."""
    shutil.rmtree(folder / SCRATCH, ignore_errors=True)
    for crash in folder.glob("CRASH*"):
        crash.unlink()
