"""Mistakes with real files and processes: each is planted, and found.

No simulation in memory can make them.
"""

import asyncio
import os
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path

import pytest
from kit.restored import Place

from mlip_autopipec.config.loader import LoadedConfig
from mlip_autopipec.contract.local_queue import BatchSpec
from mlip_autopipec.contract.values import read
from mlip_autopipec.daemon.restore import restore
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.journal.mend import find_damage
from mlip_autopipec.work.queue import batch
from mlip_autopipec.work.queue.processes import Process

#: A task whose Python dies at once and whose code lives on, and says when it began and ended.
_OUTLIVED = """#!/bin/sh
for word; do last=$index; index=$word; [ "$last" = --index ] && break; done
sh -c 'echo "begins $0" >>log; sleep 0.7; echo "ends $0" >>log' "$index" &
while ! grep -q "begins $index" log 2>/dev/null; do sleep 0.02; done
exit 1
"""


class _FreesCores(batch._Runner):
    """As it once was: a core is free when the task's Python is gone."""

    def _processes_of(self, child: batch._Child) -> list[Process]:
        del child
        return []


def beside_another(runner: type[batch._Runner], root: Path) -> list[str]:
    """Run three such tasks on one core; what was at work when the next one began."""
    python, folder, work = root / "python", root / ".ap" / "submit" / "uid", root / "work"
    python.write_text(_OUTLIVED)
    python.chmod(0o755)
    folder.mkdir(parents=True)
    work.mkdir()
    tasks = [
        {
            "index": index,
            "id": str(index),
            "workdir": "work",
            "cores": 1,
            "threads": 1,
            "walltime_s": 60,
        }
        for index in range(3)
    ]
    spec = {"uid": "uid", "python": str(python), "payload": "p.pyz", "cores": 1, "tasks": tasks}
    child = os.fork()
    if child == 0:
        try:
            runner(root, folder, read(BatchSpec, spec)).run()
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    lines = (work / "log").read_text().splitlines()
    return [line for line in lines if line.startswith("ends") and line != lines[-1]]


@pytest.mark.slow
def test_a_core_that_is_freed_while_a_code_lives_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the runner as it is none ends beside another: what outlives its task is ended first."""
    for name in ("runtime", "true", "planted"):
        (tmp_path / name).mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "runtime"))
    assert beside_another(batch._Runner, tmp_path / "true") == []
    assert beside_another(_FreesCores, tmp_path / "planted") != []


@dataclass
class _CutsFirst:
    """As it once was: damage is cut off, and then it is seen whether the journal can go on."""

    place: Place

    async def __call__(self, loaded: LoadedConfig) -> object:
        damage = find_damage(self.place.journal)
        if damage is not None:
            os.truncate(damage.path, damage.offset)
        return await restore(loaded)


def changed_by(
    repair: Callable[[LoadedConfig], Coroutine[object, object, object]], place: Place
) -> list[str]:
    """What a repair that is refused has done to a damaged journal."""
    place.damage()
    place.intend("c000.generation.0007-ffffff")
    before = place.files()
    with pytest.raises(OperatorError):
        asyncio.run(repair(place.loaded))
    after = place.files()
    return [name for name in before if before[name] != after.get(name)]


def test_a_repair_that_cuts_before_it_has_checked_is_found(tmp_path: Path) -> None:
    """The one that walks first changes nothing where it refuses."""
    assert changed_by(restore, Place(tmp_path / "true")) == []
    place = Place(tmp_path / "planted")
    assert changed_by(_CutsFirst(place), place) != []
