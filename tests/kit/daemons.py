"""A whole daemon in a process of its own, as a user would start it.

Here, too, is what is true of every campaign it ran.
"""

import json
import shutil
import stat
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kit.files import SMALL, SOAK
from mlip_autopipec.contract.results.label import CalculateMetrics
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.journal.replay import read, replay
from mlip_autopipec.journal.snapshot import load_state

BIN = Path(sys.executable).parent


@dataclass
class Campaign:
    """A site file in a folder of its own, with the daemon's and the site's folders beside it."""

    config: Path
    folder: Path
    root: Path

    @classmethod
    def small(cls, folder: Path) -> "Campaign":
        """The demo in small."""
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(SMALL, folder / "small.yaml")
        return cls.in_folder(folder)

    @classmethod
    def in_folder(cls, folder: Path) -> "Campaign":
        """The demo in small that a folder has already."""
        return cls(folder / "small.yaml", folder / "campaign", folder / "site")

    @classmethod
    def quick(cls, folder: Path, name: str = "soak.yaml") -> "Campaign":
        """That of the soak, whose physics takes milliseconds."""
        python = folder / "python"
        python.write_text(
            f"#!{sys.executable} -ES\n{(SOAK / 'quick_python.py').read_text(encoding='utf-8')}"
        )
        python.chmod(python.stat().st_mode | stat.S_IXUSR)
        shutil.copy(SOAK / "quick_physics.py", folder)
        config = folder / name
        config.write_text(
            (SOAK / "soak.yaml").read_text(encoding="utf-8").replace("PYTHON", str(python))
        )
        return cls(config, folder / "campaign", folder / "site")

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Start the daemon; it resumes if there is a journal."""
        with (self.config.parent / "daemon.out").open("a") as output:
            return subprocess.Popen(
                [BIN / "autopipecd", "--config", self.config, *options],
                stdout=output,
                stderr=subprocess.STDOUT,
                text=True,
            )

    def to_verdict(self, timeout_s: float) -> int:
        """Run one daemon to the end of the campaign; its exit code."""
        daemon = self.start("--exit-on-verdict")
        try:
            return daemon.wait(timeout=timeout_s)
        finally:
            daemon.kill()
            daemon.wait()

    def ctl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run autopipecctl to its end."""
        return subprocess.run(
            [BIN / "autopipecctl", *arguments, "--config", self.config],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    def status(self) -> dict[str, Any]:
        """What `autopipecctl status --json` says."""
        done = self.ctl("status", "--json")
        assert done.returncode == 0, done.stderr
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def events(self) -> list[ev.Event]:
        """The whole journal."""
        return [record.event for record in read(self.folder / "journal")]

    def output(self) -> str:
        """What all daemons of this campaign have printed."""
        return (self.config.parent / "daemon.out").read_text()

    def datasets(self) -> dict[str, str]:
        """Every data set file by name."""
        return {path.name: path.read_text() for path in sorted((self.root / "dataset").iterdir())}


def assert_replays(campaign: Campaign) -> None:
    """The journal replays to the very state that the daemon had when it ended in good order.

    That state is sound.
    """
    state = replay(campaign.folder / "journal")
    assert state == load_state(campaign.folder / "state.json")
    assert state.check() == ()


def assert_nothing_doubled_or_lost(campaign: Campaign) -> None:
    """Every task ran once and ended once, and every label is in its cycle's data set once."""
    events = campaign.events()
    planned = [
        task for event in events if isinstance(event, ev.PhaseStarted) for task in event.tasks
    ]
    ended = Counter(event.outcome.task for event in events if isinstance(event, ev.TaskEnded))
    assert ended == Counter(task.id for task in planned)
    for task in planned:
        claims = list((campaign.root / task.workdir).glob("claim.*"))
        assert len(claims) == 1, f"{task.id} ran {len(claims)} times"
    assert_labels_once(events, campaign.datasets().values())


def assert_labels_once(events: Iterable[ev.Event], datasets: Iterable[str]) -> None:
    """Every label the journal knows is in one cycle's data set, once, and no other is in any."""
    labelled = Counter(
        event.outcome.task
        for event in events
        if isinstance(event, ev.TaskEnded) and isinstance(event.outcome.metrics, CalculateMetrics)
    )
    in_datasets = Counter(
        word.removeprefix("task=")
        for text in datasets
        for line in text.splitlines()
        for word in line.split()
        if word.startswith("task=")
    )
    assert in_datasets == labelled
