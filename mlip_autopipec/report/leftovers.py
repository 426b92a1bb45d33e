"""What tasks left beside their outcomes for people to look at, as far as the report can reach it.

The report reads files under one folder: the site's root where that is on this machine, else
`copies` beside the journal, into which the daemon brings the few that the report shows, each as the
journal has its checksum.
"""

import errno
import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.files import FileRef, NoRegularFile, read_regular

T = TypeVar("T")
_COPIES = "copies"
#: What a task leaves for people is smaller.
_BYTES_MAX = 256 * 2**20


def folder_of_leftovers(config: WorkflowConfig) -> Path:
    """Where the report of a campaign finds what its tasks left."""
    return (
        config.site.root
        if config.site.transport.kind == "local"
        else config.campaign.folder / _COPIES
    )


def missing(wanted: Iterable[FileRef], folder: Path) -> tuple[FileRef, ...]:
    """Those that do not lie there as they were when their tasks ended."""
    return tuple(file for file in wanted if not _is_there(file, folder))


def _is_there(file: FileRef, folder: Path) -> bool:
    try:
        content = read_regular(folder / file.path, size_max=_BYTES_MAX)
    except (OSError, NoRegularFile):
        return False
    return content is not None and _is_as_recorded(content, file)


def _is_as_recorded(content: bytes, file: FileRef) -> bool:
    return hashlib.sha256(content).hexdigest() == file.sha256


def keep_copies(files: Sequence[FileRef], contents: Mapping[str, bytes], folder: Path) -> None:
    """Put contents in place, by path. One that is not what its task left is not kept.

    Raises OSError.
    """
    for file in files:
        if (content := contents.get(file.path)) is None or not _is_as_recorded(content, file):
            continue
        path = folder / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        making = path.with_name(f".{path.name}.making")
        making.write_bytes(content)
        making.replace(path)


def content_or_why(kind: TypeAdapter[T], path: Path) -> T | str:
    """The file's content, or in words why there is none: a report is written with what is there."""
    try:
        content = read_regular(path, size_max=_BYTES_MAX)
        if content is None:
            return f"{path} cannot be read: {os.strerror(errno.ENOENT)}"
        return kind.validate_json(content)
    except OSError as error:
        return f"{path} cannot be read: {error.strerror}"
    except NoRegularFile as error:
        return str(error)
    except ValidationError as error:
        return f"{path} is not as it should be: {error.errors(include_input=False)[0]['msg']}"
