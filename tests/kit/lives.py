"""Lives of a daemon, forked from this process to save imports; each ends by itself or by SIGKILL.

python -m kit.lives SITE_FILE KILLS SEED goes on until the campaign has its verdict, and prints how
many were killed.
"""

import os
import random
import signal
import sys
import time
from pathlib import Path

from kit.daemons import Campaign
from mlip_autopipec.daemon.service import main
from mlip_autopipec.data_models import events as ev

#: What a killed daemon lives for; and how long anyone waits for one that is left alone, on a busy
#: machine.
SPAN_S = (0.02, 1.5)
PATIENCE_S = 600.0


def life(campaign: Campaign, span_s: float, *, from_record: bool = False) -> int | None:
    """One daemon; None if it had to be killed.

    Its span begins with the fork, or with the first record it writes.
    """
    before = written(campaign)
    pid = os.fork()
    if pid == 0:
        _be_daemon(campaign)
    began_s = time.monotonic()
    patience_ends_s, ends_s = began_s + PATIENCE_S, began_s + span_s
    while time.monotonic() < min(ends_s, patience_ends_s):
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
        if from_record:
            ends_s, from_record = time.monotonic() + span_s, written(campaign) == before
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def written(campaign: Campaign) -> int:
    """Bytes of its journal."""
    return sum(
        path.stat().st_size for path in (campaign.folder / "journal").glob("journal-*.jsonl")
    )


def has_verdict(campaign: Campaign) -> bool:
    """Whether all that is left is the last report.

    A daemon that draws it is not what is to be killed.
    """
    return any(isinstance(event, ev.VerdictReached) for event in campaign.events())


def _be_daemon(campaign: Campaign) -> None:
    """autopipecd, to its end."""
    output = os.open(
        campaign.config.parent / "daemon.out", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    os.dup2(output, 1)
    os.dup2(output, 2)
    code: object = 70
    try:
        main(["--config", str(campaign.config), "--exit-on-verdict"])
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code if isinstance(code, int) else 70)


def _lives(campaign: Campaign, kills: int, rng: random.Random) -> int:
    """Daemon after daemon, until one ends by itself; the number of those that were killed."""
    killed = 0
    while True:
        # A slow machine would kill every daemon as it starts: half of the lives begin with the
        # first record.
        span_s = PATIENCE_S if killed >= kills or has_verdict(campaign) else rng.uniform(*SPAN_S)
        code = life(campaign, span_s, from_record=rng.random() < 0.5)
        if code is not None:
            if code:
                raise SystemExit(f"the daemon ended with {code}")
            return killed
        killed += 1


if __name__ == "__main__":
    config = Path(sys.argv[1])
    folder = Campaign(config, config.parent / "campaign", config.parent / "site")
    print(_lives(folder, int(sys.argv[2]), random.Random(int(sys.argv[3]))))  # noqa: S311 - moments, not secrets
