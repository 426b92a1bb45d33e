"""Runs mutants in a copy of the checkout; the checkout itself is never touched.

A mutant's tests are those that ran the lines that it changes, also in processes of their own where
the room says so. A mutant that is not done when its time is over has been caught: by a hang.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import venv
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from mutants_rooms import Room
from mutation import Mutant

#: Exit codes of a run (see mutants_probe).
_PASSED, _BROKEN, _UNPATCHED = 0, 3, 4
#: So much of tests at most for one mutant, in CPU time that they took without one.
_TESTS_CPU_S = 12.0
#: A run may take so many times as long as its tests took without a mutant, and so much more.
_LIMIT_FACTOR, _LIMIT_MORE_S = 4.0, 20.0
_BASELINE_S = 1800.0


@dataclass(frozen=True, slots=True)
class Test:
    """What is known of one test from a run without any mutant."""

    name: str
    cpu_s: float
    took_s: float
    #: How many lines of the room it ran: one that ran few is about these.
    lines: int


@dataclass(frozen=True, slots=True)
class Baseline:
    """A run of a room's tests without any mutant."""

    tests: Mapping[str, Test]
    #: File → line → names of the tests that ran it.
    lines: Mapping[str, Mapping[int, frozenset[str]]]
    not_passed: tuple[str, ...]

    def of(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant: those that are quick and about little else come first."""
        by_line = self.lines.get(mutant.file, {})
        names = {
            name
            for line in range(mutant.line, mutant.line_end + 1)
            for name in by_line.get(line, ())
        }
        chosen, total_s = list[str](), 0.0
        if not names and not mutant.function:
            names = set(self.tests)

        def rank(test: Test) -> tuple[bool, float]:
            return not (mutant.first and mutant.first in test.name), _rank(test)

        for test in sorted((self.tests[name] for name in names), key=rank):
            if total_s + test.cpu_s > _TESTS_CPU_S and chosen:
                continue
            total_s += test.cpu_s
            chosen.append(test.name)
        return chosen

    def limit_s(self, names: Sequence[str]) -> float:
        """How long these tests may take with a mutant."""
        return _LIMIT_MORE_S + _LIMIT_FACTOR * sum(self.tests[name].took_s for name in names)


def _rank(test: Test) -> float:
    return (0.02 + test.cpu_s) * (20 + test.lines)


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of a mutant. `by` is the first test that failed; `hung`: its time was over."""

    mutant: Mutant
    caught: bool
    by: str
    hung: bool
    tests: int
    took_s: float


class Server:
    """A process that has collected tests, and runs some of them when asked; see mutants_probe."""

    def __init__(self, python: Path, folder: Path, tests: Sequence[str]) -> None:
        requests, own_requests = os.pipe()
        own_answers, answers = os.pipe()
        self._result = folder.parent / "result.json"
        self._log = folder.parent / "log.txt"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    python,
                    folder / "tests/mutants/mutants_probe.py",
                    str(requests),
                    str(answers),
                    *tests,
                ],
                cwd=folder,
                env={
                    **os.environ,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "OMP_NUM_THREADS": "1",
                    "OPENBLAS_NUM_THREADS": "1",
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=(requests, answers),
            )
        os.close(requests)
        os.close(answers)
        self._requests = os.fdopen(own_requests, "w", encoding="utf-8")
        self._answers = os.fdopen(own_answers, encoding="utf-8")
        self.collected: list[str] = []

    def __enter__(self) -> Self:
        """Wait until the tests are collected; `collected` is empty if they can't be."""
        found = json.loads(self._answers.readline() or "{}")
        self.collected = [] if found.get("errors", 1) else found["collected"]
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.close()
        self._answers.close()
        self._process.wait()

    def ask(self, tests: Sequence[str], limit_s: float, **more: object) -> dict[str, Any]:
        """Run these tests in a fork, until one fails.

        Raises RuntimeError if the process has died.
        """
        asked = {
            "tests": tests,
            "limit_s": limit_s,
            "lines": [],
            "result": str(self._result),
            **more,
        }
        self._requests.write(json.dumps(asked) + "\n")
        self._requests.flush()
        answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the process that runs the tests has died:\n{self.last_lines()}")
        found: dict[str, Any] = json.loads(answer)
        return found

    def last_lines(self) -> str:
        """The end of what it wrote."""
        return self._log.read_text(encoding="utf-8", errors="replace")[-3000:]


class Copy:
    """A copy of the checkout, with a Python that imports the package from it.

    It is in a folder that goes with it.
    """

    def __init__(self, root: Path, names: Sequence[str] | None = None) -> None:
        """`names`: its files; without, what git would keep of it."""
        self._top = Path(tempfile.mkdtemp(prefix="autopipec-mutants-"))
        self.folder = self._top / "checkout"
        self._times = 0
        _copy_files(root, self.folder, _kept_by_git(root) if names is None else names)
        self._python = _make_python(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self._top)

    def serve(self, tests: Sequence[str]) -> Server:
        """A process for these tests, of the copy as it is now."""
        return Server(self._python, self.folder, tests)

    def baseline(self, server: Server, room: Room) -> Baseline:
        """Run everything that was collected as it is.

        Raises RuntimeError if that does not come to an end.
        """
        names = [name for name in server.collected if not name.startswith(room.skipped)]
        found = {}
        if names:
            found = server.ask(
                names, _BASELINE_S, lines=room.files(self.folder), traced=room.elsewhere
            )
        if "tests" not in found:
            raise RuntimeError(
                f"the tests do not run even without a mutant:\n{server.last_lines()}"
            )
        passed = {name: test for name, test in found["tests"].items() if test["passed"]}
        shares = {name for name, test in passed.items() if test["shares"]}
        lines = {
            file: {
                int(line): _names(contexts, passed, shares) for line, contexts in by_line.items()
            }
            for file, by_line in found["lines"].items()
        }
        counts = Counter(
            name for by_line in lines.values() for ran in by_line.values() for name in ran
        )
        tests = {
            name: Test(name, test["cpu_s"], test["took_s"], counts[name])
            for name, test in passed.items()
        }
        return Baseline(tests, lines, tuple(sorted(found["tests"].keys() - passed.keys())))

    def run(self, server: Server, mutant: Mutant, baseline: Baseline) -> Ran:
        """Run a mutant's tests until one fails."""
        names = baseline.of(mutant)
        return self.run_tests(server, mutant, names, baseline.limit_s(names))

    def run_tests(
        self, server: Server, mutant: Mutant, names: Sequence[str], limit_s: float
    ) -> Ran:
        """Run these tests on a mutant until one fails."""
        if not names:
            return Ran(mutant, caught=False, by="", hung=False, tests=0, took_s=0.0)
        began_s = time.monotonic()
        with self.mutated(mutant):
            found = server.ask(names, limit_s, file=mutant.file, function=mutant.function)
            if found["status"] == _UNPATCHED:
                found = self._run_anew(names, limit_s)
        hung, caught, by = (
            found["status"] is None,
            found["status"] != _PASSED,
            found.get("failed", ""),
        )
        if caught and not hung and not by:
            by = (
                "the tests could not even begin"
                if found["status"] == _BROKEN
                else "the process died"
            )
        return Ran(mutant, caught, by, hung, len(names), time.monotonic() - began_s)

    def _run_anew(self, names: Sequence[str], limit_s: float) -> dict[str, Any]:
        """In a process that imports the mutant."""
        files = list(dict.fromkeys(name.partition("::")[0] for name in names))
        with self.serve(files) as server:
            if not set(names) <= set(server.collected):
                return {"status": _BROKEN}
            return server.ask(names, limit_s)

    @contextmanager
    def mutated(self, mutant: Mutant) -> Iterator[None]:
        """The mutant in its file, at a time that no other version had.

        So no compiled file is taken for it.
        """
        path = self.folder / mutant.file
        whole, stat = path.read_text(encoding="utf-8"), path.stat()
        self._times += 1
        path.write_text(mutant.apply(whole), encoding="utf-8")
        os.utime(path, (stat.st_atime, stat.st_mtime + self._times))
        try:
            yield
        finally:
            path.write_text(whole, encoding="utf-8")
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _names(contexts: Sequence[str], passed: Collection[str], shares: set[str]) -> frozenset[str]:
    """Tests by context.

    What ran as one test was set up may have been set up for others of its file too.
    """
    found = set[str]()
    for context in contexts:
        name, _, when = context.rpartition("|")
        found.add(name)
        if when == "setup" and name in shares:
            file = name.partition("::")[0]
            found |= {each for each in shares if each.partition("::")[0] == file}
    return frozenset(name for name in found if name in passed)


def _kept_by_git(root: Path) -> list[str]:
    arguments = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(arguments, cwd=root, capture_output=True, check=True)
    return listed.stdout.decode().split("\0")[:-1]


def _copy_files(root: Path, folder: Path, names: Sequence[str]) -> None:
    for name in names:
        source, target = root / name, folder / name
        if source.is_file():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def _make_python(folder: Path) -> Path:
    """An environment beside the copy, with the package from there.

    All else is from the environment that runs this.
    """
    environment = folder / ".venv"
    venv.create(environment, symlinks=True)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    own = next(path for path in sys.path if path.endswith("site-packages"))
    (site_packages / "mutants.pth").write_text(
        f"{folder}\n{own}\n{folder / 'tests' / 'mutants'}\nimport mutants_trace\n", encoding="utf-8"
    )
    return environment / "bin" / "python"
