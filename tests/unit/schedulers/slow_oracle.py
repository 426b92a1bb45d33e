"""Oracles for tests of the queue, put on PYTHONPATH: they take their time, and tell when they had a core."""

import json
import os
import subprocess
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


class Dying(EMT):  # type: ignore[misc] # ASE has no types
    """Takes the whole process with it, after a last word."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        print("the last word", flush=True)
        os.abort()
