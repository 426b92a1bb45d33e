"""Oracles for tests of the queue, put on PYTHONPATH: they take their time, and tell when they had a core."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT


class Slow(EMT):  # type: ignore[misc] # ASE has no types
    """Sleeps, but no longer than until there is a file `enough` in its folder.

    `times.json` there has its begin and end on the clock that all processes share.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def calculate(self, *words: Any, **named: Any) -> None:
        began = time.monotonic()
        Path("environment.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
        Path("begun").touch()
        while time.monotonic() < began + self._seconds and not Path("enough").exists():
            time.sleep(0.02)
        super().calculate(*words, **named)
        Path("times.json").write_text(json.dumps([began, time.monotonic()]), encoding="utf-8")


class WithTool(EMT):  # type: ignore[misc] # ASE has no types
    """Leaves the work to another program, as most oracles do, and fails when that one is killed."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        Path("begun").touch()
        subprocess.run(["sleep", "120"], check=True)


class Outlived(EMT):  # type: ignore[misc] # ASE has no types
    """Leaves the work to a program in a session of its own, which says its number and writes on and on."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        tool = subprocess.Popen(["sh", "-c", "while sleep 0.02; do date >beat; done"], start_new_session=True)
        Path("tool").write_text(str(tool.pid), encoding="utf-8")
        while not Path("beat").exists():
            time.sleep(0.01)
        Path("begun").touch()
        tool.wait()


class Hungry(EMT):  # type: ignore[misc] # ASE has no types
    """Has a program that takes 400 MiB of memory and keeps it."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        script = "import time; kept = b'x' * (400 * 2**20); time.sleep(120)"
        subprocess.run([sys.executable, "-c", script], check=True)


class Dying(EMT):  # type: ignore[misc] # ASE has no types
    """Takes the whole process with it, after a last word."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        print("the last word", flush=True)
        os.abort()
