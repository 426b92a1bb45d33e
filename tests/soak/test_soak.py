"""The soak itself: its table, its exit code, and that it finds what is wrong."""

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import soak_journal
from kit.lab_faults import Count, count_jobs, count_labels
from kit.random_walk import perfect_journal
from kit.slurm_lab import Record
from soak import main
from soak_table import Row, render

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import WorkflowState

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.timeout(600)
def test_a_small_soak_of_everything_finds_nothing() -> None:
    """Simulated campaigns, killed daemons, and daemons whose disk fails.

    There are zeros, and a verdict for each run.
    """
    done = subprocess.run(
        [ROOT / "scripts" / "soak", "--seeds", "4", "--kill", "3", "--disk", "2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    whats = [
        "simulated campaigns",
        "real daemons killed by SIGKILL",
        "real daemons refused by their disk",
    ]
    if shutil.which("strace") is None:
        whats.pop()
    for what, line in zip(whats, done.stdout.splitlines()[1:], strict=False):
        assert line.startswith(what)
        counted, faults, doubled, lost, findings, verdicts = map(
            int, line.removeprefix(what).split()[:6]
        )
        assert (doubled, lost, findings) == (0, 0, 0)
        assert counted == verdicts > 0
        assert faults > 0
    assert "simulated campaigns: 0 campaigns ended `failed` through a passing fault" in done.stdout


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_campaign_under_hostile_files_converges(capsys: pytest.CaptureFixture[str]) -> None:
    """Some fifty, on its root, outbox, tasks and queue; with a stop and a start amid the rain."""
    assert main(["--hostile", "50", "--quick"]) == 0, capsys.readouterr().out
    head = next(
        line for line in capsys.readouterr().out.splitlines() if line.startswith("hostile files")
    )
    runs, fallen, doubled, lost, findings, verdicts = map(
        int, head.removeprefix("hostile files on running campaigns").split()[:6]
    )
    assert (doubled, lost, findings) == (0, 0, 0)
    assert runs == verdicts > 0
    assert fallen >= 50


def test_a_seed_runs_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Its whole story is told, and its end."""
    assert main(["--seed", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "campaign copper-3f9a1c created" in lines[0]
    assert lines[-1].endswith("nothing to complain of")


def test_another_state_than_was_written_is_found(tmp_path: Path) -> None:
    """A journal that opens to something else is a finding; with the right states it is none."""
    events = perfect_journal()[:4]
    content = soak_journal._write(tmp_path / "whole", events)
    right = soak_journal._states(events)
    wrong = [state.model_copy(update={"cycle_index": 7}) for state in right]
    for states, complaints in ((right, 0), (wrong, 1)):
        row = Row("journals")
        soak_journal._open(tmp_path / "spoiled", content[:-9], states, row, "cut")
        assert len(row.complaints) == complaints
    assert WorkflowState() in right


def test_the_table_tells_what_was_found() -> None:
    """One line per kind, then the faults, then the findings in words."""
    row = replace(
        Row("simulated campaigns", runs=2, verdicts=1, doubled=1, took_s=61),
        complaints=["seed 7: twice"],
    )
    row.faults["dies"] = 3
    head, line, *rest = render([row]).splitlines()
    assert head.split() == ["runs", "faults", "doubled", "lost", "findings", "verdicts", "took"]
    assert line.split() == [
        "simulated",
        "campaigns",
        "2",
        "3",
        "1",
        "0",
        "1",
        "1",
        "1",
        "min",
        "01",
        "s",
    ]
    assert rest[-1] == "FOUND: seed 7: twice"


def test_what_is_doubled_or_lost_on_the_lab_is_counted(tmp_path: Path) -> None:
    """In a campaign without a fault nothing is.

    A second job, a label put in twice, and one left out are.
    """
    events = [
        event.model_copy(update={"job_id": event.job_name})
        if isinstance(event, ev.SubmissionAccepted)
        else event
        for event in perfect_journal()
    ]
    records = [
        Record(f"{event.job_name}.{index}", event.job_name, "COMPLETED")
        for event in events
        if isinstance(event, ev.SubmissionBegun)
        for index in range(len(event.tasks))
    ]
    planned = [
        task for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    ]
    labels = [
        f"energy=1 task={task.id} role=train"
        for task in planned
        if task.parameters.kind == "calculate"
    ]
    dataset = tmp_path / "dataset" / "000.extxyz"
    dataset.parent.mkdir()
    second = Record("9999", records[0].name, "COMPLETED")
    for held, known, doubled, lost in (
        (labels, records, 0, 0),
        ([*labels, labels[-1]], records, 1, 0),
        (labels[1:], records, 0, 1),
        (labels, [*records, second], 1, 0),
    ):
        dataset.write_text("\n".join(held))
        found = Count()
        count_labels(tmp_path, events, found)
        count_jobs(tmp_path, events, known, found)
        assert (len(found.doubled), len(found.lost), found.wrong) == (doubled, lost, [])
        assert (found.labels, found.jobs) == (len(held), len(known))
