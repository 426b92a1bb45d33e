"""One attempt at one task, from claim to outcome.

The claim is the last guard of exactly-once: `mkdir claim` succeeds once in the life of an attempt,
so a duplicate job that lands late does nothing. Only the scheduler's own requeue of the very same
job may take a claim again, and only until the attempt is over: it has left its outcome, or the
daemon has counted it as lost (`over` in the claim).

A life that was given up may go on, with every process that it has started: a node that was called
lost, a code whose Python was killed. No claim can stop its writes. So each life has a folder of its
own, `run-N`, made by mkdir, and an outcome names no file of any other; a later life copies what it
goes on from. What campaigns share, `outbox`, `dataset` and `potentials`, holds names that are made
once and never replaced.
"""

import contextlib
import errno
import importlib
import json
import os
import resource
import shlex
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

from mlip_autopipec.contract.files import read_value
from mlip_autopipec.contract.results import AnyMetrics
from mlip_autopipec.contract.tasks import (
    AnyParameters,
    AskedTask,
    Input,
    Resources,
    parameters_from,
)
from mlip_autopipec.contract.values import excerpt, plain, read
from mlip_autopipec.work.job import (
    EXIT_CODES,
    MESSAGE_MAX,
    Identity,
    Job,
    Result,
    TaskFailed,
    as_json,
    identity,
    sha256_of,
    write_atomic,
    write_once,
)

#: kind of parameters → module with `run(job) -> Result`
KINDS = {
    "generate": "generate",
    "explore": "explore",
    "select": "select",
    "calculate": "label",
    "train": "train",
}
#: How the folders of runs are named, before their number.
_RUN = "run-"
_RUN_DIGITS_MAX = 9  # what has more is none of ours
#: Of `started.json` in a claim.
_CLAIM_BYTES_MAX = 2**16
#: What a file system says that is full, over quota, read-only, stale, failing or gone.
_STORAGE = frozenset(
    {
        errno.ENOSPC,
        errno.EDQUOT,
        errno.EROFS,
        errno.ESTALE,
        errno.EIO,
        errno.ENOTCONN,
        errno.ESHUTDOWN,
        errno.EREMOTEIO,
    }
)
#: What it says to whose ticket or token has expired, or who may not.
_ACCESS = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOKEY,
        errno.EKEYEXPIRED,
        errno.EKEYREVOKED,
        errno.EKEYREJECTED,
    }
)
#: What ends a job ends its codes first, maybe: so long a crash is not called one yet.
_SAME_END_S = 3.0
#: Ways in which a Python program runs out of memory without being killed.
_OUT_OF_MEMORY = (MemoryError,)


@excerpt
class _Life:
    """A job, and how often the scheduler had sent it back to its queue."""

    job_id: str
    restart: int


def run_task(root: Path, workdir: str, job_name: str, index: int, job_id: str) -> int:
    """Run an attempt and place its outcome. 0 if one is in place or the attempt is somebody else's.

    1, and no outcome, when it failed after it was asked to stop: why, the scheduler knows better
    (walltime, a person, preemption). Only what has stopped in good order for SIGUSR1, which comes
    ahead of the walltime and of nothing else, says itself that its time was over, so that the next
    attempt need not wait for the scheduler's word. 74 or 77, and no outcome, where the root's file
    system took none: the scheduler shows that, and the last words do.
    """
    try:
        return _run_task(root, workdir, job_name, index, job_id)
    except OSError as error:
        reason = reason_of(error, root)
        if reason not in EXIT_CODES:
            raise
        sys.stderr.write(f"the outcome could not be written: {error}\n")
        return EXIT_CODES[reason]


def reason_of(error: OSError, root: Path) -> str:
    """Whose fault a failed system call is.

    It is the root's file system's, that of who may use it, or that of the node's disks.
    """
    named = [
        Path(os.fsdecode(name))
        for name in (error.filename, error.filename2)
        if isinstance(name, str | bytes)
    ]
    elsewhere = bool(named) and not any(
        not name.is_absolute() or name.is_relative_to(root) for name in named
    )
    if error.errno in _STORAGE:
        return "node_unfit" if elsewhere else "storage"
    if error.errno in _ACCESS and not elsewhere:
        return "access"
    return "crashed"


def _run_task(root: Path, workdir: str, job_name: str, index: int, job_id: str) -> int:
    folder, outbox = root / workdir, root / "outbox"
    placed = outbox / f"{job_name}.{index}.json"
    if placed.exists() or not claim(folder, job_name, job_id):
        return 0
    started_at, started = datetime.now(UTC), time.monotonic()
    stopping, terminated = _stop_on_signals()
    # something else has the name: for people only
    with contextlib.suppress(IsADirectoryError, PermissionError):
        (folder / "progress.json").unlink(missing_ok=True)  # of an attempt before
    document = read(AskedTask, json.loads((folder / "task.json").read_bytes()))
    mark = folder / f"claim.{job_name}"
    run, before = make_run_folder(folder)
    with (run / "log.txt").open("a", buffering=1, encoding="utf-8") as log:
        verdict = _guarded(
            lambda: _run(_job(root, folder, run, before, mark, document, stopping)), log, root
        )
    if verdict.get("reason") == "crashed":
        stopping.wait(_SAME_END_S)
    in_time = verdict.get("reason") == "timeout" and not terminated.is_set()
    if verdict["status"] == "failed" and stopping.is_set() and not in_time:
        return 1
    outcome = {
        "version": 1,
        "campaign": document.campaign,
        "task": document.id,
        "uid": job_name,
        "index": index,
        "job_id": job_id,
        "host": socket.gethostname(),
        "kind": document.parameters["kind"],
        **verdict,
        "started_at": started_at.isoformat(),
        "ended_at": datetime.now(UTC).isoformat(),
        "wall_s": round(time.monotonic() - started, 3),
        "cpu_s": round(_cpu_s(), 3),
    }
    if not _has_claim(mark):
        return 0
    content = as_json(outcome)
    write_atomic(run / "outcome.json", content)
    outbox.mkdir(parents=True, exist_ok=True)
    write_once(placed, content)
    return 0


def make_run_folder(folder: Path) -> tuple[Path, tuple[Path, ...]]:
    """A folder for this life only, `run-N` in the task's, and those of earlier lives, newest first.

    The last of them is the task's own folder: before there were folders of runs, codes wrote there.
    """
    found = {
        int(path.name.removeprefix(_RUN)): path
        for path in folder.glob(f"{_RUN}[1-9]*")
        if _is_run(path)
    }
    number = max(found, default=0) + 1
    while True:
        try:
            (folder / f"{_RUN}{number}").mkdir()
        except FileExistsError:  # of a life that begins at this moment too
            number += 1
            continue
        return folder / f"{_RUN}{number}", (
            *(found[earlier] for earlier in sorted(found, reverse=True)),
            folder,
        )


def _is_run(path: Path) -> bool:
    number = path.name.removeprefix(_RUN)
    return (
        number.isascii() and number.isdecimal() and len(number) <= _RUN_DIGITS_MAX and path.is_dir()
    )


def claim(folder: Path, job_name: str, job_id: str) -> bool:
    """Take the attempt for this job; False if another job has it.

    A requeue of the same job may take it again.
    """
    mark = folder / f"claim.{job_name}"
    mine = _Life(job_id=job_id, restart=_restart_count())
    try:
        mark.mkdir()
    except FileExistsError:
        if (mark / "over").exists() or not _is_restart(mine, mark):
            return False
    content = as_json({**plain(mine), **plain(identity(os.getpid()))})
    write_atomic(mark / "started.json", content)
    return True


def _is_restart(mine: _Life, mark: Path) -> bool:
    """Whether the scheduler restarted this job. If no claimer is named, a job was killed at once.

    A copy of the batch under another id is stopped before (see the gate in the job script): only
    lives of one job meet.
    """
    try:
        before = read_value(_Life, mark / "started.json", size_max=_CLAIM_BYTES_MAX)
    except ValueError:  # nobody can tell who claimed
        return False
    if before is None:  # the claimer died between its two steps
        return mine.restart > 0
    return before.job_id == mine.job_id and before.restart < mine.restart


def _has_claim(mark: Path) -> bool:
    """Whether this process is still the one.

    A node that was called lost may live, and its job run again elsewhere.
    """
    try:
        claimer = read_value(Identity, mark / "started.json", size_max=_CLAIM_BYTES_MAX)
    except ValueError:
        return False
    return not (mark / "over").exists() and claimer == identity(os.getpid())


def _restart_count() -> int:
    return int(os.environ.get("SLURM_RESTART_COUNT", "0"))


def _job(
    root: Path,
    folder: Path,
    run: Path,
    before: tuple[Path, ...],
    mark: Path,
    document: AskedTask,
    stopping: threading.Event,
) -> Job[AnyParameters]:
    return Job(
        root=root,
        workdir=run,
        task=document.id,
        parameters=parameters_from(document.parameters),
        inputs=_checked_inputs(root, document.inputs),
        cores=document.resources.cores,
        launcher=_launcher(document.resources),
        ranks=document.resources.ranks,
        walltime_s=document.resources.walltime_s,
        stopping=stopping,
        before=before,
        task_folder=folder,
        has_claim=lambda: _has_claim(mark),
    )


def _run(job: Job[AnyParameters]) -> dict[str, Any]:
    module = importlib.import_module(f"mlip_autopipec.work.steps.{KINDS[job.parameters.kind]}")
    os.chdir(job.workdir)  # codes leave their files where they run
    result: Result[AnyMetrics] = module.run(job)
    artefacts = {name: job.ref(path) for name, path in result.artefacts.items()}
    return {"status": "done", "metrics": result.metrics, "artefacts": artefacts}


def _launcher(resources: Resources) -> tuple[str, ...]:
    command = resources.launcher
    for name in ("ranks", "cores", "nodes"):
        command = command.replace(f"{{{name}}}", str(getattr(resources, name)))
    return tuple(shlex.split(command))


def _checked_inputs(root: Path, inputs: tuple[Input, ...]) -> dict[str, list[Path]]:
    """Inputs by name.

    A file that is not what the campaign says it is would give a label of something else.
    """
    found: dict[str, list[Path]] = {}
    for item in inputs:
        path, expected = root / item.file.path, item.file.sha256
        if not path.is_file():
            raise TaskFailed("bad_input", f"input {item.name}: {path} does not exist")
        if (content := sha256_of(path)) != expected:
            raise TaskFailed(
                "bad_input",
                f"input {item.name}: {path} has sha256 {content}, expected {expected}",
            )
        found.setdefault(item.name, []).append(path)
    return found


def _guarded(work: Callable[[], dict[str, Any]], log: TextIO, root: Path) -> dict[str, Any]:
    """Every way in which work can end, as the part of the outcome that tells it."""
    try:
        return work()
    except TaskFailed as error:
        log.write(f"{error.reason}: {error}\n")
        return {**_failed(error.reason, str(error)), "reached": round(error.reached, 6)}
    except _OUT_OF_MEMORY:
        log.write(traceback.format_exc())
        return _failed("out_of_memory", "Python could not allocate memory")
    except OSError as error:
        log.write(traceback.format_exc())
        return _failed(reason_of(error, root), f"{type(error).__name__}: {error}")
    except Exception as error:  # noqa: BLE001 - the border of the process: everything becomes an outcome
        log.write(traceback.format_exc())
        return _failed("crashed", f"{type(error).__name__}: {error}")


def _failed(reason: str, message: str) -> dict[str, Any]:
    return {"status": "failed", "reason": reason, "message": message[:MESSAGE_MAX]}


def _stop_on_signals() -> tuple[threading.Event, threading.Event]:
    """Set by SIGUSR1 or SIGTERM, and by SIGTERM alone: write what there is.

    SIGKILL comes later by itself.
    """
    stopping, terminated = threading.Event(), threading.Event()

    def stop(number: int, _frame: object) -> None:
        sys.stderr.write("asked to stop\n")
        if number == signal.SIGTERM:
            terminated.set()
        stopping.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGUSR1, stop)
    return stopping, terminated


def _cpu_s() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)
