"""Whatever befalls jobs, Slurm, the way there or the daemon: the campaign ends as it would anyway.

What must be true at the end is judged by the stand, from the journal, the claims and slurmctld's
own records.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.lab_faults import (
    OVER_MEMORY,
    Line,
    Struck,
    campaign_on,
    cut_line,
    freeze_controller,
    hang,
    judge,
    kill_daemon_in_submission,
    kill_slurmd,
    lab_and_line,
    lose_node,
    requeue,
    restart_controller,
    restart_sshd,
    scancel,
)
from kit.slurm_lab import Lab

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason

pytestmark = [pytest.mark.lab, pytest.mark.codes, pytest.mark.timeout(1200)]
Cluster = tuple[dict[str, str], Lab, Line]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """A lab that runs, and a line to it."""
    with lab_and_line(tmp_path_factory.mktemp("line")) as made:
        yield made


def reasons(struck: Struck) -> set[Reason]:
    """Why attempts were lost, or failed."""
    lost = {event.reason for event in struck.events() if isinstance(event, ev.AttemptLost)}
    failed = {event.outcome.reason for event in struck.events() if isinstance(event, ev.TaskEnded)}
    return lost | {reason for reason in failed if reason is not None}


def test_a_campaign_outlives_what_befalls_its_jobs(cluster: Cluster, tmp_path: Path) -> None:
    """One is over its memory, one hangs, one is cancelled and one sent back.

    The node of one goes down, and records vanish.
    """
    with campaign_on(*cluster, tmp_path, OVER_MEMORY) as struck:
        hang(struck, Phase.CALCULATION)
        scancel(struck, Phase.CALCULATION)
        requeue(struck, Phase.CALCULATION)
        # Else the node might go down with the one that hangs, before its walltime is over.
        struck.until(lambda: Reason.TIMEOUT in reasons(struck) or None, patience_s=300)
        lose_node(struck, Phase.CALCULATION)
        kill_slurmd(struck)

        assert struck.finish() == 0, struck.output()

        judge(struck)
        assert reasons(struck) >= {Reason.OUT_OF_MEMORY, Reason.TIMEOUT, Reason.CANCELLED}


def test_a_campaign_outlives_what_befalls_the_site_and_the_daemon(
    cluster: Cluster, tmp_path: Path
) -> None:
    """A controller stands still in an sbatch, or begins anew; a daemon is killed there.

    There is no way in, or a line is cut.
    """
    with campaign_on(*cluster, tmp_path) as struck:
        freeze_controller(struck)
        kill_daemon_in_submission(struck)
        restart_controller(struck)
        restart_sshd(struck)
        cut_line(struck)

        assert struck.finish() == 0, struck.output()

        judge(struck)
        adopted = {
            event.job_name
            for event in struck.events()
            if isinstance(event, ev.SubmissionAccepted) and event.adopted
        }
        assert adopted
