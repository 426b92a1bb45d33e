"""Oracles for tests, with tests/ on PYTHONPATH.

Some are slow, and some end an attempt in their own way.
"""

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

    def calculate(self, *arguments: Any, **named: Any) -> None:
        began = time.monotonic()
        Path("environment.json").write_text(json.dumps(dict(os.environ)), encoding="utf-8")
        Path("begun").write_text(str(os.getpid()), encoding="utf-8")
        while time.monotonic() < began + self._seconds and not Path("enough").exists():
            time.sleep(0.02)
        super().calculate(*arguments, **named)
        Path("times.json").write_text(json.dumps([began, time.monotonic()]), encoding="utf-8")


class WithTool(EMT):  # type: ignore[misc] # ASE has no types
    """Leaves the work to another program, as most oracles do, and fails when that one is killed."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        Path("begun").touch()
        subprocess.run(["sleep", "120"], check=True)


class Outlived(EMT):  # type: ignore[misc] # ASE has no types
    """Leaves the work to a program in its own session that says its number and writes on and on."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        tool = subprocess.Popen(
            ["sh", "-c", "while sleep 0.02; do date >beat; done"], start_new_session=True
        )
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


class Torn(Slow):
    """Fails when it has slept, as a code does whose parts were killed meanwhile."""

    def calculate(self, *arguments: Any, **named: Any) -> None:
        super().calculate(*arguments, **named)
        raise RuntimeError("a tool ended with status -15")


class Greedy(EMT):  # type: ignore[misc] # ASE has no types
    """Asks for more memory than there is."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        raise MemoryError


class Broken(EMT):  # type: ignore[misc] # ASE has no types
    """Has a bug."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        raise RuntimeError("a bug of its own\n" + "x" * 10_000)


class WritesOn(EMT):  # type: ignore[misc] # ASE has no types
    """Where it is told to, leaves the work to a program that writes on and on.

    It writes under the names of what others read.
    """

    def calculate(self, *arguments: Any, **named: Any) -> None:
        if "OUTLIVED" in os.environ:
            names = "label.extxyz pw.out outcome.json tries.json dataset.extxyz"
            script = f"while sleep 0.01; do for name in {names}; do echo mine >>$name; done; done"
            tool = subprocess.Popen(["sh", "-c", script], start_new_session=True)
            Path("begun").write_text(str(tool.pid), encoding="utf-8")
            tool.wait()
        super().calculate(*arguments, **named)
