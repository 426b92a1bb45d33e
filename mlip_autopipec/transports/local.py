"""The site is this machine: files are files, commands are processes."""

import asyncio
import contextlib
import errno
import os
import secrets
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple, Unpack

from mlip_autopipec.contract.files import LargerThanAllowed, NoRegularFile, read_regular
from mlip_autopipec.errors import (
    FileTooLarge,
    FileUnusable,
    NameTaken,
    OperatorError,
    TransientError,
)
from mlip_autopipec.ports import READ_BYTES_MAX, SMALL_FILE_BYTES_MAX, Completed
from mlip_autopipec.spawning import begun

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

#: Calls that touch the disk at a time. More of them would hold up the loop: each takes the
#: interpreter in its turn.
_THREADS_MAX = 4


class LocalTransport:
    """ports.Transport over the local file system.

    File work runs in threads of its own: neither the loop nor what else goes on in threads waits
    for a disk.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._threads = ThreadPoolExecutor(max_workers=_THREADS_MAX, thread_name_prefix="site")

    async def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout_s: float = 60.0
    ) -> Completed:
        """Run a command in the root folder; on timeout it and all that it started are killed.

        Raises TransientError then, and OSError if there is no such command.
        """
        process = await begun(
            asyncio.create_subprocess_exec(
                *argv,
                cwd=self._root,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,
            ),
            _end,
        )
        try:
            async with asyncio.timeout(timeout_s):
                stdout, stderr = await process.communicate(stdin)
        except TimeoutError:
            raise TransientError(f"no end of {argv[0]} within {timeout_s:g} s") from None
        finally:
            await _end(process)
        return Completed(process.returncode or 0, stdout, stderr)

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Place files whole, by temporary name, fsync and rename."""
        await self._aside(_write_all, self._root, files)

    async def read(self, path: str, *, size_max: int = 64 * 2**20) -> bytes | None:
        """Read one file; None if there is none."""
        return await self._aside(_read, self._root / path, size_max)

    async def read_many(self, paths: Sequence[str]) -> Mapping[str, bytes]:
        """Read many small files.

        What does not exist, is no regular file, or is too much for one call, is left out.
        """
        return await self._aside(_read_many, self._root, paths)

    async def names(self, folder: str) -> tuple[str, ...]:
        """Names in a folder, sorted."""
        return await self._aside(_names, self._root / folder)

    async def _aside(self, work: Callable[[Unpack[Ts]], T], *args: *Ts) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a process that still runs, with all that it started."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):  # it ended by itself in the meantime
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


@contextlib.contextmanager
def _faults() -> Iterator[None]:
    """What the file system refuses, by who must act: a full disk passes, missing rights do not."""
    try:
        yield
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise NameTaken(f"the site's files: {error}") from error
    except PermissionError as error:
        raise OperatorError(f"the site's files: {error}") from error
    except OSError as error:
        kind = NameTaken if error.errno == errno.ELOOP else TransientError
        raise kind(f"the site's files: {error}") from error


@_faults()
def _write_all(root: Path, files: Mapping[str, bytes]) -> None:
    folders = set()
    for path, content in files.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp")
        try:
            with temporary.open("xb") as stream:  # no link that somebody has placed is followed
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        folders.add(target.parent)
    for folder in folders:
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@_faults()
def _read(path: Path, size_max: int) -> bytes | None:
    try:
        return read_regular(path, size_max=size_max)
    except LargerThanAllowed as error:
        raise FileTooLarge(str(error)) from error
    except NoRegularFile as error:
        raise FileUnusable(str(error)) from error


def _read_many(root: Path, paths: Sequence[str]) -> dict[str, bytes]:
    contents: dict[str, bytes] = {}
    room = READ_BYTES_MAX
    for path in paths:
        with contextlib.suppress(FileUnusable):
            if (content := _read(root / path, SMALL_FILE_BYTES_MAX)) is not None:
                room -= len(content)
                if room < 0 and contents:
                    break
                contents[path] = content
    return contents


@_faults()
def _names(folder: Path) -> tuple[str, ...]:
    try:
        return tuple(sorted(os.listdir(folder)))  # noqa: PTH208 - names are all that is asked
    except FileNotFoundError:
        return ()
