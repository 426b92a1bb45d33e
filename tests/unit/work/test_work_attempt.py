"""One attempt at one task, from claim to outcome.

The shipped zipapp runs it in a process of its own.
"""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from kit.files import TESTS, TOP, newest_run
from kit.jobs import (
    CAMPAIGN,
    JOB_NAME,
    TASK_TIMEOUT_S,
    Fitted,
    Site,
    copper,
    explore_parameters,
    fit_once,
    ref,
    task_of,
    train_parameters,
)
from kit.waiting import wait_for

from mlip_autopipec.contract.files import FileRef
from mlip_autopipec.contract.generate import GenerateParameters, Prototype
from mlip_autopipec.contract.label import CalculateParameters
from mlip_autopipec.contract.results.explore import ExploreMetrics
from mlip_autopipec.contract.select import SelectParameters
from mlip_autopipec.contract.values import plain
from mlip_autopipec.contract.words import Role
from mlip_autopipec.data_models.base import Reason
from mlip_autopipec.data_models.outcome import Outcome
from mlip_autopipec.data_models.task import Task
from mlip_autopipec.schedulers.shipment import pack
from mlip_autopipec.work.attempt import _has_claim, claim, make_run_folder, reason_of
from mlip_autopipec.work.codes.ase.settings import AseOracle
from mlip_autopipec.work.codes.lammps.files import read_trace
from mlip_autopipec.work.job import (
    EXIT_CODES,
    Job,
    TaskFailed,
    as_json,
    identity,
    place_new,
    sha256_of,
    write_atomic,
)
from mlip_autopipec.work.structures import write_frames

PROBE = "from mlip_autopipec.work.__main__ import main; raise SystemExit(main(['probe']))"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.at(tmp_path)


def structure(site: Site) -> FileRef:
    """A structure to label."""
    path = site.root / "structure.extxyz"
    write_frames(path, [copper(rattle_angstrom=0.05)])
    return ref(site.root, path)


def calculation(
    site: Site, calculator: str = "ase.calculators.emt.EMT", arguments: dict[str, Any] | None = None
) -> Task:
    """A task that labels it."""
    parameters = CalculateParameters(
        role=Role.TRAIN,
        origin="generated",
        oracle=AseOracle(calculator=calculator, arguments=arguments or {}),
        force_max_ev_per_angstrom=50.0,
    )
    return task_of(parameters, [("structure", structure(site))])


def generation() -> Task:
    """A task that needs no input."""
    prototype = Prototype(structure="fcc", elements=("Cu",), lattice_constant_angstrom=3.61)
    return task_of(
        GenerateParameters(
            prototypes=(prototype,),
            structures=2,
            test_structures=1,
            strain_max=0.02,
            rattle_angstrom=(0.05,),
            distance_min_angstrom=1.5,
            seed=1,
        )
    )


def failed(site: Site) -> tuple[Reason | None, str]:
    """Why the attempt gave no result."""
    outcome = site.outcome()
    assert outcome.status == "failed"
    assert outcome.metrics is None
    return outcome.reason, outcome.message


def test_an_outcome_tells_of_the_attempt(site: Site) -> None:
    """It is in the outbox and in the task's folder.

    It says whose it is and how long it took, and proves its files.
    """
    task = calculation(site)
    folder = site.place(task)
    done = site.run(task, "17.3")
    assert (done.returncode, done.stderr) == (0, "")
    outcome = site.outcome()
    assert (outcome.campaign, outcome.task, outcome.job_name, outcome.index) == (
        CAMPAIGN,
        task.id,
        JOB_NAME,
        0,
    )
    assert (outcome.job_id, outcome.kind, outcome.status, outcome.reason) == (
        "17.3",
        "calculate",
        "done",
        None,
    )
    assert outcome.host == os.uname().nodename
    assert outcome.cpu_s > 0
    assert 0 < outcome.wall_s < TASK_TIMEOUT_S
    assert outcome.started_at <= outcome.ended_at
    label = site.root / outcome.artefacts["label"].path
    assert label == folder / "run-1" / "label.extxyz"
    assert sha256_of(label) == outcome.artefacts["label"].sha256
    assert (folder / "run-1" / "outcome.json").read_bytes() == (
        site.root / "outbox" / f"{JOB_NAME}.0.json"
    ).read_bytes()
    assert [path.name for path in (site.root / "outbox").iterdir()] == [f"{JOB_NAME}.0.json"]


@pytest.mark.slow
def test_a_second_job_does_nothing(site: Site) -> None:
    """A duplicate that lands late finds the claim, ends well, and changes no file."""
    task = calculation(site)
    folder = site.place(task)
    site.run(task, "17")
    before = {
        path: path.stat().st_mtime_ns
        for path in [*folder.rglob("*"), *(site.root / "outbox").iterdir()]
    }
    again = site.run(task, "18")
    assert again.returncode == 0
    assert {
        path: path.stat().st_mtime_ns
        for path in [*folder.rglob("*"), *(site.root / "outbox").iterdir()]
    } == before
    assert site.outcome().job_id == "17"


@pytest.mark.slow
def test_two_jobs_at_once_give_one_outcome(site: Site) -> None:
    """Of many that start together one works; mkdir is the judge."""
    task = generation()
    folder = site.place(task)
    jobs = [
        subprocess.Popen(
            site.command(task, str(number)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        for number in range(4)
    ]
    for job in jobs:
        message, _ = job.communicate(timeout=TASK_TIMEOUT_S)
        assert (job.returncode, message) == (0, b"")
    winner = json.loads((folder / f"claim.{JOB_NAME}" / "started.json").read_text())["job_id"]
    assert site.outcome().job_id == winner


@pytest.mark.slow
def test_a_requeue_of_the_same_job_goes_on(site: Site) -> None:
    """The scheduler restarts a job under its id with a higher count.

    That one, and no other, may take the claim.
    """
    task = calculation(site)
    folder = site.place(task)
    site.run(task, "17")
    (site.root / "outbox" / f"{JOB_NAME}.0.json").unlink()
    for job_id, count in (("17", "0"), ("18", "1"), ("18", "0")):
        assert site.run(task, job_id, SLURM_RESTART_COUNT=count).returncode == 0
        assert not list((site.root / "outbox").iterdir()), f"job {job_id}, restart {count} went on"
    assert site.run(task, "17", SLURM_RESTART_COUNT="1").returncode == 0
    assert site.outcome().job_id == "17"
    assert json.loads((folder / f"claim.{JOB_NAME}" / "started.json").read_text())["restart"] == 1
    (site.root / "outbox" / f"{JOB_NAME}.0.json").unlink()
    site.run(task, "17", SLURM_RESTART_COUNT="1")
    assert not list((site.root / "outbox").iterdir())


def test_another_attempt_has_a_claim_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The claim is of one submission; the next attempt at the same task begins anew."""
    monkeypatch.delenv("SLURM_RESTART_COUNT", raising=False)
    assert claim(tmp_path, "c.b00", "17")
    assert not claim(tmp_path, "c.b00", "18")
    assert claim(tmp_path, "c.b01", "18")


def test_a_claimer_that_died_at_once_is_replaced_by_a_restart_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has left no word who it was; jobs of another id don't come so far."""
    (tmp_path / "claim.c.b00").mkdir()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "0")
    assert not claim(tmp_path, "c.b00", "17")
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert claim(tmp_path, "c.b00", "17")
    assert not claim(tmp_path, "c.b00", "17")


@pytest.mark.slow
def test_what_an_attempt_before_said_of_itself_is_gone(site: Site) -> None:
    """A new attempt has not come as far, and nobody is told that it has."""
    task = generation()
    stale = site.place(task) / "progress.json"
    stale.write_text('{"done": 0.9, "words": "of long ago"}')
    site.run(task)
    assert site.outcome().status == "done"
    assert not stale.exists()


def test_a_life_keeps_its_claim_until_another_has_it_or_it_is_sealed(tmp_path: Path) -> None:
    """Looked at before its outcome is placed: by process, host, boot and start."""
    mark = tmp_path / f"claim.{JOB_NAME}"
    assert claim(tmp_path, JOB_NAME, "17")
    assert _has_claim(mark)
    (mark / "over").touch()
    assert not _has_claim(mark)
    (mark / "over").unlink()
    mine = json.loads((mark / "started.json").read_bytes())
    for other in (
        {"pid": mine["pid"] + 1},
        {"start_time": 1},
        {"boot_id": "another"},
        {"host": "elsewhere"},
    ):
        (mark / "started.json").write_text(json.dumps({**mine, **other}))
        assert not _has_claim(mark)


def test_no_life_begins_behind_a_seal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even to find out at its end that it may leave nothing; the seal alone holds it back."""
    assert claim(tmp_path, JOB_NAME, "17")
    mark = tmp_path / f"claim.{JOB_NAME}"
    before = (mark / "started.json").read_bytes()
    (mark / "over").touch()
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert not claim(tmp_path, JOB_NAME, "17")
    assert (mark / "started.json").read_bytes() == before
    (mark / "over").unlink()
    assert claim(tmp_path, JOB_NAME, "17")


@pytest.mark.slow
def test_an_attempt_that_is_over_begins_no_more(site: Site) -> None:
    """A person may send an ended job back to the queue; what it left, or was counted as, stays."""
    task = calculation(site)
    folder = site.place(task)
    site.run(task, "17")
    outbox = site.root / "outbox" / f"{JOB_NAME}.0.json"
    before = outbox.stat().st_mtime_ns
    assert site.run(task, "17", SLURM_RESTART_COUNT="1").returncode == 0
    assert outbox.stat().st_mtime_ns == before
    outbox.unlink()
    (folder / f"claim.{JOB_NAME}" / "over").touch()
    assert site.run(task, "17", SLURM_RESTART_COUNT="2").returncode == 0
    assert not outbox.exists()


@pytest.mark.slow
@pytest.mark.parametrize("word", ["over", "started.json"])
def test_a_life_that_was_given_up_leaves_no_outcome(site: Site, word: str) -> None:
    """Its node was called lost while it worked.

    Another life has the claim, or the attempt is over.
    """
    task = generation()
    folder = site.place(task)
    work = subprocess.Popen(site.command(task, "17"))
    mark = folder / f"claim.{JOB_NAME}" / "started.json"
    until = time.monotonic() + TASK_TIMEOUT_S
    while not mark.exists() and time.monotonic() < until:
        time.sleep(0.001)
    work.send_signal(signal.SIGSTOP)
    assert not (site.root / "outbox" / f"{JOB_NAME}.0.json").exists()
    (mark.parent / word).write_text(
        json.dumps({"job_id": "17", "restart": 1, **plain(identity(os.getpid()))})
    )
    work.send_signal(signal.SIGCONT)
    assert work.wait(timeout=TASK_TIMEOUT_S) == 0
    assert not (site.root / "outbox" / f"{JOB_NAME}.0.json").exists()


@pytest.mark.slow
def test_what_writes_on_after_its_life_changes_no_file_of_the_next(site: Site) -> None:
    """A code outlives its Python, or its node was called lost.

    The next attempt's label and outcome are its own.
    """
    task = calculation(site, "kit.oracles.WritesOn")
    folder = site.place(task)
    dead = begun(site, task, "begun", PYTHONPATH=str(TESTS), OUTLIVED="1")
    zombie = int((folder / "run-1" / "begun").read_text())
    try:
        with dead:  # its pipes are held by what outlives it
            dead.kill()
        next_name = JOB_NAME.replace("b00", "b01")
        next_one = [*site.command(task, "18", job_name=next_name)]
        environment = {**os.environ, "PYTHONPATH": str(TESTS)}
        subprocess.run(next_one, env=environment, timeout=TASK_TIMEOUT_S, check=True)
        written = (folder / "run-1" / "label.extxyz").stat().st_size
        while (folder / "run-1" / "label.extxyz").stat().st_size < 2 * written:
            time.sleep(0.01)
    finally:
        os.killpg(zombie, signal.SIGKILL)
    outcome = site.outcome(job_name=next_name)
    label = site.root / outcome.artefacts["label"].path
    assert label == folder / "run-2" / "label.extxyz"
    assert outcome.artefacts["label"].sha256 == sha256_of(label)
    assert b"mine" not in label.read_bytes()
    assert sorted(path.name for path in folder.iterdir() if path.is_file()) == ["task.json"]


@pytest.mark.slow
def test_what_is_placed_in_the_outbox_is_never_replaced(site: Site) -> None:
    """A life that ends beside another of its job leaves the outcome that may have been read."""
    task = calculation(site, "kit.oracles.Slow", {"seconds": 1.0})
    process = begun(site, task, "begun", PYTHONPATH=str(TESTS))
    (site.root / "outbox").mkdir()
    placed = site.root / "outbox" / f"{JOB_NAME}.0.json"
    placed.write_text("of the other life")
    process.communicate(timeout=TASK_TIMEOUT_S)
    assert process.returncode == 0
    assert placed.read_text() == "of the other life"


def test_a_life_that_lost_its_claim_says_no_more_and_stops(tmp_path: Path) -> None:
    """Its progress would be taken for that of the attempt that has its place."""
    held = [True]
    job = Job(
        root=tmp_path,
        workdir=tmp_path / "run-1",
        task="one",
        parameters=None,
        inputs={},
        cores=1,
        task_folder=tmp_path,
        has_claim=lambda: held[0],
    )
    job.progress(0.1, "on the way")
    before = (tmp_path / "progress.json").read_bytes()
    assert not job.stopping.is_set()
    held[0] = False
    job.progress(0.9, "far on the way")
    assert (tmp_path / "progress.json").read_bytes() == before
    assert job.stopping.is_set()


def runs_of(folder: Path, *contents: dict[str, str]) -> Job[None]:
    """A new run of a task whose earlier ones left these files, the first in the task's folder."""
    for number, files in enumerate(contents):
        run = make_run_folder(folder)[0] if number else folder
        for name, text in files.items():
            (run / name).parent.mkdir(parents=True, exist_ok=True)
            (run / name).write_text(text)
    run, before = make_run_folder(folder)
    return Job(
        root=folder, workdir=run, task="one", parameters=None, inputs={}, cores=1, before=before
    )


def found(folder: Path) -> list[str]:
    """What the runs of these tests go on from."""
    return ["saved"] if (folder / "saved").exists() else []


def test_a_run_goes_on_from_a_copy_of_the_newest_that_left_something(tmp_path: Path) -> None:
    """Runs that left nothing, or died as they copied, are passed over.

    What is copied keeps its time.
    """
    job = runs_of(
        tmp_path,
        {"saved/deep/one": "of old"},
        {"saved/deep/one": "first"},
        {"saved/deep/one": "half", ".copying": ""},
        {"other": "x"},
    )
    assert [path.name for path in job.before] == ["run-3", "run-2", "run-1", tmp_path.name]
    assert job.carry_over(found)
    copy, source = job.workdir / "saved/deep/one", tmp_path / "run-1/saved/deep/one"
    assert (copy.read_text(), copy.stat().st_mtime_ns) == ("first", source.stat().st_mtime_ns)
    copy.write_text("second")
    assert source.read_text() == "first"
    assert not (job.workdir / ".copying").exists()


def test_a_campaign_of_an_earlier_version_is_gone_on_from(tmp_path: Path) -> None:
    """Its codes wrote in the task's folder itself."""
    job = runs_of(tmp_path, {"saved": "of old"}, {})
    assert job.carry_over(found)
    assert (job.workdir / "saved").read_text() == "of old"


def test_nothing_is_taken_from_a_run_that_still_writes(tmp_path: Path) -> None:
    """What changes while it is copied may be half of this moment and half of the next.

    An older run serves as well.
    """
    many = {f"saved/{number}": "still" for number in range(100)}
    job = runs_of(tmp_path, {}, {"saved/0": "of the run before"}, {**many, "saved/grows": ""})
    grows = tmp_path / "run-2/saved/grows"
    writer = subprocess.Popen(["sh", "-c", 'while :; do echo more >>"$0"; done', grows])
    try:
        while not grows.stat().st_size:
            time.sleep(0.001)
        assert job.carry_over(found)
    finally:
        writer.kill()
        writer.wait()
    copied = {path.name: path.read_text() for path in (job.workdir / "saved").iterdir()}
    assert copied == {"0": "of the run before"}


def test_the_claim_says_which_process_has_it(tmp_path: Path) -> None:
    """Its pid, start and boot: who looks can tell whether it still runs."""
    assert claim(tmp_path, "c.b00", "17")
    started = json.loads((tmp_path / "claim.c.b00" / "started.json").read_text())
    assert started == {
        "job_id": "17",
        "restart": started["restart"],
        **plain(identity(os.getpid())),
    }


def test_an_input_of_other_content_is_bad_input(site: Site) -> None:
    """A file that is not what the campaign says it is gives no label; both digests are told."""
    task = calculation(site)
    site.place(task)
    expected = task.inputs[0].file.sha256
    write_frames(site.root / "structure.extxyz", [copper()])
    assert site.run(task).returncode == 0
    found = sha256_of(site.root / "structure.extxyz")
    reason, message = failed(site)
    assert reason is Reason.BAD_INPUT
    assert message.startswith("input structure: ")
    assert f"has sha256 {found}, expected {expected}" in message


def test_an_input_that_is_missing_is_bad_input(site: Site) -> None:
    """Its path is told."""
    task = calculation(site)
    site.place(task)
    (site.root / "structure.extxyz").unlink()
    site.run(task)
    reason, message = failed(site)
    assert reason is Reason.BAD_INPUT
    assert message == f"input structure: {site.root}/structure.extxyz does not exist"


def test_an_input_too_few_is_bad_input(site: Site) -> None:
    """A task without the input that it needs says which."""
    task = task_of(calculation(site).parameters)
    site.place(task)
    site.run(task)
    assert failed(site) == (
        Reason.BAD_INPUT,
        f"{task.id} needs one input named 'structure', it has 0",
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("calculator", "reason", "text"),
    [
        (
            "no.such.Calculator",
            Reason.BAD_INPUT,
            "calculator no.such.Calculator: No module named 'no'",
        ),
        ("kit.oracles.Broken", Reason.CRASHED, "RuntimeError: a bug of its own"),
        ("kit.oracles.Greedy", Reason.OUT_OF_MEMORY, "Python could not allocate memory"),
    ],
)
def test_every_way_to_fail_is_an_outcome(
    site: Site, calculator: str, reason: Reason, text: str
) -> None:
    """The reason decides what is tried next; the log in the task's folder has the whole story."""
    task = calculation(site, calculator)
    folder = site.place(task)
    assert site.run(task, PYTHONPATH=str(TESTS)).returncode == 0
    found, message = failed(site)
    assert found is reason
    assert message.startswith(text)
    assert len(message) <= 4000
    assert ("bad_input: " if reason is Reason.BAD_INPUT else "Traceback") in (
        folder / "run-1" / "log.txt"
    ).read_text()


def begun(site: Site, task: Task, mark: str, **environment: str) -> "subprocess.Popen[str]":
    """An attempt that runs, once it has left its mark."""
    folder = site.place(task)
    before = newest_run(folder)
    process = subprocess.Popen(
        site.command(task),
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    until = time.monotonic() + TASK_TIMEOUT_S
    while newest_run(folder) == before or not (newest_run(folder) / mark).exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.02)
    return process


@pytest.mark.slow
def test_what_fails_after_it_was_asked_to_stop_leaves_the_word_to_the_scheduler(site: Site) -> None:
    """A tool killed along with its job is no crash.

    Whether walltime or a person ended it, the scheduler knows.
    """
    process = begun(
        site,
        calculation(site, "kit.oracles.Torn", {"seconds": 1.0}),
        "begun",
        PYTHONPATH=str(TESTS),
    )
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TASK_TIMEOUT_S)
    assert process.returncode == 1
    assert not (site.root / "outbox").exists()


@pytest.mark.slow
def test_what_fails_a_moment_before_it_is_asked_to_stop_does_so_too(site: Site) -> None:
    """What ends a job reaches its codes first, maybe."""
    task = calculation(site, "kit.oracles.Torn", {"seconds": 0.0})
    process = begun(site, task, "begun", PYTHONPATH=str(TESTS))
    log = newest_run(site.root / task.workdir) / "log.txt"
    wait_for(lambda: "a tool ended with status -15" in log.read_text())
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=TASK_TIMEOUT_S)
    assert process.returncode == 1
    assert not (site.root / "outbox").exists()


@pytest.mark.slow
def test_what_is_done_although_it_was_asked_to_stop_is_done(site: Site) -> None:
    """A label that is finished in the time that is left is a label."""
    task = calculation(site, "kit.oracles.Slow", {"seconds": 1.0})
    process = begun(site, task, "begun", PYTHONPATH=str(TESTS))
    process.send_signal(signal.SIGTERM)
    _, message = process.communicate(timeout=TASK_TIMEOUT_S)
    assert (process.returncode, message) == (0, "asked to stop\n")
    assert site.outcome().status == "done"


@pytest.mark.slow
def test_a_reader_of_the_outbox_never_sees_half_an_outcome(tmp_path: Path) -> None:
    """Files are placed whole: while one is written over and over, every look finds a whole one."""
    target = tmp_path / "outcome.json"
    code = (
        "import sys; from pathlib import Path; from mlip_autopipec.work.job import as_json,"
        " write_atomic\nfor number in range(80): write_atomic(Path(sys.argv[1]), as_json({'n':"
        " [number] * 20_000}))"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(target)])
    seen = set()
    while process.poll() is None:
        if target.exists():
            content = json.loads(target.read_bytes())["n"]
            assert len(content) == 20_000
            seen.add(content[0])
    assert process.returncode == 0
    assert len(seen) > 1
    assert [path.name for path in tmp_path.iterdir()] == ["outcome.json"]


def test_what_is_no_number_is_no_json(tmp_path: Path) -> None:
    """NaN and infinities are refused before a file is touched."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match="JSON"):
            write_atomic(tmp_path / "x", as_json({"value": value}))
    assert list(tmp_path.iterdir()) == []


def test_the_probe_names_what_is_missing() -> None:
    """A Python without the packages is refused before a campaign begins on it."""
    asked = PROBE.replace("['probe']", "['probe', 'phonopy']")
    code = f"import sys; sys.path.insert(0, {str(TOP)!r})\n{asked}"
    lacking = subprocess.run(
        [sys.executable, "-S", "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert lacking.returncode == 1
    assert lacking.stderr.startswith("it has no numpy, ase, ")
    assert lacking.stderr.endswith(
        "phonopy (for this machine: pip install 'mlip-autopipec[demo,phonons]')\n"
    )


@pytest.mark.codes
def test_the_probe_is_content_where_the_demo_extra_is(site: Site) -> None:
    """Nothing to say, status 0."""
    done = subprocess.run(
        [sys.executable, site.root / pack().path, "probe"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_generation_gives_a_valid_outcome(site: Site) -> None:
    """Through the zipapp and the schema of outcomes, with every structure proved."""
    task = generation()
    site.place(task)
    site.run(task)
    metrics = site.outcome().metrics
    assert metrics is not None
    assert metrics.kind == "generate"
    for structure in metrics.structures:
        assert sha256_of(site.root / structure.file.path) == structure.file.sha256


@pytest.fixture
def grown(tmp_path_factory: pytest.TempPathFactory, site: Site) -> Site:
    """A site with a potential and labels in it."""
    pytest.importorskip("pyace", reason="needs the demo extra")
    fitted: Fitted = fit_once(tmp_path_factory)
    for folder in ("potentials", "labels"):
        shutil.copytree(fitted.root / folder, site.root / folder)
    return site


def potential(site: Site, prefix: str = "potential") -> list[tuple[str, FileRef]]:
    """The potential as an input."""
    folder = site.root / "potentials/001"
    return [
        (f"{prefix}_{kind}", ref(site.root, folder / f"potential.{kind}"))
        for kind in ("yaml", "asi")
    ]


@pytest.mark.codes
def test_exploration_selection_and_training_give_valid_outcomes(grown: Site) -> None:
    """One after the other as in a cycle, each reading what the one before has proved."""
    root = grown.root
    walker = explore_parameters(
        {"temperature_kelvin": 2000.0}, gamma_select=2.0, gamma_halt=50.0, stride=2
    )
    explored = ended(grown, task_of(walker, potential(grown)), 0)
    assert explored.metrics is not None
    assert explored.metrics.kind == "explore"
    selecting = SelectParameters(
        elements=("Cu",),
        candidates_max=2,
        audit=1,
        gamma_select=2.0,
        distance_min_angstrom=1.5,
        duplicate_rmsd_angstrom=0.05,
        seed=1,
    )
    selected = ended(
        grown, task_of(selecting, [*potential(grown), ("frames", explored.artefacts["frames"])]), 1
    )
    assert selected.metrics is not None
    assert selected.metrics.kind == "select"
    assert selected.metrics.frames > 0
    labels = [("label", ref(root, path)) for path in sorted((root / "labels").iterdir())]
    parameters = train_parameters(
        potential_folder="potentials/002", dataset_file="dataset/002.extxyz"
    )
    trained = ended(grown, task_of(parameters, [*labels, *potential(grown, "current")]), 2)
    assert trained.metrics is not None
    assert trained.metrics.kind == "train"
    assert trained.metrics.test_of_current is not None
    assert trained.artefacts.keys() == {
        "dataset",
        "metrics",
        "parity",
        "potential_asi",
        "potential_yace",
        "potential_yaml",
    }
    for file in trained.artefacts.values():
        assert sha256_of(root / file.path) == file.sha256
    assert trained.artefacts["potential_yace"].path == "potentials/002/potential.yace"


def ended(site: Site, task: Task, index: int) -> Outcome:
    """The outcome of an attempt that is done."""
    site.place(task)
    done = subprocess.run(
        site.command(task, index=index),
        capture_output=True,
        text=True,
        timeout=TASK_TIMEOUT_S,
        check=False,
    )
    outcome = site.outcome(index)
    assert (outcome.status, done.returncode) == ("done", 0), (outcome.message, done.stderr)
    return outcome


def stopped_walker(site: Site, task: Task, number: signal.Signals) -> tuple[int, int]:
    """A walker's exit status and last said step, when asked to stop some steps after it began."""
    process = begun(site, task, "gamma.csv")
    until = time.monotonic() + TASK_TIMEOUT_S
    trace = newest_run(site.root / task.workdir) / "gamma.csv"
    before = len(trace.read_text().splitlines())
    while len(trace.read_text().splitlines()) < before + 5:
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=TASK_TIMEOUT_S)
    return process.returncode, int(read_trace(trace)[-1, 0])


@pytest.mark.codes
def test_a_walker_goes_on_where_the_walltime_stopped_it(grown: Site) -> None:
    """SIGUSR1 ends the attempt as timeout and says how far it came.

    The next one goes on there, and nothing is lost.
    """
    task = task_of(explore_parameters({"steps": 1_000_000}, gamma_select=0.5), potential(grown))
    status, step = stopped_walker(grown, task, signal.SIGUSR1)
    outcome = grown.outcome()
    assert status == 0
    assert (outcome.status, outcome.reason) == ("failed", "timeout")
    assert outcome.message == f"stopped at step {step}, to go on from there"
    assert outcome.reached == step / 1_000_000 > 0
    shutil.rmtree(grown.root / "outbox")
    shutil.rmtree(grown.root / task.workdir / f"claim.{JOB_NAME}")
    status, later = stopped_walker(grown, task, signal.SIGUSR1)
    assert later > step
    assert grown.outcome().reached == later / 1_000_000
    trace = read_trace(grown.root / task.workdir / "run-2" / "gamma.csv")
    assert trace[:, 0].tolist() == list(range(0, later + 1, 5))


@pytest.mark.codes
def test_sigterm_leaves_a_checkpoint_and_the_word_to_the_scheduler(grown: Site) -> None:
    """It may be the end of the walltime, preemption or a person.

    No outcome is left, and the same job goes on when requeued.
    """
    task = task_of(
        explore_parameters({"steps": 1500, "timestep_fs": 1.0}, stride=10), potential(grown)
    )
    status, step = stopped_walker(grown, task, signal.SIGTERM)
    assert (status, (grown.root / "outbox").exists()) == (1, False)
    requeued = grown.run(task, SLURM_RESTART_COUNT="1")
    assert requeued.returncode == 0, requeued.stderr
    assert (
        "read_restart checkpoint.last"
        in (grown.root / task.workdir / "run-2" / "in.lammps").read_text()
    )
    metrics = grown.outcome().metrics
    assert isinstance(metrics, ExploreMetrics)
    assert (metrics.ending, metrics.steps, metrics.steps_planned) == ("completed", 1500, 1500)
    assert [point[0] for point in metrics.gamma_trace] == list(range(0, 1501, 10))
    assert 0 < step < 1500


@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "cycles", "cycles/001", "outbox"])
def test_a_folder_of_the_root_may_be_a_link_to_another_file_system(
    tmp_path: Path, folder: str
) -> None:
    """What a task tells of its files is their way from the root, and not where the link leads."""
    scratch, root = tmp_path / "scratch", tmp_path / "root"
    scratch.mkdir()
    (root / folder).parent.mkdir(parents=True, exist_ok=True)
    (root / folder).symlink_to(scratch, target_is_directory=True)
    site = Site.at(root)
    site.place(generation())
    site.run(generation())
    outcome = site.outcome()
    assert outcome.status == "done", outcome.message
    (first, *_) = outcome.metrics.structures  # type: ignore[union-attr]
    assert first.file.path.startswith("cycles/")
    assert (root / first.file.path).is_file()


def test_a_file_that_a_code_tells_by_its_true_path_is_found_behind_the_link(tmp_path: Path) -> None:
    """And one that is outside of the root is refused in words."""
    scratch, root = tmp_path / "scratch", tmp_path / "root"
    (scratch / "task").mkdir(parents=True)
    root.mkdir()
    (root / "cycles").symlink_to(scratch)
    job = Job(
        root=root, workdir=root / "cycles/task", task="t", parameters=None, inputs={}, cores=1
    )
    for path in (scratch / "task/there", tmp_path / "elsewhere"):
        path.write_bytes(b"x")
    assert job.ref(scratch / "task/there").path == "cycles/task/there"
    assert job.ref(root / "cycles/task/there").path == "cycles/task/there"
    with pytest.raises(TaskFailed, match="elsewhere is not below the site's root"):
        job.ref(tmp_path / "elsewhere")


@pytest.mark.parametrize(
    ("number", "name", "reason"),
    [
        (errno.ENOSPC, None, "storage"),
        (errno.EDQUOT, "cycles/003/outcome.json", "storage"),
        (errno.ESTALE, "/site/outbox", "storage"),
        (errno.EROFS, "/site/outbox", "storage"),
        (errno.EIO, None, "storage"),
        (errno.ENOSPC, "/local/scratch", "node_unfit"),
        (errno.EROFS, "/var/run/x", "node_unfit"),
        (errno.EKEYEXPIRED, "/site/outbox", "access"),
        (errno.EACCES, "/site/outbox", "access"),
        (errno.EACCES, "/etc/shadow", "crashed"),
        (errno.ENOENT, "/site/outbox", "crashed"),
    ],
)
def test_a_failed_system_call_names_whose_fault_it_is(
    number: int, name: str | None, reason: str
) -> None:
    """The root's file system, the right to use it, or another disk of the node."""
    assert reason_of(OSError(number, os.strerror(number), name), Path("/site")) == reason


@pytest.mark.slow
def test_a_disk_that_takes_no_outcome_is_told_by_the_exit_status(site: Site) -> None:
    """And on standard error, which is the job's last words where there is room for them."""
    task = calculation(site, "no.such.Calculator")
    site.place(task)
    full = 'mount -t tmpfs -o size=4k tmpfs "$0" && head -c 4096 /dev/zero >"$0/full"; exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", full, str(site.root / "outbox"), *site.command(task)]
    (site.root / "outbox").mkdir(exist_ok=True)

    done = subprocess.run(
        command, cwd=site.root, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == EXIT_CODES["storage"]
    assert "No space left on device" in done.stderr
    assert list((site.root / "outbox").iterdir()) == []


def test_what_no_file_system_is_to_blame_for_is_told_as_it_is(site: Site) -> None:
    """A task that is not there is no full disk: its last words name the file."""
    task = calculation(site, "no.such.Calculator")
    (site.place(task) / "task.json").unlink()
    done = site.run(task)
    assert done.returncode == 1
    assert (
        done.stderr.strip()
        .rpartition("\n")[2]
        .startswith("FileNotFoundError: [Errno 2] No such file or directory: ")
    )


@pytest.mark.slow
def test_a_folder_where_progress_is_told_ends_no_attempt(site: Site) -> None:
    """It is for people only: the outcome comes all the same."""
    task = calculation(site, "no.such.Calculator")
    (site.place(task) / "progress.json").mkdir()
    done = site.run(task)
    assert done.returncode == 0, done.stderr
    assert site.outcome().reason is Reason.BAD_INPUT


#: What somebody may have made of a name before the program needs it.
IN_THE_WAY = [
    Path.mkdir,
    os.mkfifo,
    lambda path: path.symlink_to("nowhere"),
    lambda path: path.write_text("{"),
]


@pytest.mark.parametrize("make", IN_THE_WAY)
def test_names_that_something_else_has_are_gone_round(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """What is for people only is not told.

    Files of the campaign get another name, and nothing waits for a pipe.
    """
    folder = tmp_path / "task"
    (tmp_path / "potentials").mkdir()
    folder.mkdir()
    for name in ("progress.json", f"run-{'9' * 200}", "run-1"):
        make(folder / name)
    made, _ = make_run_folder(folder)
    assert made.name == "run-2"
    job = Job(
        root=tmp_path,
        workdir=made,
        task="t",
        parameters=None,
        inputs={},
        cores=1,
        task_folder=folder,
    )
    job.progress(0.5, "half")
    assert not job.stopping.is_set()
    (made / "fit").mkdir()
    (made / "fit" / "potential.yaml").touch()
    (made / "label.extxyz").touch()
    make(tmp_path / "potentials" / "003")
    make(tmp_path / "potentials" / "003.extxyz")
    placed = place_new(made / "fit", tmp_path / "potentials" / "003")
    assert (placed / "potential.yaml").is_file()
    assert (
        place_new(made / "label.extxyz", tmp_path / "potentials" / "003.extxyz").name
        == "003.2.extxyz"
    )


def test_what_cannot_be_placed_under_any_name_is_an_error(tmp_path: Path) -> None:
    """Only a name that is taken leads to the next."""
    with pytest.raises(FileNotFoundError):
        place_new(tmp_path / "nothing", tmp_path / "new" / "potentials" / "003")
    assert list((tmp_path / "new" / "potentials").iterdir()) == []


@pytest.mark.parametrize("make", IN_THE_WAY)
def test_a_claim_that_nobody_can_read_is_somebody_elses(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Nothing waits for it, and nothing is taken for a life of this job."""
    (tmp_path / "claim.uid").mkdir()
    make(tmp_path / "claim.uid" / "started.json")
    if not (tmp_path / "claim.uid" / "started.json").is_symlink():
        assert not claim(tmp_path, "uid", "17")
    make(tmp_path / "claim.other")
    assert not claim(tmp_path, "other", "17")
