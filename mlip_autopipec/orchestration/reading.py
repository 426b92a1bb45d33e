"""Reading many files of the site, of which one call brings no more than so many bytes."""

from collections.abc import AsyncIterator, Mapping, Sequence

from mlip_autopipec.ports import Transport


async def read_pages(
    transport: Transport, paths: Sequence[str]
) -> AsyncIterator[Mapping[str, bytes]]:
    """All there is of these files, page by page, none empty; memory holds one page at a time.

    Raises what the transport raises.
    """
    wanted = list(paths)
    while wanted and (found := await transport.read_many(wanted)):
        yield found
        left = [path for path in wanted if path not in found]
        wanted = left if len(left) < len(wanted) else []
