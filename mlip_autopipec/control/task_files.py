"""Files of a task on the site: their names, and parts of them, read with the least that can be.

One command of the site's own shell for each call, over the transport that is there anyway. What
comes back is bounded, whatever the file is: no link at its end is followed, and no pipe or device
is opened.
"""

import base64
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from pathlib import PurePosixPath
from typing import Literal, Protocol

from pydantic import AwareDatetime, Field

from mlip_autopipec.data_models.base import Model, Phase
from mlip_autopipec.errors import FileUnusable, OperatorError, TransientError
from mlip_autopipec.framing import SHELL, TELL, CommandOutput, Nonce, scripted, sections
from mlip_autopipec.ports import Transport

#: A call brings no more of a file.
PART_BYTES_MAX = 64 * 1024
#: Of a listing: more files than a person reads.
FILES_MAX = 400
#: Runs of a task are one folder down, and a code's own folder is one more.
_DEPTH = 3
_LISTING_BYTES_MAX = 128 * 1024
_TIMEOUT_S = 20.0
_TEXT_MAX = 300
#: Longest tail of a part that may be the beginning of a letter.
_LETTER_BYTES_MAX = 3
_ID = re.compile(rf"c(\d{{3,9}})\.({'|'.join(Phase)})\.(\d{{4,9}}-[0-9a-f]{{6}})", re.ASCII)
_LIST = TELL + (
    """[ -d "./$1/." ] && tell files sh -c 'find -P "./$1/." -mindepth 1 -maxdepth "$2" -type f"""
    r""" -printf "%s %T@ %P\0" | head -c "$3" | base64 -w 0' sh "$1" "$2" "$3" """
)
_PART = (
    TELL
    + r"""
if [ -L "./$1" ] || { [ -e "./$1" ] && [ ! -f "./$1" ]; }; then
  tell odd echo "it is no regular file"
elif [ -e "./$1" ]; then
  size=$(stat -c %s -- "./$1") || size=0
  begin=$2
  [ "$begin" = end ] && begin=$((size > $3 ? size - $3 : 0))
  [ "$begin" -gt "$size" ] && begin=0
  tell size echo "$size $begin"
  tell part sh -c 'tail -c "+$(($2 + 1))" -- "./$1" | head -c "$3" | base64 -w 0' sh "$1" "$begin" "$3"
else
  tell gone echo
fi
"""  # noqa: E501 - text for another program
)
#: What runs the codes writes the first; outputs of codes, whichever they are, are called so.
_OF_TASKS = re.compile(r"log\.txt|job-.*\.out")
_OF_CODES = re.compile(rf"(?!{_OF_TASKS.pattern})(.+\.(out|log)|log\..+|OUTCAR|OSZICAR)")


class TaskOutput(Model):
    """A file in a task's folder."""

    name: str = Field(description="relative to the task's folder, such as run-1/log.lammps")
    size: int = Field(ge=0, description="bytes")
    changed_at: AwareDatetime


class TaskListing(Model):
    """The files of one task."""

    version: Literal[1] = 1
    task: str
    folder: str = Field(description="relative to the site's root")
    live: bool = Field(description="whether an attempt may still write there")
    files: tuple[TaskOutput, ...] = Field(description="by name")
    more: bool = Field(default=False, description="whether there are more than are named here")


class FilePart(Model):
    """A part of a text file, by its bytes."""

    version: Literal[1] = 1
    task: str
    name: str
    live: bool = Field(description="whether an attempt may still write there")
    size: int = Field(ge=0, description="of the whole file, in bytes")
    begin: int = Field(
        ge=0, description="of this part; 0 where the file has become shorter than was asked for"
    )
    end: int = Field(ge=0, description="where the next part begins")
    text: str = Field(description="U+FFFD for bytes that are no UTF-8")


class FilesOfTasks(Protocol):
    """Who can be asked: the daemon, or a site that is this machine."""

    async def task_files(self, task: str) -> TaskListing:
        """The files of a task."""

    async def task_file(self, task: str, name: str, begin: int | None = None) -> FilePart:
        """A part of one; its end if `begin` is left out."""


def folder_of(task: str) -> str | None:
    """A task's folder, relative to the root, by its id; None if that is no id."""
    found = _ID.fullmatch(task)
    return f"cycles/{found[1]}/{found[2]}/{found[3]}" if found is not None else None


def checked_name(name: str) -> str:
    """A name below a task's folder. Raises ValueError for any other."""
    parts = PurePosixPath(name).parts
    if (
        not parts
        or len(name) > _TEXT_MAX
        or not name.isprintable()
        or name.startswith("/")
        or ".." in parts
    ):
        raise ValueError("expected a name below the task's folder, such as run-1/log.lammps")
    return str(PurePosixPath(name))


class SiteFiles:
    """Reads files of tasks over a transport.

    Raises TransientError and OperatorError as the transport does.
    """

    def __init__(self, transport: Transport, nonce: Nonce) -> None:
        self._transport, self._nonce = transport, nonce

    async def listing(self, task: str, folder: str, *, live: bool) -> TaskListing:
        """Files of a task by name; none if its folder is not there (yet)."""
        answer = await self._asked(_LIST, folder, str(_DEPTH), str(_LISTING_BYTES_MAX))
        listed = _decoded(answer["files"]) if "files" in answer else b""
        *entries, rest = listed.split(b"\0")
        files = sorted(filter(None, map(_site_file, entries)), key=lambda file: file.name)
        more = bool(rest) or len(files) > FILES_MAX
        return TaskListing(
            task=task, folder=folder, live=live, files=tuple(files[:FILES_MAX]), more=more
        )

    async def part(
        self, task: str, folder: str, name: str, begin: int | None, *, live: bool
    ) -> FilePart | None:
        """A part of a file; its end if `begin` is None, and None if there is no such file.

        Raises FileUnusable.
        """
        path = f"{folder}/{checked_name(name)}"
        answer = await self._asked(
            _PART, path, "end" if begin is None else str(begin), str(PART_BYTES_MAX)
        )
        if "odd" in answer:
            raise FileUnusable(f"{path}: {answer['odd'].text.strip()}")
        if "gone" in answer:
            return None
        if not {"size", "part"} <= answer.keys():
            raise TransientError(f"the answer about {path} was cut")
        size, first = map(int, answer["size"].text.split())
        content = _whole_letters(_decoded(answer["part"]))
        text = content.decode("utf-8", "replace")
        return FilePart(
            task=task,
            name=str(PurePosixPath(name)),
            live=live,
            size=max(size, first + len(content)),
            begin=first,
            end=first + len(content),
            text=text,
        )

    async def _asked(self, script: str, *arguments: str) -> dict[str, CommandOutput]:
        nonce = self._nonce()
        done = await self._transport.run(
            (*SHELL, *arguments), stdin=scripted(nonce, script), timeout_s=_TIMEOUT_S
        )
        return sections(nonce, done.stdout)


class FilesHere:
    """FilesOfTasks without a daemon, of a site that can be reached from here.

    Nothing is known to be at work.
    """

    def __init__(self, files: SiteFiles) -> None:
        self._files = files

    async def task_files(self, task: str) -> TaskListing:
        return await self._files.listing(task, _folder(task), live=False)

    async def task_file(self, task: str, name: str, begin: int | None = None) -> FilePart:
        part = await self._files.part(task, _folder(task), name, begin, live=False)
        if part is None:
            raise NoSuchFile(f"{task} has no file {name} any more")
        return part


def _folder(task: str) -> str:
    folder = folder_of(task)
    if folder is None:
        raise NoSuchFile(f"{task!r} is no id of a task")
    return folder


def _decoded(section: CommandOutput) -> bytes:
    try:
        return base64.b64decode(section.text.strip(), validate=True)
    except ValueError as error:
        raise TransientError(f"the site's answer cannot be read: {error}") from error


def _site_file(entry: bytes) -> TaskOutput | None:
    """None for a name that is no text."""
    size, _, rest = entry.partition(b" ")
    changed, _, name = rest.partition(b" ")
    try:
        text = name.decode()
        at = datetime.fromtimestamp(float(changed), UTC)
        return TaskOutput(name=text, size=int(size), changed_at=at) if text.isprintable() else None
    except (ValueError, OverflowError, OSError):
        return None


def _whole_letters(content: bytes) -> bytes:
    """Without the begun letter at its end, unless there is nothing else."""
    for cut in range(1, min(_LETTER_BYTES_MAX, len(content) - 1) + 1):
        byte = content[-cut]
        if byte < 0x80:  # noqa: PLR2004 - a letter by itself
            break
        if byte >= 0xC0:  # noqa: PLR2004 - begins a letter of two bytes or more
            wanted = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4  # noqa: PLR2004 - as UTF-8 says
            return content[:-cut] if wanted > cut else content
    return content


def main_output(files: Sequence[TaskOutput]) -> TaskOutput | None:
    """What a person would look at first: the newest output of a code, else of what has run it."""
    for kind in (_OF_CODES, _OF_TASKS):
        found = [
            file for file in files if kind.fullmatch(PurePosixPath(file.name).name) and file.size
        ]
        if found:
            return max(found, key=lambda file: (file.changed_at, file.name))
    return None


def file_named(listing: TaskListing, name: str | None) -> TaskOutput:
    """The file that is meant: by its name, or by the last part of it in the newest run.

    Raises NoSuchFile, naming the nearest and what there is.
    """
    if name is None:
        if (found := main_output(listing.files)) is not None:
            return found
        raise NoSuchFile(f"{listing.task} has written no output{_there(listing)}")
    wanted = [file for file in listing.files if file.name == name]
    wanted = wanted or [file for file in listing.files if PurePosixPath(file.name).name == name]
    if wanted:
        return max(wanted, key=lambda file: (file.changed_at, file.name))
    names = {file.name: file.name for file in listing.files}
    names |= {PurePosixPath(file.name).name: file.name for file in listing.files}
    near = get_close_matches(name, names, 1, 0.5)
    meant = f"; the nearest is {names[near[0]]}" if near else ""
    raise NoSuchFile(f"{listing.task} has no file {name!r}{meant}{_there(listing)}")


class NoSuchFile(OperatorError):  # noqa: N818 - the name is the fact
    """The task has no such file."""

    exit_code = 2


def _there(listing: TaskListing) -> str:
    if not listing.files:
        return f". There is nothing in {listing.folder}"
    return (
        ". There are "
        + ", ".join(file.name for file in listing.files)
        + (" and more" if listing.more else "")
    )
