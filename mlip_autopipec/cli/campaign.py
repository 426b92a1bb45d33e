"""The campaign that a command is about."""
# ruff: noqa: PLC0415 - each command imports what it needs: aiohttp, rich and matplotlib take longer than the answer

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlip_autopipec.cli.options import before_command
from mlip_autopipec.errors import ConfigurationError, DaemonUnreachable, NoJournal

if TYPE_CHECKING:
    from mlip_autopipec.config.loader import LoadedConfig
    from mlip_autopipec.control.client import ControlClient
    from mlip_autopipec.control.tasks import TaskBook
    from mlip_autopipec.data_models.events import Event
    from mlip_autopipec.standing import Standing


def campaign(config: Path | None, socket: Path | None = None) -> "Campaign":
    """Of the options of a command, or of those that stood before it."""
    return Campaign(config or before_command("config"), socket or before_command("socket"))


@dataclass(frozen=True)
class Campaign:
    """As the options name it: by a site file, by a control socket, or by both."""

    config: Path | None
    socket: Path | None

    def load(self) -> "LoadedConfig":
        """Raises ConfigurationError where no site file is named."""
        from mlip_autopipec.config.loader import load_config

        if self.config is None:
            example = "`autopipecctl config init` writes a first site file"
            raise ConfigurationError(
                f"which campaign? Give --config site.yaml, or set AUTOPIPEC_CONFIG; {example}"
            )
        return load_config(self.config)

    def client(self) -> "ControlClient":
        from mlip_autopipec.control.address import socket_path
        from mlip_autopipec.control.client import ControlClient

        return ControlClient(self.socket or socket_path(self.load().config.campaign.folder))

    def folder(self) -> Path:
        """The campaign's own, by the site file; else where a socket in its usual place has it."""
        if self.config is None and self.socket is not None:
            return self.socket.absolute().parent.parent
        return self.load().config.campaign.folder

    def journal_folder(self) -> Path:
        """Raises NoJournal where there is none."""
        folder = self.folder() / "journal"
        if not folder.is_dir():
            raise NoJournal(folder)
        return folder

    def events(self, after: int = 0) -> Iterator[tuple[int, "Event"]]:
        """With their numbers, straight from the disk; a daemon may be writing meanwhile."""
        from mlip_autopipec.journal.replay import read

        return ((record.seq, record.event) for record in read(self.journal_folder(), after))

    def task_book(self) -> "TaskBook":
        """Every task of the campaign, from its journal."""
        from mlip_autopipec.control.tasks import book_of

        return book_of(event for _, event in self.events())

    def standing(self, unreachable: DaemonUnreachable) -> "Standing":
        """The campaign as the journal has it. Raises `unreachable` where there is none."""
        from mlip_autopipec.orchestration.policy import Policy
        from mlip_autopipec.standing import standing

        policy = Policy.from_config(self.load().config) if self.config is not None else None
        return standing(self.folder(), unreachable, policy)

    def root(self) -> str | None:
        """The root of the site, with its host; None where no site file is at hand."""
        if self.config is None:
            return None
        site = self.load().config.site
        host = "" if site.transport.kind == "local" else f"{site.transport.host}:"
        return f"{host}{site.root}"
