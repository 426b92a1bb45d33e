"""What every test shares: a run that was to skip nothing fails when something was skipped."""

import os
import tempfile

import pytest


def pytest_configure() -> None:
    """Campaigns of these tests share the machine's cores among themselves, and with nobody else's."""
    os.environ["XDG_RUNTIME_DIR"] = tempfile.mkdtemp(prefix="autopipec-tests-")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--no-skips` is for machines that are to run everything but what needs Debian's servers."""
    parser.addoption(
        "--no-skips", action="store_true", help="fail if a test was skipped that needs no lab and no native LAMMPS"
    )


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Turn a green run with skipped tests into a red one, if so asked."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    reports = reporter.stats.get("skipped", []) if reporter else []
    skipped = [report for report in reports if not _needs_debian(report) and "native" not in report.keywords]
    if skipped and exitstatus == 0 and session.config.getoption("--no-skips"):
        session.exitstatus = 1


def _needs_debian(report: pytest.TestReport) -> bool:
    """Whether the test needs a Slurm, an sshd or a pw.x from Debian's packages."""
    folders = ("tests/contracts/", "tests/lab/")
    return bool({"lab", "espresso"} & {*report.keywords}) or report.nodeid.startswith(folders)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say at the end what was not run; the reasons stand above in pytest's own summary."""
    skipped = len(terminalreporter.stats.get("skipped", []))
    terminalreporter.write_line(f"{skipped} tests skipped: see the reasons above" if skipped else "no test was skipped")
