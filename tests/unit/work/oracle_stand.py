"""Oracles for tests, put on PYTHONPATH: each ends an attempt in its own way."""

import os
import subprocess
import time
from pathlib import Path
from typing import Any

from ase.calculators.emt import EMT


class Sleepy(EMT):  # type: ignore[misc] # ASE has no types
    """EMT that takes its time, and leaves a mark while it does."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def calculate(self, *words: Any, **named: Any) -> None:
        Path("begun").write_text(str(os.getpid()), encoding="utf-8")
        time.sleep(self._seconds)
        super().calculate(*words, **named)


class Torn(Sleepy):
    """Fails when it has slept, as a code does whose parts were killed meanwhile."""

    def calculate(self, *words: Any, **named: Any) -> None:
        super().calculate(*words, **named)
        raise RuntimeError("a tool ended with status -15")


class Greedy(EMT):  # type: ignore[misc] # ASE has no types
    """Asks for more memory than there is."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        raise MemoryError


class Broken(EMT):  # type: ignore[misc] # ASE has no types
    """Has a bug."""

    def calculate(self, *_words: Any, **_named: Any) -> None:
        raise RuntimeError("a bug of its own\n" + "x" * 10_000)


class Outlived(EMT):  # type: ignore[misc] # ASE has no types
    """Where it is told to, leaves the work to a program that writes on and on, under the names of what others read."""

    def calculate(self, *words: Any, **named: Any) -> None:
        if "OUTLIVED" in os.environ:
            names = "label.extxyz pw.out outcome.json tries.json dataset.extxyz"
            script = f"while sleep 0.01; do for name in {names}; do echo mine >>$name; done; done"
            tool = subprocess.Popen(["sh", "-c", script], start_new_session=True)
            Path("begun").write_text(str(tool.pid), encoding="utf-8")
            tool.wait()
        super().calculate(*words, **named)
