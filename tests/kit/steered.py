"""The small campaign, steered in every phase: once for all tests that compare with it."""

import asyncio
import functools
import subprocess
import time
from collections.abc import Callable

import pytest

from kit.daemons import Campaign
from kit.once import shared_folder
from mlip_autopipec.control.address import socket_path
from mlip_autopipec.control.client import ControlClient
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.data_models.state import WorkflowState
from mlip_autopipec.orchestration.machine import evolve


def steered_once(factory: pytest.TempPathFactory) -> Campaign:
    """A campaign that was paused, asked and resumed until that had been done in every phase.

    It is run at the first call of the whole test run, whichever process makes it.
    """
    with shared_folder(factory, "steered") as folder:
        if (folder / "ended").exists():
            return Campaign.in_folder(folder)
        campaign = Campaign.small(folder)
        _steer(campaign)
        (folder / "ended").touch()
        return campaign


def _steer(campaign: Campaign) -> None:
    daemon = campaign.start("--exit-on-verdict")
    socket = socket_path(campaign.folder)
    client = ControlClient(socket)  # the command line would be too slow for Generation
    try:
        wait_for(socket.exists, daemon)
        asyncio.run(client.pause("at once"))
        while True:
            # A batch that was begun and not handed over when the pause came stays so: it has no
            # job.
            wait_for(lambda: not asyncio.run(has_jobs(client)), daemon)
            assert asyncio.run(client.status()).status == "paused"
            begun = submissions(campaign)
            time.sleep(0.5)
            assert submissions(campaign) == begun
            asyncio.run(client.resume())
            wait_for(functools.partial(has_begun_more, campaign, begun), daemon)
            if steered_phases(campaign) == set(Phase):
                break
            asyncio.run(client.pause(f"after {begun} batches"))
            pause = asyncio.run(client.status()).pause
            assert pause is not None
            assert pause.reason == f"after {begun} batches"
        assert daemon.wait(timeout=300) == 0, campaign.output()
    finally:
        daemon.kill()
        daemon.wait()


def wait_for(
    condition: Callable[[], bool], daemon: "subprocess.Popen[str]", timeout_s: float = 120
) -> None:
    """Until the condition holds, the daemon has ended, or time is over (then the test fails)."""
    until = time.monotonic() + timeout_s
    while not condition() and daemon.poll() is None:
        assert time.monotonic() < until, "the condition did not come about"
        time.sleep(0.1)


async def has_jobs(client: ControlClient) -> bool:
    """Whether any task is in a job."""
    return any(task.job_id for task in (await client.status()).active_tasks)


def steered_phases(campaign: Campaign) -> set[Phase | None]:
    """In which phases the campaign was paused or resumed."""
    state, phases = WorkflowState(), set()
    for event in campaign.events():
        state = evolve(state, event)
        if isinstance(event, ev.Paused | ev.Resumed):
            phases.add(state.current_phase)
    return phases


def has_begun_more(campaign: Campaign, begun: int) -> bool:
    """Whether something was submitted since."""
    return submissions(campaign) > begun


def submissions(campaign: Campaign) -> int:
    """How many batches have been begun."""
    return sum(isinstance(event, ev.SubmissionBegun) for event in campaign.events())
