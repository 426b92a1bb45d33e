"""The routes by which people change their minds.

The kernel says who asks, and refusals are conflicts, in words.
"""

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from kit.control import CREATED, SmallWorkflow, running

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.state import Stage
from mlip_autopipec.errors import ConfigurationError
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk


class Notes:
    """server.Settings that writes down what it is asked, and refuses what is called wrong."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []

    async def reload(
        self, by: ev.Actor, reason: str, *, dry_run: bool
    ) -> tuple[bool, tuple[str, ...]]:
        self.asked.append(("reload", by.uid, reason, dry_run))
        return not dry_run, ("convergence.cycles_max: 4 → 9",)

    async def set_value(
        self, key: str, value: str, by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        if key == "wrong":
            raise ConfigurationError("wrong: no such key")
        self.asked.append(("set", key, value, by.uid, reason))
        return True, ()

    async def add(
        self, files: Sequence[str], purpose: Literal["label", "walk"], by: ev.Actor, reason: str
    ) -> tuple[bool, tuple[str, ...]]:
        self.asked.append(("add", tuple(files), purpose, by.uid, reason))
        return True, ()


def ended() -> Walk:
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    campaign.until(lambda state: state.stage is Stage.ENDED)
    return campaign


async def test_what_is_asked_comes_with_the_peer_and_is_answered_in_lines(tmp_path: Path) -> None:
    """And what cannot be taken is a conflict with its reason."""
    notes, me = Notes(), os.getuid()
    async with running(tmp_path, settings=notes) as stand:
        status, _, body = await stand.request(
            "POST", "/v1/reload", b'{"dry_run": true, "reason": "hotter"}'
        )
        assert (status, body["changed"], body["lines"]) == (
            200,
            False,
            ["convergence.cycles_max: 4 → 9"],
        )
        await stand.request("POST", "/v1/set", b'{"key": "a.b", "value": "9", "reason": "more"}')
        await stand.request("POST", "/v1/add", b'{"files": ["/x.cif"], "purpose": "walk"}')
        refused = await stand.request("POST", "/v1/set", b'{"key": "wrong", "value": "9"}')
        unclear = await stand.request("POST", "/v1/add", b'{"files": [], "purpose": "dance"}')
    assert notes.asked == [
        ("reload", me, "hotter", True),
        ("set", "a.b", "9", me, "more"),
        ("add", ("/x.cif",), "walk", me, ""),
    ]
    assert (refused[0], refused[2]["error"]) == (
        409,
        {"code": "conflict", "message": "wrong: no such key"},
    )
    assert unclear[0] == 400


async def test_a_daemon_without_a_site_file_says_so(tmp_path: Path) -> None:
    """It has nothing to read again."""
    async with running(tmp_path) as stand:
        status, _, body = await stand.request("POST", "/v1/reload")
    assert (status, body["error"]) == (
        409,
        {"code": "conflict", "message": "this daemon reads no site file"},
    )


async def test_nothing_is_added_to_a_campaign_that_has_ended(tmp_path: Path) -> None:
    """It would wait for a round that never comes."""
    notes = Notes()
    async with running(tmp_path, SmallWorkflow(ended().events), settings=notes) as stand:
        status, _, _ = await stand.request("POST", "/v1/add", b'{"files": ["/x.cif"]}')
    assert (status, notes.asked) == (409, [])


async def test_a_phase_is_done_again_only_when_it_is_not_a_dry_run(tmp_path: Path) -> None:
    """The same lines are told before and after; what never began is refused by name."""
    asked = {"cycle": 1, "phase": "training", "reason": "once more"}
    async with running(tmp_path, SmallWorkflow(ended().events)) as stand:
        before = len(stand.workflow.journal)
        status, _, found = await stand.request(
            "POST", "/v1/restart", json.dumps({**asked, "dry_run": True}).encode()
        )
        assert (status, found["changed"], len(stand.workflow.journal)) == (200, False, before)
        refused = await stand.request(
            "POST", "/v1/restart", json.dumps({**asked, "cycle": 9}).encode()
        )
        status, _, done = await stand.request("POST", "/v1/restart", json.dumps(asked).encode())
        (_, event) = stand.workflow.journal[-1]
    assert (status, done["changed"], done["lines"]) == (200, True, found["lines"])
    assert isinstance(event, ev.PhaseRedone)
    assert (event.by.uid, event.reason, event.cycle) == (os.getuid(), "once more", 1)
    assert refused[0] == 409
    assert "no training of cycle 9 has begun" in str(refused[2]["error"])


async def test_no_phase_of_a_campaign_that_has_just_begun_is_done_again(tmp_path: Path) -> None:
    """There is nothing to go back to."""
    async with running(tmp_path, SmallWorkflow((CREATED,))) as stand:
        status, _, body = await stand.request(
            "POST", "/v1/restart", b'{"cycle": 0, "phase": "generation"}'
        )
    assert status == 409
    assert "the last ones were none" in str(body["error"])
