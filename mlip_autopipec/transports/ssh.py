"""The site is behind SSH, by asyncssh: one connection, made again when it is lost.

Whoever finds it lost starts the one attempt to make it again, and all who wait share what comes of
it.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from mlip_autopipec.errors import LoginRefused, OperatorError, TransientError
from mlip_autopipec.ports import Clock
from mlip_autopipec.transports.shell import ChannelRefusedError, Pipes, ShellTransport
from mlip_autopipec.transports.ssh_config import has_client, resolve

_CONNECT_TIMEOUT_S = 60.0
_CLOSE_TIMEOUT_S = 5.0
#: The far side closes a channel when its process has ended. Closed from here before that, sshd
#: would still count it.
_END_TIMEOUT_S = 2.0
#: So many keepalives without an answer, and the connection counts as lost.
_KEEPALIVES_MAX = 3


class SshTransport(ShellTransport):
    """ports.Transport over one SSH connection. Nothing is asked of a person: keys and agent only.

    `config` are files in the form of ~/.ssh/config; that one itself if empty. `known_hosts` and
    `client_keys` are files; as `config` says if None. Host keys are always checked. Call `close` at
    the end.
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
        config: Sequence[Path] = (),
        known_hosts: Path | None = None,
        client_keys: Sequence[Path] = (),
        prologue: str = "",
        keepalive_s: float = 15.0,
        call_timeout_s: float = 60.0,
    ) -> None:
        super().__init__(
            host, root, clock=clock, rng=rng, prologue=prologue, call_timeout_s=call_timeout_s
        )
        self._asked: dict[str, Any] = {
            "config": config[0] if config else None,
            "port": port,
            "user": user,
            "known_hosts": known_hosts,
            "client_keys": client_keys,
        }
        #: OpenSSH reads one file, or its usual ones.
        self._by_client = len(config) <= 1 and has_client()
        self._notes: tuple[str, ...] = ()
        given = {
            "port": port,
            "username": user,
            "config": [str(path) for path in config],
            "known_hosts": known_hosts and str(known_hosts),
            "client_keys": [str(path) for path in client_keys],
        }
        #: What is left out is as the configuration files say.
        self._options: dict[str, Any] = {
            "host": host,
            "keepalive_interval": keepalive_s,
            "keepalive_count_max": _KEEPALIVES_MAX,
            "login_timeout": _CONNECT_TIMEOUT_S,
            "password_auth": False,
            "kbdint_auth": False,
            "agent_forwarding": False,
            "x11_forwarding": False,
            **{name: value for name, value in given.items() if value},
        }
        self._connection: asyncssh.SSHClientConnection | None = None
        self._attempt: asyncio.Task[asyncssh.SSHClientConnection] | None = None
        self._late: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Close the connection; what runs over it is lost."""
        if self._attempt is not None:
            self._attempt.cancel()
            await asyncio.wait([self._attempt], timeout=_CLOSE_TIMEOUT_S)
        if self._connection is not None:
            self._connection.close()
            await _closed(self._connection, _CLOSE_TIMEOUT_S)
            self._connection.abort()

    @asynccontextmanager
    async def _open(self, command: str) -> AsyncIterator[Pipes]:
        connection = await self._connected()
        with _faults(self._host):
            process = await self._start(connection, command)
            try:
                yield Pipes(
                    process.stdin,
                    _Output(process.stdout, self._host),
                    _Output(process.stderr, self._host),
                )
                process.stdin.write_eof()
                await _closed(process, _END_TIMEOUT_S)
            finally:
                process.close()

    async def _start(
        self, connection: asyncssh.SSHClientConnection, command: str
    ) -> asyncssh.SSHClientProcess[bytes]:
        """Open a channel. One that opens after nobody waits for it any more is closed at once."""
        opening = asyncio.ensure_future(connection.create_process(command, encoding=None))
        try:
            return await asyncio.shield(opening)
        except asyncssh.ChannelOpenError as error:
            if connection.is_closed():
                raise
            raise ChannelRefusedError(f"{self._host}: {_message(error)}") from error
        except asyncio.CancelledError:
            self._late.add(opening)
            opening.add_done_callback(self._discard)
            raise

    def _discard(self, opening: "asyncio.Task[asyncssh.SSHClientProcess[bytes]]") -> None:
        self._late.discard(opening)
        if not opening.cancelled() and opening.exception() is None:
            opening.result().close()

    async def _connected(self) -> asyncssh.SSHClientConnection:
        """The living connection.

        Waiting for it may be cancelled without harm to the others who wait.
        """
        if self._connection is not None:
            if not self._connection.is_closed():
                return self._connection
            self._connection = None
            self._logins.lost()
        if self._attempt is None or self._attempt.done():
            self._attempt = asyncio.create_task(self._connect(), name=f"ssh {self._host}")
            self._attempt.add_done_callback(_seen)
        return await asyncio.shield(self._attempt)

    async def _connect(self) -> asyncssh.SSHClientConnection:
        await self._logins.turn()
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT_S):
                options = await asyncio.to_thread(self._resolved)
                self._connection = await asyncssh.connect(**options)
        except LoginRefused as error:
            raise self._logins.refused(str(error)) from error
        except (asyncssh.Error, OSError, ValueError) as error:
            if _is_refusal(error):
                raise self._logins.refused(self._remedy(error)) from error
            raise TransientError(f"{self._host}: no connection: {_message(error)}") from error
        self._logins.made()
        return self._connection

    def _resolved(self) -> dict[str, Any]:
        """Read the configuration files.

        Raises OperatorError where they switch the check of host keys off.
        """
        if self._by_client:
            found = resolve(self._host, **self._asked)
            self._notes = found.notes
            return {**self._options, **found.options}
        if asyncssh.SSHClientConnectionOptions(**self._options).known_hosts is None:
            raise OperatorError(
                f"{self._host}: UserKnownHostsFile in ~/.ssh/config switches the check of host"
                " keys off"
            )
        return self._options

    def _remedy(self, error: Exception) -> str:
        message = f"{self._host}: the login failed: {_message(error)}."
        if self._notes:
            message = (
                f"{message} Of the configuration, `kind: ssh` leaves out: {'; '.join(self._notes)}."
            )
        if isinstance(error, asyncssh.HostKeyNotVerifiable):
            return (
                f"{message} Its host key is not the one in known_hosts, or there is none. Compare"
                " the key's fingerprint with what the site publishes, then put it there"
                " (`ssh-keyscan`), or take the old one out (`ssh-keygen -R`)."
            )
        return (
            f"{message} Mend it until `ssh -o BatchMode=yes {self._host} true` works, with the"
            " same key and user; if it does already, site.transport `kind: openssh` goes the same"
            " way."
        )


@dataclass(frozen=True, slots=True)
class _Output:
    """One output of a far process; the end of the connection is not the end of the output."""

    _reader: asyncssh.SSHReader[bytes]
    _host: str

    async def read(self, n: int = -1, /) -> bytes:
        with _faults(self._host):
            return await self._reader.read(n)

    async def readline(self) -> bytes:
        with _faults(self._host):
            return await self._reader.readline()


@contextlib.contextmanager
def _faults(host: str) -> Iterator[None]:
    """Whatever the connection does while it is used, passes."""
    try:
        yield
    except (asyncssh.Error, OSError) as error:
        raise TransientError(f"{host}: {_message(error)}") from error


def _is_refusal(error: Exception) -> bool:
    """Whether only a person can mend this: keys, names and files, not the network."""
    refusals = (
        asyncssh.HostKeyNotVerifiable,
        asyncssh.PermissionDenied,
        asyncssh.IllegalUserName,
        asyncssh.KeyExchangeFailed,
        asyncssh.ProtocolNotSupported,
        ValueError,  # a key or a configuration file that cannot be read as one
    )
    return isinstance(error, refusals) or (
        isinstance(error, OSError) and error.filename is not None
    )


def _message(error: Exception) -> str:
    return str(error) or type(error).__name__


def _seen(attempt: "asyncio.Task[Any]") -> None:
    """All who waited may have gone; what came of it shows in the next attempt."""
    if not attempt.cancelled():
        attempt.exception()


async def _closed(
    what: asyncssh.SSHClientConnection | asyncssh.SSHClientProcess[bytes], timeout_s: float
) -> None:
    """Wait until the other side has closed, but not for ever."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await what.wait_closed()
