"""The errors of this project, sorted by who must act.

AutopipecError ├── ConfigurationError     the user: site.yaml says something that cannot be done ├──
OperatorError          the operator: something outside must be mended before going on │   ├──
NoJournal          no daemon has run for the campaign yet │   ├── JournalDamaged     the event log
cannot be trusted │   ├── StateUnreadable    the saved state contradicts the log, or is of another
version │   ├── FileUnusable       a name on the site is no regular file that can be read │   │
└── FileTooLarge   it is larger than anything that is expected there │   ├── NameTaken
something else has the name of a file or folder that must be written on the site │   ├──
CampaignLocked     another daemon holds this campaign │   └── DaemonUnreachable  no daemon answers
on the control socket ├── TransientError         nobody: wait and look again; it fails no task │
├── TooFewSessions     nobody: what would keep a session open asks now and then instead │   └──
LoginRefused       the operator, while everything else goes on: the site takes no login of ours └──
BugError               us: a rule that cannot be broken was broken
    └── IllegalTransition  an event that the state does not allow
"""

from pathlib import Path


class AutopipecError(Exception):
    """Base of all; never raised itself."""

    #: What the process ends with when this error ends it (sysexits.h where one fits).
    exit_code = 70


class ConfigurationError(AutopipecError):
    """The site file is wrong; the message lists every mistake found."""

    exit_code = 2


class OperatorError(AutopipecError):
    """Something outside this program must be mended by a person."""

    exit_code = 78


class NoJournal(OperatorError):  # noqa: N818 - the name is the fact
    """There is no journal at `path`."""

    def __init__(self, path: Path) -> None:
        message = (
            "no daemon has run for this campaign yet; `autopipecd --config site.yaml` starts one"
        )
        super().__init__(f"there is no journal at {path}: {message}")


class JournalDamaged(OperatorError):  # noqa: N818 - the name is the fact
    """The journal is damaged before its end.

    `path`, the byte `offset` and the `remedy` are in the message.
    """

    def __init__(self, path: Path, offset: int, detail: str, remedy: str) -> None:
        self.path, self.offset, self.detail, self.remedy = path, offset, detail, remedy
        super().__init__(f"{path} is damaged at byte {offset}: {detail}. {remedy}")


class StateUnreadable(OperatorError):  # noqa: N818
    """The saved state cannot be read, or is of a version this program does not know."""


class CampaignLocked(OperatorError):  # noqa: N818
    """Another daemon holds the campaign's lock."""


class FileUnusable(OperatorError):  # noqa: N818
    """A name on the site is no regular file that can be read.

    It is a folder, a link, a pipe, or without rights.
    """


class FileTooLarge(FileUnusable):
    """A file on the site is larger than anything that is expected there."""


class NameTaken(OperatorError):  # noqa: N818
    """A folder, link or file of someone else has the name of what must be written on the site.

    It is left alone.
    """


class DaemonUnreachable(OperatorError):  # noqa: N818
    """No daemon answers on the control socket; or none any more, behind what it has `streamed`."""

    exit_code = 3

    def __init__(self, message: str, *, streamed: bool = False) -> None:
        self.streamed = streamed
        super().__init__(message)


class TransientError(AutopipecError):
    """A passing fault of the site (connection, file system, scheduler): wait and look again."""

    exit_code = 75


class LoginRefused(TransientError):  # noqa: N818
    """The site takes no login of ours until a person mends it.

    The daemon waits: it tries seldom, and runs on.
    """

    exit_code = 78


class TooFewSessions(TransientError):  # noqa: N818
    """sshd allows so few sessions on a connection that none can be kept open.

    Ask again and again instead.
    """


class BugError(AutopipecError):
    """A rule of this program was broken by itself."""


class IllegalTransition(BugError):  # noqa: N818
    """An event arrived that the state does not allow; the state is unchanged."""
