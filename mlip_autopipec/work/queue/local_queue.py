"""A queue that needs no Slurm: detached runners on the machine where this is called, and what their files tell.

One verb per call, JSON in, one line of JSON out; the daemon asks over its transport. A batch is one detached runner
(see `batch`) that starts its tasks as cores become free. It outlives the daemon; what it knows stands in
`.ap/submit/UID/`. At most once, for one uid, whoever calls and dies where:

    mkdir sent          atomic: only who makes it may start a runner, ever
    runner.json         made once ever, by link: by the runner itself before it starts anything,
    runner.json void    or by `locate`: proof that no runner ever will

`submit` that finds `sent` made, but no runner.json, is unclear: a runner may be about to begin.

A task outlives its runner, and tells by its own claim that it runs. One that has not claimed when its runner is gone is
lost for good: `post_mortem` takes the claim in its stead before it says so. What a task has started, and is left of it,
is ended first. Nothing is said of a process of another host than this one: a name like `login` may lead to several.
"""

import contextlib
import glob
import json
import os
import signal
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from mlip_autopipec.contract.files import read_regular
from mlip_autopipec.work.job import as_json, write_atomic, write_once
from mlip_autopipec.work.queue.batch import is_locked, run_batch
from mlip_autopipec.work.queue.processes import Process, ProcessTable, attempt_name, end_processes
from mlip_autopipec.work.small_files import create_beside

#: How long a new runner may take to say who it is before the submission counts as unclear.
_HANDSHAKE_S = 10.0
_LOOK_EVERY_S = 0.01
#: What has outlived its runner is asked to end, looked at so often, and killed when it had so long.
_END_EVERY_S, _KILL_AFTER_S = 0.2, 10.0

#: Sizes of the files, and of the words in them: anybody may have written there.
_BYTES_MAX, _SPEC_BYTES_MAX = 2**20, 64 * 2**20
_WORD_MAX, _MESSAGE_MAX = 40, 4000
Answer = dict[str, Any]


def answer(root: Path, verb: str, asked: Mapping[str, Any]) -> Answer:
    """Carry out one verb."""
    return VERBS[verb](root, asked)


def submit(root: Path, spec: Mapping[str, Any]) -> Answer:
    """Start the runner of a batch, once ever; then wait until it has said who it is."""
    folder = folder_of(root, spec["uid"])
    cores = spec["cores"] or max(len(os.sched_getaffinity(0)) - 1, 1)  # one is for whoever sits there
    too_big = next((task for task in spec["tasks"] if task["cores"] > cores), None)
    if too_big is not None:
        return {"rejected": f"{too_big['id']} asks for {too_big['cores']} cores, {cores} may be used there at a time"}
    first = stage(root, {**spec, "cores": cores})
    if first:
        _launch(root, spec["uid"])
    until = time.monotonic() + _HANDSHAKE_S
    while (runner := read_json(folder / "runner.json")) is None:
        if not first or time.monotonic() >= until:
            return {"unclear": "a runner was started and has not said who it is"}
        time.sleep(_LOOK_EVERY_S)
    if not _is_identity(runner):  # `locate` says what that means
        return {"unclear": "it was proved never to have begun, or something else has the name of its runner"}
    return {"accepted": _job_id(runner)}


def stage(root: Path, spec: Mapping[str, Any]) -> bool:
    """Write what the runner reads; True for the one caller who may start it."""
    folder = folder_of(root, spec["uid"])
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(folder / "batch.json", as_json(spec))
    try:
        (folder / "sent").mkdir()
    except FileExistsError:
        return False
    return True


def _launch(root: Path, uid: str) -> None:
    """A runner in a session of its own, with no stream of the caller's: it lives on, and init reaps it."""
    if os.fork() != 0:
        return
    status = 1
    try:
        os.setsid()
        log, _ = create_beside(folder_of(root, uid) / "runner.log")
        with log, Path(os.devnull).open("rb") as nothing:
            os.dup2(nothing.fileno(), 0)
            os.dup2(log.fileno(), 1)
            os.dup2(log.fileno(), 2)
        status = run_batch(root, uid)
    finally:
        os._exit(status)  # not the caller's way out


def locate(root: Path, asked: Mapping[str, Any]) -> Answer:
    """Look for the runner; where none has begun, make sure that none ever will."""
    folder = folder_of(root, asked["uid"])
    folder.mkdir(parents=True, exist_ok=True)
    if read_json(folder / "runner.json") is None:
        if is_locked(folder):
            return {"unclear": "a runner is about to begin"}
        write_once(folder / "runner.json", as_json({"void": True}))
    runner = read_json(folder / "runner.json") or {}
    if "void" in runner:
        return {"void": "no runner had begun, and none will"}
    if not _is_identity(runner) and not is_locked(folder) and not any(map(Path.exists, _claims(root, folder))):
        return {"void": "something else has the name of its runner, so that none has begun, and none will"}
    return {"accepted": _job_id(runner)}


def sight(root: Path, asked: Mapping[str, Any]) -> Answer:
    """Where every live attempt stands, by the runners' files and the process table."""
    sightings = []
    for batch in asked["batches"]:
        folder = folder_of(root, batch["uid"])
        claims = _claims(root, folder)
        for index in batch["live"]:
            state, detail = _state(folder, index, claims)
            sightings.append({"uid": batch["uid"], "index": index, "state": state, "detail": detail})
    return {"sightings": sightings}


def post_mortem(root: Path, asked: Mapping[str, Any]) -> Answer:
    """How an attempt ended: the runner's word if it wrote one, else lost with the runner."""
    folder, index = folder_of(root, asked["uid"]), asked["index"]
    claims = _claims(root, folder)
    if index < len(claims) and _lives(read_json(folder / "runner.json")) is False:
        # It has begun; or its folder has become something else, and it can't.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            claims[index].mkdir(parents=True)  # its folder may be gone, with all that a purge has taken
    state, detail = _state(folder, index, claims)
    if state == "absent" and (left := _left(root, asked["uid"], [index])):
        end_processes(left)
        state, detail = "running", f"what it started is told to end: pid {', '.join(str(each.pid) for each in left)}"
    if state not in {"ended", "absent"}:
        return {"sighting": {"uid": asked["uid"], "index": index, "state": state, "detail": detail}}
    told = read_json(folder / f"{index}.end")
    if told is None:
        return {"reason": "lost", "message": "its process and its runner are gone, and no word of its end is left"}
    reason, message = told.get("reason"), told.get("message")
    return {
        "reason": reason[:_WORD_MAX] if isinstance(reason, str) else "lost",
        "message": message[:_MESSAGE_MAX] if isinstance(message, str) else f"{index}.end can't be read",
    }


def roll(root: Path, asked: Mapping[str, Any]) -> Answer:
    """Every runner of a campaign that lives here."""
    folders = sorted(folder_of(root, "x").parent.glob(f"{glob.escape(asked['campaign'])}.*"))
    runners = {folder.name: runner for folder in folders if (runner := read_json(folder / "runner.json")) is not None}
    jobs = [
        {"uid": uid, "job_id": _job_id(runner), "detail": f"pid {runner.get('pid')}"}
        for uid, runner in runners.items()
        if _lives(runner)
    ]
    return {"jobs": jobs}


def cancel(root: Path, asked: Mapping[str, Any]) -> Answer:
    """Ask the runner to end its tasks, all of them or only these; what has outlived its runner is told directly."""
    folder = folder_of(root, asked["uid"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in [f"cancel.{index}" for index in asked["live"]] if asked.get("only") else ["cancel"]:
        (folder / name).touch()
    if not _lives(read_json(folder / "runner.json")):
        _end(root, folder, asked["live"])
    return {}


def _end(root: Path, folder: Path, indices: Sequence[int]) -> None:
    """End what has outlived its runner: it is asked to, and killed when it had its time."""
    claims = _claims(root, folder)
    for index in indices:
        task = _process(folder, index, claims)
        if task is not None and _lives(task):  # also one of an earlier version, which has no name
            with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
                os.killpg(task["pid"], signal.SIGTERM)
    end_processes(_left(root, folder.name, indices), signal.SIGTERM)
    now = time.monotonic()
    while (left := _left(root, folder.name, indices)) and time.monotonic() < now + 2 * _KILL_AFTER_S:
        if time.monotonic() > now + _KILL_AFTER_S:
            end_processes(left)
        time.sleep(_END_EVERY_S)


def _left(root: Path, uid: str, indices: Sequence[int]) -> list[Process]:
    """What runs here of these attempts."""
    names, processes = {attempt_name(root, uid, index) for index in indices}, ProcessTable().look()
    return [each for each in processes if each.attempt in names]


VERBS: Mapping[str, Callable[[Path, Mapping[str, Any]], Answer]] = {
    "submit": submit,
    "locate": locate,
    "sight": sight,
    "post_mortem": post_mortem,
    "roll": roll,
    "cancel": cancel,
}


def folder_of(root: Path, uid: str) -> Path:
    """Where everything of one batch stands."""
    return root / ".ap" / "submit" / uid


def _claims(root: Path, folder: Path) -> list[Path]:
    """The folder that each attempt makes as its first act (see `task`), by index."""
    spec = read_json(folder / "batch.json", _SPEC_BYTES_MAX) or {}
    tasks = spec.get("tasks")
    listed = tasks if isinstance(tasks, list) else []
    workdirs = [task.get("workdir") if isinstance(task, dict) else None for task in listed]
    below = [each for each in workdirs if isinstance(each, str) and each.isprintable() and ".." not in each.split("/")]
    if len(below) < len(workdirs):
        return []
    return [root / each.lstrip("/") / f"claim.{folder.name}" for each in below]


def _state(folder: Path, index: int, claims: Sequence[Path]) -> tuple[str, str]:
    """Word and detail of one attempt."""
    if (end := read_json(folder / f"{index}.end")) is not None:
        return "ended", str(end.get("reason", "lost"))[:_WORD_MAX]
    runner = read_json(folder / "runner.json")
    runs = _lives(runner)
    task = _process(folder, index, claims if runs is False else [])
    if runs is None or (task is not None and _lives(task) is None):
        return "unknown", f"it is on {(task or runner or {}).get('host')}, and this is {socket.gethostname()}"
    if task is not None and _lives(task):
        return "running", f"pid {task['pid']}"
    if runs:  # between two files of the runner, or not begun
        return ("running", "ending") if task is not None else ("waiting", "waits for a core")
    return "absent", "neither it nor its runner lives"


def _process(folder: Path, index: int, claims: Sequence[Path]) -> dict[str, Any] | None:
    """The process of a task that has begun: by its runner's word, else by its own claim where `claims` are given."""
    told = read_json(folder / f"{index}.running")
    if not _is_identity(told):
        told = read_json(claims[index] / "started.json") if index < len(claims) else None
    return told if _is_identity(told) else None


def _job_id(runner: Mapping[str, Any]) -> str:
    return f"{runner['pid']}.{runner['start_time']}" if _is_identity(runner) else "unknown"


def _lives(identity: Mapping[str, Any] | None) -> bool | None:
    """Whether this very process has begun and runs; None where only another host could tell."""
    if identity is None or not _is_identity(identity):  # nor is what can't be read: its tasks tell by their claims
        return False
    if identity["host"] != socket.gethostname():
        return None
    return is_alive(identity)


def _is_identity(told: Mapping[str, Any] | None) -> bool:
    """Whether a process is told as `identity` in `batch` tells one."""
    kinds = {"host": str, "boot_id": str, "pid": int, "start_time": int}
    return told is not None and all(isinstance(told.get(name), kind) for name, kind in kinds.items())


def is_alive(identity: Mapping[str, Any]) -> bool:
    """Whether this very process still runs here: same boot, same pid, same start. A zombie does not run."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    if identity["boot_id"] != boot:
        return False
    try:
        stat = Path(f"/proc/{identity['pid']}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) == identity["start_time"] and fields[0] not in {"Z", "X"}


def read_json(path: Path, size_max: int = _BYTES_MAX) -> dict[str, Any] | None:
    """An object in a file that is placed whole; None if there is none yet. What is no such file is an empty object.

    Raises OSError for faults that may pass.
    """
    try:
        content = read_regular(path, size_max=size_max)
        told = None if content is None else json.loads(content)
    except (ValueError, RecursionError):
        return {}
    return told if told is None or isinstance(told, dict) else {}
