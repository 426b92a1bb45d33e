"""Serves runs of a room's tests: one process has collected them all, and each run is a fork of it.

`python mutants_probe.py REQUESTS ANSWERS TEST …`: two file descriptors, and what is to be
collected. A request is one JSON object in a line, and so is its answer. In the fork a mutant takes
the place of the function that it changes; in what the tests start as programs, it is there by its
file.
"""

import ctypes
import gc
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any, TextIO

import coverage
import pytest
from mutants_trace import VARIABLE

_LOOK_EVERY_S = 0.01
_PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
#: Exit codes of a fork.
_PASSED, _FAILED, _BROKEN, _UNPATCHED = 0, 1, 3, 4


class Unpatched(Exception):  # noqa: N818 - the name is the fact
    """The mutant is in no function that can be exchanged where it is."""


class _Probe:
    """A pytest plugin: instead of running what was collected, it forks a child for each request."""

    def __init__(self, requests: TextIO, answers: TextIO) -> None:
        self._requests = requests
        self._answers = answers
        self._measured: coverage.Coverage | None = None
        self._traces: Path | None = None
        self._failed = ""
        self._tests: dict[str, dict[str, Any]] = {}

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        names = [item.nodeid for item in session.items]
        self._answer({"collected": names, "errors": session.testsfailed})
        items = dict(zip(names, session.items, strict=True))
        gc.freeze()  # a fork that collects garbage would copy every page
        for line in self._requests:
            self._answer(self._carry_out(json.loads(line), items))
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._tests[item.nodeid] = {
            "passed": True,
            "cpu_s": -_cpu_s(),
            "took_s": 0.0,
            "shares": _shares(item),
        }
        if self._traces is not None:  # of what the test starts
            os.environ[VARIABLE] = str(self._traces / str(len(self._tests)))
        self._switch(f"{item.nodeid}|setup")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> None:
        self._switch(f"{item.nodeid}|call")

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        test = self._tests[report.nodeid]
        test["took_s"] += report.duration
        if report.when == "teardown":
            test["cpu_s"] += _cpu_s()
        if report.failed:
            self._failed = self._failed or report.nodeid
        if not report.passed:
            test["passed"] = False

    def _answer(self, found: dict[str, Any]) -> None:
        self._answers.write(json.dumps(found) + "\n")
        self._answers.flush()

    def _switch(self, context: str) -> None:
        if self._measured is not None:
            self._measured.switch_context(context)

    def _carry_out(self, asked: dict[str, Any], items: dict[str, pytest.Item]) -> dict[str, Any]:
        found = Path(asked["result"])
        found.unlink(missing_ok=True)
        until_s = time.monotonic() + asked["limit_s"]
        pid = os.fork()
        if pid == 0:
            self._run(asked, [items[name] for name in asked["tests"]], found)
        status = _wait(pid, until_s)
        _end_children()
        seen: dict[str, Any] = json.loads(found.read_bytes()) if found.exists() else {}
        return {"status": status, **seen}

    def _run(self, asked: dict[str, Any], items: Sequence[pytest.Item], found: Path) -> None:
        """Never returns."""
        status = _BROKEN
        try:
            os.setsid()
            if asked.get("function"):
                patch(Path(asked["file"]), asked["function"])
            elif "function" in asked:
                patch_texts(Path(asked["file"]))
            if asked["lines"]:
                names = [str(Path(each).resolve()) for each in asked["lines"]]
                self._measured = coverage.Coverage(data_file=None, include=names, config_file=False)
                self._measured.start()
                if asked["traced"]:
                    self._traces = Path(tempfile.mkdtemp(dir=found.parent))
            self._run_items(items, to_the_end=bool(asked["lines"]))
            seen: dict[str, Any] = {"failed": self._failed}
            if self._measured is not None:
                self._measured.stop()
                seen |= {"tests": self._tests, "lines": self._lines(self._measured)}
            found.write_text(json.dumps(seen), encoding="utf-8")
            status = _FAILED if self._failed else _PASSED
        except Unpatched:
            status = _UNPATCHED
        except BaseException:  # noqa: BLE001 - the border of the process: it is told in the log
            traceback.print_exc()
            sys.stderr.flush()
        finally:
            os._exit(status)

    def _lines(self, measured: coverage.Coverage) -> dict[str, dict[str, list[str]]]:
        """File, relative to the checkout → line → what ran it."""
        data = measured.get_data()
        found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in data.measured_files():
            for line, contexts in data.contexts_by_lineno(name).items():
                found[Path(name).relative_to(Path.cwd()).as_posix()][str(line)] += [
                    each for each in contexts if each
                ]
        for number, name in enumerate(self._tests, 1):
            path = None if self._traces is None else self._traces / str(number)
            for row in (
                path.read_text(encoding="utf-8").splitlines()
                if path is not None and path.exists()
                else ()
            ):
                file, _, line_ = row.partition("\t")
                found[file][line_].append(f"{name}|call")
        return found

    def _run_items(self, items: Sequence[pytest.Item], *, to_the_end: bool) -> None:
        for item, following in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if self._failed and not to_the_end:
                return


def patch(path: Path, function: str) -> None:
    """Give a function of a module that has been imported the code that stands in its file now.

    Raises Unpatched where that is not possible.
    """
    file = str(path.resolve())
    codes = {
        code.co_firstlineno: code
        for code in _codes(compile(path.read_bytes(), file, "exec", dont_inherit=True))
    }
    outer = function.partition(".<locals>")[0]
    patched = False
    gc.unfreeze()  # what is frozen is not told
    for each in gc.get_objects():
        if (
            type(each) is not FunctionType
            or each.__code__.co_filename != file
            or each.__qualname__ != outer
        ):
            continue
        code = codes.get(each.__code__.co_firstlineno)
        if (
            code is None
            or code.co_qualname != outer
            or code.co_freevars != each.__code__.co_freevars
        ):
            raise Unpatched(function)
        each.__code__ = code
        patched = True
    gc.freeze()
    if not patched:
        raise Unpatched(function)


def patch_texts(path: Path) -> None:
    """Give every module that has a module's text, as a script or a name, the text in its file now.

    Raises Unpatched if no text differs.
    """
    file = str(path.resolve())
    module = next(
        (each for each in sys.modules.values() if getattr(each, "__file__", None) == file), None
    )
    if module is None:
        raise Unpatched(file)
    fresh = {
        name: getattr(module, name) for name in ("__name__", "__package__", "__file__", "__spec__")
    }
    exec(compile(path.read_bytes(), file, "exec", dont_inherit=True), fresh)  # noqa: S102 - it is our own module
    changed = {
        id(old): new
        for name, new in fresh.items()
        if isinstance(new, str)
        and isinstance(old := getattr(module, name, None), str)
        and old != new
    }
    if not changed:
        raise Unpatched(file)
    for each in list(sys.modules.values()):
        for name, value in list(vars(each).items()):
            if id(value) in changed:
                setattr(each, name, changed[id(value)])


def _codes(code: CodeType) -> Iterator[CodeType]:
    for each in code.co_consts:
        if isinstance(each, CodeType):
            yield each
            yield from _codes(each)


def _cpu_s() -> float:
    return sum(os.times()[:4])


def _shares(item: pytest.Item) -> bool:
    """Whether it has a fixture that may have been set up for another test of its file."""
    info = getattr(item, "_fixtureinfo", None)
    definitions = (
        [] if info is None else [each for found in info.name2fixturedefs.values() for each in found]
    )
    return any(each.scope != "function" and each.baseid for each in definitions)


def _wait(pid: int, until_s: float) -> int | None:
    """Its exit code, -1 if a signal ended it; None if its time was over."""
    while time.monotonic() < until_s:
        ended, status = os.waitpid(-1, os.WNOHANG)
        if ended == pid:
            return os.WEXITSTATUS(status) if os.WIFEXITED(status) else -1
        if not ended:
            time.sleep(_LOOK_EVERY_S)
    return None


def _end_children() -> None:
    """End what a run has left, sessions of their own too: orphans are this process's children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text(encoding="ascii").split():
        for pid in map(int, pids):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _adopt_orphans() -> None:
    if ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("this process can't become the parent of orphans")


def main(arguments: Sequence[str]) -> int:
    """Collect tests, and serve until the requests end."""
    _adopt_orphans()
    with (
        os.fdopen(int(arguments[0]), encoding="utf-8") as requests,
        os.fdopen(int(arguments[1]), "w", encoding="utf-8") as answers,
    ):
        options = ["-q", "--no-header", "-p", "no:cacheprovider", "--basetemp=../tests"]
        return int(pytest.main([*options, *arguments[2:]], plugins=[_Probe(requests, answers)]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
