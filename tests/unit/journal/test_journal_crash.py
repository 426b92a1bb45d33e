"""kill -9 at any moment: what was confirmed is there, in order, and the next start goes on."""

import multiprocessing
import random
import time
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from kit.journal_child import append_until_killed
from kit.journals import CREATED, note

from mlip_autopipec.data_models.events import JournalRepaired
from mlip_autopipec.journal.replay import read

ROUNDS = 20
WAIT_S = 30.0


@pytest.mark.slow
def test_nothing_confirmed_is_lost_to_kill(tmp_path: Path) -> None:
    """Over many kills of one journal, every confirmed record is replayed.

    It has the event that was given that place.
    Every other kill waits until a record is confirmed, however slow the disk.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mlip_autopipec.journal.journal"])
    chance = random.Random(20)  # noqa: S311 - a seed makes the moments of the kills repeatable
    for turn in range(ROUNDS):
        receive, send = context.Pipe(duplex=False)
        child = context.Process(target=append_until_killed, args=(tmp_path, send), daemon=True)
        child.start()
        send.close()
        last = _next_number(receive)
        if turn % 2:
            last = _next_number(receive)
            assert last > 0
        time.sleep(chance.uniform(0, 0.03))
        child.kill()
        child.join(WAIT_S)
        last = _last_number(receive, last)
        records = list(read(tmp_path))
        assert last <= len(records)
        for record in records[1:]:
            assert isinstance(record.event, JournalRepaired) or note(record.seq) == record.event
        assert records[0].event == CREATED


def _next_number(receive: Connection) -> int:
    assert receive.poll(WAIT_S)
    number: int = receive.recv()
    return number


def _last_number(receive: Connection, last: int) -> int:
    """The highest number the child sent before it died; one cut short by the kill was not sent."""
    with receive:
        while True:
            try:
                last = max(last, receive.recv())
            except (EOFError, OSError):
                return last
