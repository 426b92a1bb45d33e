"""What every test shares: how a run spreads over processes, and that `--no-skips` skips nothing."""

import os
import shutil
import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

TOP = Path(__file__).resolve().parents[1]
#: What other tests give up to the lab while both run: pw.x under srun starves easily. More, and
#: they would starve themselves where the machine has other work.
BESIDE_THE_LAB_NICENESS = 3

settings.register_profile("quick", max_examples=20)


def pytest_configure(config: pytest.Config) -> None:
    """Campaigns of these tests share the machine's cores among them, and with nobody else's."""
    os.environ["XDG_RUNTIME_DIR"] = folder = tempfile.mkdtemp(prefix="autopipec-tests-")
    config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))


# --- over several processes (pytest -n): the lab's tests, which wait more than they work, beside al


@cache
def rank_of(file: str) -> int:
    """When the tests of a file begin: the lab first, short ones last.

    So both processes end at about one time.
    """
    if file.startswith("tests/lab/"):
        return 0
    text = (TOP / file).read_text(encoding="utf-8")
    if "mark.lab" in text:
        return 1
    if "mark.campaign" in text:
        return 3
    return 2 if "mark.codes" in text or not file.startswith("tests/unit/") else 4


def scope_of(nodeid: str) -> str:
    """What one process runs in one go: a file, for its fixtures.

    All that uses the lab runs in one go too, for there is one lab.
    """
    file = nodeid.partition("::")[0]
    return "the lab" if rank_of(file) <= 1 else file


def is_worker(config: pytest.Config) -> bool:
    """Whether this is one of several processes of one run."""
    return hasattr(config, "workerinput")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Sort for several processes; each must come to the same order.

    One alone goes as it was asked to.
    """
    if is_worker(config):
        items.sort(key=lambda item: rank_of(item.nodeid.partition("::")[0]))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Hand out whole scopes, in the order of their ranks."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - a run in one process needs no xdist

    config.option.loadscopereorder = False
    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = scope_of
    return scheduler


_gives_way = pytest.StashKey[bool]()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Lower this process's priority, and that of all it starts.

    This is done before the first test that does not use the lab.
    """
    stash = item.config.stash
    if (
        is_worker(item.config)
        and scope_of(item.nodeid) != "the lab"
        and not stash.get(_gives_way, False)
    ):
        os.nice(BESIDE_THE_LAB_NICENESS)
        stash[_gives_way] = True


# --- nothing skipped ------------------------------------------------------------------------------


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--no-skips` is for machines that are to run everything but what needs Debian's servers."""
    parser.addoption(
        "--no-skips",
        action="store_true",
        help="fail if a test was skipped that needs no lab and no native LAMMPS",
    )


#: Whose tests need a Slurm, an sshd or a pw.x from Debian's packages.
_ON_DEBIAN = ("tests/contracts/", "tests/lab/")


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a green run with skipped tests into a red one, if so asked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    skipped = [report for report in reports if not {"native", "lab", "espresso"} & _marks(report)]
    skipped = [report for report in skipped if not report.nodeid.startswith(_ON_DEBIAN)]
    if skipped and exitstatus == 0 and session.config.getoption("--no-skips"):
        session.exitstatus = 1


def _marks(report: pytest.TestReport | pytest.CollectReport) -> set[str]:
    """Marks of a test that was skipped; a module that was skipped whole has none."""
    return set(report.keywords) if isinstance(report, pytest.TestReport) else set()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not run; the reasons stand above in pytest's own summary."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(
        f"{skipped} tests skipped: see the reasons above" if skipped else "no test was skipped"
    )
