"""What the two ways over SSH make of a network and a machine that fail.

It is never a success, never an endless wait.
"""

import asyncio
import os
import pwd
import re
import signal
import time
from pathlib import Path

import pytest
from kit.far_sites import FarSite, over_asyncssh, over_openssh
from kit.processes import runs
from kit.sshd import FarMachine, far_machine, keygen
from kit.waiting import until

from mlip_autopipec.errors import BugError, LoginRefused, OperatorError, TransientError
from mlip_autopipec.ports import Transport

#: Of waiting for something that comes soon, on a busy machine.
PATIENCE_S = 30.0


async def recovers(transport: Transport) -> None:
    """Wait until calls are answered again."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            try:
                assert (await transport.run(["echo", "back"])).stdout == b"back\n"
            except TransientError:
                await asyncio.sleep(0.1)
            else:
                return


async def begun(path: Path) -> None:
    """Wait until a command has left its mark."""
    await until(path.exists)


async def test_a_machine_that_falls_over_and_comes_back(
    far_site: FarSite, machine: FarMachine
) -> None:
    """Every kind of call says that nothing is known.

    It works again afterwards, without anything done about it.
    """
    transport = far_site.transport
    await transport.write({"file": b"1"})
    machine.stop()
    errors = await asyncio.gather(
        transport.run(["true"]),
        transport.write({"file": b"2"}),
        transport.read("file"),
        transport.read_many(["file"]),
        transport.names("."),
        return_exceptions=True,
    )
    assert [type(error) for error in errors] == [TransientError] * 5
    assert all(re.match(r"far: |127\.0\.0\.1: ", str(error)) for error in errors)
    machine.start()
    await recovers(transport)
    assert await transport.read("file") == b"1"


async def test_a_connection_cut_amid_a_command(far_site: FarSite, machine: FarMachine) -> None:
    """Its end is unknown, though the command may have succeeded; whoever waits is told at once."""
    await far_site.transport.run(["true"])
    script = "echo part; : > begun; sleep 2; : > ended"
    call = asyncio.ensure_future(far_site.transport.run(["sh", "-c", script]))
    await begun(far_site.root / "begun")
    machine.cut()
    with pytest.raises(TransientError):
        async with asyncio.timeout(2):
            await call
    await recovers(far_site.transport)


async def test_a_connection_cut_amid_a_write(far_site: FarSite, machine: FarMachine) -> None:
    """No part of a file is ever in its place, and what was unpacked is cleared away."""
    await far_site.transport.write({"file": b"old"})
    content = os.urandom(48 * 2**20)
    call = asyncio.ensure_future(far_site.transport.write({"file": content}))
    incoming = far_site.root / ".ap/incoming"
    async with asyncio.timeout(PATIENCE_S):
        while not list(incoming.glob("*/new/file")):
            assert not call.done()
            await asyncio.sleep(0)
    machine.cut()
    with pytest.raises(TransientError):
        await call
    await recovers(far_site.transport)
    assert (far_site.root / "file").read_bytes() == b"old"
    await until(lambda: not list(incoming.iterdir()))


async def test_a_frozen_machine_is_not_waited_for(far_site: FarSite, machine: FarMachine) -> None:
    """A call ends within its bound; the connection is used again when the machine goes on."""
    await far_site.transport.run(["true"])
    logins = machine.logins()
    with machine.frozen():
        began = time.monotonic()
        calls = [far_site.transport.run(["true"], timeout_s=1) for _ in range(12)]
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert {type(answer) for answer in answers} == {TransientError}
        assert time.monotonic() - began < 5
    await recovers(far_site.transport)
    assert machine.logins() == logins
    # no channel was lost
    await asyncio.gather(*(far_site.transport.run(["true"]) for _ in range(20)))


async def test_a_frozen_machine_is_given_up_when_it_keeps_silent(
    machine: FarMachine, tmp_path: Path
) -> None:
    """Without a keepalive's answer the connection counts as lost, and another one is tried."""
    transport = over_asyncssh(machine, tmp_path, keepalive_s=0.3)
    await transport.run(["true"])
    with machine.frozen(), pytest.raises(TransientError, match="clos"):
        await transport.run(["true"], timeout_s=PATIENCE_S)
    await recovers(transport)
    assert machine.logins() == 2
    await transport.close()


async def test_a_machine_that_is_not_there_is_waited_for(tmp_path: Path, control_path: str) -> None:
    """It may come: nobody needs to do anything."""
    (tmp_path / "far").mkdir()
    absent = FarMachine(tmp_path / "far")
    for transport in (
        over_asyncssh(absent, tmp_path),
        over_openssh(absent, tmp_path, control_path),
    ):
        with pytest.raises(TransientError, match="Connect"):
            await transport.run(["true"])
        with pytest.raises(TransientError):
            await transport.names(".")
        await transport.close()


async def test_another_host_key_is_for_a_person(
    machine: FarMachine, tmp_path: Path, control_path: str
) -> None:
    """Nothing is sent to a machine that is not the known one; it is not asked again and again."""
    keygen(tmp_path / "another")
    machine.trust(tmp_path / "another.pub")
    for transport in (
        over_asyncssh(machine, tmp_path),
        over_openssh(machine, tmp_path, control_path),
    ):
        knocks = machine.knocks()
        for _ in range(5):
            with pytest.raises(LoginRefused, match=r"[Hh]ost key"):
                await transport.run(["touch", "done"])
        assert machine.knocks() == knocks + 1
        await transport.close()
    machine.known_hosts.write_text("")
    for transport in (
        over_asyncssh(machine, tmp_path),
        over_openssh(machine, tmp_path, control_path),
    ):
        with pytest.raises(LoginRefused, match=r"[Hh]ost key"):
            await transport.run(["touch", "done"])
        await transport.close()
    assert not (tmp_path / "done").exists()


async def test_a_refused_login_is_for_a_person(
    machine: FarMachine, tmp_path: Path, control_path: str
) -> None:
    """It is told how to try by hand, and tried once only: some sites lock a user out."""
    machine.key.unlink()
    machine.key.with_suffix(".pub").unlink()
    keygen(machine.key)
    for transport in (
        over_asyncssh(machine, tmp_path),
        over_openssh(machine, tmp_path, control_path),
    ):
        knocks = machine.knocks()
        for _ in range(5):
            with pytest.raises(LoginRefused, match=r"Permission denied.*`ssh "):
                await transport.run(["true"])
        assert machine.knocks() == knocks + 1
        transport.login_again()
        with pytest.raises(LoginRefused):
            await transport.run(["true"])
        assert machine.knocks() == knocks + 2
        await transport.close()


async def test_a_mended_login_is_used_as_soon_as_a_person_says_so(
    machine: FarMachine, tmp_path: Path, control_path: str
) -> None:
    """The same transport goes on; nothing has to be started again."""
    refused = (over_asyncssh(machine, tmp_path), over_openssh(machine, tmp_path, control_path))
    hidden = machine.known_hosts.read_text()
    machine.known_hosts.write_text("")
    for transport in refused:
        with pytest.raises(LoginRefused):
            await transport.run(["true"])
    machine.known_hosts.write_text(hidden)
    for transport in refused:
        with pytest.raises(LoginRefused):
            await transport.run(["true"])
        transport.login_again()
        assert (await transport.run(["echo", "here"])).stdout == b"here\n"
        await transport.close()


async def test_a_key_file_that_is_not_there_is_for_a_person(
    machine: FarMachine, tmp_path: Path
) -> None:
    """The file is named."""
    machine.key.unlink()
    transport = over_asyncssh(machine, tmp_path)
    with pytest.raises(LoginRefused, match=str(machine.key)):
        await transport.run(["true"])
    await transport.close()


async def test_host_keys_are_checked_whatever_the_configuration_says(
    machine: FarMachine, tmp_path: Path
) -> None:
    """A file that switches the check off is refused; one in order is used."""
    transport = over_asyncssh(machine, tmp_path, config=machine.config)
    assert (await transport.run(["echo", "here"])).stdout == b"here\n"
    await transport.close()
    machine.config.write_text(machine.config.read_text().replace(str(machine.known_hosts), "none"))
    transport = over_asyncssh(machine, tmp_path, config=machine.config)
    with pytest.raises(OperatorError, match="UserKnownHostsFile"):
        await transport.run(["true"])
    await transport.close()


async def test_many_callers_share_one_login(far_site: FarSite, machine: FarMachine) -> None:
    """At the beginning, and after a cut."""
    await asyncio.gather(*(far_site.transport.run(["true"]) for _ in range(20)))
    assert machine.logins() == 1
    machine.cut()
    await asyncio.gather(*(recovers(far_site.transport) for _ in range(20)))
    assert machine.logins() == 2


async def test_a_caller_who_leaves_takes_no_one_with_him(
    far_site: FarSite, machine: FarMachine
) -> None:
    """One of two who wait for the login is cancelled; the other gets his answer."""
    leaves = asyncio.ensure_future(far_site.transport.run(["true"]))
    stays = asyncio.ensure_future(far_site.transport.run(["echo", "here"]))
    await asyncio.sleep(0.01)
    leaves.cancel()
    assert (await stays).stdout == b"here\n"
    assert machine.logins() == 1


async def test_greetings_are_no_answers(tmp_path: Path, control_path: str) -> None:
    """What a login shell says before a command is left out.

    So it is on either output, with a newline or without.
    """
    (tmp_path / "far").mkdir()
    shell = (
        'printf "Welcome"; printf "quota: 99 %%\\nno newline" >&2; sh -c "$SSH_ORIGINAL_COMMAND"'
    )
    with far_machine(tmp_path / "far", f"ForceCommand {shell}") as machine:
        for transport in (
            over_asyncssh(machine, tmp_path),
            over_openssh(machine, tmp_path, control_path),
        ):
            completed = await transport.run(["sh", "-c", "printf out; printf err >&2; exit 3"])
            assert (completed.exit_status, completed.stdout, completed.stderr) == (
                3,
                b"out",
                b"err",
            )
            await transport.write({"file": b"1"})
            assert await transport.read_many(["file", "absent"]) == {"file": b"1"}
            async with transport.converse(["cat"]) as dialogue:
                dialogue.say("hello")
                assert await dialogue.hear() == b"hello"
            await transport.close()


async def test_a_command_that_does_not_exist_is_said_to_be_so(far_site: FarSite) -> None:
    """As a shell says it: exit status 127."""
    completed = await far_site.transport.run(["no-such-command"])
    assert completed.exit_status == 127
    assert b"not found" in completed.stderr


async def test_nothing_runs_where_there_is_no_root(far_site: FarSite) -> None:
    """A command that would run elsewhere could do harm; the file system may come back."""
    far_site.root.rmdir()
    with pytest.raises(TransientError, match=str(far_site.root)):
        await far_site.transport.run(["touch", "here"])


async def test_a_prologue_is_done_before_a_command(machine: FarMachine, tmp_path: Path) -> None:
    """What it says is no answer, what it sets is there."""
    transport = over_asyncssh(
        machine, tmp_path, prologue="echo 'Loading modules'; export SETTING=\"it's set\""
    )
    completed = await transport.run(["sh", "-c", 'printf "$SETTING"'])
    assert (completed.exit_status, completed.stdout) == (0, b"it's set")
    await transport.close()


@pytest.mark.parametrize("path", ["/etc/passwd", "../file", "a/../../b", "nul\0"])
async def test_paths_stay_below_the_root(
    quiet_machine: FarMachine, tmp_path: Path, path: str
) -> None:
    """Anything else is a bug of ours."""
    transport = over_asyncssh(quiet_machine, tmp_path)
    for call in (
        transport.read(path),
        transport.names(path),
        transport.read_many([path]),
        transport.write({path: b""}),
    ):
        with pytest.raises(BugError):
            await call
    await transport.close()


async def test_a_relative_root_is_in_the_home(quiet_machine: FarMachine) -> None:
    """Written with or without `~`."""
    home = pwd.getpwuid(os.getuid()).pw_dir
    for root in ("~", ".", ""):
        transport = over_asyncssh(quiet_machine, Path(root))
        assert (await transport.run(["pwd"])).stdout.decode().strip() == home
        await transport.close()


async def test_a_dialogue_ends_on_the_far_side_too(far_site: FarSite) -> None:
    """Lines go both ways.

    When it is over, the process is gone, whether or not the connection stays.
    """
    async with far_site.transport.converse(["sh", "-c", "echo $$; cat"]) as dialogue:
        pid = int(await dialogue.hear())
        dialogue.say("γ and 'quotes'")
        assert (await dialogue.hear()).decode() == "γ and 'quotes'"
        assert runs(pid)
    await until(lambda: not runs(pid))


async def test_a_dialogue_that_is_lost_says_so(far_site: FarSite, machine: FarMachine) -> None:
    """When its process dies, when the connection is cut, and when it cannot be begun."""
    async with far_site.transport.converse(["sh", "-c", "echo $$; cat"]) as dialogue:
        os.kill(int(await dialogue.hear()), signal.SIGKILL)
        with pytest.raises(TransientError):
            await dialogue.hear()
    async with far_site.transport.converse(["cat"]) as dialogue:
        machine.cut()
        with pytest.raises(TransientError):
            await dialogue.hear()
    machine.stop()
    with pytest.raises(TransientError):
        async with far_site.transport.converse(["cat"]):
            pytest.fail("nobody is there to talk to")


async def test_without_the_users_master_nothing_is_tried(
    machine: FarMachine, tmp_path: Path, control_path: str
) -> None:
    """It is told how to log in; after that it goes; the user's master is left to the user."""
    knocks = machine.knocks()
    transport = over_openssh(machine, tmp_path, control_path, require_master=True)
    with pytest.raises(LoginRefused, match=f"`ssh -M -N -f .*{control_path}"):
        await transport.run(["true"])
    assert machine.knocks() == knocks
    users = over_openssh(machine, tmp_path, control_path)
    await users.run(["true"])
    assert (await transport.run(["echo", "through"])).stdout == b"through\n"
    await transport.close()
    assert (await users.run(["true"])).exit_status == 0
    assert machine.logins() == 1
    await users.close()
    with pytest.raises(TransientError):
        await transport.run(["true"])
    with pytest.raises(LoginRefused, match="Log in with"):
        await transport.run(["true"])
    assert machine.logins() == 1


async def test_a_master_needs_a_place(machine: FarMachine, tmp_path: Path) -> None:
    """Where neither we nor the user's configuration name one, that is told."""
    transport = over_openssh(machine, tmp_path, None)
    with pytest.raises(LoginRefused, match="control_path"):
        await transport.run(["true"])
    await transport.close()
