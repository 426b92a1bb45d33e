"""Files that survive a crash: whole or not at all."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path


def write_all(fd: int, data: bytes, write: Callable[[int, memoryview], int] = os.write) -> None:
    """Write everything, however little one call takes.

    Raises OSError; a part may then have been written.
    """
    rest = memoryview(data)
    while rest:
        rest = rest[write(fd, rest) :]


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable: a file that was synced can still lose its name."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)  # never fdatasync: a new name is no data to it
    finally:
        os.close(fd)


def sync_file(path: Path) -> None:
    """Make durable what a file holds."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def make_folder(folder: Path) -> None:
    """Create a folder, and those above it, for their owner alone.

    Their names are durable. Leaves what is there alone.
    """
    if not folder.is_dir():
        make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def replace_file(path: Path, pieces: Iterable[bytes]) -> None:
    """Put a file in place, for its owner alone, durably and at once.

    Whoever reads sees the old content or the new.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        for piece in pieces:
            write_all(fd, piece)
        os.fsync(fd)
    finally:
        os.close(fd)
    temporary.replace(path)
    sync_folder(path.parent)
