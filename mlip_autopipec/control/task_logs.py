"""The output of a task's code as a person reads it.

It is the end of a file on the site, and what is written behind it.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator

from mlip_autopipec.control.task_files import FilePart, FilesOfTasks, TaskListing
from mlip_autopipec.telling.words import count

_KIB = 1024
#: Looks that found nothing new, of a task whose attempts are over, before its output counts as
#: whole.
_LAST_LOOKS = 2


def listing_lines(listing: TaskListing) -> Iterator[str]:
    """A row for each file, and where they are."""
    width = max((len(_size(file.size)) for file in listing.files), default=0)
    for file in listing.files:
        yield f"{_size(file.size):>{width}}  {file.changed_at:%Y-%m-%d %H:%M:%S}  {file.name}"
    more = ", and more that are not named here" if listing.more else ""
    yield f"{count(len(listing.files), 'file')}{more}, in {listing.folder}"


def last_lines(part: FilePart, number: int) -> str:
    """The last lines of a file's end; the first is whole, unless it is longer than a part."""
    lines = part.text.splitlines(keepends=True)
    if part.begin and len(lines) > 1:
        lines = lines[1:]
    return "".join(lines[-number:] if number else [])


async def follow(
    files: FilesOfTasks, part: FilePart, wait: Callable[[], Awaitable[None]]
) -> AsyncGenerator[str, None]:
    """What is written behind a part, until no attempt of the task may write any more.

    A file that has become shorter was begun anew, and is read from its beginning.
    """
    quiet = 0
    while quiet < _LAST_LOOKS:
        part = await files.task_file(part.task, part.name, part.end)
        if part.text:
            yield part.text
        quiet = quiet + 1 if not (part.text or part.live) else 0
        if quiet < _LAST_LOOKS and part.end >= part.size:
            await wait()


def for_terminal(text: str) -> str:
    """Tabs as spaces, and a line that a code has overwritten as one more line.

    What else is odd, `say` sees to.
    """
    return text.replace("\r\n", "\n").replace("\r", "\n").expandtabs(8)


def _size(size: int) -> str:
    return (
        f"{size} B"
        if size < _KIB
        else f"{size / _KIB:.0f} KiB"
        if size < _KIB**2
        else f"{size / _KIB**2:.1f} MiB"
    )
