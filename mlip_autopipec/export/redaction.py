"""What a folder for others does not say: who steered, on which machine, and where files lie there.

Values are redacted as values, before anything is written of them: a name in a sentence is found by
the values that the journal has of it. What is left of an absolute path is its last part.
"""

import getpass
import re
import socket
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlip_autopipec.config.changes import value_at
from mlip_autopipec.config.schemas.workflow import WorkflowConfig
from mlip_autopipec.contract.mistakes import KeyPath, dotted
from mlip_autopipec.data_models import events as ev
from mlip_autopipec.data_models.events import EVENT_ADAPTER

#: A shorter name would be found in words that mean something else, such as elements.
_NAME_LETTERS_MIN = 3
#: Names of accounts that tell nothing of anybody, and of the program itself.
_NOBODYS = frozenset({"root", "localhost", "autopipecd", "local", ""})
#: An absolute path of two names or more, or what is left of one whose beginning is gone.
_PART = r"[^\s/\"'`,;:()\[\]{}<>|…]+"
_ABSOLUTE = re.compile(rf"(?:…|(?<![\w.:/<…])/{_PART})(?:/{_PART})*/((?:{_PART})?)")
#: Where a site file names machines and people.
_NAMED: tuple[KeyPath, ...] = (
    ("site", "transport", "host"),
    ("site", "transport", "user"),
    ("site", "scheduler", "account"),
)
_ACTOR = frozenset(ev.Actor.model_fields)
#: Keys whose values are machines, people's accounts or numbers of processes.
_EMPTIED = frozenset({"host", "node", "kept_as"})
_ZEROED = frozenset({"pid"})


@dataclass(frozen=True)
class Redaction:
    """Names to leave out, and folders."""

    names: tuple[str, ...]
    folders: tuple[str, ...]

    @classmethod
    def of(cls, config: WorkflowConfig, events: Iterable[ev.Event]) -> "Redaction":
        """By the site file, the journal, and this machine."""
        far = config.site.transport
        named = {getpass.getuser(), socket.gethostname(), socket.getfqdn(), Path.home().name}
        if far.kind != "local":
            named |= {far.host, far.user or ""}
        named |= set(config.site.scheduler.names_of_people())
        named |= {name for event in events for name in _names_in(event)}
        long = {name for name in named - _NOBODYS if len(name) >= _NAME_LETTERS_MIN}
        folders = {str(Path.home()), str(config.site.root), str(config.campaign.folder)} - {"/"}
        return cls(_longest_first(long), _longest_first(folders))

    def text(self, text: str) -> str:
        """A sentence without names and absolute paths."""
        return self._without_names(_ABSOLUTE.sub(lambda found: f"…/{found[1]}", self.page(text)))

    def page(self, text: str) -> str:
        """A long text, such as a page, without the campaign's own folders."""
        for folder in self.folders:
            text = text.replace(folder, "…")
        return text

    def event(self, event: ev.Event) -> ev.Event:
        """The same event with nobody and no machine in it."""
        if isinstance(event, ev.SettingsTaken):
            event = _of_no_site(event)
        return EVENT_ADAPTER.validate_python(self.value(event.model_dump(mode="json")))

    def value(self, value: Any) -> Any:
        """Plain JSON, redacted."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.keys() == _ACTOR:
            by_program = value["name"] == ev.DAEMON.name
            return (
                ev.DAEMON.model_dump() if by_program else {"uid": 0, "pid": 0, "name": "a person"}
            )
        return {name: _blank(name, item, self.value) for name, item in value.items()}

    def found_in(self, content: bytes) -> tuple[str, ...]:
        """Which of the names and folders a file holds all the same."""
        text = content.decode("utf-8", "replace")
        folders = [folder for folder in self.folders if folder in text]
        return (*folders, *(name for name in self.names if _word(name).search(text)))

    def _without_names(self, text: str) -> str:
        for name in self.names:
            if name in text:
                text = _word(name).sub("…", text)
        return text


def _of_no_site(event: ev.SettingsTaken) -> ev.SettingsTaken:
    """Settings of the physics alone: the site's name machines, accounts and folders."""
    return event.model_copy(
        update={
            "settings": without_paths(event.settings),
            "overrides": {
                key: value for key, value in event.overrides.items() if not _is_left_out(key)
            },
            "changes": tuple(change for change in event.changes if not _is_left_out(change.key)),
        }
    )


def _is_left_out(key: str) -> bool:
    parts = tuple(key.partition("[")[0].split("."))
    return any(parts[: len(path)] == path for path in _LEFT_OUT)


def _blank(name: str, item: Any, redact: Callable[[Any], Any]) -> Any:
    if name in _EMPTIED:
        return ""
    return 0 if name in _ZEROED else redact(item)


def _word(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w-]){re.escape(name)}(?![\w-])")


def _longest_first(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=lambda name: (-len(name), name)))


def _names_in(event: ev.Event) -> Iterator[str]:
    by = getattr(event, "by", None)
    if isinstance(by, ev.Actor):
        yield by.name
    match event:
        case ev.DaemonStarted():
            yield event.host
        case ev.TaskEnded():
            yield event.outcome.host
        case ev.AttemptLost():
            yield event.node
        case ev.SettingsTaken():
            for path in _NAMED:
                name = value_at(event.settings, path) or event.overrides.get(dotted(path))
                yield name if isinstance(name, str) else ""
            keys = set(map(dotted, _NAMED))
            yield from (
                str(change.before)
                for change in event.changes
                if change.key in keys and change.before
            )
        case _:
            pass


def without_paths(section: Any, path: Sequence[str] = ()) -> Any:
    """A site file as plain values, without the section of the site.

    Paths of files are there by their last part.
    """
    if isinstance(section, dict):
        left = {name: item for name, item in section.items() if (*path, name) not in _LEFT_OUT}
        return {name: without_paths(item, (*path, name)) for name, item in left.items()}
    if isinstance(section, list):
        return [without_paths(item, path) for item in section]
    return section


_LEFT_OUT = frozenset({("site",), ("campaign", "folder"), ("training", "pacemaker", "python")})
