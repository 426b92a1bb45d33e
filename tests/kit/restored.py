"""A campaign on the disk, with the site that it was run on, and no daemon."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from kit.files import SMALL
from mlip_autopipec.config.loader import LoadedConfig, load_config
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.ids import batch_name
from mlip_autopipec.data_models.state import Batch, WorkflowState
from mlip_autopipec.journal.journal import FileJournal
from mlip_autopipec.journal.replay import replay
from mlip_autopipec.journal.snapshot import save_state
from mlip_autopipec.orchestration.intents import intent_file, intent_path
from mlip_autopipec.orchestration.policy import Policy
from mlip_autopipec.orchestration.rebuild import Relics, rebuild
from mlip_autopipec.phases import phase_runners

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Place:
    """A campaign with its first batch submitted, its journal in three segments, and its site."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        site_file = folder / "site.yaml"
        site_file.write_text(SMALL.read_text(encoding="utf-8"), encoding="utf-8")
        self.loaded: LoadedConfig = load_config(site_file)
        config = self.loaded.config
        name = config.campaign.name
        self.campaign, self.folder = f"{name}-0a1b2c", config.campaign.folder
        self.root, self.journal = Path(config.site.root), config.campaign.folder / "journal"
        created = ev.CampaignCreated(
            at=NOW,
            campaign=self.campaign,
            name=name,
            version="0",
            config_sha256=self.loaded.sha256,
            k_mesh="family",
        )
        rules = phase_runners(config), Policy.from_config(config)
        walk = rebuild(WorkflowState(), Relics(self.campaign, {}, {}), lambda _: rules, created)
        events = list(walk)
        (planned,) = [event for event in events if isinstance(event, ev.PhaseStarted)]
        self.tasks = tuple(task.id for task in planned.tasks)
        self.job_name = batch_name(self.campaign, 0, planned.phase, 0)
        events.append(ev.SubmissionBegun(at=NOW, job_name=self.job_name, tasks=self.tasks))
        events += [ev.DaemonStopped(at=NOW, why=str(number)) for number in range(6)]
        asyncio.run(self._write(events))
        self.intend(*self.tasks)
        save_state(self.folder / "state.json", replay(self.journal).model_copy(update={"seq": 99}))

    async def _write(self, events: list[ev.Event]) -> None:
        journal, _ = FileJournal.open(self.journal, now=NOW, segment_bytes_max=2000)
        for event in events:
            await journal.append([event])
        await journal.close()

    def intend(self, *tasks: str) -> None:
        """What the site says was submitted."""
        path = self.root / intent_path(self.job_name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            intent_file(Batch(job_name=self.job_name, tasks=tasks, live=frozenset()), self.campaign)
        )

    def damage(self, record: int = 1) -> None:
        """One bit of a record is another one."""
        first = min(self.journal.glob("journal-*.jsonl"))
        lines = first.read_bytes().splitlines(keepends=True)
        lines[record] = lines[record].replace(b'"', b"'", 1)
        first.write_bytes(b"".join(lines))

    def files(self) -> dict[str, bytes]:
        """All in the campaign's folder but the lock and what an attempt at mending leaves aside."""
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in sorted(self.folder.rglob("*"))
            if path.is_file() and path.name != "lock" and "journal.mending" not in path.parts
        }
