"""The server: who may ask, what it answers, and what it writes down first."""

import asyncio
import os
import pwd
import socket
import stat
import subprocess
import tempfile
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from kit.control import BEGIN, CREATED, SmallWorkflow, Stand, StandClock, running, working

from mlip_autopipec.contract.progress import Progress
from mlip_autopipec.control.limits import Limits
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase, Reason, Verdict
from mlip_autopipec.errors import CampaignLocked, OperatorError
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

NAME = pwd.getpwuid(os.getuid()).pw_name


async def test_info_says_who_answers(tmp_path: Path) -> None:
    """Info names the version, the campaign, the process and the version of the routes."""
    async with running(tmp_path) as stand:
        expected = {"api": 1, "version": "1.2.3", "campaign": "copper-3f9a1c", "pid": os.getpid()}
        status, headers, body = await stand.request("GET", "/v1/info")
    assert (200, expected) == (status, body)
    assert headers["Content-Type"].startswith("application/json")


async def test_pause_is_journalled_with_the_peer_before_it_is_answered(tmp_path: Path) -> None:
    """There is no answer while the disk is slow.

    When it comes, the event with the kernel's uid and pid is in the journal.
    """
    async with running(tmp_path) as stand:
        stand.workflow.disk.clear()
        call = asyncio.create_task(stand.request("POST", "/v1/pause", b'{"reason": "maintenance"}'))
        _, pending = await asyncio.wait([call], timeout=0.2)
        assert pending
        assert stand.workflow.journal == [(1, CREATED)]
        stand.workflow.disk.set()
        status, _, body = await call
        by = ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME)
        assert (2, ev.Paused(at=BEGIN, by=by, reason="maintenance")) == stand.workflow.journal[-1]
    assert (status, body) == (200, {"version": 1, "changed": True, "status": "paused", "seq": 2})


async def test_the_actor_is_never_taken_from_the_message(tmp_path: Path) -> None:
    """A body that claims an actor is refused, and nothing is written."""
    async with running(tmp_path) as stand:
        status, _, body = await stand.request("POST", "/v1/pause", b'{"by": {"uid": 0, "pid": 1}}')
        assert len(stand.workflow.journal) == 1
    assert status == 400
    assert body["error"] == {"code": "bad_request", "message": "by: Extra inputs are not permitted"}


async def test_pausing_again_changes_nothing(tmp_path: Path) -> None:
    """The same pause, or one with no reason, is answered with changed=false and writes no event."""
    async with running(tmp_path) as stand:
        await stand.request("POST", "/v1/pause", b'{"reason": "maintenance"}')
        answers = [
            await stand.request("POST", "/v1/pause", body)
            for body in (b'{"reason": "maintenance"}', b"{}", None)
        ]
        assert len(stand.workflow.journal) == 2
    assert [(status, body["changed"]) for status, _, body in answers] == [(200, False)] * 3


async def test_pausing_for_another_reason_is_a_conflict(tmp_path: Path) -> None:
    """The second of two reasons is refused, in words that name the first."""
    async with running(tmp_path) as stand:
        await stand.request("POST", "/v1/pause", b'{"reason": "maintenance"}')
        status, _, body = await stand.request("POST", "/v1/pause", b'{"reason": "budget"}')
        assert len(stand.workflow.journal) == 2
    message = (
        f"already paused by {NAME} since 2026-01-31 12:00:00 UTC for another reason: maintenance"
    )
    assert (409, {"error": {"code": "conflict", "message": message}}) == (status, body)


async def test_of_two_who_pause_at_once_one_wins(tmp_path: Path) -> None:
    """Steering goes one at a time, so a campaign is never paused twice."""
    async with running(tmp_path) as stand:
        stand.workflow.disk.clear()
        calls = [
            asyncio.create_task(stand.request("POST", "/v1/pause", b'{"reason": "%d"}' % number))
            for number in range(5)
        ]
        await asyncio.wait(calls, timeout=0.2)
        stand.workflow.disk.set()
        statuses = sorted(status for status, _, _ in await asyncio.gather(*calls))
        assert len(stand.workflow.journal) == 2
    assert statuses == [200, 409, 409, 409, 409]


async def test_resume_ends_a_pause_once(tmp_path: Path) -> None:
    """Resume is journalled with its actor; resuming what runs changes nothing."""
    async with running(tmp_path) as stand:
        await stand.request("POST", "/v1/pause")
        first = await stand.request("POST", "/v1/resume", b'{"reason": "done"}')
        second = await stand.request("POST", "/v1/resume")
        by = ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME)
        assert [ev.Paused(at=BEGIN, by=by), ev.Resumed(at=BEGIN, by=by, reason="done")] == [
            event for _, event in stand.workflow.journal[1:]
        ]
    assert first[2] == {"version": 1, "changed": True, "status": "running", "seq": 3}
    assert second[2] == {"version": 1, "changed": False, "status": "running", "seq": 3}


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ((), "no campaign has been created yet"),
        (
            (CREATED, ev.VerdictReached(at=BEGIN, verdict=Verdict.CONVERGED, reason="quiet")),
            "the campaign has ended: converged",
        ),
    ],
)
async def test_what_cannot_be_paused_is_a_conflict(
    tmp_path: Path, events: tuple[ev.Event, ...], message: str
) -> None:
    """Before the first event and after the verdict a pause is refused.

    The state machine never sees it.
    """
    async with running(tmp_path, SmallWorkflow(events)) as stand:
        status, _, body = await stand.request("POST", "/v1/pause")
        assert len(stand.workflow.journal) == len(events)
    assert (409, {"error": {"code": "conflict", "message": message}}) == (status, body)


async def test_status_tells_how_far_tasks_are(tmp_path: Path) -> None:
    """What is known at that moment, though the state is as it was."""
    async with running(tmp_path) as stand:
        _, _, before = await stand.request("GET", "/v1/status")
        stand.progress = {"c000.training.0000-a1b2c3": Progress(done=0.3, message="loss 0.0123")}
        _, _, after = await stand.request("GET", "/v1/status")
    assert before["progress"] == {}
    assert after["progress"] == {"c000.training.0000-a1b2c3": {"done": 0.3, "words": "loss 0.0123"}}
    assert before["seq"] == after["seq"]


async def test_status_is_of_the_published_state_and_of_now(tmp_path: Path) -> None:
    """What is kept between two answers is never older than the state, nor is its time."""
    clock = StandClock()
    async with running(tmp_path, clock=clock) as stand:
        seen = []
        for act in (None, "pause", None, "resume"):
            if act is not None:
                await stand.request("POST", f"/v1/{act}")
            clock.time += timedelta(seconds=1)
            _, _, body = await stand.request("GET", "/v1/status")
            seen.append((body["status"], body["seq"], body["now"]))
    assert seen == [
        ("running", 1, "2026-01-31T12:00:01Z"),
        ("paused", 2, "2026-01-31T12:00:02Z"),
        ("paused", 2, "2026-01-31T12:00:03Z"),
        ("running", 3, "2026-01-31T12:00:04Z"),
    ]


async def test_stop_hands_reason_and_actor_to_the_daemon(tmp_path: Path) -> None:
    """Stop asks the daemon and answers."""
    async with running(tmp_path) as stand:
        status, _, body = await stand.request("POST", "/v1/stop", b'{"reason": "update"}')
        assert [("update", ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME))] == stand.stopped
    assert (status, body["changed"]) == (200, True)


async def test_a_disk_that_hangs_is_told(tmp_path: Path) -> None:
    """A steering call that is not durable in time is answered with what that means.

    The next one still works.
    """
    async with running(tmp_path, limits=Limits(answer_timeout_s=0.1)) as stand:
        stand.workflow.disk.clear()
        status, _, body = await stand.request("POST", "/v1/pause")
        stand.workflow.disk.set()
        again, _, _ = await stand.request("POST", "/v1/pause")
    message = "no answer within 0.1 s; a steering call may still take effect: look at status"
    assert (504, {"error": {"code": "timeout", "message": message}}) == (status, body)
    assert again == 200


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/v1/nothing", None, 404, "not_found"),
        ("GET", "/", None, 404, "not_found"),
        ("DELETE", "/v1/status", None, 405, "method_not_allowed"),
        ("GET", "/v1/pause", None, 405, "method_not_allowed"),
        ("POST", "/v1/pause", b"{", 400, "bad_request"),
        ("POST", "/v1/pause", b'"words"', 400, "bad_request"),
        ("POST", "/v1/pause", b'{"reason": 7}', 400, "bad_request"),
        ("POST", "/v1/pause", b'{"reason": "%s"}' % (b"x" * 2001), 400, "bad_request"),
        ("POST", "/v1/pause", b'{"reason": "%s"}' % (b"x" * 65536), 413, "too_large"),
        ("GET", "/v1/events?after=-1", None, 400, "bad_request"),
        ("GET", "/v1/events?after=1e3", None, 400, "bad_request"),
        ("GET", "/v1/events?after=%D9%A3", None, 400, "bad_request"),
        ("GET", f"/v1/events?after={'9' * 16}", None, 400, "bad_request"),
        ("GET", "/v1/tasks/..%2f..%2fetc/files", None, 404, "not_found"),
        ("GET", "/v1/tasks/c000.training.0000-abcdef/file?name=../../x", None, 400, "bad_request"),
        (
            "GET",
            "/v1/tasks/c000.training.0000-abcdef/file?name=/etc/passwd",
            None,
            400,
            "bad_request",
        ),
        ("GET", "/v1/tasks/c000.training.0000-abcdef/file", None, 400, "bad_request"),
        (
            "GET",
            "/v1/tasks/c000.training.0000-abcdef/file?name=x&begin=-1",
            None,
            400,
            "bad_request",
        ),
        ("GET", "/v1/tasks/c000.training.0000-abcdef/files", None, 404, "not_found"),
    ],
)
async def test_what_is_refused_is_refused_in_json(
    tmp_path: Path, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    """Every refusal has a code and words, and leaves the journal alone."""
    async with running(tmp_path) as stand:
        seen, _, answer = await stand.request(method, path, body)
        assert len(stand.workflow.journal) == 1
    error = answer["error"]
    assert isinstance(error, dict)
    assert (status, code) == (seen, error["code"])
    assert error["message"]


async def test_a_405_names_what_is_allowed(tmp_path: Path) -> None:
    """The header that HTTP asks for is kept."""
    async with running(tmp_path) as stand:
        _, headers, _ = await stand.request("GET", "/v1/pause")
    assert headers["Allow"] == "POST"


async def test_a_fault_of_ours_is_told_and_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An answer that cannot be made is a 500 with its cause, and the server goes on."""

    def broken(_: str, __: ev.Actor) -> None:
        raise ZeroDivisionError("planted")

    async with running(tmp_path) as stand:
        stand.server._stop = broken
        status, _, body = await stand.request("POST", "/v1/stop")
        after, _, _ = await stand.request("GET", "/v1/info")
    assert (status, body) == (
        500,
        {"error": {"code": "internal", "message": "ZeroDivisionError: planted"}},
    )
    assert [record.getMessage() for record in caplog.records] == ["POST /v1/stop failed"]
    assert after == 200


async def test_only_the_owner_can_reach_the_socket(tmp_path: Path) -> None:
    """The folder is 0700 even if it was open before, and the socket 0600."""
    (tmp_path / "control").mkdir(mode=0o777)
    async with running(tmp_path) as stand:
        facts = stand.socket.stat()
        assert stat.S_ISSOCK(facts.st_mode)
        assert (stat.S_IMODE(facts.st_mode), stat.S_IMODE(stand.socket.parent.stat().st_mode)) == (
            0o600,
            0o700,
        )
    assert not stand.socket.exists()


async def test_a_stale_socket_is_taken_over(tmp_path: Path) -> None:
    """What a killed daemon left is no obstacle."""
    (tmp_path / "control").mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control" / "socket"))
    assert (tmp_path / "control" / "socket").is_socket()
    async with running(tmp_path) as stand:
        status, _, _ = await stand.request("GET", "/v1/info")
    assert status == 200


async def test_a_live_socket_is_left_alone(tmp_path: Path) -> None:
    """A second daemon is refused, and the first still answers under its name."""
    async with running(tmp_path) as stand:
        with pytest.raises(CampaignLocked, match="another daemon answers on"):
            await Stand(stand.socket, SmallWorkflow()).server.serve()
        status, _, _ = await stand.request("GET", "/v1/info")
    assert status == 200


async def test_a_file_in_the_way_is_not_removed(tmp_path: Path) -> None:
    """Only what is a socket can be a stale socket."""
    (tmp_path / "control").mkdir()
    precious = tmp_path / "control" / "socket"
    precious.write_text("precious")
    with pytest.raises(OperatorError, match="is no socket"):
        await Stand(precious, SmallWorkflow()).server.serve()
    assert precious.read_text() == "precious"


async def test_one_client_too_many_is_told_so(tmp_path: Path) -> None:
    """Above the limit the answer is 503; when a client has gone, there is room again."""
    async with running(tmp_path, limits=Limits(clients_max=2)) as stand:
        idle = [await asyncio.open_unix_connection(str(stand.socket)) for _ in range(2)]
        status, _, body = await stand.request("GET", "/v1/info")
        idle[0][1].close()
        await idle[0][1].wait_closed()
        async with asyncio.timeout(5):
            # each answer is a turn of the server's loop
            while (await stand.request("GET", "/v1/info"))[0] != 200:
                pass
        idle[1][1].close()
        await idle[1][1].wait_closed()
    message = "2 clients are connected already; try again later"
    assert (503, {"error": {"code": "busy", "message": message}}) == (status, body)


async def test_who_asks_nothing_is_hung_up_on(tmp_path: Path) -> None:
    """An idle connection, and one that never ends its request, are closed by the server."""
    async with running(tmp_path, limits=Limits(idle_timeout_s=0.05)) as stand, asyncio.timeout(5):
        for said in (b"", b"GET /v1/info HT"):
            reader, writer = await asyncio.open_unix_connection(str(stand.socket))
            writer.write(said)
            assert await reader.read() == b""
            writer.close()
            await writer.wait_closed()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be someone else")
async def test_another_user_is_denied() -> None:
    """The kernel's word on the peer keeps others out.

    It would do so were the folder and the socket open to everyone.
    """
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('{}');"
        "s.sendall(b'POST /v1/pause HTTP/1.1\\r\\nHost: any\\r\\nConnection: close\\r\\n\\r\\n');"
        "print(b''.join(iter(lambda: s.recv(4096), b'')).decode())"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with running(folder) as stand:
            for path in (folder, stand.socket.parent, stand.socket):
                os.chmod(path, 0o777)  # noqa: PTH101, S103 - in async code os.* is as good; open to all is the point
            answer = await asyncio.to_thread(
                subprocess.run,
                ["/usr/bin/python3", "-I", "-c", ask.format(stand.socket)],
                user=65534,
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
                cwd="/",
            )
            assert len(stand.workflow.journal) == 1
    assert answer.stdout.startswith("HTTP/1.1 403 ")
    assert (
        '"code":"denied","message":"uid 65534 may not use this socket: it is of uid 0"'
        in answer.stdout
    )


async def test_metrics_are_prometheus_text(tmp_path: Path) -> None:
    """The samples of a campaign at work, in the text format."""
    async with (
        running(tmp_path, SmallWorkflow(working(3))) as stand,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(stand.socket))) as session,
        session.get("http://any/metrics") as response,
    ):
        lines = (await response.text()).splitlines()
        kind = response.headers["Content-Type"]
    assert kind == "text/plain; version=0.0.4; charset=utf-8"
    assert {
        'autopipec_tasks{status="submitted"} 3',
        'autopipec_tasks{status="done"} 0',
        'autopipec_phase{phase="generation"} 1',
        'autopipec_site{health="ok"} 1',
        'autopipec_labels{role="train"} 0',
        "autopipec_halts 0",
        "autopipec_paused 0",
        "autopipec_cycle 0",
        "autopipec_seq 4",
    } <= set(lines)
    assert all(line.startswith("#") or len(line.split()) == 2 for line in lines)


def given_up() -> tuple[ev.Event, ...]:
    """A campaign whose first round has closed, with its last calculation given up."""
    config = copper_config()
    campaign = Walk(config, phase_runners(config))
    batch = campaign.submitted(Phase.CALCULATION)
    campaign.tell(campaign.ended(batch.job_name, 2, Reason.NUMERICAL))
    campaign.until(lambda state: bool(state.quarantine))
    return tuple(campaign.events)


async def test_cancel_is_for_what_is_at_work_and_names_it(tmp_path: Path) -> None:
    """By name, phase or all; refused with what there is; journalled with its actor, done once."""
    campaign = Walk(copper_config(), phase_runners(copper_config()))
    first, second, third = campaign.submitted(Phase.CALCULATION).tasks
    async with running(tmp_path, SmallWorkflow(tuple(campaign.events))) as stand:
        strange = await stand.request(
            "POST", "/v1/cancel", b'{"tasks": ["c000.calculation.9999-0"]}'
        )
        nothing = await stand.request("POST", "/v1/cancel", b"{}")
        asked = f'{{"tasks": ["{second}"], "reason": "no more"}}'.encode()
        status, _, body = await stand.request("POST", "/v1/cancel", asked)
        _, event = stand.workflow.journal[-1]
        again = await stand.request("POST", "/v1/cancel", f'{{"tasks": ["{second}"]}}'.encode())
        other = await stand.request("POST", "/v1/cancel", b'{"phase": "training"}')
        await stand.request("POST", "/v1/cancel", b'{"everything": true}')
        _, rest = stand.workflow.journal[-1]
    assert strange[0] == nothing[0] == 409
    assert f"no task of this campaign that is known now; at work or waiting are {first}, " in str(
        strange[2]
    )
    assert "or --all" in str(nothing[2])
    by = ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME)
    assert (status, body["changed"]) == (200, True)
    assert event == ev.TasksCancelled(at=event.at, tasks=(second,), by=by, reason="no more")
    assert (again[2]["changed"], other[2]["changed"]) == (False, False)
    assert isinstance(rest, ev.TasksCancelled)
    assert rest.tasks == (first, third)


async def test_retry_is_for_what_was_given_up_and_names_it(tmp_path: Path) -> None:
    """Anything else is refused with the names that there are.

    What is brought back is journalled with its actor.
    """
    async with running(tmp_path, SmallWorkflow(given_up())) as stand:
        (task,) = stand.workflow.state.quarantine
        refused = await stand.request("POST", "/v1/retry", b'{"task": "c000.calculation.9999-0"}')
        status, _, body = await stand.request(
            "POST", "/v1/retry", f'{{"task": "{task}", "reason": "mended"}}'.encode()
        )
        event_number, event = stand.workflow.journal[-1]
        assert stand.workflow.state.quarantine == {}
    assert refused[0] == 409
    assert f"is no calculation that was given up; given up are {task}" in str(refused[2])
    assert (status, body) == (
        200,
        {"version": 1, "changed": True, "status": "running", "seq": event_number},
    )
    by = ev.Actor(uid=os.getuid(), pid=os.getpid(), name=NAME)
    assert event == ev.TaskRetried(at=event.at, task=task, by=by, reason="mended")
