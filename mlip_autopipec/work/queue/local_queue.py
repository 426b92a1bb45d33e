"""A queue without Slurm: detached runners on the machine this runs on, and what their files tell.

One verb per call, JSON in, one line of JSON out; the daemon asks over its transport. A batch is one
detached runner (see `batch`) that starts its tasks as cores become free. It outlives the daemon;
what it knows stands in `.ap/submit/JOB_NAME/`. At most once, for one job name, whoever calls and
dies where:

    mkdir sent          atomic: only who makes it may start a runner, ever
    runner.json         made once ever, by link: by the runner itself before it starts anything,
    runner.json void    or by `locate`: proof that no runner ever will

`submit` that finds `sent` made, but no runner.json, is unclear: a runner may be about to begin.

A task outlives its runner, and tells by its own claim that it runs. One that has not claimed when
its runner is gone is lost for good: `post_mortem` takes the claim in its stead before it says so.
What a task has started, and is left of it, is ended first. Nothing is said of a process of another
host than this one: a name like `login` may lead to several.
"""

import contextlib
import functools
import glob
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from mlip_autopipec.contract import local_queue as asked_by
from mlip_autopipec.contract.files import read_value
from mlip_autopipec.contract.local_queue import (
    AttemptName,
    BatchName,
    BatchSpec,
    CampaignName,
    Done,
    Inquest,
    LiveBatches,
    LiveRunner,
    LiveRunners,
    Located,
    SeenAttempt,
    SeenAttempts,
    State,
    Submitted,
    UnwantedBatch,
    Verb,
)
from mlip_autopipec.contract.values import excerpt, plain, read
from mlip_autopipec.work.job import Identity, as_json, write_atomic, write_once
from mlip_autopipec.work.queue.batch import End, cores_of, is_locked, run_batch
from mlip_autopipec.work.queue.processes import Process, ProcessTable, attempt_name, end_processes
from mlip_autopipec.work.small_files import create_beside

Q = TypeVar("Q")
A = TypeVar("A")

#: How long a new runner may take to say who it is before the submission counts as unclear.
_HANDSHAKE_S = 10.0
_LOOK_EVERY_S = 0.01
#: What has outlived its runner is asked to end, looked at so often, and killed when it had so long.
_END_EVERY_S, _KILL_AFTER_S = 0.2, 10.0

#: Sizes of the files, and of the words in them: anybody may have written there.
_BYTES_MAX, _SPEC_BYTES_MAX = 2**20, 64 * 2**20
_WORD_MAX, _MESSAGE_MAX = 40, 4000


@excerpt
class NoRunner:
    """What has the name `runner.json` and is none: the proof that none ever will be, or a fault."""

    void: bool = False


@excerpt
class _Task:
    workdir: str


@excerpt
class _Tasks:
    """What is to be known of a batch whoever staged it, and in whatever version."""

    tasks: tuple[_Task, ...] = ()


def answer(root: Path, verb: str, asked: object) -> Any:
    """Carry out one verb, JSON in and JSON out."""
    return VERBS[verb](root, asked)


def submit(root: Path, spec: BatchSpec) -> Submitted:
    """Start the runner of a batch, once ever; then wait until it has said who it is."""
    folder, cores = folder_of(root, spec.job_name), cores_of(spec)
    too_big = next((task for task in spec.tasks if task.cores > cores), None)
    if too_big is not None:
        return Submitted(
            rejected=(
                f"{too_big.id} asks for {too_big.cores} cores, {cores} may be used there at a time"
            )
        )
    first = stage(root, replace(spec, cores=cores))
    if first:
        _launch(root, spec.job_name)
    until = time.monotonic() + _HANDSHAKE_S
    while (runner := _runner(folder)) is None:
        if not first or time.monotonic() >= until:
            return Submitted(unclear="a runner was started and has not said who it is")
        time.sleep(_LOOK_EVERY_S)
    if isinstance(runner, NoRunner):  # `locate` says what that means
        return Submitted(
            unclear=(
                "it was proved never to have begun, or something else has the name of its runner"
            )
        )
    return Submitted(accepted=_job_id(runner))


def stage(root: Path, spec: BatchSpec) -> bool:
    """Write what the runner reads; True for the one caller who may start it."""
    folder = folder_of(root, spec.job_name)
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "batch.json", as_json(spec))
    try:
        (folder / "sent").mkdir()
    except FileExistsError:
        return False
    return True


def _launch(root: Path, job_name: str) -> None:
    """A runner in its own session, without the caller's streams: it lives on, and init reaps it."""
    if os.fork() != 0:
        return
    status = 1
    try:
        os.setsid()
        log, _ = create_beside(folder_of(root, job_name) / "runner.log")
        with log, Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        status = run_batch(root, job_name)
    finally:
        os._exit(status)  # not the caller's way out


def locate(root: Path, asked: BatchName) -> Located:
    """Look for the runner; where none has begun, make sure that none ever will."""
    folder = folder_of(root, asked.job_name)
    folder.mkdir(parents=True, exist_ok=True)
    if _runner(folder) is None:
        if is_locked(folder):
            return Located(unclear="a runner is about to begin")
        write_once(folder / "runner.json", as_json(NoRunner(void=True)))
    runner = _runner(folder) or NoRunner()
    if isinstance(runner, Identity):
        return Located(accepted=_job_id(runner))
    if runner.void:
        return Located(void="no runner had begun, and none will")
    if not is_locked(folder) and not any(map(Path.exists, _claims(root, folder))):
        return Located(
            void="something else has the name of its runner, so that none has begun, and none will"
        )
    return Located(accepted="unknown")


def sight(root: Path, asked: LiveBatches) -> SeenAttempts:
    """Where every live attempt stands, by the runners' files and the process table."""
    sightings: list[SeenAttempt] = []
    for batch in asked.batches:
        folder = folder_of(root, batch.job_name)
        claims = functools.cache(functools.partial(_claims, root, folder))
        sightings += [_seen(folder, index, claims) for index in batch.live]
    return SeenAttempts(sightings=tuple(sightings))


def post_mortem(root: Path, asked: AttemptName) -> Inquest:
    """How an attempt ended: the runner's word if it wrote one, else lost with the runner."""
    folder, index = folder_of(root, asked.job_name), asked.index
    claims = _claims(root, folder)
    if index < len(claims) and _lives(_runner(folder)) is False:
        # It has begun; or its folder has become something else, and it can't.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            # its folder may be gone, with all that a purge has taken
            claims[index].mkdir(parents=True)
    seen = _seen(folder, index, lambda: claims)
    if seen.state == "absent" and (left := _left(root, asked.job_name, [index])):
        end_processes(left)
        pids = ", ".join(str(each.pid) for each in left)
        seen = replace(seen, state="running", detail=f"what it started is told to end: pid {pids}")
    if seen.state not in {"ended", "absent"}:
        return Inquest(sighting=seen)
    end = _end_of(folder, index)
    if end is None:
        return Inquest(
            reason="lost",
            message="its process and its runner are gone, and no word of its end is left",
        )
    message = f"{index}.end can't be read" if end.message is None else end.message
    return Inquest(reason=end.reason[:_WORD_MAX], message=message[:_MESSAGE_MAX])


def roll(root: Path, asked: CampaignName) -> LiveRunners:
    """Every runner of a campaign that lives here."""
    folders = sorted(folder_of(root, "x").parent.glob(f"{glob.escape(asked.campaign)}.*"))
    runners = ((folder.name, _runner(folder)) for folder in folders)
    jobs = (
        LiveRunner(job_name=job_name, job_id=_job_id(runner), detail=f"pid {runner.pid}")
        for job_name, runner in runners
        if isinstance(runner, Identity) and _lives(runner)
    )
    return LiveRunners(jobs=tuple(jobs))


def cancel(root: Path, asked: UnwantedBatch) -> Done:
    """Ask the runner to end its tasks, all of them or only these.

    What has outlived its runner is told directly.
    """
    folder = folder_of(root, asked.job_name)
    folder.mkdir(parents=True, exist_ok=True)
    for name in [f"cancel.{index}" for index in asked.live] if asked.only else ["cancel"]:
        (folder / name).touch()
    if not _lives(_runner(folder)):
        _end(root, folder, asked.live)
    return Done()


def _end(root: Path, folder: Path, indices: Sequence[int]) -> None:
    """End what has outlived its runner: it is asked to, and killed when it had its time."""
    claims = _claims(root, folder)
    for index in indices:
        task = _process(folder, index, claims)
        if task is not None and _lives(task):  # also one of an earlier version, which has no name
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
                os.killpg(task.pid, signal.SIGTERM)
    end_processes(_left(root, folder.name, indices), signal.SIGTERM)
    now = time.monotonic()
    while (
        left := _left(root, folder.name, indices)
    ) and time.monotonic() < now + 2 * _KILL_AFTER_S:
        if time.monotonic() > now + _KILL_AFTER_S:
            end_processes(left)
        time.sleep(_END_EVERY_S)


def _left(root: Path, job_name: str, indices: Sequence[int]) -> list[Process]:
    """What runs here of these attempts."""
    names, processes = (
        {attempt_name(root, job_name, index) for index in indices},
        ProcessTable().look(),
    )
    return [each for each in processes if each.attempt in names]


def _asked(
    verb: Verb[Q, A], act: Callable[[Path, Q], A]
) -> tuple[str, Callable[[Path, object], Any]]:
    """The verb by its name, as JSON asks for it."""
    return verb.name, lambda root, asked: plain(act(root, read(verb.question, asked)))


VERBS: Mapping[str, Callable[[Path, object], Any]] = dict(
    [
        _asked(asked_by.SUBMIT, submit),
        _asked(asked_by.LOCATE, locate),
        _asked(asked_by.SIGHT, sight),
        _asked(asked_by.POST_MORTEM, post_mortem),
        _asked(asked_by.ROLL, roll),
        _asked(asked_by.CANCEL, cancel),
    ]
)


def folder_of(root: Path, job_name: str) -> Path:
    """Where everything of one batch stands."""
    return root / ".ap" / "submit" / job_name


def _claims(root: Path, folder: Path) -> list[Path]:
    """The folder that each attempt makes as its first act (see `task`), by index."""
    spec = None
    with contextlib.suppress(ValueError):
        spec = read_value(_Tasks, folder / "batch.json", size_max=_SPEC_BYTES_MAX)
    workdirs = [task.workdir for task in spec.tasks] if spec is not None else []
    if not all(each.isprintable() and ".." not in each.split("/") for each in workdirs):
        return []
    return [root / each.lstrip("/") / f"claim.{folder.name}" for each in workdirs]


def _seen(folder: Path, index: int, claims: Callable[[], Sequence[Path]]) -> SeenAttempt:
    """One attempt. Its claim is looked at where its runner does not live."""
    state, detail = _state(folder, index, claims)
    return SeenAttempt(job_name=folder.name, index=index, state=state, detail=detail)


def _state(folder: Path, index: int, claims: Callable[[], Sequence[Path]]) -> tuple[State, str]:
    """Word and detail of one attempt."""
    if (end := _end_of(folder, index)) is not None:
        return "ended", end.reason[:_WORD_MAX]
    runner = _runner(folder)
    runs = _lives(runner)
    task = _process(folder, index, claims() if runs is False else [])
    begun = _lives(task)
    if None in {begun, runs}:
        host = next(each.host for each in (task, runner) if isinstance(each, Identity))
        return "unknown", f"it is on {host}, and this is {socket.gethostname()}"
    if task is not None and begun:
        return "running", f"pid {task.pid}"
    if runs:  # between two files of the runner, or not begun
        return ("running", "ending") if task is not None else ("waiting", "waits for a core")
    return "absent", "neither it nor its runner lives"


def _end_of(folder: Path, index: int) -> End | None:
    """How an attempt ended, by its runner; None if it does not say."""
    try:
        return read_value(End, folder / f"{index}.end", size_max=_BYTES_MAX)
    except ValueError:
        return End()


def _process(folder: Path, index: int, claims: Sequence[Path]) -> Identity | None:
    """The process of a task that has begun.

    It is known by its runner's word, else by its own claim where `claims` are given.
    """
    claimed = [claim / "started.json" for claim in claims[index : index + 1]]
    for path in [folder / f"{index}.running", *claimed]:
        with contextlib.suppress(ValueError):
            if (found := read_value(Identity, path, size_max=_BYTES_MAX)) is not None:
                return found
    return None


def _runner(folder: Path) -> Identity | NoRunner | None:
    """Who runs the batch, or why nobody does; None if nobody has said yet."""
    path = folder / "runner.json"
    with contextlib.suppress(ValueError):
        return read_value(Identity, path, size_max=_BYTES_MAX)
    with contextlib.suppress(ValueError):
        return read_value(NoRunner, path, size_max=_BYTES_MAX)
    return NoRunner()


def _job_id(runner: Identity) -> str:
    return f"{runner.pid}.{runner.start_time}"


def _lives(process: Identity | NoRunner | None) -> bool | None:
    """Whether this very process has begun and runs; None where only another host could tell."""
    # nor is what can't be read: its tasks tell by their claims
    if not isinstance(process, Identity):
        return False
    return is_alive(process) if process.host == socket.gethostname() else None


def is_alive(identity: Identity) -> bool:
    """Whether this very process still runs here: same boot, same pid, same start.

    A zombie does not run.
    """
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    if identity.boot_id != boot:
        return False
    try:
        stat = Path(f"/proc/{identity.pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) == identity.start_time and fields[0] not in {"Z", "X"}
