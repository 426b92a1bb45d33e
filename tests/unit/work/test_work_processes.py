"""The processes of an attempt: found by its name, and ended only as long as they are the same."""

import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import pytest

from mlip_autopipec.work.queue.processes import (
    ATTEMPT_VARIABLE,
    Process,
    ProcessTable,
    end_processes,
    of_attempt,
    own_mib,
)

ATTEMPT = "stand-0a1b2c.c000.calculation.b00.0@/a/root"


@pytest.fixture
def child() -> Iterator["subprocess.Popen[bytes]"]:
    with subprocess.Popen(
        ["sleep", "60"], env={**os.environ, ATTEMPT_VARIABLE: ATTEMPT}
    ) as process:
        yield process
        process.kill()


def test_a_process_is_found_by_the_name_of_its_attempt(child: "subprocess.Popen[bytes]") -> None:
    """Or by the session of its task; what has ended is no more, though nobody has waited for it."""
    table = ProcessTable()
    (found,) = of_attempt(table.look(), ATTEMPT)
    assert found.pid == child.pid
    assert 0 < own_mib(found) < 100
    assert found in of_attempt(table.look(), "another", session=found.session)
    assert found not in of_attempt(table.look(), "another")
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert of_attempt(table.look(), ATTEMPT) == []


def test_a_process_is_found_from_its_first_moment() -> None:
    """Between its exec and its first instruction its environment reads as empty."""
    table, missed = ProcessTable(), 0
    for number in range(40):
        name = f"{ATTEMPT}.{number}"
        environment = {**os.environ, ATTEMPT_VARIABLE: name}
        with subprocess.Popen(["sleep", "60"], env=environment) as process:
            found = table.read(process.pid)
            missed += found is None or found.attempt != name
            process.kill()
    assert missed == 0


def test_nobody_is_ended_who_has_got_the_number_of_another(
    child: "subprocess.Popen[bytes]",
) -> None:
    """A number is given again; the time of its start is not."""
    (found,) = of_attempt(ProcessTable().look(), ATTEMPT)
    end_processes([replace(found, start_time=found.start_time - 1)])
    with pytest.raises(subprocess.TimeoutExpired):
        child.wait(0.3)
    end_processes([found], signal.SIGTERM)
    assert child.wait(20) == -signal.SIGTERM
    end_processes([found])


@pytest.mark.parametrize("error", [FileNotFoundError, ProcessLookupError, PermissionError])
def test_a_process_that_ends_as_it_is_looked_at_hides_no_other(
    child: "subprocess.Popen[bytes]", error: type[OSError]
) -> None:
    """Or one that is nobody's to look at: all the others are found."""

    class Vanishing(ProcessTable):
        def read(self, pid: int) -> Process | None:
            if pid == os.getpid():
                raise error(pid)
            return super().read(pid)

    found = Vanishing().look()
    assert os.getpid() not in [each.pid for each in found]
    assert [each.pid for each in of_attempt(found, ATTEMPT)] == [child.pid]


def test_names_of_processes_that_are_gone_are_forgotten(child: "subprocess.Popen[bytes]") -> None:
    """A runner looks once a second for weeks, and codes start many thousands."""
    table = ProcessTable()
    table.look()
    assert ATTEMPT in table._attempts.values()
    child.kill()
    child.wait()
    table.look()
    assert ATTEMPT not in table._attempts.values()
