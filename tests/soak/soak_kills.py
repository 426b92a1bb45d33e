"""Real daemons on this machine that are killed or refused by their disk, and what is left.

They are killed by SIGKILL at random moments.
"""

import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit.daemons import Campaign, assert_nothing_doubled_or_lost, assert_replays
from kit.lives import PATIENCE_S, SPAN_S, has_verdict, life, written
from kit.simulated import Begin
from soak_deeds import complaints, give_data_set, people, reopen_perhaps
from soak_table import Row, Tell

from mlip_autopipec.daemon.service import VERDICT_EXIT_CODES
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.testing.physics import SHIFTED

_STARTING, _WORKING = "SIGKILL while it starts", "SIGKILL at work"
_VERDICTS = frozenset(VERDICT_EXIT_CODES.values())
#: What strace lets the kernel answer with, at the n-th such call on a journal file.
_REFUSALS = ("fdatasync:error=EIO", "write:error=ENOSPC", "write:error=EIO")


def soak_kills(number: int, seed: int, tell: Tell) -> Row:
    """Campaigns one after another, until that many daemons have been killed.

    In every second one people do things.
    """
    rng, row = random.Random(seed), Row("real daemons killed by SIGKILL")  # noqa: S311 - moments, not secrets
    began_s = time.monotonic()
    while row.faults.total() < number:
        with quick_campaign(row) as campaign:
            if row.runs % 2:
                _live_with_people(campaign, number, rng, row, tell)
                continue
            code = _live(campaign, number, rng, row, tell)
            _judge(campaign, code, row)
    row.took_s = time.monotonic() - began_s
    return row


def _live(campaign: Campaign, number: int, rng: random.Random, row: Row, tell: Tell) -> int:
    """Daemon after daemon, until one ends by itself; its exit code."""
    code = None
    while code is None:
        last = row.faults.total() >= number or has_verdict(campaign)
        before = written(campaign)
        # A slow machine would kill every daemon as it starts: half of the lives begin with the
        # first record.
        from_record = rng.random() < 0.5
        code = life(campaign, PATIENCE_S if last else rng.uniform(*SPAN_S), from_record=from_record)
        row.faults[_WORKING if written(campaign) > before else _STARTING] += code is None
        tell(f"{row.faults.total()} of {number} kills, campaign {row.runs + 1}")
    return code


def _live_with_people(
    campaign: Campaign, number: int, rng: random.Random, row: Row, tell: Tell
) -> None:
    """The same, while somebody reloads, sets, adds, goes back, skips and retries.

    Somebody also reopens what has ended.
    """
    begin = Begin(dataset=SHIFTED) if row.runs % 4 == 1 else Begin()
    if begin.dataset:
        give_data_set(campaign)
    with people(campaign, rng.randrange(10**6)):
        code = _live(campaign, number, rng, row, tell)
        if code in _VERDICTS and reopen_perhaps(campaign, rng):
            code = _live(campaign, number, rng, row, tell)
    row.runs += 1
    if code not in _VERDICTS:
        row.complain(
            f"{campaign.config.parent}: the daemon ended with {code}: {campaign.output()[-500:]}"
        )
        return
    row.verdicts += 1
    for message in complaints(campaign, begin):
        row.complain(f"{campaign.config.parent}: {message}")


def soak_disk(number: int, seed: int, tell: Tell) -> Row:
    """Daemons whose disk fails under the journal; each then lives on with a disk that works."""
    rng, row = random.Random(seed), Row("real daemons refused by their disk")  # noqa: S311
    began_s = time.monotonic()
    while row.faults.total() < number:
        with quick_campaign(row) as campaign:
            for refusal in _REFUSALS:
                ended = _refused(campaign, refusal, rng.randint(1, 12))
                message = refusal.replace(":error=", " ")
                row.faults[message] += "cannot be written" in ended
                if "Traceback" in ended:
                    row.complain(f"{message}: {ended[-500:]}")
                tell(f"{row.faults.total()} of {number} refusals, campaign {row.runs + 1}")
            _judge(campaign, life(campaign, PATIENCE_S), row)
    row.took_s = time.monotonic() - began_s
    return row


@contextmanager
def quick_campaign(row: Row) -> Iterator[Campaign]:
    """A campaign in a folder of its own, which is removed if nothing is found there."""
    folder = Path(tempfile.mkdtemp(prefix="soak-"))
    yield Campaign.quick(folder)
    if not row.complaints:
        shutil.rmtree(folder)


def _refused(campaign: Campaign, refusal: str, when: int) -> str:
    """What a daemon says at its end whose `when`-th such call on the journal fails."""
    journal = campaign.folder / "journal"
    newest = max(journal.glob("journal-*.jsonl"), default=journal / "journal-000001.jsonl")
    call = refusal.partition(":")[0]
    strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-P", str(newest), "-e", f"trace={call}"]
    daemon = [
        sys.executable,
        "-m",
        "mlip_autopipec.daemon",
        "--config",
        str(campaign.config),
        "--exit-on-verdict",
    ]
    done = subprocess.run(
        [*strace, "-e", f"inject={refusal}:when={when}", *daemon],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    return done.stderr


def _judge(campaign: Campaign, code: int | None, row: Row) -> None:
    """A campaign that has come to its end."""
    row.runs += 1
    if code not in _VERDICTS:
        row.complain(
            f"{campaign.config.parent}: the daemon ended with {code}: {campaign.output()[-500:]}"
        )
        return
    row.verdicts += 1
    for check in (assert_nothing_doubled_or_lost, assert_replays):
        try:
            check(campaign)
        except AssertionError as error:
            row.complain(f"{campaign.config.parent}: {error}")
    planned = {
        task.id: task
        for event in campaign.events()
        if isinstance(event, ev.PhaseStarted)
        for task in event.tasks
    }
    ended = {event.outcome.task for event in campaign.events() if isinstance(event, ev.TaskEnded)}
    claims = [
        len(list((campaign.root / task.workdir).glob("claim.*"))) for task in planned.values()
    ]
    row.doubled += sum(number > 1 for number in claims)
    row.lost += len(planned.keys() - ended)
