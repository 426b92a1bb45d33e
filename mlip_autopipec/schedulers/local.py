"""The queue of this machine: ports.Scheduler over detached processes.

A batch is one detached runner (the work half's `batch` command) that starts its tasks as cores become free. It
outlives the daemon; what it knows stands in `.ap/submit/UID/`. At most once, for one uid, whoever calls and dies where:

    mkdir sent          atomic: only who makes it may start a runner, ever
    runner.json         written by the runner itself, under `runner.lock`, before it starts anything
    runner.json void    written by `locate` under the same lock: proof that no runner ever will

`submit` that finds `sent` made, but no runner.json, is Unclear: a runner may be about to begin.

A task outlives its runner, and tells by its own claim that it runs. One that has not claimed when its runner is gone is
lost for good: `post_mortem` takes the claim in its stead before it says so.
"""

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.events import JobState, Sighting
from mlip_autopipec.data_models.state import Batch
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.errors import TransientError
from mlip_autopipec.ports import Accepted, Clock, Limited, PostMortem, Rejected, Unclear, Void

#: How long a new runner may take to say who it is before the submission counts as unclear.
_HANDSHAKE = timedelta(seconds=10)
_LOOK_EVERY_S = 0.01
_LAUNCH_TIMEOUT_S = 60


class LocalScheduler:
    """Runs batches on this machine, `cores` at a time. All files are below `root`."""

    def __init__(self, root: Path, *, cores: int, payload: str, clock: Clock, python: str | None = None) -> None:
        self._root = root
        self._cores = cores
        self._payload = payload
        self._clock = clock
        self._python = python or sys.executable

    async def submit(self, batch: Batch, tasks: Sequence[Task]) -> Accepted | Rejected | Limited | Unclear:
        """Start the runner of a batch, once ever; then wait until it has said who it is."""
        folder = self._folder(batch)
        too_big = next((task for task in tasks if task.resources.cores > self._cores), None)
        if too_big is not None:
            wanted = too_big.resources.cores
            return Rejected(f"{too_big.id} asks for {wanted} cores, this machine may use {self._cores}")
        first = await asyncio.to_thread(self._stage, batch, tasks)
        if first:
            await asyncio.to_thread(self._launch, batch)
        until = self._clock.now() + _HANDSHAKE
        while (runner := await asyncio.to_thread(_read_json, folder / "runner.json")) is None:
            if not first or self._clock.now() >= until:
                return Unclear("a runner was started and has not said who it is")
            await self._clock.sleep(_LOOK_EVERY_S)
        return Unclear("it was proved never to have begun") if "void" in runner else Accepted(_job_id(runner))

    async def locate(self, batch: Batch) -> Accepted | Void | Unclear:
        """Look for the runner; where none has begun, make sure that none ever will."""
        return await asyncio.to_thread(self._locate, batch)

    async def sight(self, batches: Sequence[Batch]) -> Mapping[tuple[str, int], Sighting] | None:
        """Where every live attempt stands, by the runner's files and the process table."""
        return await asyncio.to_thread(self._sight, batches)

    async def post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        """How an attempt ended: the runner's word if it wrote one, else lost with the runner."""
        return await asyncio.to_thread(self._post_mortem, batch, index)

    async def cancel(self, batch: Batch) -> None:
        """Ask the runner to end its tasks; what has outlived its runner is told directly."""
        await asyncio.to_thread(self._cancel, batch)

    def _folder(self, batch: Batch) -> Path:
        return self._root / ".ap" / "submit" / batch.uid

    def _stage(self, batch: Batch, tasks: Sequence[Task]) -> bool:
        """Write what the runner reads; True for the one caller who may start it."""
        folder = self._folder(batch)
        folder.mkdir(parents=True, exist_ok=True)
        spec = {
            "uid": batch.uid,
            "python": self._python,
            "payload": self._payload,
            "cores": self._cores,
            "tasks": [
                {
                    "index": index,
                    "workdir": task.workdir,
                    "cores": task.resources.cores,
                    "walltime_s": task.resources.walltime_s,
                }
                for index, task in enumerate(tasks)
            ],
        }
        _write_json(folder / "batch.json", spec)
        try:
            (folder / "sent").mkdir()
        except FileExistsError:
            return False
        return True

    def _launch(self, batch: Batch) -> None:
        """Start the runner, which detaches itself: it lives on when the daemon ends, and init reaps it."""
        payload = str(self._root / self._payload)
        command = [self._python, payload, "batch", "--root", str(self._root), "--uid", batch.uid, "--detach"]
        with (self._folder(batch) / "runner.log").open("ab") as log:
            try:
                subprocess.run(
                    command,
                    cwd=self._root,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    check=True,
                    timeout=_LAUNCH_TIMEOUT_S,
                )
            except (OSError, subprocess.SubprocessError) as error:
                raise TransientError(f"the runner could not be started: {error}") from error

    def _locate(self, batch: Batch) -> Accepted | Void | Unclear:
        folder = self._folder(batch)
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "runner.lock").open("w") as lock:
            held = not _try_lock(lock.fileno())
            runner = _read_json(folder / "runner.json")
            if runner is None and held:
                return Unclear("a runner is about to begin")
            if runner is None:
                runner = {"void": True}
                _write_json(folder / "runner.json", runner)
        if "void" in runner:
            return Void("no runner had begun, and none will")
        return Accepted(_job_id(runner))

    def _cancel(self, batch: Batch) -> None:
        folder = self._folder(batch)
        (folder / "cancel").touch()
        if _runs(_read_json(folder / "runner.json")):
            return
        claims = self._claims(batch)
        for index in batch.live:
            task = _process(folder, index, claims)
            if task is not None and _is_alive(task):
                with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
                    os.killpg(task["pid"], signal.SIGTERM)

    def _claims(self, batch: Batch) -> list[Path]:
        """The folder that each attempt makes as its first act (see the work half's `task` command), by index."""
        spec = _read_json(self._folder(batch) / "batch.json") or {"tasks": []}
        return [self._root / task["workdir"] / f"claim.{batch.uid}" for task in spec["tasks"]]

    def _sight(self, batches: Sequence[Batch]) -> dict[tuple[str, int], Sighting]:
        sightings = {}
        for batch in batches:
            folder = self._folder(batch)
            runs = _runs(_read_json(folder / "runner.json"))
            claims = [] if runs else self._claims(batch)
            for index in batch.live:
                state, detail = _state(folder, index, claims, runs=runs)
                sightings[batch.uid, index] = Sighting(uid=batch.uid, index=index, state=state, detail=detail)
        return sightings

    def _post_mortem(self, batch: Batch, index: int) -> PostMortem | Sighting | None:
        folder = self._folder(batch)
        claims = self._claims(batch)
        if claims and not _runs(_read_json(folder / "runner.json")):
            with contextlib.suppress(FileExistsError):  # it has begun
                claims[index].mkdir()
        sighting = self._sight([batch]).get((batch.uid, index))
        if sighting is None or sighting.state not in {JobState.ENDED, JobState.ABSENT}:
            return sighting
        end = _read_json(folder / f"{index}.end")
        if end is None:
            return PostMortem(Reason.LOST, "its process and its runner are gone, and no word of its end is left")
        return PostMortem(Reason(end["reason"]), str(end["message"]))


def _state(folder: Path, index: int, claims: Sequence[Path], *, runs: bool) -> tuple[JobState, str]:
    if (end := _read_json(folder / f"{index}.end")) is not None:
        return JobState.ENDED, str(end["reason"])
    task = _process(folder, index, claims)
    if task is not None and _is_alive(task):
        return JobState.RUNNING, f"pid {task['pid']}"
    if runs:  # between two files of the runner, or not begun
        return (JobState.RUNNING, "ending") if task is not None else (JobState.WAITING, "waits for a core")
    return JobState.ABSENT, "neither it nor its runner lives"


def _process(folder: Path, index: int, claims: Sequence[Path]) -> dict[str, Any] | None:
    """The process of a task that has begun: by its runner's word, else by its own claim where `claims` are given."""
    told = _read_json(folder / f"{index}.running")
    return told or (_read_json(claims[index] / "started.json") if claims else None)


def _job_id(runner: Mapping[str, Any]) -> str:
    return f"{runner['pid']}.{runner['start_time']}"


def _runs(runner: Mapping[str, Any] | None) -> bool:
    """Whether a runner has begun and lives."""
    return runner is not None and "void" not in runner and _is_alive(runner)


def _is_alive(identity: Mapping[str, Any]) -> bool:
    """Whether this very process still runs: same boot, same pid, same start. A zombie does not run."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="utf-8").strip()
    if identity["boot_id"] != boot:
        return False
    try:
        stat = Path(f"/proc/{identity['pid']}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    fields = stat.rpartition(")")[2].split()
    return int(fields[19]) == identity["start_time"] and fields[0] not in {"Z", "X"}


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_json(path: Path) -> dict[str, Any] | None:
    """A file that is placed whole by rename; None if there is none yet."""
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    return content


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("w", encoding="utf-8") as stream:
        json.dump(content, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.rename(path)
