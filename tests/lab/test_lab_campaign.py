"""Silicon on a real Slurm over a real SSH connection, shortened.

The daemon is killed in the middle of it.
"""

import shutil
import subprocess
import sys
import uuid
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from kit.lab import running_lab
from kit.shortened import shortened
from kit.slurm_lab import Lab

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import RunsOn
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import load_state

pytestmark = [pytest.mark.lab, pytest.mark.codes, pytest.mark.timeout(1200)]

AUTOPIPECD = Path(sys.executable).with_name("autopipecd")
#: What is changed of config/campaigns/si.yaml, that two cores and two minutes suffice.
SHORT = {
    "generation": {"structures": 6, "test_structures": 2},
    "exploration": {
        "walkers": [
            {
                "prototype": {
                    "structure": "diamond",
                    "elements": ["Si"],
                    "lattice_constant_angstrom": 5.41,
                    "repeat": [1, 1, 1],
                },
                "ensemble": "npt",
                "temperatures_kelvin": [600],
                "steps": 100,
                "timestep_fs": 2,
            }
        ]
    },
    "selection": {"candidates_max": 3, "audit": 1, "per_walker_max": 2},
    "calculation": {
        "oracle": {
            "pseudopotentials": {"Si": {"file": "Si.pz-vbc.UPF", "ecutwfc_ry": 14}},
            "k_spacing_inverse_angstrom": 0.8,
        }
    },
    "training": {"functions_per_element": 20},
    "convergence": {"cycles_max": 2},
}
KILL_AFTER_S = (3.0, 6.0, 9.0, 5.0)
#: Where the phases run.
QUEUE = {"exploration", "calculation", "training"}
LOGIN = {"generation", "selection"}


@pytest.fixture(scope="module")
def lab() -> Iterator[dict[str, str]]:
    """A lab that runs."""
    with running_lab() as environment, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SLURM_CONF", environment["SLURM_CONF"])
        yield environment


@pytest.fixture
def site_root(lab: dict[str, str]) -> Iterator[Path]:
    """A root in the lab user's home that does not exist yet."""
    root = Path(lab["AUTOPIPEC_LAB_HOME"]) / f"campaign-{uuid.uuid4().hex[:8]}"
    yield root
    shutil.rmtree(root)


def site_file(lab: dict[str, str], root: Path, folder: Path) -> Path:
    """Silicon, shortened, on the lab that runs, with its short phases on the login node."""
    transport = {
        "kind": "ssh",
        "host": "127.0.0.1",
        "port": int(lab["AUTOPIPEC_LAB_SSH_PORT"]),
        "user": lab["AUTOPIPEC_LAB_USER"],
        "identity_file": lab["AUTOPIPEC_LAB_SSH_KEY"],
        "known_hosts": lab["AUTOPIPEC_LAB_KNOWN_HOSTS"],
        "config_file": None,
    }
    site = {
        "root": str(root),
        "python": lab["AUTOPIPEC_LAB_PYTHON"],
        "transport": transport,
        "poll_interval": "1 s",
        "grace": "3 s",
        "resources": {
            **{phase: {"memory": "500 MiB", "walltime": "5 min"} for phase in QUEUE},
            **{phase: {"where": "login", "walltime": "5 min"} for phase in LOGIN},
        },
    }
    return shortened("si", folder, {"site": site, **SHORT})


def test_a_campaign_on_the_cluster_survives_its_daemon(
    lab: dict[str, str], site_root: Path, tmp_path: Path
) -> None:
    """Its daemon is killed repeatedly: a verdict comes, nothing ran twice, each batch is one job.

    Its short phases run on the login node, and slurmctld has never heard of them.
    """
    config = site_file(lab, site_root, tmp_path)
    command: list[str | Path] = [AUTOPIPECD, "--config", config, "--exit-on-verdict"]
    kills = 0
    for patience_s in (*KILL_AFTER_S, 600.0):
        with (tmp_path / "daemon.out").open("a") as output:
            daemon = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
        try:
            assert daemon.wait(timeout=patience_s) in {0, 10}, (tmp_path / "daemon.out").read_text()
            break
        except subprocess.TimeoutExpired:
            kills += 1
        finally:
            daemon.kill()
            daemon.wait()
    assert kills >= 2
    journal = tmp_path / "campaign" / "journal"
    state = replay(journal)
    assert (state, state.check()) == (load_state(tmp_path / "campaign" / "state.json"), ())
    events = [record.event for record in read(journal)]
    planned = [
        task for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    ]
    outcomes = [event.outcome for event in events if isinstance(event, ev.TaskEnded)]
    done = Counter(outcome.task for outcome in outcomes if outcome.status == "done")
    assert done == Counter(task.id for task in planned)
    # Processes that begin at one time on a fresh node may get in each other's way in MPI_INIT.
    failed = [outcome for outcome in outcomes if outcome.status != "done"]
    assert all(
        outcome.kind == "calculate" and "MPI_INIT" in outcome.message for outcome in failed
    ), failed
    ended = Counter(outcome.task for outcome in outcomes)
    for task in planned:
        assert len(list((site_root / task.workdir).glob("claim.*"))) == ended[task.id]
    accepted = Counter(
        event.job_name for event in events if isinstance(event, ev.SubmissionAccepted)
    )
    assert set(accepted.values()) == {1}
    jobs = [event.job_id for event in events if isinstance(event, ev.SubmissionAccepted)]
    assert len(set(jobs)) == len(jobs)
    campaign = next(event.campaign for event in events if isinstance(event, ev.CampaignCreated))
    begun = {event.job_name: event for event in events if isinstance(event, ev.SubmissionBegun)}
    at_login = {job_name for job_name, batch in begun.items() if batch.runs_on is RunsOn.LOGIN}
    assert {job_name.split(".")[2] for job_name in at_login} == LOGIN
    assert {job_name.split(".")[2] for job_name in begun.keys() - at_login} == QUEUE
    assert {
        record.name for record in Lab(Path(lab["AUTOPIPEC_LAB"])).records(campaign)
    } == begun.keys() - at_login
