"""This program makes again a journal that an earlier one wrote, with the ids that its tasks had."""

import tarfile
from pathlib import Path

import pytest

from mlip_autopipec.config.loader import LoadedConfig, load_config
from mlip_autopipec.daemon.restore import restore
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.errors import OperatorError
from mlip_autopipec.journal.replay import read

pytestmark = pytest.mark.slow

BEGUN = Path(__file__).parents[1] / "data/campaigns/begun-under-0.1.0.tar.xz"
#: What the site file left to defaults, as these were then.
DEFAULTS_OF_THEN = {
    "training:\n": "training:\n  energy_weight: 30\n  stress_weight: 0\n",
    "selection:\n": "selection:\n  acquisition: gamma_window\n",
    "convergence:\n": "convergence:\n  needs: null\n",
}


def begun(folder: Path) -> tuple[Path, list[ev.Event]]:
    """The site file of a campaign that a program of before began, and the journal it has lost."""
    with tarfile.open(BEGUN) as archive:
        archive.extractall(folder, filter="data")
    journal = folder / "campaign/journal"
    events = [record.event for record in read(journal)]
    journal.rename(folder / "lost")
    return folder / "site.yaml", events


async def restored(site_file: Path) -> list[ev.Event]:
    """The events that the site gives again."""
    loaded: LoadedConfig = load_config(site_file)
    await restore(loaded)
    return [record.event for record in read(loaded.config.campaign.folder / "journal")]


async def test_the_same_work_is_found_whatever_hash_it_had(tmp_path: Path) -> None:
    """Parameters have come since, and with them other hashes.

    Those that were not asked for mean what was done.
    """
    site_file, before = begun(tmp_path)
    content = site_file.read_text(encoding="utf-8")
    for key, said in DEFAULTS_OF_THEN.items():
        content = content.replace(f"\n{key}", f"\n{said}")
    site_file.write_text(content, encoding="utf-8")

    after = await restored(site_file)

    for events in (before, after):
        assert any(isinstance(event, ev.PhaseStarted) for event in events)
    planned = [
        [task.id for e in events if isinstance(e, ev.PhaseStarted) for task in e.tasks]
        for events in (before, after)
    ]
    assert planned[0] == planned[1]
    ended = [
        {e.outcome.task for e in events if isinstance(e, ev.TaskEnded)}
        for events in (before, after)
    ]
    assert ended[0] == ended[1]
    assert len(ended[0]) > 8


async def test_other_defaults_are_other_work(tmp_path: Path) -> None:
    """What no site file said, and is done otherwise today, is not taken for the same.

    The refusal says what it was.
    """
    site_file, _ = begun(tmp_path)
    with pytest.raises(
        OperatorError,
        match=r"energy_weight was 30\.0, not 100\.0; stress_weight was 0\.0, not 1\.0",
    ):
        await restored(site_file)
