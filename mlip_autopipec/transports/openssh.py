"""A site behind SSH, by the user's own `ssh` and its ControlMaster: for logins that need a person.

Someone logs in once, with a second factor if need be; every call then goes through that open
connection. Nothing is ever asked, and with a ProxyCommand that fails, nothing can connect past the
master either.
"""

import asyncio
import os
import random
import shlex
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from mlip_autopipec.errors import LoginRefused, OperatorError, TransientError
from mlip_autopipec.ports import Clock
from mlip_autopipec.transports import remote
from mlip_autopipec.transports.control_path import path_in, trouble_with
from mlip_autopipec.transports.shell import Pipes, ShellTransport

_CHECK_TIMEOUT_S = 10.0
_LOGIN_TIMEOUT_S = 60.0
#: ssh ends by itself at once when the far process has.
_END_TIMEOUT_S = 2.0
_LINE_BYTES_MAX = 2**20
_QUIET = ("-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR")
_THROUGH_MASTER = ("-o", "ControlMaster=no", "-o", "ProxyCommand=false", "-o", "RemoteCommand=none")
_KEEPALIVE = (
    "-o",
    "ServerAliveInterval=15",
    "-o",
    "ServerAliveCountMax=3",
    "-o",
    "StrictHostKeyChecking=yes",
)
#: What ssh says when only a person can mend the login.
_REFUSALS = (
    "Permission denied",
    "Host key verification failed",
    "Too many authentication failures",
    "Bad owner or",
)


class OpensshTransport(ShellTransport):
    """ports.Transport through an OpenSSH master, at `control_path` or where ~/.ssh/config puts it.

    With `require_master` it is the user's: when there is none, LoginRefused says how to start it.
    Without, one is started, by keys and agent alone, and ended by `close`. `config` is read in
    place of ~/.ssh/config.
    """

    def __init__(
        self,
        host: str,
        *,
        root: str,
        clock: Clock,
        rng: random.Random,
        port: int | None = None,
        user: str | None = None,
        control_path: str | None = None,
        require_master: bool = True,
        config: Path | None = None,
        prologue: str = "",
        call_timeout_s: float = 60.0,
    ) -> None:
        super().__init__(
            host, root, clock=clock, rng=rng, prologue=prologue, call_timeout_s=call_timeout_s
        )
        self._options = [
            *(["-F", str(config)] if config else []),
            *(["-p", str(port)] if port else []),
            *(["-l", user] if user else []),
            *(["-S", control_path] if control_path else []),
        ]
        self._require_master = require_master
        self._checking = asyncio.Lock()
        self._checked = False
        self._started = False

    async def close(self) -> None:
        """End the master, if it was started here."""
        if self._started:
            await self._control("exit")

    @asynccontextmanager
    async def _open(self, command: str) -> AsyncIterator[Pipes]:
        await self._find_master()
        arguments = (*_QUIET, *_THROUGH_MASTER, *self._options, "--", self._host, command)
        async with self._ssh(*arguments, pipe=asyncio.subprocess.PIPE) as process:
            assert process.stdin  # noqa: S101 - for mypy: all three are pipes
            assert process.stdout  # noqa: S101
            assert process.stderr  # noqa: S101
            try:
                yield Pipes(process.stdin, process.stdout, process.stderr)
                process.stdin.close()
                await asyncio.wait([asyncio.ensure_future(process.wait())], timeout=_END_TIMEOUT_S)
            except (OSError, ValueError) as error:  # ValueError: a line beyond all bounds
                raise TransientError(f"{self._host}: {error}") from error
            finally:
                # Its exit status is not what counts: the frame of the answer says more. But the
                # master is looked for again before the next call, if this one has not ended well
                # and by itself.
                self._checked &= process.returncode == 0

    async def _find_master(self) -> None:
        """Make sure of a master; for the first of several callers at once, the others wait."""
        async with self._checking:
            if self._checked:
                return
            await self._distrust()
            status, message = await self._control("check")
            if status != 0:
                if self._require_master or "No ControlPath" in message:
                    # nothing is tried: looking locks nobody out
                    raise LoginRefused(self._remedy(message))
                await self._start_master()
            self._checked = True

    async def _distrust(self) -> None:
        """Raise LoginRefused if others may have put the socket there, or may put one there."""
        path = path_in(await self._settings())
        if path is not None and (
            trouble := await asyncio.to_thread(trouble_with, path, os.geteuid())
        ):
            raise LoginRefused(
                f"{self._host}: the shared ssh connection is not to be trusted: {trouble}. Put"
                " control_path into a folder of your own of mode 0700, such as ~/.ssh"
            )

    async def _settings(self) -> str:
        """What ssh makes of its configuration for this host; it connects to nothing."""
        async with self._ssh(
            "-G", *self._options, "--", self._host, pipe=asyncio.subprocess.PIPE
        ) as process:
            assert process.stdout  # noqa: S101 - for mypy: it is a pipe
            try:
                async with asyncio.timeout(_CHECK_TIMEOUT_S):
                    return (await process.stdout.read()).decode("utf-8", "surrogateescape")
            except TimeoutError:
                raise TransientError(
                    f"{self._host}: no answer of `ssh -G` within {_CHECK_TIMEOUT_S:g} s"
                ) from None

    async def _start_master(self) -> None:
        if self._started:
            self._logins.lost()
        await self._logins.turn()
        arguments = [
            *_QUIET,
            *_KEEPALIVE,
            "-M",
            "-N",
            "-f",
            "-o",
            "ControlPersist=no",
            *self._options,
            "--",
            self._host,
        ]
        status, said = await self._say(*arguments, timeout_s=_LOGIN_TIMEOUT_S)
        if status == 0:
            self._started = True
            self._logins.made()
            return
        if any(refusal in said for refusal in _REFUSALS):
            raise self._logins.refused(self._remedy(said))
        raise TransientError(f"{self._host}: no connection: {said}")

    def _remedy(self, message: str) -> str:
        command = shlex.join(["ssh", "-M", "-N", "-f", *self._options, "--", self._host])
        hint = (
            ""
            if "No ControlPath" not in message
            else " Name a control_path first, or a ControlPath in ~/.ssh/config."
        )
        return (
            f"{self._host}: no open ssh connection to share: {message}.{hint} Log in with"
            f" `{command}`, then go on."
        )

    async def _control(self, word: str) -> tuple[int, str]:
        return await self._say(
            "-O", word, *self._options, "--", self._host, timeout_s=_CHECK_TIMEOUT_S
        )

    async def _say(self, *arguments: str, timeout_s: float) -> tuple[int, str]:
        """Exit status and error words of one short ssh.

        A master that it leaves behind may hold its streams open.
        """
        with tempfile.TemporaryFile() as said:
            async with self._ssh(
                *arguments, pipe=asyncio.subprocess.DEVNULL, stderr=said.fileno()
            ) as process:
                try:
                    async with asyncio.timeout(timeout_s):
                        status = await process.wait()
                except TimeoutError:
                    raise TransientError(
                        f"{self._host}: no answer of ssh within {timeout_s:g} s"
                    ) from None
            said.seek(0)
            return status, remote.last_lines(said.read())

    @asynccontextmanager
    async def _ssh(
        self, *arguments: str, pipe: int, stderr: int | None = None
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """One ssh process, killed at the end if it still runs.

        Its pipes are closed then, as the master has got hold of their other ends and may keep them:
        that takes the transport below the process, which create_subprocess_exec does not give.
        """
        loop = asyncio.get_running_loop()
        spawning = asyncio.ensure_future(
            loop.subprocess_exec(
                lambda: asyncio.subprocess.SubprocessStreamProtocol(
                    limit=_LINE_BYTES_MAX, loop=loop
                ),
                "ssh",
                *arguments,
                stdin=pipe,
                stdout=pipe,
                stderr=pipe if stderr is None else stderr,
                start_new_session=True,
            )
        )
        try:
            transport, protocol = await asyncio.shield(spawning)
        except FileNotFoundError as error:
            raise OperatorError(
                "this machine has no `ssh` command: install the OpenSSH client"
            ) from error
        except asyncio.CancelledError:
            # Cancelled itself, asyncio would wait for pipes that it has not connected yet, and
            # which the master keeps.
            await asyncio.wait([spawning])
            if spawning.exception() is None:
                spawning.result()[0].close()
            raise
        process = asyncio.subprocess.Process(transport, protocol, loop)
        try:
            yield process
        finally:
            transport.close()
            await process.wait()
