"""Task files over every transport: on this machine, by asyncssh and by OpenSSH, with real files."""

import os
import secrets

import pytest
from kit.far_sites import Site

from mlip_autopipec.control.task_files import PART_BYTES_MAX, SiteFiles
from mlip_autopipec.errors import FileUnusable

TASK, FOLDER = "c003.calculation.0001-abcdef", "cycles/003/calculation/0001-abcdef"


async def test_an_output_is_listed_and_read_in_parts(site: Site) -> None:
    """Every byte of it, by the names that the listing gives; its end if nothing else is asked."""
    lines = "".join(f"line {number} é\n" for number in range(9000))
    await site.transport.write(
        {f"{FOLDER}/run-1/pw.1.out": lines.encode(), f"{FOLDER}/a 'name' $x": b"odd"}
    )
    files = SiteFiles(site.transport, lambda: secrets.token_hex(8))
    listing = await files.listing(TASK, FOLDER, live=True)
    assert [file.name for file in listing.files] == ["a 'name' $x", "run-1/pw.1.out"]
    assert listing.files[1].size == len(lines.encode())
    read, at = "", 0
    while at < listing.files[1].size:
        part = await files.part(TASK, FOLDER, "run-1/pw.1.out", at, live=True)
        assert part is not None
        read, at = read + part.text, part.end
    assert read == lines
    end = await files.part(TASK, FOLDER, "run-1/pw.1.out", None, live=True)
    assert end is not None
    assert end.begin == len(lines.encode()) - PART_BYTES_MAX
    odd = await files.part(TASK, FOLDER, "a 'name' $x", None, live=True)
    assert odd is not None
    assert odd.text == "odd"


async def test_what_is_no_file_holds_nothing_up(site: Site) -> None:
    """A pipe, a link and a folder are told; what is not there is none."""
    await site.transport.write({f"{FOLDER}/here": b"1"})
    os.mkfifo(site.root / FOLDER / "pipe")
    (site.root / FOLDER / "link").symlink_to("here")
    files = SiteFiles(site.transport, lambda: secrets.token_hex(8))
    for name in ("pipe", "link", "."):
        with pytest.raises((FileUnusable, ValueError), match=r"no regular file|expected a name"):
            await files.part(TASK, FOLDER, name, None, live=False)
    assert await files.part(TASK, FOLDER, "absent", None, live=False) is None
    assert [file.name for file in (await files.listing(TASK, FOLDER, live=False)).files] == ["here"]
