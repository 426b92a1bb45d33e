"""What the doctor makes of a site's answers: one bad answer at a time, all else in order."""

import asyncio
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlip_autopipec.contract.doctor import Examined
from mlip_autopipec.data_models.finding import Colour
from mlip_autopipec.doctor.diagnosis import Facts, diagnose, render
from mlip_autopipec.schedulers.slurm_doctor import Reply, SlurmFacts, judge, with_partitions
from mlip_autopipec.transports.local import LocalTransport

SLURM = SlurmFacts(
    config={"SLURM_VERSION": "22.05.8"},
    array_tasks_max=1001,
    times_s={"MinJobAge": 300, "MessageTimeout": 10},
    sacct=Reply(1, "Slurm accounting storage is disabled"),
    trials={"exploration, training": Reply(0, "sbatch: Job 7 to start at 2030-01-01T00:00:00\n")},
)
FACTS = Facts(
    way="login by ssh",
    command_s=0.2,
    clock_skew_s=0.1,
    file_system="lustre",
    free_bytes=10**12,
    free_inodes=10**7,
    queue=tuple(judge(SLURM, array_max=1000, poll_interval_s=30)),
    examined={"gamma": (Examined(fit=True, message="γ of a distorted cell is 9.0"), "")},
)


def with_slurm(array_max: int = 1000, poll_interval_s: int = 30, **changes: Any) -> Facts:
    """The same site with another Slurm."""
    found = judge(replace(SLURM, **changes), array_max=array_max, poll_interval_s=poll_interval_s)
    return replace(FACTS, queue=tuple(found))


def test_a_site_in_order_is_green() -> None:
    """Every line, and none asks for anything."""
    assert {finding.colour for finding in diagnose(FACTS)} == {Colour.GREEN}
    assert not [finding for finding in diagnose(FACTS) if finding.remedy]


CASES = [
    (replace(FACTS, command_s=2.34), "commands", Colour.YELLOW, "2.3 s"),
    (replace(FACTS, clock_skew_s=-7.5), "clock", Colour.YELLOW, "7.5 s behind"),
    (
        replace(FACTS, steps="mkdir succeeds twice: it is not atomic"),
        "root",
        Colour.RED,
        "mkdir succeeds twice",
    ),
    (replace(FACTS, is_local=True), "file system", Colour.YELLOW, "lustre"),
    (replace(FACTS, free_bytes=5 * 2**30), "space", Colour.YELLOW, "5.0 GiB free"),
    (replace(FACTS, free_bytes=2**29), "space", Colour.RED, "0.5 GiB free"),
    (replace(FACTS, free_inodes=500), "inodes", Colour.RED, "500 free"),
    (replace(FACTS, quota="/home 12G* 10G 11G"), "quota", Colour.YELLOW, "/home 12G*"),
    (with_slurm(poll_interval_s=120), "ends", Colour.YELLOW, "sacct does not answer"),
    (
        with_slurm(times_s={"MinJobAge": 300, "MessageTimeout": 100}),
        "timeouts",
        Colour.YELLOW,
        "MessageTimeout 100 s",
    ),
    (with_slurm(array_tasks_max=None), "arrays", Colour.YELLOW, "no limit is told"),
    (
        with_slurm(trials={"training": Reply(1, "Invalid partition name specified")}),
        "sbatch: training",
        Colour.RED,
        "Invalid partition",
    ),
    (replace(FACTS, open_to=(".ap has mode 2775", True)), "others", Colour.RED, "2775"),
    (
        replace(FACTS, open_to=("site.root may be written by others", False)),
        "others",
        Colour.YELLOW,
        "by others",
    ),
    (
        replace(FACTS, local_jobs_compile=False),
        "local jobs",
        Colour.YELLOW,
        "MemoryDenyWriteExecute",
    ),
    (
        replace(FACTS, examined={"gamma": (Examined(fit=False, message="γ is 0.3"), "")}),
        "gamma",
        Colour.RED,
        "γ is 0.3",
    ),
]


@pytest.mark.parametrize(("facts", "about", "colour", "seen"), CASES)
def test_what_is_wrong_has_its_colour_and_says_what_to_do(
    facts: Facts, about: str, colour: Colour, seen: str
) -> None:
    """That line alone; everything else stays green."""
    (found,) = [finding for finding in diagnose(facts) if finding.colour is not Colour.GREEN]
    assert (found.about, found.colour) == (about, colour)
    assert seen in found.seen
    assert found.remedy
    assert any(found.remedy in line for line in render(diagnose(facts)))


def test_a_root_of_ones_own_and_local_jobs_that_compile_are_green() -> None:
    """And each has its line."""
    findings = diagnose(replace(FACTS, open_to=("", False), local_jobs_compile=True))
    assert {finding.colour for finding in findings} == {Colour.GREEN}
    assert {"others", "local jobs"} <= {finding.about for finding in findings}


def test_with_sacct_a_slow_poll_is_no_trouble() -> None:
    """The database remembers what the controller forgets."""
    findings = diagnose(with_slurm(sacct=Reply(0, ""), poll_interval_s=600))
    assert {finding.colour for finding in findings} == {Colour.GREEN}


def test_without_a_connection_nothing_else_is_judged() -> None:
    """One red line, in the transport's own words."""
    (only,) = diagnose(Facts(way="login by ssh", trouble="login: Permission denied. Mend it"))
    assert only.colour is Colour.RED
    assert "Permission denied" in only.seen


def test_the_smaller_bound_on_arrays_counts() -> None:
    """The site's, or the user's own."""
    said = {finding.about: finding.seen for finding in diagnose(with_slurm(array_max=50))}
    assert said["arrays"].startswith("50 tasks at most")


def test_a_misspelt_partition_is_told_with_the_nearest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As sinfo has them; nothing is added if it is silent or sbatch complains of something else."""
    sinfo = tmp_path / "sinfo"
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    script = "#!/bin/sh\n#SBATCH --partition=mian\n"
    refused = Reply(1, "sbatch: error: invalid partition specified: mian")

    def asked(reply: Reply, answer: str) -> str:
        sinfo.write_text(f"#!/bin/sh\n{answer}\n", encoding="utf-8")
        sinfo.chmod(0o755)
        return asyncio.run(with_partitions(reply, script, LocalTransport(tmp_path))).hint

    hint = asked(refused, "echo main; echo short")
    assert hint == "The partitions there are main, short. 'mian': did you mean 'main'? "
    assert asked(refused, "echo broken; exit 1") == ""
    assert asked(Reply(1, "Invalid qos specification"), "echo main") == ""
    found = diagnose(with_slurm(trials={"training": replace(refused, hint=hint)}))
    assert next(each.remedy for each in found if each.about == "sbatch: training").startswith(hint)
