"""A journal that names a code whose package is gone.

It is told by its name, with what to do; nothing is called damaged.
"""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.base import Phase
from mlip_autopipec.errors import StateUnreadable
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.records import frame, unframe
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.phases import phase_runners
from mlip_autopipec.testing.examples import copper_config
from mlip_autopipec.testing.walk import Walk

NOW = datetime(2030, 1, 1, tzinfo=UTC)


async def written(folder: Path, packages: tuple[str, ...]) -> None:
    """The journal of a campaign that has come to its second fit."""
    walk = Walk(copper_config(), phase_runners(copper_config()))
    walk.planned(Phase.TRAINING, cycle=1)
    started = ev.DaemonStarted(
        at=NOW,
        version="0",
        host="login1",
        pid=1,
        config_sha256="0",
        payload_sha256="0",
        packages=packages,
    )
    journal, _ = FileJournal.open(folder, now=NOW)
    await journal.append([walk.events[0], started, *walk.events[1:]])
    await journal.close()


def rewritten(folder: Path, old: bytes, new: bytes) -> None:
    """The same records with other words, and the checksums of those."""
    (path,) = folder.glob("journal-*.jsonl")
    crc, before, lines = 0, 0, []
    for line in path.read_bytes().splitlines(keepends=True):
        found = unframe(line, before)
        assert found is not None
        body, before = found
        made, crc = frame(body.replace(old, new), crc)
        lines.append(made)
    path.write_bytes(b"".join(lines))


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        (b'"trainer":"linear"', b'"trainer":{"kind":"quick"}', "the trainer 'quick'"),
        (b'"oracle":{"kind":"ase"', b'"oracle":{"kind":"toy"', "the oracle 'toy'"),
        (b'"engine":{"kind":"wheel"', b'"engine":{"kind":"counted"', "the engine 'counted'"),
    ],
)
async def test_a_code_that_is_gone_is_named_with_its_package(
    old: bytes, new: bytes, code: str, tmp_path: Path
) -> None:
    """As the daemons noted it; a journal of before they did names the code alone."""
    for packages, message in (
        (("toy-codes 1.0",), " (the daemons of this campaign had toy-codes 1.0)"),
        ((), ""),
    ):
        folder = tmp_path / str(len(packages))
        await written(folder, packages)
        rewritten(folder, old, new)
        asked = (
            f"names {code}, which no package brings that is installed here{message}. Install that"
            " package"
        )
        with pytest.raises(StateUnreadable, match=re.escape(asked)):
            replay(folder)
