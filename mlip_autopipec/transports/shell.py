"""Files and commands of a site by its POSIX sh, whatever carries the bytes there and back.

One process on the far side for each call. What was begun and not known to have ended is a
TransientError: the frame around every command (see `remote`) tells a command's end from that of the
connection, so no exit status is needed.
"""

import asyncio
import contextlib
import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from mlip_autopipec.data_models.text import first_lines
from mlip_autopipec.errors import FileTooLarge, TooFewSessions, TransientError
from mlip_autopipec.ports import READ_BYTES_MAX, Clock, Completed
from mlip_autopipec.transports import remote
from mlip_autopipec.transports.logins import Logins

#: sshd allows 10 on one connection (MaxSessions); two are left to others that share it.
CHANNELS_MAX = 8
#: More than any command of ours has to say; what is beyond is not taken into memory.
_OUTPUT_BYTES_MAX = 512 * 2**20
#: sshd counts a channel that has ended until it has nothing else to do; then one more may be too
#: many.
_REOPEN_AFTER_S = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8)
#: What OpenSSH says then.
_REFUSED = b"Session open refused by peer"
_CHUNK_BYTES = 2**18
_SHOWN_BYTES = 2000  # of an answer that cannot be used
#: A transfer may take so long for every MiB, on top of what every call may take.
_SECONDS_PER_MIB = 1.0


class ChannelRefusedError(TransientError):
    """sshd takes no more channels on this connection at the moment; nothing was begun."""


class Reader(Protocol):
    """One output of a far process."""

    async def read(self, n: int = -1, /) -> bytes:
        """Up to `n` bytes, as soon as there are any; empty at the end."""

    async def readline(self) -> bytes:
        """One line with its newline; less at the end."""


class Writer(Protocol):
    """The input of a far process."""

    def write(self, data: bytes, /) -> None:
        """Send, without waiting."""

    def write_eof(self) -> None:
        """Send no more."""


@dataclass(frozen=True, slots=True)
class Pipes:
    """The streams of one far process."""

    stdin: Writer
    stdout: Reader
    stderr: Reader


@dataclass(frozen=True, slots=True)
class Dialogue:
    """A far process that answers lines with lines for as long as both sides live."""

    _pipes: Pipes
    _what: str

    def say(self, line: str) -> None:
        """Send one line."""
        self._pipes.stdin.write(f"{line}\n".encode())

    async def hear(self) -> bytes:
        """The next line, without its newline.

        Raises TransientError when there will be none. It has no bound of time.
        """
        line = await self._pipes.stdout.readline()
        if not line.endswith(b"\n"):
            raise TransientError(
                f"{self._what}: it has ended: {remote.last_lines(await self._pipes.stderr.read())}"
            )
        return line[:-1]


class ShellTransport(ABC):
    """ports.Transport; `root` is absolute, or relative to the user's home on the site (also `~/`).

    At most `CHANNELS_MAX` far processes at a time. Every call is bounded, the wait for its turn and
    for a connection included; the far process is killed then too, within seconds. `prologue` is one
    line of sh that runs before every command of `run` and `converse`, such as `. /etc/profile`.
    """

    def __init__(
        self,
        host: str,
        root: str,
        *,
        clock: Clock,
        rng: random.Random,
        prologue: str = "",
        call_timeout_s: float = 60.0,
    ) -> None:
        self._host = host
        self._root = remote.far_root(root)
        self._clock = clock
        self._rng = rng
        self._prologue = prologue
        self._call_timeout_s = call_timeout_s
        #: Channels that are open or being opened, how many there may be, and who waits for one.
        self._in_use = 0
        self._sessions = CHANNELS_MAX
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._dialogues: list[Pipes] = []
        self._logins = Logins(clock, rng)

    @property
    def sessions(self) -> int:
        """How many far processes run at a time.

        They are fewer than CHANNELS_MAX where sshd has refused more (MaxSessions).
        """
        return self._sessions

    def login_again(self) -> None:
        """A person says that the login is mended.

        Try it with the next call, however lately it was refused.
        """
        self._logins.forgive()

    @abstractmethod
    def _open(self, command: str) -> AbstractAsyncContextManager[Pipes]:
        """Start a command line of the login shell, and end it on exit.

        Raises LoginRefused if a person must see to the login, ChannelRefusedError if there are too
        many of them. Any other fault, also while the pipes are used, is a TransientError.
        """

    @abstractmethod
    async def close(self) -> None:
        """End what this transport has begun. Bounded; it must not be used afterwards."""

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run a command in the root folder. `timeout_s` counts from the call."""
        nonce = self._nonce()
        command = remote.run_command(
            self._root, argv, nonce=nonce, timeout_s=timeout_s, prologue=self._prologue
        )
        return await self._exchange(
            command, nonce, self._what(f"run of {argv[0]}"), stdin=stdin, timeout_s=timeout_s
        )

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Place files whole: one tar stream, checked by sha256, synced, put in place one by one."""
        if not files:
            return
        nonce, stdin = self._nonce(), remote.packed(files)
        timeout_s = self._call_timeout_s + _SECONDS_PER_MIB * len(stdin) / 2**20
        command = remote.write_command(self._root, files, nonce=nonce, timeout_s=timeout_s)
        what = self._what(f"write of {len(files)} files")
        answer = await self._exchange(command, nonce, what, stdin=stdin, timeout_s=timeout_s)
        if answer.exit_status != 0:
            raise remote.complaint_of_write(answer, what)

    async def read(self, path: str, *, size_max: int = 64 * 2**20) -> bytes | None:
        """Read one file; None if there is none."""
        nonce, timeout_s, what = self._nonce(), self._call_timeout_s, self._what(f"read of {path}")
        command = remote.read_command(
            self._root, path, size_max=size_max, nonce=nonce, timeout_s=timeout_s
        )
        answer = await self._exchange(command, nonce, what, timeout_s=timeout_s)
        remote.check_usable(answer, what)
        if not remote.is_there(answer, what):
            return None
        if len(answer.stdout) > size_max:
            raise FileTooLarge(
                f"{path} is larger than {size_max} bytes, which nothing of ours writes there"
            )
        return answer.stdout

    async def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read many small files as one tar stream.

        What is no small file, or is too much for one call, is left out.
        """
        if not paths:
            return {}
        nonce, what = self._nonce(), self._what(f"read of {len(paths)} files")
        timeout_s = self._call_timeout_s + _SECONDS_PER_MIB * READ_BYTES_MAX / 2**20
        command = remote.read_many_command(self._root, nonce=nonce, timeout_s=timeout_s)
        answer = await self._exchange(
            command, nonce, what, stdin=remote.listed(paths), timeout_s=timeout_s
        )
        remote.check_packed(answer, what)
        return remote.unpacked(answer.stdout, paths)

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names in a folder, sorted."""
        nonce, timeout_s, what = (
            self._nonce(),
            self._call_timeout_s,
            self._what(f"listing of {folder}"),
        )
        command = remote.names_command(self._root, folder, nonce=nonce, timeout_s=timeout_s)
        answer = await self._exchange(command, nonce, what, timeout_s=timeout_s)
        if not remote.is_there(answer, what):
            return ()
        return tuple(
            sorted(
                name.decode("utf-8", "surrogateescape")
                for name in answer.stdout.split(b"\0")
                if name
            )
        )

    @asynccontextmanager
    async def converse(self, argv: Sequence[str]) -> AsyncIterator[Dialogue]:
        """Run a command in the root that answers on standard output and must end with its input.

        Takes one channel for as long as it lasts. Raises TransientError if it cannot be begun.
        """
        nonce, what = self._nonce(), self._what(f"dialogue with {argv[0]}")
        command = remote.converse_command(self._root, argv, nonce=nonce, prologue=self._prologue)
        async with contextlib.AsyncExitStack() as stack:
            try:
                async with asyncio.timeout(self._call_timeout_s):
                    if self._sessions == 1:
                        raise TooFewSessions(
                            f"{what}: sshd allows one session at a time (MaxSessions 1)"
                        )
                    await stack.enter_async_context(self._channel())
                    pipes = await stack.enter_async_context(self._open(command))
                    self._dialogues.append(pipes)
                    stack.callback(self._dialogues.remove, pipes)
                    dialogue = Dialogue(pipes, what)
                    while not (await dialogue.hear()).endswith(nonce.encode()):
                        pass  # greetings of the login shell
            except TimeoutError:
                raise TransientError(
                    f"{what}: no begin within {self._call_timeout_s:g} s"
                ) from None
            yield dialogue

    async def _exchange(
        self, command: str, nonce: str, what: str, *, timeout_s: float, stdin: bytes = b""
    ) -> Completed:
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    async with self._channel():
                        for delay_s in _REOPEN_AFTER_S:
                            with contextlib.suppress(ChannelRefusedError):
                                return await self._exchange_once(command, nonce, what, stdin)
                            await self._clock.sleep(delay_s)
                        try:
                            return await self._exchange_once(command, nonce, what, stdin)
                        except ChannelRefusedError:
                            if not self._make_do_with_fewer():
                                raise
        except TimeoutError:
            raise TransientError(f"{what}: no end within {timeout_s:g} s") from None

    @asynccontextmanager
    async def _channel(self) -> AsyncIterator[None]:
        """One channel's turn, as they ask; there are never more than sshd has allowed."""
        while self._in_use >= self._sessions:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                if turn.done() and not turn.cancelled():
                    self._next()
                raise
        self._in_use += 1
        try:
            yield
        finally:
            self._in_use -= 1
            self._next()

    def _next(self) -> None:
        """Let the first who waits look whether it is its turn."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return

    def _make_do_with_fewer(self) -> bool:
        """Take it that sshd allows only the channels open beside the refused one; False if none is.

        Of two, a dialogue that never ends gives way: else nobody else would ever have a turn.
        """
        if self._in_use == 1:
            return False
        self._sessions = max(1, min(self._sessions, self._in_use - 1))
        if self._sessions == 1:
            for pipes in self._dialogues:
                pipes.stdin.write_eof()
        return True

    async def _exchange_once(self, command: str, nonce: str, what: str, stdin: bytes) -> Completed:
        async with self._open(command) as pipes:
            _feed(pipes.stdin, stdin)
            stdout, stderr = await asyncio.gather(
                _all_of(pipes.stdout, what), _all_of(pipes.stderr, what)
            )
        answer = remote.completed(nonce, stdout, stderr)
        if answer is None:
            message = remote.last_lines(stderr) or "connection lost"
            if stdout:
                message = (
                    f"{message}; its answer begins:"
                    f" {first_lines(stdout[:_SHOWN_BYTES].decode('utf-8', 'replace'))}"
                )
            refused = _REFUSED in stderr and nonce.encode() not in stderr
            raise (ChannelRefusedError if refused else TransientError)(
                f"{what}: its end is not known: {message}"
            )
        return answer

    def _what(self, call: str) -> str:
        return f"{self._host}: {call}"

    def _nonce(self) -> str:
        return f"ap-{self._rng.getrandbits(64):016x}"


def _feed(stdin: Writer, content: bytes) -> None:
    """Send all of it; a command that ends without having read it says so by its exit status."""
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        if content:
            stdin.write(content)
        stdin.write_eof()


async def _all_of(stream: Reader, what: str) -> bytes:
    content = bytearray()
    while chunk := await stream.read(_CHUNK_BYTES):
        content += chunk
        if len(content) > _OUTPUT_BYTES_MAX:
            raise TransientError(
                f"{what}: it says more than {_OUTPUT_BYTES_MAX} bytes, which is too much to take in"
            )
    return bytes(content)
